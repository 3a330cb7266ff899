/** How things grow: tenants of three sizes on one Redis, asked, written to, followed, and read again. */
import { collectGarbage } from '../../src/util/memory.ts';
import { startRedis, type RedisServer } from '../../test/support/redis-server.ts';
import type { Store } from '../../src/store/store.ts';
import {
  measureCold,
  measureWarm,
  warmInstance,
  type Cold,
  type ColdChecks,
  type Warm,
  type WarmInstance,
} from '../scale/checks.ts';
import {
  measurePropagation,
  measureServerPropagation,
  type Propagation,
  type ServerPropagation,
} from '../scale/propagation.ts';
import { measureServed, type Served } from '../scale/served.ts';
import {
  copyBundle,
  measureMemory,
  startSidecar,
  type Memory,
  type Sidecar,
} from '../scale/sidecar.ts';
import { count, megabytes } from '../scale/stats.ts';
import { openStoreAt } from '../scale/stores.ts';
import { grantsOf, load, type Size } from '../scale/world.ts';
import {
  measureCommits,
  measureGap,
  measureWarmUp,
  type Commits,
  type Resync,
} from '../scale/writes.ts';
import { time, type Row, type Table } from '../scenario.ts';
import { withDirectory } from '../servers.ts';

const COLD_TRIPS = 2;
/** A warm Check in the largest tenant over one in the smallest. */
const WARM_RATIO = 1.2;
const REVOKE_MS = 10;
const SIDECAR_MB = 200;
/** Room for 100,000 users. */
const WIDE_CACHE_BYTES = 2 ** 30;
const SMALL_GRANTS = 1_000;
const BUSY_CHECKS = 5_000;
/** Tenants that are written to at the same time. */
const LANES = 16;
const PROGRESS_MS = 2_000;

export interface ScaleOptions {
  readonly users: number;
  readonly grants: number;
  /** Told what goes on, for people who wait. */
  readonly say: (text: string) => void;
}

interface Effort {
  readonly commitSeconds: number;
  readonly coldRounds: number;
  readonly warmTurns: number;
  readonly resyncs: number;
  readonly revokes: number;
}

const SHORT: Effort = {
  commitSeconds: 0.7,
  coldRounds: 4,
  warmTurns: 4,
  resyncs: 10,
  revokes: 100,
};
const LONG: Effort = {
  commitSeconds: 3,
  coldRounds: 20,
  warmTurns: 21,
  resyncs: 50,
  revokes: 400,
};
const LONG_FROM_USERS = 100_000;

/** A tenant, and what it took to load it and to write to it. */
interface Loaded {
  readonly size: Size;
  readonly store: Store;
  readonly loadSeconds: number;
  /** What Redis needs for it, bytes. */
  readonly redisBytes: number;
  readonly sequential: Commits;
  readonly parallel: Commits;
}

/** With so few users a run is a short look that promises nothing. */
export function isQuick(users: number): boolean {
  return users < LONG_FROM_USERS;
}

export async function scale({ users, grants, say }: ScaleOptions): Promise<readonly Table[]> {
  const effort = isQuick(users) ? SHORT : LONG;
  const grantsEach = Math.max(1, Math.round(grants / users));
  const size = (tenant: string, users: number): Size => ({ tenant, users, grantsEach });
  const sizes = [
    size('small', Math.ceil(SMALL_GRANTS / grantsEach)),
    size('middle', Math.ceil(users / 10)),
    size('large', users),
  ];
  const redis = await startRedis();
  const stores: Store[] = [];
  const open = (keyPrefix: string): Store => {
    const store = openStoreAt(redis.url, keyPrefix);
    stores.push(store);
    return store;
  };
  try {
    const lanes = {
      store: open('lanes'),
      sizes: Array.from({ length: LANES }, (_, n) => size(`lane-${n}`, 100)),
    };
    for (const lane of lanes.sizes) await load(lanes.store, lane, () => {});
    const loaded: Loaded[] = [];
    for (const one of sizes)
      loaded.push(await loadOne(redis, open(one.tenant), one, lanes, effort, say));
    return await measureAll(redis, loaded, effort, say);
  } finally {
    for (const store of stores) await store.close();
    await redis.dispose();
  }
}

