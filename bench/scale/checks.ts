/** Check in one process, cold and warm. */
import { decide } from '../../src/engine/decide.ts';
import type { Request } from '../../src/engine/model.ts';
import type { FactsRoom, Loaded } from '../../src/facts/facts.ts';
import type { Store } from '../../src/store/store.ts';
import { lookRbac, lookRule, lookTree } from '../floor.ts';
import { compare, median } from '../measure.ts';
import { assertAnswer } from '../scenario.ts';
import { nowNs, sleep, spread, type Spread } from './stats.ts';
import { CACHED_SUBJECTS, counted, openInstance, type CountedStore } from './stores.ts';
import { agentKeys, floorOf, requestOf, type Size } from './world.ts';

const WAIT_MS = 5_000;
/** Checks that are under way at once while a cache is filled. */
const LANES = 64;

export async function check(room: FactsRoom, request: Request): Promise<boolean> {
  return decided(request, await room.resolve(request, 0, WAIT_MS));
}

function decided(request: Request, loaded: Loaded): boolean {
  if ('unavailable' in loaded) throw new Error(loaded.unavailable);
  return decide(request, loaded.facts).allowed;
}

// ── cold ──────────────────────────────────────────────────────────────────────────────────────────

export interface Cold extends Spread {
  readonly maxTrips: number;
}

export interface ColdChecks {
  readonly user: Cold;
  readonly keyForUser: Cold;
}

/** Users and keys that the instance has not read yet, one after the other; a new instance each round. */
export async function measureCold(store: Store, size: Size, rounds: number): Promise<ColdChecks> {
  const each = Math.min(100, agentKeys(size));
  const kinds = { user: 'user', keyForUser: 'key for its user' } as const;
  const ns = { user: [] as number[], keyForUser: [] as number[] };
  const trips = { user: 0, keyForUser: 0 };
  for (let round = 0; round < rounds; round++) {
    const reads = counted(store);
    for (const kind of ['user', 'keyForUser'] as const) {
      const room = openInstance(reads);
      await room.warmUp();
      for (let n = 0; n < each; n++) {
        const who = (n + round * each) % (kind === 'user' ? size.users : agentKeys(size));
        const request = requestOf(size, who, kinds[kind]);
        const before = reads.trips();
        const startedAt = nowNs();
        const allowed = await check(room, request);
        ns[kind].push(nowNs() - startedAt);
        assertAnswer('cold Check', allowed, true);
        trips[kind] = Math.max(trips[kind], reads.trips() - before);
      }
      room.close();
    }
  }
  return {
    user: { ...spread(ns.user), maxTrips: trips.user },
    keyForUser: { ...spread(ns.keyForUser), maxTrips: trips.keyForUser },
  };
}

// ── warm ──────────────────────────────────────────────────────────────────────────────────────────

/** An instance that was asked about many users of a tenant, and has as many in its cache as fit. */
export interface WarmInstance {
  readonly size: Size;
  readonly room: FactsRoom;
  readonly reads: CountedStore;
  /** Numbers of users that are in its cache. */
  readonly cached: readonly number[];
}

/** @param bytes bound of its cache, if not the default */
export async function warmInstance(
  store: Store,
  size: Size,
  bytes?: number,
): Promise<WarmInstance> {
  const reads = counted(store);
  const room = openInstance(reads, bytes);
  await room.warmUp();
  const asked = everyNth(size, Math.min(size.users, CACHED_SUBJECTS));
  const askAll = async (users: readonly number[]): Promise<void> => {
    const left = users.values();
    const lane = async (): Promise<void> => {
      for (const n of left) await check(room, requestOf(size, n));
    };
    await Promise.all(Array.from({ length: LANES }, lane));
  };
  await askAll(asked);
  // The ones that were asked about last are still there; asked about once more, they all are.
  const cached = asked.slice(-room.stats().subjects);
  await askAll(cached);
  return { size, room, reads, cached };
}

/** So many users from all over the tenant. */
function everyNth({ users }: Size, wanted: number): number[] {
  const step = users / wanted;
  return Array.from({ length: wanted }, (_, n) => Math.floor(n * step));
}

