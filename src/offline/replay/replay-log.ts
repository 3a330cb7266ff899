/** A whole log decided again by other facts: what would have been answered if these had been in force. */
import type { Line } from '../../audit/logs/names.ts';
import { readRecord } from '../../audit/record/reader.ts';
import { isSelected, type Selection } from '../../audit/logs/selection.ts';
import { tallies, type Tally } from '../../audit/reports/tally.ts';
import type { Facts } from '../../engine/decision.ts';
import { bounded } from '../../facts/bounded.ts';
import type { Who } from '../../facts/facts.ts';
import type { StaticFacts } from '../static-facts.ts';
import type { MaybePromise } from '../../util/later.ts';
import { CHANGES, type Change, type ChangeKind, type Obstacle } from './change.ts';
import { judge } from './judge.ts';

/** What is tried: the facts of a tenant. `undefined`: nothing is known of it. */
export type Candidate = (tenant: string) => MaybePromise<StaticFacts | undefined>;

export interface Replayed {
  /** Decisions that were selected. */
  readonly decisions: number;
  readonly replayed: number;
  readonly unchanged: number;
  /** Of the replayed: an input was left out of the record, and the decision does not depend on it. */
  readonly independent: number;
  /** Records that a sampling rule kept, and how many decisions they stand for together. */
  readonly sampled: { readonly records: number; readonly stand_for: number };
  /** Requests by what is different; a Filter may hide some objects and show others. */
  readonly differences: Readonly<Record<ChangeKind, number>>;
  readonly changes: readonly (Change & Tally)[];
  /** What differs in more ways than `changes` lists. */
  readonly other_changes: Tally | undefined;
  readonly not_replayable: number;
  readonly causes: readonly (Obstacle & Tally)[];
  readonly other_causes: Tally | undefined;
  readonly unreadable: { readonly lines: number; readonly first: string | undefined };
}

/** Differences that are listed one by one. */
const MAX_CHANGES = 500;
const MAX_CAUSES = 100;
/** Callers whose compiled facts are kept. */
const MAX_CALLERS = 10_000;

/** Memory is that of the facts, whatever the length of the log. */
export async function replay(
  lines: AsyncIterable<Line>,
  candidate: Candidate,
  selection: Selection,
): Promise<Replayed> {
  const callers = bounded<Facts>(MAX_CALLERS);
  const resolved = (facts: StaticFacts, who: Who): Facts => {
    const { tenant, subject, keyId } = who;
    const name = JSON.stringify([tenant, subject?.type, subject?.id, keyId]);
    // Kept over many records: whether a key had expired is judged by the time of each.
    const compiled = callers.get(name) ?? facts.resolve(who, -Infinity);
    callers.set(name, compiled);
    return compiled;
  };
  const changes = tallies<Change>(MAX_CHANGES);
  const causes = tallies<Obstacle>(MAX_CAUSES);
  const count = { decisions: 0, replayed: 0, unchanged: 0, independent: 0, not_replayable: 0 };
  const differences = noDifferences();
  const sampled = { records: 0, stand_for: 0 };
  const unreadable: { lines: number; first: string | undefined } = { lines: 0, first: undefined };

  for await (const line of lines) {
    const record = readRecord(line);
    if (record.type === 'unreadable') {
      unreadable.lines++;
      unreadable.first ??= record.why;
    }
    if (record.type !== 'decision' || !isSelected(record, selection)) continue;
    count.decisions++;
    if (record.sample_rate !== undefined) {
      sampled.records++;
      sampled.stand_for += 1 / record.sample_rate;
    }
    const given = candidate(record.tenant);
    const facts = given instanceof Promise ? await given : given;
    const found = judge(record, facts && ((who) => resolved(facts, who)));
    if ('cause' in found) {
      count.not_replayable++;
      causes.add(found, record);
      continue;
    }
    count.replayed++;
    if (record.omitted !== undefined) count.independent++;
    if (found.length === 0) count.unchanged++;
    for (const kind of new Set(found.map(({ change }) => change))) differences[kind]++;
    for (const { objects, ...change } of found) changes.add(change, record, objects);
  }
  return {
    ...count,
    sampled: { ...sampled, stand_for: Math.round(sampled.stand_for) },
    differences,
    changes: changes.list(),
    other_changes: changes.others(),
    causes: causes.list(),
    other_causes: causes.others(),
    unreadable,
  };
}

function noDifferences(): Record<ChangeKind, number> {
  // One entry a kind.
  return Object.fromEntries(CHANGES.map((kind) => [kind, 0])) as Record<ChangeKind, number>;
}