async function loadOne(
  redis: RedisServer,
  store: Store,
  size: Size,
  lanes: { readonly store: Store; readonly sizes: readonly Size[] },
  { commitSeconds }: Effort,
  say: (text: string) => void,
): Promise<Loaded> {
  const before = await usedMemory(redis);
  const startedAt = performance.now();
  await load(store, size, progress(`loading ${size.tenant}`, size.users, say));
  const loadSeconds = (performance.now() - startedAt) / 1_000;
  const redisBytes = (await usedMemory(redis)) - before;
  say(`committing with ${count(size.users)} users`);
  const sequential = await measureCommits(store, [size], commitSeconds);
  const parallel = await measureCommits(lanes.store, lanes.sizes, commitSeconds);
  return { size, store, loadSeconds, redisBytes, sequential, parallel };
}

async function usedMemory(redis: RedisServer): Promise<number> {
  const info = String(await redis.command('INFO', 'memory'));
  return Number(/used_memory:(\d+)/.exec(info)?.[1] ?? NaN);
}

/** Says now and then how far it is, how fast it goes, and how long it still takes. */
function progress(what: string, total: number, say: (text: string) => void) {
  const startedAt = performance.now();
  let saidAt = startedAt;
  return (done: number): void => {
    const now = performance.now();
    if (now - saidAt < PROGRESS_MS && done < total) return;
    saidAt = now;
    const perSecond = (done / (now - startedAt)) * 1_000;
    const left = Math.ceil((total - done) / perSecond);
    say(
      `${what}: ${count(done)} of ${count(total)} users, ${count(perSecond)} a second, ${left} s left`,
    );
  };
}

async function measureAll(
  redis: RedisServer,
  loaded: readonly Loaded[],
  effort: Effort,
  say: (text: string) => void,
): Promise<readonly Table[]> {
  const sizes = loaded.map(({ size }) => size);
  const largest = loaded.at(-1);
  if (largest === undefined) throw new Error('nothing was loaded');

  say('cold Checks');
  const cold: ColdChecks[] = [];
  for (const { size, store } of loaded)
    cold.push(await measureCold(store, size, effort.coldRounds));

  say('coming back');
  const resyncs: Row[] = [];
  for (const { size, store } of loaded) {
    const fresh = await measureWarmUp(store, effort.resyncs);
    resyncs.push(resyncRow(size, 'a new instance reads the policies', fresh));
    const gap = await measureGap(redis, store, size, effort.resyncs);
    resyncs.push(resyncRow(size, 'the feed has a gap, until the next answer', gap));
  }

  const warm = await measureAllWarm(loaded, effort, say);
  copyBundle();
  const { memories, served } = await withDirectory((directory) =>
    measureServers(redis.url, sizes, directory, effort, say),
  );
  // What this process held for the measurements before would be collected while it looks for revokes.
  collectGarbage();
  // Last: who was revoked is not asked about any more.
  const propagation = await measureAllRevokes(redis.url, largest, effort, say);
  return [
    sizingTable(loaded, memories),
    {
      name: 'scale-check',
      rows: [...coldRows(sizes, cold), ...warmRows(warm), ...servedRows(served)],
    },
    { name: 'scale-commits', rows: loaded.flatMap(commitRows) },
    { name: 'scale-resync', rows: resyncs },
    { name: 'scale-propagation', rows: propagation },
  ];
}

/** Servers that are asked about every user of a tenant, each tenant by one of its own; then all of them in turns. */
async function measureServers(
  url: string,
  sizes: readonly Size[],
  directory: string,
  { warmTurns }: Effort,
  say: (text: string) => void,
): Promise<{ readonly memories: readonly Memory[]; readonly served: readonly Served[] }> {
  const servers: (Sidecar & { readonly size: Size })[] = [];
  const memories: Memory[] = [];
  try {
    for (const size of sizes) {
      const sidecar = await startSidecar(url, size.tenant, directory);
      servers.push({ ...sidecar, size });
      const onUsers = progress(`asking a server about ${size.tenant}`, size.users, say);
      memories.push(await measureMemory(sidecar, size, onUsers));
    }
    say('warm Checks over gRPC');
    return { memories, served: await measureServed(servers, warmTurns) };
  } finally {
    for (const server of servers) await server.stop();
  }
}

