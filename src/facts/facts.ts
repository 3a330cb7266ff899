/**
 * What decisions read. Policies and groups of a tenant are all here (`plane.ts`); users and keys are read on
 * demand and kept in bounded caches, dropped by the change feed. A warm resolve neither awaits nor reads.
 */
import { actingSubject, compileKey, type KeyFacts } from '../engine/abac.ts';
import type { Catalog } from '../engine/action.ts';
import type { Facts, Request, Subject } from '../engine/model.ts';
import type { KeyRecord, UserRecord } from '../engine/records.ts';
import {
  compileUser,
  groupSubject,
  NO_GROUPS,
  type Directory,
  type SubjectFacts,
} from '../engine/subject.ts';
import type { FactKey, FeedEntry, OnChange, Store } from '../store/store.ts';
import { bounded } from './bounded.ts';
import { inTime, timed } from './timed.ts';
import { openShelves, type Entry, type Shelf } from './shelves.ts';
import { follow, groupsIn, isOfHistory, loadPlane, planeOf, type Plane } from './plane.ts';
import type { TenantSnapshot } from './snapshot.ts';
import { later, type MaybePromise } from '../later.ts';

export interface FactsOptions {
  /** Beyond this age nothing is answered (CONS-3), ms. */
  readonly maxStalenessMs: number;
  /** How often the feed is looked at without a hint, ms. */
  readonly heartbeatMs: number;
  /** Beyond this time a read of the store has failed, ms. */
  readonly storeTimeoutMs: number;
  /** Calls that may wait for a revision at once. */
  readonly maxWaiting: number;
  /** Bounds of the caches, in entries over all tenants. */
  readonly cache: {
    readonly subjects: number;
    readonly keys: number;
    /** Users and keys that do not exist have a cache of their own, so that a flood of them evicts nobody. */
    readonly absent: number;
    readonly groups: number;
    readonly tenants: number;
    /** Memory of the users that are kept, and as much again for the keys; by an estimate. */
    readonly bytes: number;
  };
  /** Monotonic milliseconds: a jump of the wall clock must not open anything. */
  readonly now: () => number;
  /** Milliseconds since the epoch, never going back: when keys expire. */
  readonly wallNow: () => number;
  readonly onResync: (tenant: string, cause: string) => void;
  /** Commits have come into force here. */
  readonly onEntries: (tenant: string, entries: readonly FeedEntry[]) => void;
  /** The store has stopped to answer, or answers again. */
  readonly onStore: (up: boolean) => void;
  readonly onError: (error: unknown) => void;
}

/** Who asks: the part of a request that facts depend on. */
export type Who = Pick<Request, 'tenant' | 'subject' | 'keyId'>;

/** Facts true at one revision, or why there are none. */
export type Loaded = LoadedFacts | { readonly unavailable: string; readonly stale: boolean };

export interface LoadedFacts {
  readonly facts: Facts;
  /** All groups of the tenant: for Explain, which looks beyond the subject's own. */
  readonly directory: Directory;
  readonly revision: number;
  readonly ageMs: number;
}

export interface FactsRoom {
  /**
   * The facts for one question.
   * @param minRevision answer from this revision or newer (CONS-1); 0: any
   * @param waitMs how long to wait for it
   */
  resolve(who: Who, minRevision: number, waitMs: number): MaybePromise<Loaded>;
  setCatalog(catalog: Catalog): void;
  /** Loads the planes of all tenants, up to the bound of the cache. Returns the names of all. */
  warmUp(): Promise<readonly string[]>;
  /** What is known now, a tenant at a time, for a snapshot. */
  snapshot(): readonly TenantSnapshot[];
  /** Takes facts of an earlier time where nothing newer is known; their age counts on. */
  restore(tenants: readonly TenantSnapshot[]): void;
  /** Age of the oldest plane that is kept, of the store's last answer where there is none, ms. */
  ageMs(): number;
  /** Age of the youngest plane: of a cluster, one node may be away while the others serve. */
  freshestMs(): number;
  /** Whether the store answers: it is asked at every heartbeat. */
  storeUp(): boolean;
  stats(): FactsStats;
  /** Lets go of all users, keys and closures that are kept: they are read again when they are asked for. */
  shed(): void;
  close(): void;
}

