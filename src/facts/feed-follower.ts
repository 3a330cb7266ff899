/** Follows the change feeds of all planes: what commits have changed is dropped from the caches. */
import { StoreError, TenantError, Unreadable, type FeedEntry, type Store } from '../store/store.ts';
import { later, type MaybePromise } from '../util/later.ts';
import type { Flights } from './flights.ts';
import { follow } from './follow.ts';
import type { Histories } from './history.ts';
import type { Plane } from './plane.ts';
import type { Planes } from './planes.ts';
import type { RecordCache } from './record-cache.ts';
import { getLeniently } from './unreadable.ts';

/** Reads of one tenant's feed at a time. */
const MAX_POLLS = 4;

/** Reads of one plane's feed that are under way: a few, so that one that hangs delays nobody, and hints do not pile up. */
interface Polls {
  running: number;
  /** The poll that began last. */
  latest: Promise<void>;
  /** Resolves after `latest`, and one poll that was queued behind it. */
  settled: Promise<void>;
  /** Another poll is queued: it begins when one that is under way has ended. */
  isQueued: boolean;
}

export interface FollowerOptions {
  readonly store: Store;
  readonly now: () => number;
  readonly planes: Planes;
  readonly records: RecordCache;
  readonly flights: Flights;
  readonly histories: Histories;
  /** Commits have come into force here. */
  readonly onEntries: (tenant: string, entries: readonly FeedEntry[]) => void;
  readonly onError: (error: unknown) => void;
}

export class FeedFollower {
  readonly #options: FollowerOptions;
  readonly #polls = new Map<Plane, Polls>();

  constructor(options: FollowerOptions) {
    this.#options = options;
  }

  /** Brings a plane up to date, or breaks it. Never rejects: a store that does not answer shows as the plane's age. */
  catchUp(plane: Plane): MaybePromise<void> {
    const polls = this.#polls.get(plane);
    if (polls !== undefined && polls.running >= MAX_POLLS) {
      polls.isQueued = true;
      return polls.settled;
    }
    const poll = this.#poll(plane);
    if (!(poll instanceof Promise)) return poll;
    const state = polls ?? { running: 0, latest: poll, settled: poll, isQueued: false };
    this.#polls.set(plane, state);
    state.running++;
    state.latest = poll;
    state.settled = poll.then(async () => {
      state.running--;
      if (state.running === 0) this.#polls.delete(plane);
      if (!state.isQueued || plane.broken) return;
      state.isQueued = false;
      await this.catchUp(plane);
    });
    return poll;
  }

  /** The poll of a plane that began last and is under way. */
  latestPoll(plane: Plane): Promise<void> | undefined {
    return this.#polls.get(plane)?.latest;
  }

  /** Breaks the plane where a record that could not be used can be used by now. @throws StoreError */
  async retryUnreadable(plane: Plane): Promise<void> {
    const { store, planes } = this.#options;
    const { values } = await getLeniently(store, plane.tenant, [...plane.unreadable.values()]);
    const isMended = values.some((value) => !(value instanceof Unreadable));
    if (isMended && !plane.broken) planes.break(plane, 'unreadable');
  }

  #poll(plane: Plane): MaybePromise<void> {
    const { store, now, planes } = this.#options;
    try {
      const followed = later(
        follow(store, plane, now, (entries) => this.#arrive(plane, entries)),
        (found): void => {
          if (found.kind === 'broken') planes.break(plane, found.cause);
        },
      );
      return followed instanceof Promise
        ? followed.catch((error: unknown) => this.#fail(plane, error))
        : followed;
    } catch (error) {
      return this.#fail(plane, error);
    }
  }

  /** A plane that cannot be read is read anew, and never trusted to come right. */
  #fail(plane: Plane, error: unknown): void {
    const { planes, onError } = this.#options;
    if (error instanceof TenantError || !(error instanceof StoreError))
      planes.break(plane, 'unreadable');
    onError(error);
  }

  #arrive(plane: Plane, entries: readonly FeedEntry[]): void {
    const { records, flights, histories, onEntries } = this.#options;
    for (const entry of entries) {
      for (const { kind, id } of entry.keys ?? [])
        if (kind === 'user' || kind === 'key') records.remove(plane, kind, id);
      flights.note(plane.tenant, entry);
    }
    histories.check(plane);
    onEntries(plane.tenant, entries);
  }
}
