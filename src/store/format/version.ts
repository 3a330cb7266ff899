/**
 * Versions of what is stored (CONS-6). Every record and every feed entry carries the least version of a reader that
 * understands it; where it carries none, that is 1. A reader that is older answers nothing from it.
 */
import type { Kind } from '../../engine/records.ts';
import type { Change } from '../store.ts';

/** The version of a reader that this program is. Raise it with each kind, field or value that changes a decision. */
export const READER_VERSION = 1;

/** The version in which each kind of record came to be. */
const KIND_SINCE: Readonly<Record<Kind, number>> = {
  tenant: 1,
  user: 1,
  role: 1,
  workspace: 1,
  owner: 1,
  policy_set: 1,
  key: 1,
  receipt: 1,
  refs: 1,
  name: 1,
  policy_version: 1,
  usage: 1,
  tombstone: 1,
};

/** The least version of a reader that understands a record of a kind. */
export function leastReader(kind: Kind): number {
  return KIND_SINCE[kind];
}

/** The least version of a reader that understands a commit: its entry carries it. */
export function leastReaderOf(changes: readonly Change[]): number {
  let least = 1;
  for (const { kind } of changes) least = Math.max(least, leastReader(kind));
  return least;
}

/** @returns what is wrong with a version as it was read; `undefined`: this program understands it */
export function versionProblem(
  needs: unknown,
): { readonly problem: string; readonly needs?: number } | undefined {
  if (needs === undefined) return undefined;
  if (typeof needs !== 'number' || !Number.isSafeInteger(needs) || needs < 1)
    return { problem: 'its version is no positive integer' };
  if (needs <= READER_VERSION) return undefined;
  return {
    problem: `it needs a reader of version ${needs}, this is version ${READER_VERSION}`,
    needs,
  };
}
