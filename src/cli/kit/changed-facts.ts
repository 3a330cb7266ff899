/** The facts that a write changed, one a line: `+ permission kb:read of role:engineering`. */
import { columns } from './columns.ts';
import { paint, visible } from './output.ts';

/** One fact that changed, as the server tells it. */
export interface FactChange {
  readonly change: string;
  readonly text: string;
}

/** How many of a sort changed. */
interface FactCount {
  readonly change: string;
  readonly fact: string;
  /** A number of 64 bits comes as text. */
  readonly count: string | number;
}

export interface Facts {
  readonly facts: readonly FactChange[];
  readonly fact_counts: readonly FactCount[];
  readonly facts_left_out: string | number;
}

const MARKS: Readonly<Record<string, () => string>> = {
  add: () => paint('green', '+'),
  change: () => paint('yellow', '~'),
  remove: () => paint('red', '-'),
};

/** Facts that are listed of a change of many where `--verbose` is not given. */
const LISTED_UNASKED = 500;

/**
 * Each fact where the answer lists them all, else how many there are of each sort. Of a change of very many `--verbose`
 * lists the first ones, and how many more there are.
 */
export function drawFacts(changed: Facts): string[] {
  const leftOut = Number(changed.facts_left_out);
  if (leftOut === 0) return listFacts(changed);
  if (changed.facts.length <= LISTED_UNASKED) return countFacts(changed);
  return [
    ...listFacts(changed),
    paint('dim', `… and ${leftOut.toLocaleString('en')} more facts, which are not listed`),
  ];
}

function listFacts(changed: Facts): string[] {
  return changed.facts.map(({ change, text }) => `${MARKS[change]?.() ?? '?'} ${visible(text)}`);
}

function countFacts({ fact_counts: counts }: Facts): string[] {
  return [
    columns(
      counts.map(({ change, fact, count }) => [
        MARKS[change]?.() ?? '?',
        Number(count).toLocaleString('en'),
        visible(fact),
      ]),
    ),
    paint('dim', '(--verbose lists each fact)'),
  ];
}
