/** When keys were last used, until somebody writes it down. */

export interface Usage {
  used(tenant: string, keyId: string): void;
  /** All that was noted since the last time: tenant → key id → ms since the epoch. */
  take(): ReadonlyMap<string, ReadonlyMap<string, number>>;
  /** What was taken and could not be written down: it is taken again, unless a key was used since. */
  putBack(tenant: string, keys: ReadonlyMap<string, number>): void;
}

/** Keys that are remembered between two takes; those noted first go first. */
const MAX_KEYS = 100_000;

export function openUsage(now: () => number): Usage {
  let tenants = new Map<string, Map<string, number>>();
  let count = 0;

  const dropOldest = (): void => {
    const [tenant, keys] = tenants.entries().next().value ?? [];
    const oldest = keys?.keys().next();
    if (tenant === undefined || keys === undefined || oldest?.done !== false) return;
    keys.delete(oldest.value);
    if (keys.size === 0) tenants.delete(tenant);
    count--;
  };

  const note = (tenant: string, keyId: string, at: number): void => {
    let keys = tenants.get(tenant);
    if (keys === undefined) {
      keys = new Map();
      tenants.set(tenant, keys);
    }
    const before = keys.size;
    keys.set(keyId, at);
    count += keys.size - before;
    if (count > MAX_KEYS) dropOldest();
  };

  return {
    used: (tenant, keyId) => note(tenant, keyId, now()),
    putBack(tenant, keys): void {
      for (const [keyId, at] of keys)
        if (tenants.get(tenant)?.has(keyId) !== true) note(tenant, keyId, at);
    },
    take(): ReadonlyMap<string, ReadonlyMap<string, number>> {
      const taken = tenants;
      tenants = new Map();
      count = 0;
      return taken;
    },
  };
}
