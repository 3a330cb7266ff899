/**
 * What decisions read. Policies and groups of a tenant are all here (`plane.ts`); users and keys are read on
 * demand and kept in bounded caches, dropped by the change feed. A warm resolve neither awaits nor reads.
 */
import type { KeyFacts } from '../engine/abac.ts';
import type { Catalog } from '../engine/action.ts';
import type { Facts } from '../engine/decision.ts';
import type { Reason, Request, Subject } from '../engine/model.ts';
import type { KeyRecord, UserRecord } from '../engine/records.ts';
import { askingWith, usableKey } from '../engine/resolve-key.ts';
import {
  NO_GROUPS,
  compileUser,
  groupSubject,
  type Directory,
  type SubjectFacts,
} from '../engine/subject.ts';
import {
  StoreError,
  TenantError,
  Unreadable,
  VersionError,
  type FactKey,
  type FeedEntry,
  type Head,
  type OnChange,
  type Store,
} from '../store/store.ts';
import { bounded } from './bounded.ts';
import { knownToPlane, openHistories } from './history.ts';
import { sizeOfKey } from './size.ts';
import { inTime, timed } from './timed.ts';
import {
  deniedUser,
  getLeniently,
  isStandIn,
  mustUnderstand,
  UnusableRecordError,
} from './unreadable.ts';
import { openShelves, type Entry, type Shelf } from './shelves.ts';
import { follow, groupsIn, isOfHistory, loadPlane, planeOf, type Plane } from './plane.ts';
import type { TenantSnapshot } from './snapshot.ts';
import { later, type MaybePromise } from '../util/later.ts';

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
  /** Revisions above `after`, up to `upTo`, were in force here and are no longer in the store (CONS-1). */
  readonly onHistoryLost: (tenant: string, after: number, upTo: number) => void;
  /** Commits have come into force here. */
  readonly onEntries: (tenant: string, entries: readonly FeedEntry[]) => void;
  /** The store has stopped to answer, or answers again. */
  readonly onStore: (up: boolean) => void;
  readonly onError: (error: unknown) => void;
}

/** Who asks: the part of a request that facts depend on. */
export type Who = Pick<Request, 'tenant' | 'subject' | 'keyId'>;

/** Facts true at one revision, or why there are none. */
export type Loaded = LoadedFacts | NotLoaded;

/** Why there are no facts to decide on. */
export type Unavailability = Extract<Reason, 'UNAVAILABLE' | 'STALE' | 'HISTORY_LOST' | 'VERSION'>;

export interface NotLoaded {
  readonly unavailable: string;
  /** STALE: the store does not answer; HISTORY_LOST, VERSION: no waiting helps. */
  readonly reason: Unavailability;
}

export interface LoadedFacts {
  readonly facts: Facts;
  /** All groups of the tenant: for Explain, which looks beyond the subject's own. */
  readonly directory: Directory;
  /** The stored record of a key that is `invalid`; `undefined`: it is not, or there is none. It only tells why. */
  readonly invalidKey?: KeyRecord | undefined;
  readonly revision: number;
  readonly ageMs: number;
}

export interface FactsRoom {
  /**
   * The facts for one question.
   * @param minRevision answer from this revision or newer (CONS-1); 0: any
   * @param waitMs how long to wait for it
   * @param token a revision by its name: answer from it or newer, and only where it is in the tenant's history (CONS-1)
   */
  resolve(who: Who, minRevision: number, waitMs: number, token?: Head): MaybePromise<Loaded>;
  /** A commit was acknowledged to a caller of this instance: if it is lost, that is noticed. */
  committed(tenant: string, head: Head): void;
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
  /** Follows the store no more, so that nothing is answered from then on. */
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
  /** Tenants that have lost revisions since the start. */
  readonly historiesLost: number;
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

/** From which revision a question is to be answered: by its number, and by its name. */
interface Since {
  readonly minRevision: number;
  readonly token: Head | undefined;
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
  const histories = openHistories(cache.tenants, (tenant, { after, upTo }) =>
    options.onHistoryLost(tenant, after, upTo),
  );
  const planes = bounded<Plane>(cache.tenants, undefined, (plane) => {
    histories.left(plane);
    users.abandon(plane.users);
    keys.abandon(plane.keys);
  });
  const absentTenants = bounded<number>(cache.absent);
  /** Tenants that this version cannot read; until the next heartbeat. */
  const newer = bounded<VersionError>(cache.absent);
  /** Takes stand-ins away, so that the records they stand for are looked for again; at each heartbeat. */
  let standIns: (() => void)[] = [];
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

