/** What the room of facts promises: its options, its questions, its answers. */
import type { Facts } from '../engine/decision.ts';
import type { Reason, Request } from '../engine/model.ts';
import type { KeyRecord } from '../engine/records.ts';
import type { Catalog } from '../engine/action.ts';
import type { Directory } from '../engine/subject.ts';
import type { FactKey, FeedEntry, Head } from '../store/store.ts';
import type { MaybePromise } from '../util/later.ts';
import type { BreakCause } from './follow.ts';
import type { TenantSnapshot } from './snapshot.ts';

/** Bounds of the caches, in entries over all tenants. */
export interface CacheBounds {
  readonly subjects: number;
  readonly keys: number;
  /** Users and keys that do not exist have a cache of their own, so that a flood of them evicts nobody. */
  readonly absent: number;
  readonly groups: number;
  readonly tenants: number;
  /** Memory of the cached users, and as much again for the cached keys, bytes by an estimate. */
  readonly bytes: number;
}

export interface FactsOptions {
  /** Beyond this age nothing is answered (CONS-3), ms. */
  readonly maxStalenessMs: number;
  /** How often the feed is read without a hint, ms. */
  readonly heartbeatMs: number;
  /** Beyond this time a read of the store has failed, ms. */
  readonly storeTimeoutMs: number;
  /** Calls that may wait for a revision at once. */
  readonly maxWaiting: number;
  readonly cache: CacheBounds;
  /** Monotonic milliseconds: a jump of the wall clock must not open anything. */
  readonly now: () => number;
  /** Milliseconds since the epoch, never going back: when keys expire. */
  readonly wallNow: () => number;
  readonly onResync: (tenant: string, cause: BreakCause) => void;
  /** Revisions above `after`, up to `upTo`, were in force here and are no longer in the store (CONS-1). */
  readonly onHistoryLost: (tenant: string, after: number, upTo: number) => void;
  /** Commits have come into force here. */
  readonly onEntries: (tenant: string, entries: readonly FeedEntry[]) => void;
  /** The store has stopped answering, or answers again. */
  readonly onStore: (up: boolean) => void;
  readonly onError: (error: unknown) => void;
}

/** Who asks: the part of a request that facts depend on. */
export type Who = Pick<Request, 'tenant' | 'subject' | 'keyId'>;

/** What is read on demand, a record at a time. */
export type OnDemandKey = FactKey<'user' | 'key'>;

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
  /** The stored record of a key that is `invalid`; `undefined`: it is valid, or there is none. It only explains why. */
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
  /** A commit was acknowledged to a caller of this instance: its loss will be noticed. */
  committed(tenant: string, head: Head): void;
  setCatalog(catalog: Catalog): void;
  /** Loads the planes of all tenants, up to the bound of the cache. Returns the names of all. */
  warmUp(): Promise<readonly string[]>;
  /** The cached facts, a tenant at a time, for a snapshot. */
  snapshot(): readonly TenantSnapshot[];
  /** Takes facts of an earlier time where nothing newer is loaded; their age counts on. */
  restore(tenants: readonly TenantSnapshot[]): void;
  /** Age of the oldest plane, of the store's last answer where there is none, ms. */
  ageMs(): number;
  /** Age of the youngest plane: of a cluster, one node may be away while the others serve. */
  freshestMs(): number;
  /** Whether the store answers: it is asked at every heartbeat. */
  storeUp(): boolean;
  stats(): FactsStats;
  /** Empties the caches of users, keys and closures: they are read again when they are asked for. */
  shed(): void;
  /** Stops following the store, so that nothing is answered from then on. */
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

export function unavailable(message: string, reason: Unavailability = 'UNAVAILABLE'): NotLoaded {
  return { unavailable: message, reason };
}
