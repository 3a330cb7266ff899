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

/** Each fact where the server lists them all, else how many there are of each sort. */
export function drawFacts(told: Facts): string[] {
  if (String(told.facts_left_out) !== '0') return countFacts(told);
  return told.facts.map(({ change, text }) => `${MARKS[change]?.() ?? '?'} ${visible(text)}`);
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