function measureAllRevokes(
  url: string,
  { size, store }: Loaded,
  { revokes }: Effort,
  say: (text: string) => void,
): Promise<readonly Row[]> {
  return withDirectory(async (directory) => {
    const rows: Row[] = [];
    let skip = 0;
    const next = (): number => (skip += revokes) - revokes;
    say('revokes, seen by another instance');
    for (const checksPerSecond of [0, BUSY_CHECKS]) {
      const options = { revokes, skip: next(), checksPerSecond };
      const measured = await measurePropagation(url, store, size, options);
      rows.push(propagationRow('another instance', measured));
    }
    say('revokes, seen by a server');
    for (const checksPerSecond of [0, BUSY_CHECKS]) {
      const sidecar = await startSidecar(url, size.tenant, directory);
      try {
        const options = { revokes, skip: next(), checksPerSecond };
        const measured = await measureServerPropagation(url, store, size, sidecar, options);
        rows.push(...serverRows(measured));
      } finally {
        await sidecar.stop();
      }
    }
    return rows;
  });
}

async function measureAllWarm(
  loaded: readonly Loaded[],
  { warmTurns }: Effort,
  say: (text: string) => void,
): Promise<readonly Warm[]> {
  const [small] = loaded;
  const large = loaded.at(-1);
  if (small === undefined || large === undefined) throw new Error('nothing was loaded');
  const instances: WarmInstance[] = [];
  const fill = async ({ size, store }: Loaded, bytes?: number): Promise<WarmInstance> => {
    say(`filling a cache with ${size.tenant}`);
    const instance = await warmInstance(store, size, bytes);
    instances.push(instance);
    return instance;
  };
  try {
    for (const one of loaded) await fill(one);
    await fill(large, WIDE_CACHE_BYTES);
    say('warm Checks');
    const few = instances.map((instance) => ({ instance, wanted: small.size.users }));
    const many = instances.slice(-2).map((instance) => ({ instance, wanted: Infinity }));
    return await measureWarm([...few, ...many], warmTurns);
  } finally {
    for (const { room } of instances) room.close();
  }
}

// ── tables ────────────────────────────────────────────────────────────────────────────────────────

function grantsIn(size: Size): string {
  return `${count(grantsOf(size))} grants`;
}

function sizingTable(loaded: readonly Loaded[], memories: readonly Memory[]): Table {
  const rows = loaded.map(({ size, loadSeconds, redisBytes }, index): Row => {
    const memory = memories[index];
    const cells = {
      users: count(size.users),
      'load time': `${loadSeconds.toFixed(1)} s`,
      'users/s': count(size.users / loadSeconds),
      'Redis memory': megabytes(redisBytes),
      'Redis, a user': `${count(redisBytes / size.users)} B`,
      ...(memory === undefined
        ? {}
        : {
            'server, ready': megabytes(memory.atStart),
            'server, all users asked about': megabytes(memory.atEnd),
            'at most': megabytes(memory.peak),
            'cold checks/s over gRPC': count(memory.checksPerSecond),
          }),
    };
    const scenario = grantsIn(size);
    if (memory === undefined || index < loaded.length - 1) return { scenario, cells };
    const met = memory.peak <= SIDECAR_MB * 1e6;
    return { scenario, cells, target: { text: `≤ ${SIDECAR_MB} MB`, met } };
  });
  return { name: 'scale-sizing', rows };
}

function coldRows(sizes: readonly Size[], cold: readonly ColdChecks[]): Row[] {
  return sizes.flatMap((size, index) => {
    const measured = cold[index];
    if (measured === undefined) return [];
    const row = (who: string, { p50, p99, maxTrips }: Cold): Row => ({
      scenario: `cold, ${who}`,
      cells: {
        tenant: grantsIn(size),
        p50: time(p50),
        p99: time(p99),
        'round trips': String(maxTrips),
      },
      target: { text: `≤ ${COLD_TRIPS} round trips`, met: maxTrips <= COLD_TRIPS },
    });
    return [row('a user', measured.user), row('a key and its user', measured.keyForUser)];
  });
}

