/** Commits, and how an instance comes back. */
import { keysOf } from '../../src/store/redis/keys.ts';
import { REDIS_DEFAULTS } from '../../src/store/redis/store.ts';
import type { Store } from '../../src/store/store.ts';
import type { RedisServer } from '../../test/support/redis-server.ts';
import { assertAnswer } from '../scenario.ts';
import { check } from './checks.ts';
import { nowNs, spread, type Spread } from './stats.ts';
import { counted, deaf, openInstance } from './stores.ts';
import { commitTo, requestOf, userChange, type Size } from './world.ts';

// ── commits ───────────────────────────────────────────────────────────────────────────────────────

export interface Commits extends Spread {
  readonly perSecond: number;
}

/** One changed user a commit, one commit after the other in each tenant, all tenants at once. */
export async function measureCommits(
  store: Store,
  tenants: readonly Size[],
  seconds: number,
): Promise<Commits> {
  const ns: number[] = [];
  const lane = async (size: Size, until: number): Promise<void> => {
    let expected = await revisionOf(store, size.tenant);
    while (performance.now() < until) {
      const n = (expected * 7) % size.users;
      const change = userChange(size, n, { email: `${expected}@example.org` });
      const startedAt = nowNs();
      expected = (await commitTo(store, size.tenant, expected, [change])).revision;
      ns.push(nowNs() - startedAt);
    }
  };
  const all = async (ms: number): Promise<number> => {
    ns.length = 0;
    const startedAt = performance.now();
    await Promise.all(tenants.map((size) => lane(size, startedAt + ms)));
    return (performance.now() - startedAt) / 1_000;
  };
  await all(300);
  const took = await all(seconds * 1_000);
  return { ...spread(ns), perSecond: ns.length / took };
}

export async function revisionOf(store: Store, tenant: string): Promise<number> {
  return (await store.get(tenant, [])).head?.revision ?? 0;
}

// ── coming back ───────────────────────────────────────────────────────────────────────────────────

export interface Resync extends Spread {
  readonly maxTrips: number;
}

/** A new instance until it has read the tenant's policies. */
export async function measureWarmUp(store: Store, rounds: number): Promise<Resync> {
  const ns: number[] = [];
  let maxTrips = 0;
  for (let round = 0; round < rounds; round++) {
    const reads = counted(store);
    const room = openInstance(reads);
    const startedAt = nowNs();
    await room.warmUp();
    ns.push(nowNs() - startedAt);
    maxTrips = Math.max(maxTrips, reads.trips());
    room.close();
  }
  return { ...spread(ns), maxTrips };
}

/** An instance that has missed commits which the feed no longer has, until it answers from them. */
export async function measureGap(
  redis: RedisServer,
  store: Store,
  size: Size,
  rounds: number,
): Promise<Resync> {
  const feed = keysOf(size.tenant, REDIS_DEFAULTS.shards).feed(size.tenant);
  const ns: number[] = [];
  let maxTrips = 0;
  for (let round = 0; round < rounds; round++) {
    const reads = counted(deaf(store));
    const room = openInstance(reads);
    await room.warmUp();
    const request = requestOf(size, round % size.users);
    assertAnswer('Check before the gap', await check(room, request), true);
    let revision = await revisionOf(store, size.tenant);
    for (let commit = 0; commit < 3; commit++) {
      const change = userChange(size, commit, { email: `${revision}@example.org` });
      ({ revision } = await commitTo(store, size.tenant, revision, [change]));
    }
    await redis.command('XTRIM', feed, 'MAXLEN', 1);
    const before = reads.trips();
    const startedAt = nowNs();
    const loaded = await room.resolve(request, revision, 5_000);
    ns.push(nowNs() - startedAt);
    if ('unavailable' in loaded) throw new Error(loaded.unavailable);
    maxTrips = Math.max(maxTrips, reads.trips() - before);
    assertAnswer('resyncs', room.resyncCauses, [`${size.tenant}: gap`]);
    room.close();
  }
  return { ...spread(ns), maxTrips };
}
