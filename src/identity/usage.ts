/** When keys were last used, until somebody writes it down. */

export interface Usage {
  used(tenant: string, keyId: string): void;
  /** All that was noted since the last time: tenant → key id → ms since the epoch. */
  take(): ReadonlyMap<string, ReadonlyMap<string, number>>;
  /** What was taken and could not be written down: it is taken again, unless a key was used since. */
  putBack(tenant: string, keys: ReadonlyMap<string, number>): void;
}

/**
 * Keys of one generation. Two are kept, so that at least as many keys as this, those used last, are known, and at most
 * twice as many. The memory of a key that is used all the time is thus never given up for keys that were used once.
 */
const MAX_KEYS = 50_000;

/** Keys that were noted within a while. */
interface Generation {
  readonly tenants: Map<string, Map<string, number>>;
  count: number;
}

const emptyGeneration = (): Generation => ({ tenants: new Map(), count: 0 });

function note(generation: Generation, tenant: string, keyId: string, at: number): void {
  let keys = generation.tenants.get(tenant);
  if (keys === undefined) {
    keys = new Map();
    generation.tenants.set(tenant, keys);
  }
  const before = keys.size;
  keys.set(keyId, at);
  generation.count += keys.size - before;
}

function has({ tenants }: Generation, tenant: string, keyId: string): boolean {
  return tenants.get(tenant)?.has(keyId) === true;
}

export function openUsage(now: () => number): Usage {
  let fresh = emptyGeneration();
  let older = emptyGeneration();

  return {
    used(tenant, keyId): void {
      if (fresh.count >= MAX_KEYS && !has(fresh, tenant, keyId)) {
        older = fresh;
        fresh = emptyGeneration();
      }
      note(fresh, tenant, keyId, now());
    },
    putBack(tenant, keys): void {
      for (const [keyId, at] of keys) {
        // Uses since then are worth more than those that are put back.
        if (older.count >= MAX_KEYS) return;
        if (!has(fresh, tenant, keyId) && !has(older, tenant, keyId))
          note(older, tenant, keyId, at);
      }
    },
    take(): ReadonlyMap<string, ReadonlyMap<string, number>> {
      const taken = fresh;
      for (const [tenant, keys] of older.tenants)
        for (const [keyId, at] of keys)
          if (!has(taken, tenant, keyId)) note(taken, tenant, keyId, at);
      fresh = emptyGeneration();
      older = emptyGeneration();
      return taken.tenants;
    },
  };
}
