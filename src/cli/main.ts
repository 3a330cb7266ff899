#!/usr/bin/env node
/** `postern`: one command a file, each loaded when it is used. The only place that knows argv and exit codes. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, CommanderError, Option } from 'commander';
import { ConfigError } from '../config/problem.ts';
import { CliError, EXIT, type Format } from './output.ts';

interface GlobalOptions {
  readonly output: Format;
  readonly address: string;
  readonly tenant?: string;
}

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

function collect(value: string, before: readonly string[]): readonly string[] {
  return [...before, value];
}

/** Runs a command with the options of the program and its own, and ends with its exit code. */
function run<Options extends object>(
  command: (
    options: Options & GlobalOptions & { packageRoot: string; version: string },
  ) => Promise<number>,
) {
  return async (options: Options, self: Command): Promise<void> => {
    const globals = self.optsWithGlobals<GlobalOptions & Options>();
    process.exitCode = await command({ ...globals, ...options, packageRoot, version });
  };
}

const program = new Command('postern')
  .description(
    'Sidecar authorization decision service: RBAC, tree grants, object ACLs and ABAC in one answer.',
  )
  .version(version)
  .addOption(
    new Option('-o, --output <format>', 'how to print')
      .choices(['table', 'json', 'yaml'])
      .default('table'),
  )
  .addOption(
    new Option('--address <host:port>', 'the gRPC listener, or unix:/path')
      .env('POSTERN_ADDRESS')
      .default('127.0.0.1:4700'),
  )
  .addOption(new Option('--tenant <name>', 'the tenant').env('POSTERN_TENANT'))
  .showHelpAfterError('(postern --help tells more)')
  .addHelpText(
    'after',
    '\nExit codes: 0 ok or allowed, 1 refused or denied, 2 usage or no answer.\nDocumentation: docs/ in the package.',
  );

program
  .command('serve')
  .description('serve decisions until SIGTERM; SIGHUP reads the catalog again')
  .option('--config <file>', 'settings (else POSTERN_CONFIG, else config/postern.yaml)')
  .option('--state <file>', 'create this tenant if it is absent; may be repeated', collect, [])
  .option('--demo', 'serve the demo tenant (the same as --state config/demo.yaml)')
  .action(
    run(async (options: { config?: string; state: string[]; demo?: boolean }) =>
      (await import('./serve.ts')).serve({ ...options, packageRoot, version }),
    ),
  );

program
  .command('check')
  .description('ask a running server for one decision')
  .argument('<subject>', 'alice, user:alice, role:team, workspace:w1, or - for a key alone')
  .argument('<action>', 'graph.search, kb:read, or a bare verb such as read')
  .argument('[path]', 'tree path; "" is the root')
  .option('--resource <type/id>', 'the resource')
  .option(
    '--attr <k=v>',
    'metadata of the resource: k=text or k:=JSON; may be repeated',
    collect,
    [],
  )
  .option('--source <json>', 'metadata of one contributing source; may be repeated', collect, [])
  .option('--key <id>', 'the API key that acts')
  .option('--min-revision <n>', 'answer from this revision or newer')
  .option('--explain', 'tell all the evidence, and what is missing')
  .addHelpText(
    'after',
    `
Examples:
  postern check alice read work.projects.api --tenant demo
  postern check carol kb:write --tenant demo --explain
  postern check - graph.search --key acme-agent --attr tenant=acme --tenant demo`,
  )
  .action(
    async (
      subject: string,
      action: string,
      path: string | undefined,
      _own: object,
      self: Command,
    ) => {
      const { check } = await import('./check.ts');
      const options = self.optsWithGlobals<
        GlobalOptions & { attr: string[]; source: string[]; resource?: string; key?: string }
      >();
      process.exitCode = await check(subject, action, path, {
        ...options,
        tenant: options.tenant,
        packageRoot,
      });
    },
  );

program
  .command('validate')
  .description('check and lint all files of a configuration directory')
  .argument('<dir>', 'directory, or one file')
  .action(async (directory: string, _own: object, self: Command) => {
    const { validate } = await import('./validate.ts');
    const { output } = self.optsWithGlobals<GlobalOptions>();
    process.exitCode = await validate(directory, { output, packageRoot });
  });

program
  .command('test')
  .description('run the policy tests of a directory')
  .argument('<dir>', 'directory, or one file')
  .option('--junit <file>', 'write a JUnit report')
  .option('--verbose', 'show the tests that pass, too')
  .action(async (directory: string, own: { junit?: string; verbose?: boolean }, self: Command) => {
    const { test } = await import('./test.ts');
    const { output } = self.optsWithGlobals<GlobalOptions>();
    process.exitCode = await test(directory, { ...own, output, packageRoot });
  });

program
  .command('apply')
  .description("make a tenant's facts what a state file says, in one commit")
  .requiredOption('-f, --file <state>', 'the state file')
  .option('--dry-run', 'show what would change, change nothing')
  .option('--idempotency-key <key>', 'do it at most once under this key, kept for a day')
  .option('--config <file>', 'settings that name the store')
  .action(
    run(
      async (options: {
        output: Format;
        file: string;
        dryRun?: boolean;
        idempotencyKey?: string;
        config?: string;
      }) => (await import('./apply.ts')).apply({ ...options, packageRoot }),
    ),
  );

program
  .command('export')
  .description("print a tenant's whole state as a file that apply takes")
  .option('--config <file>', 'settings that name the store')
  .action(
    run(async (options: GlobalOptions & { config?: string }) =>
      (await import('./apply.ts')).exportCommand({
        ...options,
        tenant: options.tenant,
        packageRoot,
      }),
    ),
  );

program
  .command('healthcheck')
  .description('tell whether a server is ready')
  .addOption(
    new Option('--http <host:port>', 'the HTTP listener, or unix:/path')
      .env('POSTERN_HTTP_ADDRESS')
      .default('127.0.0.1:4701'),
  )
  .action(
    run(async (options: { output: Format; http: string }) =>
      (await import('./healthcheck.ts')).healthcheck(options),
    ),
  );

for (const command of [program, ...program.commands]) command.exitOverride();

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
  } else if (error instanceof CliError) {
    process.stderr.write(`postern: ${error.message}\n`);
    process.exitCode = error.code;
  } else if (error instanceof ConfigError) {
    process.stderr.write(`${error.message}\n`);
    process.exitCode = EXIT.refused;
  } else {
    process.stderr.write(`postern: ${describe(error)}\n`);
    process.exitCode = EXIT.usage;
  }
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause instanceof Error ? `: ${error.cause.message}` : '';
  return `${error.message}${cause}`;
}
