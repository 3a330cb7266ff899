/**
 * `npm run bench -- [NAME] [--quick] [--json FILE] [--write]`: runs the scenarios whose name begins with NAME.
 * A full run ends with 1 where a target was missed; --quick looks once and promises nothing.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { FULL, observed, QUICK } from './measure.ts';
import { machine, toText, writeTables } from './report.ts';
import type { Table } from './scenario.ts';
import { engineCheck, engineCompile, engineExplain, engineFilter } from './scenarios/engine.ts';
import { auditCost } from './scenarios/audit.ts';
import { grpc, grpcMemory } from './scenarios/grpc.ts';
import { metricsCost } from './scenarios/metrics.ts';
import { pipeline } from './scenarios/pipeline.ts';

const SCENARIOS = [
  engineCheck,
  engineFilter,
  engineExplain,
  engineCompile,
  pipeline,
  metricsCost,
  grpcMemory,
  grpc,
  auditCost,
];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
    json: { type: 'string' },
  },
});
const [wanted = ''] = positionals;
const chosen = SCENARIOS.filter(({ name }) => name.startsWith(wanted));
if (chosen.length === 0)
  throw new Error(
    `no scenario begins with \`${wanted}\`: ${SCENARIOS.map(({ name }) => name).join(', ')}`,
  );

const { quick } = values;
process.stdout.write(`${machine().join('\n')}\n`);
const tables: Table[] = [];
for (const { name, run } of chosen) {
  const table = await run({ quick, effort: quick ? QUICK : FULL });
  tables.push(table);
  process.stdout.write(`\n${name}\n${toText(table)}\n`);
}
if (observed() === 0 && chosen.some(({ name }) => name.startsWith('engine')))
  throw new Error('the measured work returned nothing');
if (values.json !== undefined)
  writeFileSync(values.json, `${JSON.stringify({ machine: machine(), tables }, undefined, 2)}\n`);
if (values.write) await writeTables(tables);

const missed = tables
  .flatMap(({ rows }) => rows)
  .filter(({ target }) => target !== undefined && !target.met);
for (const { scenario, target } of missed)
  process.stdout.write(
    `${quick ? 'not met in a quick run' : 'MISSED'}: ${scenario}, ${target?.text}\n`,
  );
// Work that is still open (file descriptors of a store) must not keep the process.
process.exit(missed.length > 0 && !quick ? 1 : 0);
