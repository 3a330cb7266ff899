/** Commits, what becomes of them on another instance, and how an instance comes back. */
import { keysOf } from '../../src/store/redis/keys.ts';
import { REDIS_DEFAULTS } from '../../src/store/redis.ts';
import type { Store } from '../../src/store/store.ts';
import { startScript } from '../../test/support/child.ts';
import type { RedisServer } from '../../test/support/redis-server.ts';
import { assertAnswer } from '../scenario.ts';
import { check } from './checks.ts';
import type { Sidecar } from './sidecar.ts';
import { nowNs, sleep, spread, watchStolen, type Spread } from './stats.ts';
import { counted, deaf, openInstance } from './stores.ts';
import { commitTo, requestOf, userChange, type Size } from './world.ts';

const SERVER_WARM_UP_CHECKS = 5_000;
/** As many checks as the gRPC bench warms up with: with fewer, code is still being compiled. */
const SERVER_WARM_UP_MS = 6_000;

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

async function revisionOf(store: Store, tenant: string): Promise<number> {
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

// ── propagation ───────────────────────────────────────────────────────────────────────────────────

export interface Propagation {
  readonly revokes: number;
  readonly checksPerSecond: number;
  /** From the acknowledgement of the commit until the other instance denies, ns. */
  readonly acknowledged: Spread;
  /** The same from when the commit was begun. */
  readonly begun: Spread;
  /** Share of the processors' time that the host kept from this machine meanwhile. */
  readonly stolen: number;
}

/** What another instance is asked to do: see a user allowed, then tell when it is first denied, by `nowNs`. */
interface Observer {
  arm(n: number): Promise<{ readonly denied: Promise<number> }>;
}

/** Takes all grants of the last users away, one user after the other. @param skip users that were taken before */
async function measureRevokes(
  store: Store,
  size: Size,
  observer: Observer,
  revokes: number,
  skip: number,
): Promise<Pick<Propagation, 'acknowledged' | 'begun' | 'stolen'>> {
  const fromAcknowledged: number[] = [];
  const fromBegun: number[] = [];
  let expected = await revisionOf(store, size.tenant);
  const stolen = watchStolen();
  for (let revoke = 0; revoke < revokes; revoke++) {
    const n = size.users - 1 - skip - revoke;
    const { denied } = await observer.arm(n);
    // Not in step with whatever else the other instance does.
    await sleep(Math.random() * 5);
    const begunAt = nowNs();
    const change = userChange(size, n, { grants: [] });
    expected = (await commitTo(store, size.tenant, expected, [change])).revision;
    const acknowledgedAt = nowNs();
    const deniedAt = await denied;
    // It may be denied there before the acknowledgement is here.
    fromAcknowledged.push(Math.max(0, deniedAt - acknowledgedAt));
    fromBegun.push(deniedAt - begunAt);
  }
  return { acknowledged: spread(fromAcknowledged), begun: spread(fromBegun), stolen: stolen() };
}

/** Two instances, each with a store connection and caches of its own, without a transport. */
export async function measurePropagation(
  url: string,
  store: Store,
  size: Size,
  options: { readonly revokes: number; readonly skip: number; readonly checksPerSecond: number },
): Promise<Propagation> {
  const child = startScript(
    new URL('./instance.ts', import.meta.url),
    url,
    JSON.stringify(size),
    String(options.checksPerSecond),
  );
  try {
    assertAnswer('the other instance', await child.line(), 'ready');
    const observer: Observer = {
      async arm(n) {
        child.write(`${n}\n`);
        assertAnswer('before the revoke', await child.line(), 'allowed');
        return { denied: child.line().then(Number) };
      },
    };
    const measured = await measureRevokes(store, size, observer, options.revokes, options.skip);
    child.endInput();
    const rate = Number(await child.line());
    return { revokes: options.revokes, checksPerSecond: rate, ...measured };
  } finally {
    await child.kill();
  }
}

/** The other instance is a server, and is asked over gRPC without a pause. */
export async function measureServerPropagation(
  store: Store,
  size: Size,
  sidecar: Sidecar,
  options: { readonly revokes: number; readonly skip: number; readonly checksPerSecond: number },
): Promise<Propagation> {
  // A server that has just started is slow for other reasons.
  const warmUp = sidecar.startLoad(size, SERVER_WARM_UP_CHECKS);
  await sleep(SERVER_WARM_UP_MS);
  warmUp.stop();
  const stream = sidecar.openStream();
  const load = sidecar.startLoad(size, options.checksPerSecond);
  try {
    const observer: Observer = {
      async arm(n) {
        const ask = (): Promise<boolean> => stream.ask(requestOf(size, n, 'user'));
        assertAnswer('before the revoke', await ask(), true);
        const untilDenied = async (): Promise<number> => {
          while (await ask());
          return nowNs();
        };
        return { denied: untilDenied() };
      },
    };
    const measured = await measureRevokes(store, size, observer, options.revokes, options.skip);
    // Without a load, it is asked by nobody else.
    const rate = options.checksPerSecond === 0 ? 0 : load.rate();
    return { revokes: options.revokes, checksPerSecond: rate, ...measured };
  } finally {
    load.stop();
    stream.close();
  }
}
