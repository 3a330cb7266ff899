/** What a caller's expected revision holds against: when keys were used is no change that a caller could mean (CONS-5). */
import type { Store } from '../store/store.ts';
import { Refused } from './refused.ts';

/** The operation of a commit that says when keys were used, and nothing else. */
const USED = 'key.used';
/** Entries that are read at once. */
const PAGE = 200;

/**
 * The newest revision up to which nothing but the use of keys was written since the expected one, itself where there is
 * none; 0: any revision is expected.
 * @throws StoreError
 */
async function sameAs(store: Store, tenant: string, expected: number): Promise<number> {
  return expected === 0 ? 0 : onlyUsedSince(store, tenant, expected);
}

/** The newest revision up to which nothing but the use of keys was written since one; that one where there is none. */
export async function onlyUsedSince(
  store: Store,
  tenant: string,
  revision: number,
): Promise<number> {
  let reached = revision;
  for (;;) {
    const { entries } = await store.feed(tenant, reached, PAGE);
    for (const { revision: next, event } of entries) {
      // Entries that are gone may have been anything.
      if (next !== reached + 1 || event.operation !== USED) return reached;
      reached = next;
    }
    if (entries.length < PAGE) return reached;
  }
}

/** The tenant is at another revision than was expected: what `sameAs` says may have moved on meanwhile. */
class Unexpected extends Refused {}

/** @param reached what `sameAs` said @throws Refused ABORTED */
export function mustBeExpected(
  tenant: string,
  revision: number,
  expected: number,
  reached: number,
): void {
  if (expected === 0 || (revision >= expected && revision <= reached)) return;
  throw new Unexpected(
    'aborted',
    `tenant \`${tenant}\` is at revision ${revision}, ${expected} was expected: read again and decide again`,
  );
}

/** Times that the use of keys may be written while one operation is planned. */
const MAX_TRIES = 5;

/** Runs a plan again where only the use of keys was written between the look at the feed and the plan. */
export async function whileExpected<T>(
  store: Store,
  tenant: string,
  expected: number,
  plan: (reached: number) => Promise<T>,
): Promise<T> {
  let reached = await sameAs(store, tenant, expected);
  for (let tries = 1; ; tries++) {
    try {
      return await plan(reached);
    } catch (error) {
      if (!(error instanceof Unexpected) || tries === MAX_TRIES) throw error;
      const now = await sameAs(store, tenant, expected);
      if (now === reached) throw error;
      reached = now;
    }
  }
}