function warmRows(warm: readonly Warm[]): Row[] {
  const [first] = warm;
  const largest = warm.at(-1);
  if (first === undefined || largest === undefined) return [];
  return warm.map((one): Row => {
    const scenario = `warm, ${count(one.workingSet)} of ${count(one.cached)} cached users`;
    const cells = {
      tenant: grantsIn(one.size),
      p50: time(one.p50),
      p99: time(one.p99),
      'round trips': String(one.trips),
      mean: time(one.mean),
      'bare Maps': time(one.floor),
      'to bare Maps': one.toFloor.toFixed(2),
      [`to ${grantsIn(first.size)}`]: one.toFirst.toFixed(2),
    };
    if (one.size !== largest.size || one.workingSet !== first.workingSet)
      return { scenario, cells };
    const met = one.toFirst <= WARM_RATIO && one.trips === 0;
    return { scenario, cells, target: { text: `${ratioText(first.size)}, no round trip`, met } };
  });
}

function ratioText(first: Size): string {
  return `≤ ${WARM_RATIO} × ${grantsIn(first)}`;
}

function servedRows(served: readonly Served[]): Row[] {
  const [first] = served;
  if (first === undefined) return [];
  return served.map(({ size, p50, p99, toFirst }, index): Row => {
    const cells = {
      tenant: grantsIn(size),
      p50: time(p50),
      p99: time(p99),
      [`to ${grantsIn(first.size)}`]: toFirst.toFixed(2),
    };
    const scenario = 'warm, a server over gRPC';
    return index < served.length - 1
      ? { scenario, cells }
      : { scenario, cells, target: { text: ratioText(first.size), met: toFirst <= WARM_RATIO } };
  });
}

function commitRows({ size, sequential, parallel }: Loaded): Row[] {
  const row = (scenario: string, { perSecond, p50, p99, max }: Commits): Row => ({
    scenario,
    cells: {
      'largest tenant': grantsIn(size),
      'commits/s': count(perSecond),
      p50: time(p50),
      p99: time(p99),
      max: time(max),
    },
  });
  return [
    row('to the largest, one after the other', sequential),
    row(`to ${LANES} small ones at once`, parallel),
  ];
}

function resyncRow(size: Size, scenario: string, { p50, p99, max, maxTrips }: Resync): Row {
  const cells = {
    tenant: grantsIn(size),
    p50: time(p50),
    p99: time(p99),
    max: time(max),
    'round trips': String(maxTrips),
  };
  return { scenario, cells };
}

function propagationRow(between: string, measured: Propagation): Row {
  const { acknowledged } = measured;
  const target = { text: `p99 ≤ ${REVOKE_MS} ms`, met: acknowledged.p99 <= REVOKE_MS * 1e6 };
  return { ...revokesRow(between, measured), target };
}

/** A server, after the bare one that was looked at in turns with it. */
function serverRows({ bare, ...ours }: ServerPropagation): Row[] {
  const row = propagationRow('a server over gRPC', ours);
  const toBare = (ours.acknowledged.p99 / bare.acknowledged.p99).toFixed(2);
  return [
    revokesRow('a bare server', { ...ours, ...bare }),
    { ...row, cells: { ...row.cells, 'p99 to bare': toBare } },
  ];
}

function revokesRow(
  between: string,
  { revokes, checksPerSecond, acknowledged, begun, stolen }: Propagation,
): Row {
  return {
    scenario: `${between}, ${checksPerSecond === 0 ? 'idle' : `${count(checksPerSecond)} checks/s`}`,
    cells: {
      revokes: count(revokes),
      'p50 from acknowledged': time(acknowledged.p50),
      p99: time(acknowledged.p99),
      max: time(acknowledged.max),
      'p50 from begun': time(begun.p50),
      'p99 from begun': time(begun.p99),
      'stolen by the host': `${(stolen * 100).toFixed(1)} %`,
    },
  };
}
