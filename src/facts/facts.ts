/**
 * What decisions read. Policies and groups of a tenant are all loaded (`plane.ts`); users and keys are read on demand
 * (`reads.ts`) into bounded caches (`record-cache.ts`), from which the change feed drops them (`feed-follower.ts`).
 * `resolve.ts` answers one question.
 */
import type { Catalog } from '../engine/action.ts';
import type { Head, Store } from '../store/store.ts';
import type { MaybePromise } from '../util/later.ts';
import { Assembler } from './assemble.ts';
import type { FactsOptions, FactsRoom, FactsStats, Loaded, Who } from './contract.ts';
import { FeedFollower } from './feed-follower.ts';
import { Flights } from './flights.ts';
import { Heartbeat } from './heartbeat.ts';
import { Histories } from './history.ts';
import { Loader } from './loader.ts';
import { planeOf, type Plane } from './plane.ts';
import { Planes } from './planes.ts';
import { Reads } from './reads.ts';
import { presentRecords, RecordCache } from './record-cache.ts';
import { Resolver } from './resolve.ts';
import type { TenantSnapshot } from './snapshot.ts';
import { timed } from './timed.ts';
import { Waiters } from './waiters.ts';

export { BREAK_CAUSES, type BreakCause } from './follow.ts';
export type {
  FactsOptions,
  FactsRoom,
  FactsStats,
  Loaded,
  LoadedFacts,
  Unavailability,
  Who,
} from './contract.ts';

export function openFacts(source: Store, catalog: Catalog, options: FactsOptions): FactsRoom {
  return new Room(timed(source, options.storeTimeoutMs), catalog, options);
}

class Room implements FactsRoom {
  readonly #options: FactsOptions;
  readonly #records: RecordCache;
  readonly #histories: Histories;
  readonly #planes: Planes;
  readonly #loader: Loader;
  readonly #reads: Reads;
  readonly #waiters: Waiters;
  readonly #heartbeat: Heartbeat;
  readonly #assembler: Assembler;
  readonly #resolver: Resolver;
  #isClosed = false;

  constructor(store: Store, catalog: Catalog, options: FactsOptions) {
    const { cache, now, wallNow, heartbeatMs, maxWaiting, maxStalenessMs } = options;
    const { onEntries, onStore } = options;
    // A room that is closed answers nobody: what still fails is no longer a problem.
    const onError = (error: unknown): void => {
      if (!this.#isClosed) options.onError(error);
    };
    const records = new RecordCache(cache, onError);
    const flights = new Flights();
    const waiters = new Waiters(maxWaiting);
    const histories = new Histories(cache.tenants, (tenant, { after, upTo }) =>
      options.onHistoryLost(tenant, after, upTo),
    );
    const planes = new Planes({
      bounds: cache,
      now,
      absentMs: heartbeatMs,
      onResync: options.onResync,
      onGone: (plane) => {
        histories.remember(plane);
        records.abandon(plane);
      },
    });
    const shared = { store, now, planes, onError };
    const follower = new FeedFollower({ ...shared, records, flights, histories, onEntries });
    const loader = new Loader({ ...shared, histories, follower, groups: cache.groups });
    const reads = new Reads({ ...shared, records, flights, follower, maxStandIns: cache.absent });
    const assembler = new Assembler(records, wallNow, catalog);
    this.#options = options;
    this.#records = records;
    this.#histories = histories;
    this.#planes = planes;
    this.#loader = loader;
    this.#reads = reads;
    this.#waiters = waiters;
    this.#assembler = assembler;
    this.#resolver = new Resolver({
      ...shared,
      maxStalenessMs,
      maxWaiting,
      histories,
      follower,
      loader,
      reads,
      waiters,
      assembler,
    });
    this.#heartbeat = new Heartbeat({
      ...shared,
      everyMs: heartbeatMs,
      follower,
      reads,
      waiters,
      onStore,
    });
  }

  resolve(who: Who, minRevision: number, waitMs: number, token?: Head): MaybePromise<Loaded> {
    return this.#resolver.resolve(who, minRevision, waitMs, token);
  }

  committed(tenant: string, head: Head): void {
    this.#histories.acknowledge(tenant, this.#planes.peek(tenant), head);
  }

  setCatalog(catalog: Catalog): void {
    this.#assembler.setCatalog(catalog);
  }

  warmUp(): Promise<readonly string[]> {
    return this.#loader.loadFirst(this.#options.cache.tenants);
  }

  snapshot(): readonly TenantSnapshot[] {
    const now = this.#options.now();
    return this.#planes
      .all()
      .filter(({ broken }) => !broken)
      .map((plane) => snapshotOf(plane, now));
  }

  restore(tenants: readonly TenantSnapshot[]): void {
    const { now, cache } = this.#options;
    for (const { tenant, head, ageMs, roles, workspaces, sets, users, keys } of tenants) {
      if (this.#planes.has(tenant)) continue;
      const plane = planeOf(tenant, head, now() - ageMs, cache.groups, {
        role: new Map(roles),
        workspace: new Map(workspaces),
        policy_set: new Map(sets),
      });
      this.#planes.put(plane);
      for (const [id, record] of users) this.#reads.fill(plane, { kind: 'user', id }, record);
      for (const [id, record] of keys) this.#reads.fill(plane, { kind: 'key', id }, record);
    }
  }

  ageMs(): number {
    return this.#options.now() - (this.#planes.confirmed()?.oldest ?? this.#heartbeat.answeredAt);
  }

  freshestMs(): number {
    return this.#options.now() - (this.#planes.confirmed()?.youngest ?? this.#heartbeat.answeredAt);
  }

  storeUp(): boolean {
    return this.#heartbeat.isUp;
  }

  stats(): FactsStats {
    return {
      hits: this.#resolver.hits,
      misses: this.#resolver.misses,
      subjects: this.#records.users,
      keys: this.#records.keys,
      tenants: this.#planes.size,
      bytes: this.#records.bytes,
      resyncs: this.#planes.resyncs,
      historiesLost: this.#histories.size,
    };
  }

  shed(): void {
    this.#records.clear();
    this.#planes.shed();
  }

  close(): void {
    this.#isClosed = true;
    this.#resolver.close();
    this.#heartbeat.close();
    this.#waiters.close();
  }
}

/** A copy of what may change, so that it can be written over many turns. */
function snapshotOf(plane: Plane, now: number): TenantSnapshot {
  return {
    tenant: plane.tenant,
    head: plane.head,
    ageMs: now - plane.confirmedAt,
    roles: [...plane.directory.roles],
    workspaces: [...plane.directory.workspaces],
    sets: [...plane.sets],
    users: presentRecords(plane.users),
    keys: presentRecords(plane.keys),
  };
}
