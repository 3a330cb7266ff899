/**
 * `node bench/scale.ts [--users N] [--grants M] [--json FILE] [--write]`: how things grow, up to a tenant of N users
 * with M grants; needs `redis-server` and a build. Ends with 1 where a target was missed, unless it was a quick look.
 */
import { writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { machine, toText, writeTables } from './report.ts';
import { isQuick, scale } from './scenarios/scale.ts';

const { values } = parseArgs({
  options: {
    users: { type: 'string', default: '1000000' },
    grants: { type: 'string' },
    json: { type: 'string' },
    write: { type: 'boolean', default: false },
  },
});
const users = Number(values.users);
const grants = Number(values.grants ?? users * 10);
if (!Number.isInteger(users) || users < 2_000 || !Number.isInteger(grants) || grants < users)
  throw new Error('--users is at least 2000, and --grants not less');

const startedAt = performance.now();
const say = (text: string): void =>
  void process.stderr.write(
    `${String(Math.round((performance.now() - startedAt) / 1_000)).padStart(5)} s  ${text}\n`,
  );
const facts = `${machine().join('\n')}\n`;
process.stdout.write(facts);
const tables = await scale({ users, grants, say });
const text = tables.map((table) => `\n${table.name}\n${toText(table)}\n`).join('');
process.stdout.write(text);
if (values.json !== undefined)
  writeFileSync(values.json, `${JSON.stringify({ machine: machine(), tables }, undefined, 2)}\n`);
if (values.write)
  await writeTables(tables, 'scale-machine').catch((error: unknown) => {
    // A page without a place for them must not cost the run.
    const file = join(tmpdir(), 'scale-tables.md');
    writeFileSync(file, `${facts}${text}`);
    say(`${String(error)}: the tables are in ${file}`);
  });

const missed = tables
  .flatMap(({ rows }) => rows)
  .filter(({ target }) => target !== undefined && !target.met);
for (const { scenario, target } of missed)
  process.stdout.write(
    `${isQuick(users) ? 'not met in a quick run' : 'MISSED'}: ${scenario}, ${target?.text}\n`,
  );
process.exit(missed.length > 0 && !isQuick(users) ? 1 : 0);
