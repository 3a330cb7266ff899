/**
 * Whether a stored key is one, and for whom it acts: the one reading of it, whoever has the records (facts, policy tests,
 * replays).
 */
import { actingSubject, compileKey, type KeyFacts } from './abac.ts';
import type { Subject } from './model.ts';
import type { KeyRecord, PolicySetRecord } from './records.ts';

/**
 * A key as far as no time changes it. `undefined`: it is unknown or revoked; `lost_set`: a set that is attached is gone,
 * and may have held a deny.
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
  // So written, a time that is not a number has passed.
  return expiresAt !== undefined && !(now < expiresAt);
}

/**
 * For whom a request asks that names a key: the user that the key is bound to, or the subject beside it.
 * @param now milliseconds since the epoch; looked at where the key expires
 * @returns `invalid`: the key is none, has expired, or may not act for this subject (KEY_INVALID)
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
