#!/usr/bin/env node
/** `postern`: one command a file, each loaded when it is used. The only place that knows argv and exit codes. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CommanderError } from 'commander';
import { addCommands, needsAllVerbs } from './commands.ts';
import { tellFailure } from './kit/failure.ts';
import { EXIT } from './kit/output.ts';
import { createProgram } from './program.ts';
import { withoutInspector } from './serve/signals.ts';

// What Node thinks of a library is no news for whoever runs a command.
process.noDeprecation = true;
const given = process.argv.slice(2);
withoutInspector();
// An empty variable is as if unset, for every option that has one.
for (const [name, value] of Object.entries(process.env))
  if (name.startsWith('POSTERN_') && value === '') delete process.env[name];

const NODE_MAJOR = 24;
if (Number(process.versions.node.split('.')[0]) < NODE_MAJOR) {
  process.stderr.write(
    `postern needs Node ${NODE_MAJOR} or newer, this is ${process.version}: run it with \`npx postern\` or install a newer Node\n`,
  );
  process.exit(EXIT.usage);
}

const packageRoot = findPackageRoot(dirname(fileURLToPath(import.meta.url)));
const { version } = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as {
  version: string;
};

function findPackageRoot(from: string): string {
  return existsSync(join(from, 'package.json')) ? from : findPackageRoot(dirname(from));
}

const program = createProgram(given);
await addCommands(program, { packageRoot, version }, given);

// After a command, `--version` is that command's own: `policy-set get NAME --version 3`.
const commandAt = given.findIndex((word) => program.commands.some((one) => one.name() === word));
const versionAt = given.indexOf('--version');
if (needsAllVerbs(given) || commandAt < 0 || (versionAt >= 0 && versionAt < commandAt))
  program.version(version);

// A reader that has seen enough changes nothing of the answer; any other failure to print is told.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') return;
  process.stderr.write(`postern: cannot print: ${error.message}\n`);
  process.exitCode = EXIT.usage;
});

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    // Help and version are no errors; everything else is usage, and was told.
    process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  } else process.exitCode = tellFailure(error);
}
