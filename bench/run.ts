import { FULL, QUICK } from './measure.ts';
import { engineCheck, engineCompile, engineExplain, engineFilter } from './scenarios/engine.ts';
const quick = process.argv.includes('--quick');
for (const s of [engineCheck, engineFilter, engineExplain, engineCompile]) {
  const t = await s.run({ quick, effort: quick ? QUICK : FULL });
  console.log(s.name); console.table(t.rows.map((r) => ({ n: r.scenario, ...r.cells, t: r.target?.text, met: r.target?.met })));
}
