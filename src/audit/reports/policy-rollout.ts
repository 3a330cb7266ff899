/** What a policy set under trial would change, by the decisions that were recorded while it was. */
import type { Scalar } from '../../engine/model.ts';
import type { Line } from '../logs/names.ts';
import { historyOf, type History } from './set-history.ts';
import {
  impactOf,
  type Carrier,
  type Direction,
  type Effect,
  type OnTrial,
  type Unknown,
} from './impact.ts';
import { readRecord, resourceOf, type DecisionRecord, type ReadRecord } from '../record/reader.ts';
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
  const history = await historyOf(trial.set, trial.selection, lines());
  const report = new RolloutCounts(trial, history);
  for await (const line of lines()) report.add(readRecord(line));
  return report.result();
}

class RolloutCounts {
  readonly #trial: Trial;
  readonly #history: History;
  readonly #carriers: ReadonlyMap<string, Carrier>;
  readonly #groups = tallies<Group>(MAX_GROUPS);
  readonly #attributes = tallies<ByAttribute>(MAX_ATTRIBUTES);
  readonly #unknown = tallies<Unknown>(MAX_SETS);
  readonly #count = {
    decisions: 0,
    outdated: 0,
    newly_denied: 0,
    newly_allowed: 0,
    sampled: 0,
    without_key: 0,
  };
  readonly #unreadable: { lines: number; first: string | undefined } = {
    lines: 0,
    first: undefined,
  };
  #tookPart: Tally | undefined;
  #wouldChange: Tally | undefined;

  constructor(trial: Trial, history: History) {
    this.#trial = trial;
    this.#history = history;
    this.#carriers = trial.carriers ?? history.carriers;
  }

  add(record: ReadRecord): void {
    if (record.type === 'unreadable') {
      this.#unreadable.lines++;
      this.#unreadable.first ??= record.why;
    }
    if (record.type !== 'decision' || !isSelected(record, this.#trial.selection)) return;
    this.#count.decisions++;
    const { key_id = '' } = record;
    if (record.omitted?.includes('key_id') === true) this.#count.without_key++;
    const carrier = this.#carriers.get(key_id);
    const impact = carrier && impactOf(record, this.#trial, carrier);
    if (impact === undefined) return;
    if (this.#history.isOutdated(record, key_id)) {
      this.#count.outdated++;
      return;
    }
    this.#tookPart = counted(this.#tookPart, record);
    if (record.sample_rate !== undefined) this.#count.sampled++;
    if ('other_set' in impact) this.#unknown.add(impact, record);
    else this.#addEffects(impact, record, key_id);
  }

  result(): RolloutReport {
    return {
      ...this.#count,
      took_part: this.#tookPart,
      would_change: this.#wouldChange,
      groups: this.#groups.list(),
      other_groups: this.#groups.others(),
      attributes: this.#attributes.list(),
      other_attributes: this.#attributes.others(),
      unknown: this.#unknown.list(),
      other_unknown: this.#unknown.others(),
      unreadable: this.#unreadable,
    };
  }

  #addEffects(effects: readonly Effect[], record: DecisionRecord, key_id: string): void {
    if (effects.length > 0)
      this.#wouldChange = counted(this.#wouldChange, record, objectsOf(effects));
    for (const { change, rule, objects } of effects) {
      this.#count[change]++;
      this.#groups.add({ change, key_id, action: record.action, rule }, record, objects);
      for (const one of attributesOf(record)) this.#attributes.add({ change, ...one }, record);
    }
  }
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
