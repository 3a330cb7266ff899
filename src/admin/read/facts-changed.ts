/** The facts that a write changed, bounded: the first ones one by one, all of them by their number. */
import type { Kind, Records, StateKind } from '../../engine/records.ts';
import type { FactValue } from '../../store/store.ts';
import { isState } from '../record-kinds.ts';
import type { FactChange } from './aspects.ts';
import { tellFacts } from './record-facts.ts';

/** How many facts of a sort changed. */
export interface FactCount {
  readonly change: FactChange['change'];
  readonly fact: string;
  readonly count: number;
}

export interface FactsChanged {
  readonly facts: readonly FactChange[];
  /** Of all facts that changed, listed or not. */
  readonly counts: readonly FactCount[];
  /** Facts that `facts` leaves out. */
  readonly leftOut: number;
}

/** Facts that are listed one by one. */
const MAX_LISTED = 500;
/** Characters of the listed facts: metadata and descriptions may be long. */
const MAX_CHARACTERS = 1_000_000;

/** A record before and after. */
interface Changed {
  readonly kind: Kind;
  readonly id: string;
  readonly before: FactValue | undefined;
  readonly after: FactValue | undefined;
}

/** @param all list every fact, however many */
export function factsChanged(differences: Iterable<Changed>, all: boolean): FactsChanged {
  const facts: FactChange[] = [];
  const counts = new Map<string, { change: FactChange['change']; fact: string; count: number }>();
  let [leftOut, characters] = [0, 0];
  const tell = (fact: FactChange): void => {
    const sort = `${fact.change} ${fact.fact}`;
    const counted = counts.get(sort) ?? { change: fact.change, fact: fact.fact, count: 0 };
    const values = Math.max(1, fact.before.length, fact.after.length);
    counted.count += values;
    counts.set(sort, counted);
    if (!all && (facts.length >= MAX_LISTED || characters > MAX_CHARACTERS)) {
      leftOut += values;
      return;
    }
    for (const value of [...fact.before, ...fact.after]) characters += value.length;
    facts.push(fact);
  };
  for (const { kind, id, before, after } of differences)
    if (isState(kind) && kind !== 'tombstone')
      tellFacts(kind, id, recordOf(kind, before), recordOf(kind, after), tell);
  return { facts, counts: [...counts.values()], leftOut };
}

/** The store and the rules keep records of a kind under that kind. */
function recordOf<K extends StateKind>(
  _kind: K,
  value: FactValue | undefined,
): Records[K] | undefined {
  return value as Records[K] | undefined;
}
