/**
 * Mutation tests of one part by the unit tests that concern it: `npm run mutation -- engine`, or of some of its files:
 * `npm run mutation -- engine src/engine/id.ts,src/engine/path.ts`. Each part takes hours; a file takes minutes.
 */
import { spawnSync } from 'node:child_process';

const PARTS = {
  engine: 'src/engine/**/*.ts',
  rules: 'src/admin/{rules,tree}/**/*.ts',
  facts: 'src/facts/**/*.ts',
  audit: 'src/audit/**/*.ts',
};

const [part, files] = process.argv.slice(2);
if (!(part in PARTS)) {
  process.stderr.write(
    `\`${part ?? ''}\` is no part: give one of ${Object.keys(PARTS).join(', ')}, and files of it if you like\n`,
  );
  process.exit(2);
}
const { status } = spawnSync('stryker', ['run', '--mutate', files ?? PARTS[part]], {
  stdio: 'inherit',
  env: { ...process.env, POSTERN_MUTATION: part },
});
process.exit(status ?? 1);