  /** It answers nothing any more, and everything is read again. */
  const breakPlane = (plane: Plane, cause: string): void => {
    plane.broken = true;
    resyncs++;
    if (planes.peek(plane.tenant) === plane) planes.delete(plane.tenant);
    options.onResync(plane.tenant, cause);
  };

  /** Whether what could not be used can be by now; a store that does not answer shows as age. */
  const lookForUnreadable = async (plane: Plane): Promise<void> => {
    const { values } = await getLeniently(store, plane.tenant, [...plane.unreadable.values()]);
    const isMended = values.some((value) => !(value instanceof Unreadable));
    if (isMended && !plane.broken) breakPlane(plane, 'unreadable');
  };

  /** Brings one plane up to date; what went wrong is told, and shows as age. */
  const lookOnce = (plane: Plane): MaybePromise<void> => {
    /** What cannot be read is read from anew, and never trusted to come right. */
    const failed = (error: unknown): void => {
      if (error instanceof TenantError || !(error instanceof StoreError))
        breakPlane(plane, 'unreadable');
      onError(error);
    };
    try {
      const looked = later(
        follow(store, plane, now, (entries) => {
          drop(plane, entries);
          histories.arrived(plane);
          options.onEntries(plane.tenant, entries);
        }),
        (found): void => {
          if (found.kind === 'broken') breakPlane(plane, found.cause);
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

  const takeStandInsAway = (): void => {
    const all = standIns;
    standIns = [];
    for (const take of all) take();
  };

  /** Asks for the heads of all planes at once; only those that are behind are looked at. */
  const beat = (): void => {
    absentTenants.clear();
    newer.clear();
    takeStandInsAway();
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
          if (plane.unreadable.size > 0) lookForUnreadable(plane).catch(onError);
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
      .then(async (loaded) => {
        if (loaded === 'deleted') {
          // Nothing is lost: what it was is not compared with what is there.
          planes.delete(tenant);
          absentTenants.set(tenant, now());
          return undefined;
        }
        const plane = loaded;
        const current = planes.peek(tenant);
        if (current !== undefined) histories.left(current);
        await histories.compare(store, tenant, plane);
        if (plane === undefined) absentTenants.set(tenant, now());
        else {
          planes.set(tenant, plane);
          for (const key of plane.unreadable.values())
            onError(new UnusableRecordError(tenant, key));
          // Nobody followed it while it was read.
          await catchUp(plane);
        }
        return plane;
      })
      .catch((error: unknown) => {
        if (error instanceof VersionError) newer.set(tenant, error);
        throw error;
      })
      .finally(() => planeFlights.delete(tenant));
    planeFlights.set(tenant, started);
    return started;
  };

  // ── one question ──────────────────────────────────────────────────────────────────────────────

  const resolve = (
    who: Who,
    minRevision: number,
    waitMs: number,
    token?: Head,
  ): MaybePromise<Loaded> => {
    if (closed) return ENDED;
    const plane = planes.get(who.tenant);
    const at = now();
    if (
      plane !== undefined &&
      !plane.broken &&
      minRevision <= plane.head.revision &&
      (token === undefined || knownToPlane(plane, token) === true) &&
      (minRevision === 0 || histories.size === 0) &&
      at - plane.confirmedAt <= options.maxStalenessMs
    ) {
      const answer = fromCaches(plane, who, at);
      if (!Array.isArray(answer)) {
        hits++;
        return answer;
      }
    }
    misses++;
    const resolving = resolveSlowly(who, { minRevision, token }, at + waitMs).then((loaded) =>
      closed ? ENDED : loaded,
    );
    const wanted = Math.max(minRevision, token?.revision ?? 0);
    return inTime(resolving, waitMs, () => tooLate(who.tenant, wanted, waitMs));
  };

  /** The store has not answered in time: what is here, if anything, is said by its age. */
  const tooLate = (tenant: string, minRevision: number, waitMs: number): Loaded => {
    const plane = planes.peek(tenant);
    const reached = plane?.head.revision ?? 0;
    if (reached < minRevision) return notReached(minRevision, reached);
    const stale = plane !== undefined && now() - plane.confirmedAt > options.maxStalenessMs;
    return unavailable(
      `the facts are not here after ${Math.round(waitMs)} ms: retry with a longer deadline`,
      stale ? 'STALE' : 'UNAVAILABLE',
    );
  };

  /** What is known of a loss: the plain number is one that may have been lost, or the token's revision was. */
  const isLost = (tenant: string, { minRevision, token }: Since): boolean => {
    const lost = histories.lost(tenant);
    if (lost === undefined) return false;
    if (minRevision > lost.after && minRevision <= lost.upTo) return true;
    return token !== undefined && lost.nonces.has(token.nonce);
  };

  /** Whether the revision of a token is in the plane's history; as far back as the feed reaches. */
  const proves = async (plane: Plane, token: Head): Promise<'yes' | 'no' | 'look again'> => {
    const known = knownToPlane(plane, token);
    if (known !== undefined) return known ? 'yes' : 'no';
    const { head, entries } = await store.feed(plane.tenant, token.revision - 1, 1);
    // The feed may be of another history than the plane, or newer.
    if (head === undefined || !isOfHistory(plane, head)) await catchUp(plane);
    if (plane.broken || head === undefined || !isOfHistory(plane, head)) return 'look again';
    if (entries[0]?.nonce !== token.nonce) return 'no';
    plane.trail.set(token.revision, token.nonce);
    return 'yes';
  };

  const resolveSlowly = async (who: Who, since: Since, deadline: number): Promise<Loaded> => {
    const { token } = since;
    const minRevision = Math.max(since.minRevision, token?.revision ?? 0);
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
        if (isLost(who.tenant, since)) return HISTORY_LOST;
        const reached = plane?.head.revision ?? 0;
        if (reached < minRevision) {
          const waited = await waitFor(who.tenant, plane, minRevision, deadline);
          if (waited === 'look again') continue;
          return waited === 'too late'
            ? notReached(minRevision, reached)
            : unavailable(
                `more than ${options.maxWaiting} calls wait for a revision: retry later, or raise \`limits.waiting_calls\``,
              );
        }
        if (plane === undefined) return noTenant(who);
        if (token !== undefined) {
          const proof = await proves(plane, token);
          if (proof === 'no') return HISTORY_LOST;
          if (proof === 'look again') {
            round++;
            continue;
          }
        }
        if (now() - plane.confirmedAt > options.maxStalenessMs) {
          await catchUp(plane);
          if (plane.broken) continue;
          const age = now() - plane.confirmedAt;
          if (age > options.maxStalenessMs)
            return unavailable(
              `facts are ${Math.round(age)} ms old, ${options.maxStalenessMs} ms are allowed: the store does not answer`,
              'STALE',
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
      // It was told when it was found.
      if (error instanceof VersionError) return unavailable(error.message, 'VERSION');
      onError(error);
      if (error instanceof TenantError) return unavailable(error.message);
      return unavailable(
        'the store does not answer, and facts that are not cached cannot be guessed',
      );
    }
  };

  const knownTenant = (tenant: string): MaybePromise<Plane | undefined> => {
    const needed = newer.get(tenant);
    if (needed !== undefined) throw needed;
    const seen = absentTenants.get(tenant);
    if (seen !== undefined && now() - seen <= options.heartbeatMs) return undefined;
    return loadTenant(tenant);
  };

  /** Waits until the tenant is at a revision, or something else has happened to it. */
  const waitFor = async (
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
    invalidKey: undefined,
    revision: 0,
    ageMs: 0,
  });

  /** Facts from what is here, or the keys that must be read first. */
  const fromCaches = (plane: Plane, { subject, keyId }: Who, at: number): Loaded | OnDemand[] => {
    let key: Facts['key'];
    let invalidKey: KeyRecord | undefined;
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
      const acting = askingWith(cached.compiled, subject, options.wallNow);
      if (acting === 'invalid') {
        key = 'invalid';
        invalidKey = cached.record;
      } else {
        key = cached.compiled;
        asking = acting;
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
      invalidKey,
      revision: plane.head.revision,
      ageMs: at - plane.confirmedAt,
    };
  };

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
    if (cached === undefined || cached.generation === plane.generation) return cached;
    // With other policy sets it takes other room: it is counted anew.
    const { record } = cached;
    const { generation } = plane;
    return keys.put(plane.keys, { id, record, generation, compiled: compiledKey(plane, record) });
  };

  const compiledKey = (plane: Plane, record: KeyRecord | undefined): KeyFacts | undefined => {
    const key = usableKey(record, (name) => plane.sets.get(name));
    if (key !== 'lost_set') return key;
    onError(new Error(`key \`${record?.id ?? ''}\` of \`${plane.tenant}\` has a lost policy set`));
    return undefined;
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
    const { head, values } = await getLeniently(store, plane.tenant, wanted);
    mustUnderstand(plane.tenant, values);
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

  const fill = (plane: Plane, kind: OnDemand['kind'], id: string, read: unknown): void => {
    const { generation } = plane;
    let value = read;
    if (read instanceof Unreadable) {
      onError(new UnusableRecordError(plane.tenant, read.key, read.problem));
      // A key that is not there is no key; a user that is not there is one that lists may name (ACL-4).
      value = kind === 'user' ? deniedUser(id) : undefined;
      if (standIns.length >= cache.absent) takeStandInsAway();
      standIns.push(() =>
        kind === 'user' ? users.remove(plane.users, id) : keys.remove(plane.keys, id),
      );
    }
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
    const present = <R extends UserRecord | KeyRecord>(
      shelf: Shelf<R, unknown>,
    ): (readonly [string, R])[] => {
      const found: (readonly [string, R])[] = [];
      for (const { id, record } of shelf.values())
        if (record !== undefined && !isStandIn(record)) found.push([id, record]);
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
    committed: (tenant, head) => histories.acknowledged(tenant, planes.peek(tenant), head),
    setCatalog(next): void {
      catalog = next;
    },
    async warmUp(): Promise<readonly string[]> {
      const tenants = await store.tenants();
      const waiting = tenants.slice(0, cache.tenants).values();
      const load = async (): Promise<void> => {
        for (const tenant of waiting)
          try {
            await loadTenant(tenant);
          } catch (error) {
            // One tenant's trouble is not the others'.
            if (!(error instanceof TenantError)) throw error;
            onError(error);
          }
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
      historiesLost: histories.size,
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

/** What is here may have been revoked since the feed was let go of. */
const ENDED: Loaded = unavailable('this server ends: ask another one');

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

/** Injective: the tenant's length keeps it apart from the id, whatever characters either has. */
function cacheKey(kind: OnDemand['kind'], tenant: string, id: string): string {
  return `${kind} ${tenant.length} ${tenant}${id}`;
}

function notReached(wanted: number, reached: number): Loaded {
  return unavailable(`revision ${wanted} was asked for, this instance has ${reached}: retry`);
}

const HISTORY_LOST: Loaded = {
  unavailable:
    'the revision that was asked for is not in the history of this tenant, or can no longer be proven to be: the store has lost commits, or the token is older than its feed; look at what is there now, and ask by a newer token',
  reason: 'HISTORY_LOST',
};

function unavailable(message: string, reason: Unavailability = 'UNAVAILABLE'): Loaded {
  return { unavailable: message, reason };
}
