/**
 * Draws who imports whom, as a Mermaid diagram: the rooms of `src`, or with a room's name the files of that room and
 * the rooms around it. `npm run --silent structure`, `npm run --silent structure -- engine`.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

const [room] = process.argv.slice(2);
if (room !== undefined && !existsSync(`src/${room}`)) {
  process.stderr.write(`\`${room}\` is no room: name a folder of src\n`);
  process.exit(2);
}
const { status } = spawnSync(
  'depcruise',
  [
    'src',
    '--no-config',
    // Imports of types too: they are part of the plan.
    '--ts-pre-compilation-deps',
    '--include-only',
    '^src/',
    '--collapse',
    room === undefined ? '^src/[^/]+' : `^src/(?!${room}/)[^/]+`,
    ...(room === undefined ? [] : ['--focus', `^src/${room}/`]),
    '--output-type',
    'mermaid',
  ],
  { stdio: 'inherit' },
);
process.exit(status ?? 1);