export interface FactsStats {
  readonly hits: number;
  readonly misses: number;
  readonly subjects: number;
  readonly keys: number;
  readonly tenants: number;
  /** Of users and keys, by the estimate of their caches. */
  readonly bytes: number;
  readonly resyncs: number;
}

/** What is read on demand. */
type OnDemand = FactKey<'user' | 'key'>;
type CachedUser = Entry<UserRecord, SubjectFacts>;
type CachedKey = Entry<KeyRecord, KeyFacts | undefined>;

/** A read under way: whoever needs the same key waits for it, and a change seen meanwhile spoils it. */
interface Flight {
  readonly done: Promise<void>;
  /** Newest revision at which the feed named the key since the read began. */
  changedAt: number;
}

/** A call that waits for a revision. */
interface Waiter {
  readonly revision: number;
  readonly go: () => void;
}

/** Reads of the same question that were spoiled by changes, before we give up rather than spin. */
const MAX_ROUNDS = 20;
/** Planes that are read at a time at the start. */
const MAX_LOADS = 8;
/** Looks at one tenant's feed at a time. */
const MAX_LOOKS = 4;
/** How long a look that others have begun is waited for, ms: one that hangs holds nobody up. */
const MAX_LOOK_MS = 20;
/** Reads ahead of a question at a time, and how large what is read again may be, bytes: the rest is read when it is asked for. */
const MAX_AHEAD = 64;
const MAX_AHEAD_BYTES = 65_536;
const EMPTY_DIRECTORY: Directory = { roles: new Map(), workspaces: new Map() };

