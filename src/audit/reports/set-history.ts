/** When a policy set and the keys that carry it were last changed, as far as the log itself tells. Pure. */
import type { KeyRecord, PolicySetRecord } from '../../engine/records.ts';
import type { Line } from '../logs/names.ts';
import type { Carrier } from './impact.ts';
import { quote } from '../record/json.ts';
import { readRecord, type DecisionRecord, type ManagementRecord } from '../record/reader.ts';
import { isSelected, type Selection } from '../logs/selection.ts';

export interface History {
  /** Whether a decision of a key is from before the last change of the set or of the key that the log tells of. */
  isOutdated(record: DecisionRecord, keyId: string): boolean;
  /** Keys on which the log shows the set. */
  readonly carriers: ReadonlyMap<string, Carrier>;
}

/** Of changes the highest revision, and the latest time, ms: where facts were restored, revisions begin anew. */
interface Latest {
  readonly revision: number;
  readonly time: number;
}

const NEVER: Latest = { revision: 0, time: -Infinity };
const NOT_ALONE: Carrier = { alone: { enforce: false, report_only: false } };

export async function historyOf(
  set: string,
  selection: Selection,
  lines: AsyncIterable<Line>,
): Promise<History> {
  let ofSet = NEVER;
  const ofKeys = new Map<string, Latest>();
  const carriers = new Map<string, Carrier>();
  // Most lines are passed over unread.
  const named = quote(`${set}/`).slice(1, -1);
  for await (const line of lines) {
    if (!line.text.includes(named) && !line.text.includes('"type":"management"')) continue;
    const record = readRecord(line);
    if (record.type === 'decision' && isSelected(record, selection)) {
      const rules = [...(record.policy ?? []), ...(record.shadow_policy ?? [])];
      if (record.key_id !== undefined && rules.some((rule) => rule.startsWith(`${set}/`)))
        carriers.set(record.key_id, NOT_ALONE);
    }
    // What was changed before the time that is looked at counts as well.
    if (record.type !== 'management' || !isSelected(record, { ...selection, from: undefined }))
      continue;
    const changed = changedBy(record, set);
    if (changed.set) ofSet = latest(ofSet, record);
    for (const id of changed.keys) ofKeys.set(id, latest(ofKeys.get(id), record));
  }
  return {
    isOutdated: (record, keyId) =>
      isBefore(record, ofSet) || isBefore(record, ofKeys.get(keyId) ?? NEVER),
    carriers,
  };
}

function latest(known = NEVER, { revision, time }: ManagementRecord): Latest {
  return {
    revision: Math.max(known.revision, revision),
    time: Math.max(known.time, Date.parse(time)),
  };
}

function isBefore({ revision, time }: DecisionRecord, change: Latest): boolean {
  return revision < change.revision || Date.parse(time) < change.time;
}

/** Whether a management operation changed what the set says, and which keys with it act otherwise since. */
function changedBy(
  record: ManagementRecord,
  set: string,
): { readonly set: boolean; readonly keys: readonly string[] } {
  const { allowed, dry_run, repeated, before, after, more_changes = 0 } = record;
  if (!allowed || dry_run === true || repeated === true) return { set: false, keys: [] };
  // What is not written out may be of the set.
  if (before === undefined || after === undefined) return { set: true, keys: [] };
  const changed = before
    .map((one, at) => ({ ...one, other: after[at]?.value }))
    .filter(({ kind, value, other }) => meaningOf(kind, value) !== meaningOf(kind, other));
  return {
    set: more_changes > 0 || changed.some(({ kind, id }) => kind === 'policy_set' && id === set),
    keys: changed.flatMap(({ kind, id, value, other }) =>
      kind === 'key' && (carries(value, set) || carries(other, set)) ? [id] : [],
    ),
  };
}

/** The part of a record that decisions of keys depend on. */
function meaningOf(kind: string, value: unknown): string {
  const { mode, rules, role, policySets, user } = storedOf(value);
  return JSON.stringify(kind === 'policy_set' ? [mode, rules] : [role, mode, policySets, user]);
}

function carries(key: unknown, set: string): boolean {
  const { policySets } = storedOf(key);
  return Array.isArray(policySets) && policySets.includes(set);
}

/** Management records hold facts as they are stored, or `null`. */
function storedOf(value: unknown): Partial<Record<keyof (KeyRecord & PolicySetRecord), unknown>> {
  return typeof value === 'object' && value !== null ? value : {};
}
