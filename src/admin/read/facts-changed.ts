/** The facts that a write changed, bounded: the first ones one by one, all of them by their number. */
import type { GrantRow, Kind, Records, StateKind } from '../../engine/records.ts';
import type { FactValue } from '../../store/store.ts';
import type { SteppedWork } from '../../util/slices.ts';
import { isState } from '../record-kinds.ts';
import type { FactChange } from './aspects.ts';
import { tellRows } from './grant-facts.ts';
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

/** Facts that are listed one by one, and characters of them: metadata and descriptions may be long. */
const LISTED = { facts: 500, characters: 1_000_000 };
/** The same where every fact was asked for: an answer of more would hold whoever sends it (ADM-11). */
const ALL_LISTED = { facts: 10_000, characters: 4_000_000 };

/** Grant rows of a record that are listed in steps of their own. */
const MAX_ROWS = 500;

/** A record before and after. */
interface Changed {
  readonly kind: Kind;
  readonly id: string;
  readonly before: FactValue | undefined;
  readonly after: FactValue | undefined;
}

/** @param all list many more of them */
export function factsChanged(differences: Iterable<Changed>, all: boolean): FactsChanged {
  const steps = factsInSteps(differences, all);
  for (;;) {
    const { done, value } = steps.next(false);
    if (done === true) return value;
  }
}

/** The same in steps, for what may be much. */
export function* factsInSteps(
  differences: Iterable<Changed>,
  all: boolean,
): SteppedWork<FactsChanged> {
  const facts: FactChange[] = [];
  const counts = new Map<string, { change: FactChange['change']; fact: string; count: number }>();
  let [leftOut, characters] = [0, 0];
  const most = all ? ALL_LISTED : LISTED;
  const tell = (fact: FactChange): void => {
    const sort = `${fact.change} ${fact.fact}`;
    const counted = counts.get(sort) ?? { change: fact.change, fact: fact.fact, count: 0 };
    const values = Math.max(1, fact.before.length, fact.after.length);
    counted.count += values;
    counts.set(sort, counted);
    if (facts.length >= most.facts || characters > most.characters) {
      leftOut += values;
      return;
    }
    for (const value of [...fact.before, ...fact.after]) characters += value.length;
    facts.push(fact);
  };
  for (const { kind, id, before, after } of differences) {
    if (!isState(kind) || kind === 'tombstone') continue;
    const [old, now] = [recordOf(kind, before), recordOf(kind, after)];
    if (rowsOf(old).length + rowsOf(now).length > MAX_ROWS) {
      tellFacts(kind, id, withoutRows(old), withoutRows(now), tell);
      yield* tellRows(`${kind}:${id}`, rowsOf(old), rowsOf(now), tell);
    } else tellFacts(kind, id, old, now, tell);
    yield;
  }
  return { facts, counts: [...counts.values()], leftOut };
}

function rowsOf(record: object | undefined): readonly GrantRow[] {
  // Records with this field have rows there.
  return record !== undefined && 'grants' in record ? (record.grants as readonly GrantRow[]) : [];
}

function withoutRows<R extends object>(record: R | undefined): R | undefined {
  return record && { ...record, grants: [] };
}

/** The store and the rules keep records of a kind under that kind. */
function recordOf<K extends StateKind>(
  _kind: K,
  value: FactValue | undefined,
): Records[K] | undefined {
  return value as Records[K] | undefined;
}