export function openFacts(source: Store, firstCatalog: Catalog, options: FactsOptions): FactsRoom {
  const { cache, now } = options;
  const store = timed(source, options.storeTimeoutMs);
  let catalog = firstCatalog;
  const { bytes } = cache;
  const users = openShelves(cache.subjects, cache.absent, { bytes, sizeOf: sizeOfUser });
  const keys = openShelves(cache.keys, cache.absent, { bytes, sizeOf: sizeOfKey });
  const planes = bounded<Plane>(cache.tenants, undefined, (plane) => {
    users.abandon(plane.users);
    keys.abandon(plane.keys);
  });
  const absentTenants = bounded<number>(cache.absent);
  const planeFlights = new Map<string, Promise<Plane | undefined>>();
  const flights = new Map<string, Flight>();
  const waiters = new Map<string, Set<Waiter>>();
  let waitingCalls = 0;
  let closed = false;
  // A room that is closed answers nobody: what still comes in is no longer a problem.
  const onError = (error: unknown): void => {
    if (!closed) options.onError(error);
  };
  let hits = 0;
  let misses = 0;
  let resyncs = 0;

  // ── the change feed ───────────────────────────────────────────────────────────────────────────

  const drop = (plane: Plane, entries: readonly FeedEntry[]): void => {
    for (const { revision, keys: changed } of entries)
      for (const { kind, id } of changed ?? []) {
        if (kind === 'user') users.remove(plane.users, id);
        else if (kind === 'key') keys.remove(plane.keys, id);
        else continue;
        const flight = flights.get(cacheKey(kind, plane.tenant, id));
        if (flight !== undefined) flight.changedAt = Math.max(flight.changedAt, revision);
      }
  };

  /** Looks under way by plane: a few, so that one that hangs holds nobody up, and hints do not pile up. */
  interface Looks {
    running: number;
    /** The one that began last. */
    newest: Promise<void>;
    /** Ends when `newest` has, and the look after it that somebody wants meanwhile. */
    settled: Promise<void>;
    again: boolean;
  }
  const looks = new Map<Plane, Looks>();

  const catchUp = (plane: Plane): MaybePromise<void> => {
    const known = looks.get(plane);
    if (known !== undefined && known.running >= MAX_LOOKS) {
      known.again = true;
      return known.settled;
    }
    const looked = lookOnce(plane);
    if (!(looked instanceof Promise)) return looked;
    const state = known ?? { running: 0, newest: looked, settled: looked, again: false };
    looks.set(plane, state);
    state.running++;
    state.newest = looked;
    state.settled = looked.then(async () => {
      state.running--;
      if (state.running === 0) looks.delete(plane);
      if (!state.again || plane.broken) return;
      state.again = false;
      await catchUp(plane);
    });
    return looked;
  };

  /** Brings one plane up to date; what went wrong is told, and shows as age. */
  const lookOnce = (plane: Plane): MaybePromise<void> => {
    const failed = (error: unknown): void => onError(error);
    try {
      const looked = later(
        follow(store, plane, now, (entries) => {
          drop(plane, entries);
          options.onEntries(plane.tenant, entries);
        }),
        (found): void => {
          if (found.kind !== 'broken') return;
          resyncs++;
          if (planes.peek(plane.tenant) === plane) planes.delete(plane.tenant);
          options.onResync(plane.tenant, found.cause);
        },
      );
      return looked instanceof Promise ? looked.catch(failed) : looked;
    } catch (error) {
      return failed(error);
    }
  };

  /** Lets those go on whose revision is here, or whose tenant must be read again. */
  const wake = (tenant: string): void => {
    const plane = planes.peek(tenant);
    for (const waiter of waiters.get(tenant) ?? [])
      if (plane === undefined || plane.head.revision >= waiter.revision) waiter.go();
  };
  const lookAt = (plane: Plane): void => {
    const looked = catchUp(plane);
    const { tenant } = plane;
    if (looked instanceof Promise) void looked.then(() => wake(tenant));
    else wake(tenant);
  };

  // ── the heartbeat ─────────────────────────────────────────────────────────────────────────────

  /** When the store was last asked something that it answered. */
  let answeredAt = now();
  let up = true;
  const setUp = (is: boolean): void => {
    if (is === up || closed) return;
    up = is;
    options.onStore(is);
  };

  /** Asks for the heads of all planes at once; only those that are behind are looked at. */
  const beat = (): void => {
    absentTenants.clear();
    const startedAt = now();
    const all = [...planes.values()];
    const late = setTimeout(() => setUp(false), options.heartbeatMs / 2).unref();
    const failed = (error: unknown): void => {
      clearTimeout(late);
      setUp(false);
      onError(error);
    };
    const arrived = (heads: Awaited<ReturnType<Store['heads']>>): void => {
      clearTimeout(late);
      answeredAt = Math.max(answeredAt, startedAt);
      setUp(!heads.includes('unknown'));
      for (const [index, plane] of all.entries()) {
        const head = heads[index];
        if (head === 'unknown') continue;
        if (head?.nonce === plane.head.nonce && !plane.broken) {
          plane.confirmedAt = Math.max(plane.confirmedAt, startedAt);
          wake(plane.tenant);
        } else lookAt(plane);
      }
      // Nobody follows a tenant that is not there: it is looked for.
      for (const tenant of waiters.keys()) if (!planes.has(tenant)) wake(tenant);
    };
    try {
      const heads = later(store.heads(all.map(({ tenant }) => tenant)), arrived);
      if (heads instanceof Promise) heads.catch(failed);
    } catch (error) {
      failed(error);
    }
  };

  /** Somebody has committed: to this tenant, or to any. */
  const hinted: OnChange = (tenant, changed = []) => {
    if (tenant === undefined) {
      beat();
      return;
    }
    absentTenants.delete(tenant);
    const plane = planes.peek(tenant);
    if (plane === undefined) wake(tenant);
    else {
      lookAt(plane);
      readAhead(plane, changed);
    }
  };

  let ahead = 0;
  /**
   * Reads what is kept here again, in the round trip of the look that finds it changed: a revoke is in force that much
   * sooner. Nothing is taken from the hint: what is read is filled in as for a question, or not.
   */
  const readAhead = (plane: Plane, changed: readonly FactKey[]): void => {
    if (ahead >= MAX_AHEAD) return;
    const wanted = changed.filter((key) => isSmallHere(plane, key));
    if (wanted.length === 0) return;
    ahead++;
    const done = (): void => void ahead--;
    // That the store does not answer is told by the look.
    fetch(plane, wanted).then(done, done);
  };

  /** Whether it is kept, and small. */
  const isSmallHere = (plane: Plane, key: FactKey): key is OnDemand => {
    const isSmall = <T>(kept: T | undefined, sizeOf: (kept: T) => number): boolean =>
      kept !== undefined && sizeOf(kept) <= MAX_AHEAD_BYTES;
    const { kind, id } = key;
    // A hint may name anything.
    if (kind === 'user') return isSmall(plane.users.get(id), sizeOfUser);
    return kind === 'key' && isSmall(plane.keys.get(id), sizeOfKey);
  };
  const unwatch = store.watch(hinted);
  const heartbeat = setInterval(beat, options.heartbeatMs).unref();

  const loadTenant = (tenant: string): Promise<Plane | undefined> => {
    const running = planeFlights.get(tenant);
    if (running !== undefined) return running;
    const started = loadPlane(store, tenant, { groups: cache.groups, now })
      .then(async (plane) => {
        if (plane === undefined) absentTenants.set(tenant, now());
        else {
          planes.set(tenant, plane);
          // Nobody followed it while it was read.
          await catchUp(plane);
        }
        return plane;
      })
      .finally(() => planeFlights.delete(tenant));
    planeFlights.set(tenant, started);
    return started;
  };

  // ── one question ──────────────────────────────────────────────────────────────────────────────

  const resolve = (who: Who, minRevision: number, waitMs: number): MaybePromise<Loaded> => {
    const plane = planes.get(who.tenant);
    const at = now();
    if (
      plane !== undefined &&
      !plane.broken &&
      minRevision <= plane.head.revision &&
      at - plane.confirmedAt <= options.maxStalenessMs
    ) {
      const answer = fromCaches(plane, who, at);
      if (!Array.isArray(answer)) {
        hits++;
        return answer;
      }
    }
    misses++;
    const resolving = resolveSlowly(who, minRevision, at + waitMs);
    return inTime(resolving, waitMs, () => tooLate(who.tenant, minRevision, waitMs));
  };

  /** The store has not answered in time: what is here, if anything, is said by its age. */
  const tooLate = (tenant: string, minRevision: number, waitMs: number): Loaded => {
    const plane = planes.peek(tenant);
    const reached = plane?.head.revision ?? 0;
    if (reached < minRevision) return notReached(minRevision, reached);
    const stale = plane !== undefined && now() - plane.confirmedAt > options.maxStalenessMs;
    return unavailable(
      `the facts are not here after ${Math.round(waitMs)} ms: retry with a longer deadline`,
      stale,
    );
  };

  const resolveSlowly = async (
    who: Who,
    minRevision: number,
    deadline: number,
  ): Promise<Loaded> => {
    // Where many tenants share little room, others push this one out between its rounds: what was read for it stays true.
    let held: Plane | undefined;
    try {
      for (let round = 0; round < MAX_ROUNDS;) {
        const plane = planes.get(who.tenant) ?? held ?? (await knownTenant(who.tenant));
        if (plane?.broken === true) {
          held = undefined;
          // The look that saw the break has yet to take it away: nothing of it may answer.
          if (planes.peek(who.tenant) === plane) planes.delete(who.tenant);
          round++;
          continue;
        }
        const reached = plane?.head.revision ?? 0;
        if (reached < minRevision) {
          const waited = await newer(who.tenant, plane, minRevision, deadline);
          if (waited === 'look again') continue;
          return waited === 'too late'
            ? notReached(minRevision, reached)
            : unavailable(
                `more than ${options.maxWaiting} calls wait for a revision: retry later, or raise \`limits.waiting_calls\``,
              );
        }
        if (plane === undefined) return noTenant(who);
        if (now() - plane.confirmedAt > options.maxStalenessMs) {
          await catchUp(plane);
          if (plane.broken) continue;
          const age = now() - plane.confirmedAt;
          if (age > options.maxStalenessMs)
            return unavailable(
              `facts are ${Math.round(age)} ms old, ${options.maxStalenessMs} ms are allowed: the store does not answer`,
              true,
            );
        }
        const answer = fromCaches(plane, who, now());
        if (!Array.isArray(answer)) return answer;
        held = plane;
        await fetch(plane, answer);
        round++;
      }
      return unavailable('facts change faster than they can be read: retry');
    } catch (error) {
      onError(error);
      return unavailable(
        'the store does not answer, and facts that are not cached cannot be guessed',
      );
    }
  };

  const knownTenant = (tenant: string): MaybePromise<Plane | undefined> => {
    const seen = absentTenants.get(tenant);
    if (seen !== undefined && now() - seen <= options.heartbeatMs) return undefined;
    return loadTenant(tenant);
  };

  /** Waits until the tenant is at a revision, or something else has happened to it. */
  const newer = async (
    tenant: string,
    plane: Plane | undefined,
    revision: number,
    deadline: number,
  ): Promise<'look again' | 'too late' | 'too many'> => {
    if (plane !== undefined) await catchUp(plane);
    const reached = planes.peek(tenant)?.head.revision ?? 0;
    if (plane?.broken === true || reached >= revision) return 'look again';
    const left = deadline - now();
    if (left <= 0 || closed) return 'too late';
    if (waitingCalls >= options.maxWaiting) return 'too many';
    const here = waiters.get(tenant) ?? new Set();
    waiters.set(tenant, here);
    waitingCalls++;
    await new Promise<void>((done) => {
      const waiter: Waiter = {
        revision,
        go: () => {
          clearTimeout(timer);
          here.delete(waiter);
          if (here.size === 0 && waiters.get(tenant) === here) waiters.delete(tenant);
          waitingCalls--;
          done();
        },
      };
      const timer = setTimeout(waiter.go, left);
      here.add(waiter);
    });
    return 'look again';
  };

  const noTenant = ({ keyId }: Who): Loaded => ({
    facts: {
      catalog,
      tenantExists: false,
      key: keyId === undefined ? undefined : 'invalid',
      subject: undefined,
    },
    directory: EMPTY_DIRECTORY,
    revision: 0,
    ageMs: 0,
  });

  /** Facts from what is here, or the keys that must be read first. */
  const fromCaches = (plane: Plane, { subject, keyId }: Who, at: number): Loaded | OnDemand[] => {
    let key: Facts['key'];
    let asking = subject;
    if (keyId !== undefined) {
      const cached = cachedKey(plane, keyId, at);
      if (cached === undefined) {
        const missing: OnDemand[] = [{ kind: 'key', id: keyId }];
        // Both in one round trip.
        if (subject?.type === 'user' && cachedUser(plane, subject.id, at) === undefined)
          missing.push({ kind: 'user', id: subject.id });
        return missing;
      }
      key = cached.compiled ?? 'invalid';
      if (key !== 'invalid' && hasExpired(key.record)) key = 'invalid';
      if (key !== 'invalid') {
        const acting = actingSubject(key.record, subject);
        if (acting === 'mismatch') key = 'invalid';
        else asking = acting;
      }
    }
    let known: SubjectFacts | undefined;
    if (asking !== undefined && key !== 'invalid') {
      if (asking.type === 'user') {
        known = cachedUser(plane, asking.id, at)?.compiled;
        if (known === undefined) return [{ kind: 'user', id: asking.id }];
      } else known = groupOf(plane, asking);
    }
    return {
      facts: { catalog, tenantExists: true, key, subject: known },
      directory: plane.directory,
      revision: plane.head.revision,
      ageMs: at - plane.confirmedAt,
    };
  };

  const hasExpired = ({ expiresAt }: KeyRecord): boolean =>
    expiresAt !== undefined && expiresAt <= options.wallNow();

  const cachedUser = (plane: Plane, id: string, at: number): CachedUser | undefined => {
    const cached = users.find(plane.users, id, at);
    if (cached !== undefined && cached.generation !== plane.generation) {
      cached.compiled = compiledUser(plane, id, cached.record);
      cached.generation = plane.generation;
    }
    return cached;
  };

  const cachedKey = (plane: Plane, id: string, at: number): CachedKey | undefined => {
    const cached = keys.find(plane.keys, id, at);
    if (cached !== undefined && cached.generation !== plane.generation) {
      cached.compiled = compiledKey(plane, cached.record);
      cached.generation = plane.generation;
    }
    return cached;
  };

  const compiledKey = (plane: Plane, record: KeyRecord | undefined): KeyFacts | undefined => {
    const sets = (record?.policySets ?? []).map((name) => plane.sets.get(name));
    if (record === undefined || record.revoked === true) return undefined;
    // A set that is attached and gone may have held a deny: the key is shut.
    if (sets.some((set) => set === undefined)) {
      onError(new Error(`key \`${record.id}\` of \`${plane.tenant}\` has a lost policy set`));
      return undefined;
    }
    return compileKey(
      record,
      sets.filter((set) => set !== undefined),
    );
  };

  // ── reading ───────────────────────────────────────────────────────────────────────────────────

  /** Reads keys once for everybody who waits for them, and caches what no change has spoiled meanwhile. */
  const fetch = async (plane: Plane, wanted: readonly OnDemand[]): Promise<void> => {
    const names = wanted.map(({ kind, id }) => cacheKey(kind, plane.tenant, id));
    const fresh = wanted.filter((_, index) => !flights.has(names[index] ?? ''));
    if (fresh.length > 0) {
      const done = read(plane, fresh);
      for (const { kind, id } of fresh) {
        const name = cacheKey(kind, plane.tenant, id);
        flights.set(name, { done, changedAt: 0 });
        const land = (): void => void flights.delete(name);
        done.then(land, land);
      }
    }
    await Promise.all(names.map((name) => flights.get(name)?.done ?? Promise.resolve()));
  };

  const read = async (plane: Plane, wanted: readonly OnDemand[]): Promise<void> => {
    // The flights are registered in the turn of the call, before anything is read.
    await Promise.resolve();
    const from = plane.head.revision;
    const { head, values } = await store.get(plane.tenant, wanted);
    const isOurs = (): boolean =>
      head !== undefined && head.revision >= from && isOfHistory(plane, head);
    // Where it is ahead of the feed, a look under way is about to bring that, or another does.
    const look = isOurs() ? undefined : looks.get(plane)?.newest;
    if (look !== undefined) await inTime(look, MAX_LOOK_MS, () => {});
    if (!isOurs()) await catchUp(plane);
    // From another history, or before a change that nobody has noted: not for this plane.
    if (plane.broken || head === undefined || !isOurs()) return;
    for (const [index, { kind, id }] of wanted.entries()) {
      const name = cacheKey(kind, plane.tenant, id);
      const changedAt = flights.get(name)?.changedAt ?? 0;
      if (changedAt <= head.revision) fill(plane, kind, id, values[index]);
    }
  };

  const fill = (plane: Plane, kind: OnDemand['kind'], id: string, value: unknown): void => {
    const { generation } = plane;
    // The store returns a record of the kind that was asked for.
    if (kind === 'user') {
      const record = value as UserRecord | undefined;
      users.put(plane.users, { id, record, generation, compiled: compiledUser(plane, id, record) });
    } else {
      const record = value as KeyRecord | undefined;
      keys.put(plane.keys, { id, record, generation, compiled: compiledKey(plane, record) });
    }
  };

  /** A copy of what may change, so that it can be written over many turns. */
  const snapshotOf = (plane: Plane): TenantSnapshot => {
    const present = <R>(shelf: Shelf<R, unknown>): (readonly [string, R])[] => {
      const found: (readonly [string, R])[] = [];
      for (const { id, record } of shelf.values())
        if (record !== undefined) found.push([id, record]);
      return found;
    };
    return {
      tenant: plane.tenant,
      head: plane.head,
      ageMs: now() - plane.confirmedAt,
      roles: [...plane.directory.roles],
      workspaces: [...plane.directory.workspaces],
      sets: [...plane.sets],
      users: present(plane.users),
      keys: present(plane.keys),
    };
  };

  return {
    resolve,
    setCatalog(next): void {
      catalog = next;
    },
    async warmUp(): Promise<readonly string[]> {
      const tenants = await store.tenants();
      const waiting = tenants.slice(0, cache.tenants).values();
      const load = async (): Promise<void> => {
        for (const tenant of waiting) await loadTenant(tenant);
      };
      await Promise.all(Array.from({ length: MAX_LOADS }, load));
      return tenants;
    },
    snapshot: () =>
      [...planes.values()].filter(({ broken }) => !broken).map((plane) => snapshotOf(plane)),
    restore(tenants): void {
      for (const { tenant, head, ageMs, roles, workspaces, sets, ...rest } of tenants) {
        if (planes.has(tenant)) continue;
        const plane = planeOf(tenant, head, now() - ageMs, cache.groups, {
          role: new Map(roles),
          workspace: new Map(workspaces),
          policy_set: new Map(sets),
        });
        planes.set(tenant, plane);
        for (const [id, record] of rest.users) fill(plane, 'user', id, record);
        for (const [id, record] of rest.keys) fill(plane, 'key', id, record);
      }
    },
    freshestMs(): number {
      if (planes.size === 0) return now() - answeredAt;
      let youngest = Infinity;
      for (const plane of planes.values()) youngest = Math.min(youngest, now() - plane.confirmedAt);
      return youngest;
    },
    ageMs(): number {
      if (planes.size === 0) return now() - answeredAt;
      let oldest = 0;
      for (const plane of planes.values()) oldest = Math.max(oldest, now() - plane.confirmedAt);
      return oldest;
    },
    storeUp: () => up,
    stats: () => ({
      hits,
      misses,
      subjects: users.present,
      keys: keys.present,
      tenants: planes.size,
      bytes: users.bytes + keys.bytes,
      resyncs,
    }),
    shed(): void {
      for (const one of [users, keys, absentTenants]) one.clear();
      for (const { groups } of planes.values()) groups.clear();
    },
    close(): void {
      closed = true;
      clearInterval(heartbeat);
      unwatch();
      for (const here of waiters.values()) for (const waiter of here) waiter.go();
    },
  };
}

