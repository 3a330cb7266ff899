/** Records as Redis has them: each is read without trust, and carries its version (CONS-6). */
import type { Kind } from '../../engine/records.ts';
import { leastReader, versionProblem } from '../format/version.ts';
import { StoreError, Unreadable, type Change, type FactKey, type FactValue } from '../store.ts';
import { decodeRecord, encodeRecord } from './compact-record.ts';

const DIGIT_0 = 48;
const DIGIT_9 = 57;

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
