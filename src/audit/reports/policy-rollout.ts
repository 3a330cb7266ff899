/** What a policy set under trial would change, by the decisions that were recorded while it was. */
import type { Scalar } from '../../engine/model.ts';
import type { Line } from '../logs/names.ts';
import { historyOf } from './set-history.ts';
import {
  impactOf,
  type Carrier,
  type Direction,
  type Effect,
  type OnTrial,
  type Unknown,
} from './impact.ts';
import { readRecord, resourceOf, type DecisionRecord } from '../record/recorded.ts';
import { isSelected, type Selection } from '../logs/selection.ts';
import { counted, tallies, type Tally } from './tally.ts';

export interface Trial extends OnTrial {
  readonly selection: Selection & { readonly tenant: string };
  /** Keys that carry the set, none of them `off`; `undefined`: those on which the log shows it. */
  readonly carriers: ReadonlyMap<string, Carrier> | undefined;
}

/** Requests that would be answered differently, alike in these. */
export interface Group {
  readonly change: Direction;
  readonly key_id: string;
  readonly action: string;
  /** The set's rule that decides; `''`: a Filter, whose record names none. */
  readonly rule: string;
}

/** Of a resource whose attributes are recorded: one of them, as JSON. */
export interface ByAttribute {
  readonly change: Direction;
  readonly attribute: string;
  readonly values: string;
}

export interface RolloutReport {
  /** Decisions of the tenant that were selected. */
  readonly decisions: number;
  /** Of these: the set took part in them, as it is now. */
  readonly took_part: Tally | undefined;
  /** Decisions of its keys from before the last change of the set or the key that the log tells of: they prove nothing. */
  readonly outdated: number;
  /** Requests that would change; of a Filter also the objects. */
  readonly would_change: Tally | undefined;
  readonly newly_denied: number;
  readonly newly_allowed: number;
  readonly groups: readonly (Group & Tally)[];
  readonly other_groups: Tally | undefined;
  readonly attributes: readonly (ByAttribute & Tally)[];
  readonly other_attributes: Tally | undefined;
  readonly unknown: readonly (Unknown & Tally)[];
  readonly other_unknown: Tally | undefined;
  /** Allows that a sampling rule kept: what full enforcement would change is always recorded. */
  readonly sampled: number;
  /** Decisions of keys whose ids the records leave out or alter. */
  readonly without_key: number;
  readonly unreadable: { readonly lines: number; readonly first: string | undefined };
}

const MAX_GROUPS = 500;
const MAX_ATTRIBUTES = 200;
const MAX_SETS = 100;

/** @param lines the whole log, from its beginning: it is read twice */
export async function reportOn(
  trial: Trial,
  lines: () => AsyncIterable<Line>,
): Promise<RolloutReport> {
  const { set, selection } = trial;
  const history = await historyOf(set, selection, lines());
  const carriers = trial.carriers ?? history.carriers;
  const groups = tallies<Group>(MAX_GROUPS);
  const attributes = tallies<ByAttribute>(MAX_ATTRIBUTES);
  const unknown = tallies<Unknown>(MAX_SETS);
  const count = {
    decisions: 0,
    outdated: 0,
    newly_denied: 0,
    newly_allowed: 0,
    sampled: 0,
    without_key: 0,
  };
  const unreadable: { lines: number; first: string | undefined } = { lines: 0, first: undefined };
  let tookPart: Tally | undefined;
  let wouldChange: Tally | undefined;

  for await (const line of lines()) {
    const record = readRecord(line);
    if (record.type === 'unreadable') {
      unreadable.lines++;
      unreadable.first ??= record.why;
    }
    if (record.type !== 'decision' || !isSelected(record, selection)) continue;
    count.decisions++;
    const { key_id = '', action } = record;
    if (record.omitted?.includes('key_id') === true) count.without_key++;
    const carrier = carriers.get(key_id);
    const impact = carrier && impactOf(record, trial, carrier);
    if (impact === undefined) continue;
    if (history.isOutdated(record, key_id)) {
      count.outdated++;
      continue;
    }
    tookPart = counted(tookPart, record);
    if (record.sample_rate !== undefined) count.sampled++;
    if ('other_set' in impact) {
      unknown.add(impact, record);
      continue;
    }
    if (impact.length > 0) wouldChange = counted(wouldChange, record, objectsOf(impact));
    for (const { change, rule, objects } of impact) {
      count[change]++;
      groups.add({ change, key_id, action, rule }, record, objects);
      for (const one of attributesOf(record)) attributes.add({ change, ...one }, record);
    }
  }
  return {
    ...count,
    took_part: tookPart,
    would_change: wouldChange,
    groups: groups.list(),
    other_groups: groups.others(),
    attributes: attributes.list(),
    other_attributes: attributes.others(),
    unknown: unknown.list(),
    other_unknown: unknown.others(),
    unreadable,
  };
}

/** The effective metadata (ABAC-9), a key an entry. */
function attributesOf({
  resource,
}: DecisionRecord): readonly { readonly attribute: string; readonly values: string }[] {
  const { attributes, sources } = resourceOf(resource);
  const values = new Map<string, Set<Scalar>>();
  for (const [key, list] of (sources.length > 0 ? sources : [attributes]).flatMap((one) => [
    ...one,
  ]))
    values.set(key, new Set([...(values.get(key) ?? []), ...list]));
  return [...values].map(([attribute, set]) => ({
    attribute,
    values: JSON.stringify([...set].toSorted((a, b) => (String(a) < String(b) ? -1 : 1))),
  }));
}

function objectsOf(impact: readonly Effect[]): number {
  return impact.reduce((sum, { objects }) => sum + objects, 0);
}