function compiledUser(plane: Plane, id: string, record: UserRecord | undefined): SubjectFacts {
  return compileUser(id, record, record === undefined ? NO_GROUPS : groupsIn(plane, record));
}

/** A group without a record has no evidence, and takes no place among the closures that are kept. */
function groupOf(plane: Plane, subject: Subject): SubjectFacts {
  const { roles, workspaces } = plane.directory;
  const exists = (subject.type === 'role' ? roles : workspaces).has(subject.id);
  return groupSubject(subject, (direct) => (exists ? groupsIn(plane, direct) : NO_GROUPS));
}

/** Bytes of a cached user, record and compiled form, as measured on records of 0 to 100 grants. */
function sizeOfUser({ record }: CachedUser): number {
  if (record === undefined) return 700;
  const { grants, roles, workspaces, owns, metadata } = record;
  const rest = metadata === undefined ? 0 : JSON.stringify(metadata).length * 8;
  const paths = grants.reduce((sum, { path }) => sum + path.length, 0);
  const names = roles.length + workspaces.length + owns.length;
  return 700 + 320 * grants.length + paths + 60 * names + rest;
}

/** Bytes of a cached key: its compiled rules are its own. */
function sizeOfKey({ compiled }: CachedKey): number {
  const rules = (compiled?.sets ?? []).reduce((sum, set) => sum + set.rules.length, 0);
  return 1_000 + 400 * rules;
}

/** Injective: the tenant's length keeps it apart from the id, whatever characters either has. */
function cacheKey(kind: OnDemand['kind'], tenant: string, id: string): string {
  return `${kind} ${tenant.length} ${tenant}${id}`;
}

function notReached(wanted: number, reached: number): Loaded {
  return unavailable(`revision ${wanted} was asked for, this instance has ${reached}: retry`);
}

function unavailable(message: string, stale = false): Loaded {
  return { unavailable: message, stale };
}
