/**
 * Validity of a stored key, and its subject. Used by all readers of records: facts, policy tests, replay.
 */
import { actingSubject, compileKey, type KeyFacts } from './abac.ts';
import type { Subject } from './model.ts';
import type { KeyRecord, PolicySetRecord } from './records.ts';

/**
 * The part of a key that does not depend on the time. `undefined`: it is unknown or revoked; `lost_set`: an attached set
 * does not exist any more, and may have contained a deny.
 */
export function usableKey(
  record: KeyRecord | undefined,
  setOf: (name: string) => PolicySetRecord | undefined,
): KeyFacts | 'lost_set' | undefined {
  if (record === undefined || record.revoked === true) return undefined;
  const sets: PolicySetRecord[] = [];
  for (const name of record.policySets) {
    const set = setOf(name);
    if (set === undefined) return 'lost_set';
    sets.push(set);
  }
  return compileKey(record, sets);
}

/** @param now milliseconds since the epoch */
export function hasExpired({ expiresAt }: KeyRecord, now: number): boolean {
  // This form treats a time that is NaN as passed.
  return expiresAt !== undefined && !(now < expiresAt);
}

/**
 * Subject of a request with a key: the user that the key is bound to, or the subject of the request.
 * @param now milliseconds since the epoch; used only if the key expires
 * @returns `invalid`: the key does not exist, has expired, or may not act for this subject (KEY_INVALID)
 */
export function askingWith(
  key: KeyFacts | undefined,
  subject: Subject | undefined,
  now: () => number,
): Subject | undefined | 'invalid' {
  if (key === undefined) return 'invalid';
  if (key.record.expiresAt !== undefined && hasExpired(key.record, now())) return 'invalid';
  const acting = actingSubject(key.record, subject);
  return acting === 'mismatch' ? 'invalid' : acting;
}
