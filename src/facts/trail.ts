/**
 * Trails: the newest revisions of a tenant by the nonces that name them. What was read at a revision of a plane's
 * trail is of the plane's own history; another nonce under the same number is of another history (CONS-1).
 */
import type { FeedEntry, Head } from '../store/store.ts';

/** Nonces by revision, oldest first. */
export type Trail = Map<number, string>;

interface Trailed {
  readonly trail: Trail;
}

/** Revisions that a plane remembers: more than pass while a read is under way. */
const MAX_TRAIL = 2_000;

/** The names that feed entries give to their own revisions and to those before them. */
export function namesOf(entries: readonly FeedEntry[]): Trail {
  const names: Trail = new Map();
  for (const { revision, nonce, previous } of entries) {
    if (previous !== '') names.set(revision - 1, previous);
    // An unreadable entry may lack it.
    if (nonce !== '') names.set(revision, nonce);
  }
  return names;
}

/** Whether something that was read at a head is of the plane's own past or present. */
export function isOfHistory({ trail }: Trailed, { revision, nonce }: Head): boolean {
  return trail.get(revision) === nonce;
}

/** Whether a revision that a token names is in the plane's history; `undefined`: the feed must be read to tell. */
export function inTrail({ trail }: Trailed, { revision, nonce }: Head): boolean | undefined {
  const name = trail.get(revision);
  return name === undefined ? undefined : name === nonce;
}

/** Adds the revisions of entries, and forgets the oldest above the bound. */
export function extendTrail({ trail }: Trailed, entries: readonly FeedEntry[]): void {
  for (const { revision, nonce } of entries) trail.set(revision, nonce);
  for (const revision of trail.keys()) {
    if (trail.size <= MAX_TRAIL) break;
    trail.delete(revision);
  }
}