export interface Warm {
  readonly size: Size;
  readonly cached: number;
  /** How many users are asked about in turn. */
  readonly workingSet: number;
  /** Medians over the turns, nanoseconds. */
  readonly p50: number;
  readonly p99: number;
  readonly mean: number;
  readonly floor: number;
  readonly toFloor: number;
  /** To the first of those that were measured. */
  readonly toFirst: number;
  readonly trips: number;
}

interface Wanted {
  readonly instance: WarmInstance;
  /** How many users to ask about in turn. */
  readonly wanted: number;
}

interface Subject {
  readonly instance: WarmInstance;
  readonly workingSet: number;
  readonly work: () => boolean;
  readonly floor: () => boolean;
}

interface Turn {
  readonly p50: number;
  readonly p99: number;
  readonly mean: number;
  readonly floor: number;
  readonly toFloor: number;
  readonly toFirst: number;
}

/** Measures all of them in turns, so that noise of the machine meets each. */
export async function measureWarm(wanted: readonly Wanted[], turns: number): Promise<Warm[]> {
  const subjects = wanted.map(subjectOf);
  const trips = subjects.map(({ instance }) => instance.reads.trips());
  const seen = subjects.map((): Turn[] => []);
  const [first] = subjects;
  for (let turn = 0; turn < turns; turn++)
    for (let at = 0; at < subjects.length; at++) {
      const index = (at + turn) % subjects.length;
      const subject = subjects[index];
      if (subject !== undefined && first !== undefined)
        seen[index]?.push(oneTurn(subject, first, turn === 0 ? 200 : 40));
      // Heartbeats keep the facts fresh.
      await sleep(5);
    }
  const mediansOf = (index: number, of: (turn: Turn) => number): number =>
    median((seen[index] ?? []).map(of));
  return subjects.map(({ instance, workingSet }, index) => ({
    size: instance.size,
    cached: instance.cached.length,
    workingSet,
    p50: mediansOf(index, (turn) => turn.p50),
    p99: mediansOf(index, (turn) => turn.p99),
    mean: mediansOf(index, (turn) => turn.mean),
    floor: mediansOf(index, (turn) => turn.floor),
    toFloor: mediansOf(index, (turn) => turn.toFloor),
    toFirst: mediansOf(index, (turn) => turn.toFirst),
    trips: instance.reads.trips() - (trips[index] ?? 0),
  }));
}

function subjectOf({ instance, wanted }: Wanted): Subject {
  const { room, size, cached } = instance;
  const workingSet = Math.min(wanted, cached.length);
  const step = cached.length / workingSet;
  const users = Array.from({ length: workingSet }, (_, n) => cached[Math.floor(n * step)] ?? 0);
  const requests = users.map((n) => requestOf(size, n));
  const maps = floorOf(size, users);
  let next = 0;
  const request = (): Request => {
    next = next + 1 === requests.length ? 0 : next + 1;
    return requests[next] ?? noRequest();
  };
  const work = (): boolean => {
    const asked = request();
    const loaded = room.resolve(asked, 0, WAIT_MS);
    if (loaded instanceof Promise) throw new Error('a warm Check has read the store');
    return decided(asked, loaded);
  };
  const floor = (): boolean => {
    const asked = request();
    const of = maps.get(asked.subject?.id ?? '');
    return of !== undefined && lookRule(of, asked) && lookRbac(of, asked) && lookTree(of, asked);
  };
  for (let n = 0; n < requests.length; n++) {
    assertAnswer('warm Check', work(), true);
    assertAnswer('bare Maps', floor(), true);
  }
  return { instance, workingSet, work, floor };
}

function noRequest(): never {
  throw new Error('no requests');
}

function oneTurn({ work, floor }: Subject, first: Subject, warmUpMs: number): Turn {
  const effort = { warmUpMs, rounds: 100 };
  const compared = compare(work, floor, effort);
  // Round by round too: from one turn to the next the machine may have become another.
  const toFirst = compare(work, first.work, effort).ratio;
  const calls = 20_000;
  const startedAt = nowNs();
  for (let call = 0; call < calls; call++) work();
  return {
    p50: compared.medianNs,
    p99: compared.p99Ns,
    mean: (nowNs() - startedAt) / calls,
    floor: compared.floor.medianNs,
    toFloor: compared.ratio,
    toFirst,
  };
}
