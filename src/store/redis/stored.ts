/** Records and feed entries as Redis has them: each is read without trust, and carries its version (CONS-6). */
import type { Kind } from '../../engine/records.ts';
import { KINDS } from '../format/kinds.ts';
import { fields, integer, listOf, number, pair, text, type Shape } from '../format/shape.ts';
import { leastReader, versionProblem } from '../format/version.ts';
import {
  StoreError,
  Unreadable,
  type Change,
  type FactKey,
  type FactValue,
  type FeedEntry,
} from '../store.ts';
import { decodeRecord, encodeRecord } from './record.ts';

/** A record's text; where it needs a reader above version 1, the version and a colon come first: `2:{…}`. */
function recordText(kind: Kind, value: FactValue): string {
  const needs = leastReader(kind);
  const json = encodeRecord(value);
  return needs > 1 ? `${needs}:${json}` : json;
}

/** What is written for a change: `''` deletes. @throws StoreError where it cannot be stored */
export function changeText({ kind, id, value }: Change): string {
  if (value === undefined) return '';
  try {
    return recordText(kind, value);
  } catch (error) {
    throw new StoreError(`the ${kind} \`${id}\` cannot be stored`, { cause: error });
  }
}

/** @param record `null` or `undefined`: there is none */
export function readRecord(
  key: FactKey,
  record: string | null | undefined,
): FactValue | Unreadable | undefined {
  if (typeof record !== 'string') return undefined;
  // A record is a list or an object: a digit begins its version.
  const first = record.charCodeAt(0);
  let json = record;
  if (first >= DIGIT_0 && first <= DIGIT_9) {
    const [, version = ''] = /^(\d{1,15}):/.exec(record) ?? [];
    const problem =
      version === '' ? { problem: 'it is no record of ours' } : versionProblem(Number(version));
    if (problem !== undefined) return new Unreadable(key, problem.problem, problem.needs);
    json = record.slice(version.length + 1);
  }
  try {
    return decodeRecord(json);
  } catch {
    return new Unreadable(key, 'it is no record of ours');
  }
}

const DIGIT_0 = 48;
const DIGIT_9 = 57;

/** An entry of a stream: id, and fields and their values in turn. */
export type StreamEntry = readonly [id: string, fields: readonly string[]];

const told: Shape = fields({
  event: fields({ actor: text, operation: text }),
  time: number,
});
const changed: Shape = listOf(pair(integer(0, KINDS.length - 1), text));

/** An entry that cannot be read names no keys: its reader reads everything again. */
export function parseEntry([id, values]: StreamEntry): FeedEntry {
  const [revision = '', part] = id.split('-');
  // The fields are those that the commit script writes, in its order.
  const [n, nonce = '', p, previous = '', e, json = '', v, version] = values;
  const place = { revision: Number(revision), nonce, previous };
  const needs = v === 'v' ? versionProblem(Number(version)) : undefined;
  const unreadable = (problem: string): FeedEntry => ({
    ...place,
    keys: undefined,
    event: { actor: '', operation: 'unreadable' },
    time: 0,
    needs: needs?.needs,
    unreadable: problem,
  });
  if (needs !== undefined) return unreadable(needs.problem);
  if (n !== 'n' || p !== 'p' || e !== 'e' || part !== '0') return unreadable('it has other fields');
  let body: { keys?: unknown; event?: unknown; time?: unknown };
  try {
    body = JSON.parse(json) as typeof body;
  } catch {
    return unreadable('it is no JSON');
  }
  const { keys } = body ?? {};
  const problem = told(body) ?? (keys === null ? undefined : changed(keys));
  if (problem !== undefined) return unreadable(`it ${problem}`);
  // The shapes say so.
  const named = keys as readonly (readonly [number, string])[] | null;
  return {
    ...place,
    keys: named?.map(([kind, key]): FactKey => ({ kind: KINDS[kind] ?? 'tenant', id: key })),
    event: body.event as FeedEntry['event'],
    time: body.time as number,
  };
}
