/** Asks the store at each heartbeat, and at each hint of a commit, whether the planes are still the newest. */
import type { FactKey, Head, Store } from '../store/store.ts';
import { later } from '../util/later.ts';
import type { FeedFollower } from './feed-follower.ts';
import type { Plane } from './plane.ts';
import type { Planes } from './planes.ts';
import type { Reads } from './reads.ts';
import type { Waiters } from './waiters.ts';

export interface HeartbeatOptions {
  readonly store: Store;
  /** Between two heartbeats, ms. */
  readonly everyMs: number;
  readonly now: () => number;
  readonly planes: Planes;
  readonly follower: FeedFollower;
  readonly reads: Reads;
  readonly waiters: Waiters;
  /** The store has stopped answering, or answers again. */
  readonly onStore: (up: boolean) => void;
  readonly onError: (error: unknown) => void;
}

export class Heartbeat {
  readonly #options: HeartbeatOptions;
  readonly #timer: NodeJS.Timeout;
  readonly #unwatch: () => void;
  /** When the last question that the store has answered was asked. */
  #answeredAt: number;
  #isUp = true;
  #isClosed = false;

  constructor(options: HeartbeatOptions) {
    this.#options = options;
    this.#answeredAt = options.now();
    this.#unwatch = options.store.watch((tenant, changed) => this.#hint(tenant, changed));
    this.#timer = setInterval(() => this.#beat(), options.everyMs).unref();
  }

  get answeredAt(): number {
    return this.#answeredAt;
  }

  /** Whether the store has answered the last heartbeat. */
  get isUp(): boolean {
    return this.#isUp;
  }

  close(): void {
    this.#isClosed = true;
    clearInterval(this.#timer);
    this.#unwatch();
  }

  /** Asks for the heads of all planes at once; only the feeds of those that are behind are read. */
  #beat(): void {
    const { store, everyMs, now, planes, reads } = this.#options;
    planes.forgetAllAbsent();
    reads.removeStandIns();
    const askedAt = now();
    const all = planes.all();
    const late = setTimeout(() => this.#setUp(false), everyMs / 2).unref();
    const fail = (error: unknown): void => {
      clearTimeout(late);
      this.#setUp(false);
      this.#options.onError(error);
    };
    try {
      const heads = later(store.heads(all.map(({ tenant }) => tenant)), (found) => {
        clearTimeout(late);
        this.#compare(all, found, askedAt);
      });
      if (heads instanceof Promise) heads.catch(fail);
    } catch (error) {
      fail(error);
    }
  }

  #compare(
    all: readonly Plane[],
    heads: readonly (Head | undefined | 'unknown')[],
    askedAt: number,
  ): void {
    const { planes, follower, waiters, onError } = this.#options;
    this.#answeredAt = Math.max(this.#answeredAt, askedAt);
    this.#setUp(!heads.includes('unknown'));
    for (const [index, plane] of all.entries()) {
      const head = heads[index];
      if (head === 'unknown') continue;
      if (head?.nonce === plane.head.nonce && !plane.broken) {
        plane.confirmedAt = Math.max(plane.confirmedAt, askedAt);
        this.#wake(plane.tenant);
        if (plane.unreadable.size > 0) follower.retryUnreadable(plane).catch(onError);
      } else this.#catchUp(plane);
    }
    // Nobody follows a tenant that is not loaded: whoever waits for it loads it.
    for (const tenant of waiters.tenants()) if (!planes.has(tenant)) this.#wake(tenant);
  }

  /** Somebody has committed. @param tenant `undefined`: perhaps to any */
  #hint(tenant: string | undefined, changed: readonly FactKey[] = []): void {
    if (tenant === undefined) {
      this.#beat();
      return;
    }
    const { planes, reads } = this.#options;
    planes.forgetAbsent(tenant);
    const plane = planes.peek(tenant);
    if (plane === undefined) this.#wake(tenant);
    else {
      this.#catchUp(plane);
      reads.readAhead(plane, changed);
    }
  }

  /** Brings a plane up to date, then resumes those who wait for its revision. */
  #catchUp(plane: Plane): void {
    const poll = this.#options.follower.catchUp(plane);
    const { tenant } = plane;
    if (poll instanceof Promise) void poll.then(() => this.#wake(tenant));
    else this.#wake(tenant);
  }

  #wake(tenant: string): void {
    const { planes, waiters } = this.#options;
    waiters.wake(tenant, planes.peek(tenant)?.head.revision);
  }

  #setUp(isUp: boolean): void {
    if (isUp === this.#isUp || this.#isClosed) return;
    this.#isUp = isUp;
    this.#options.onStore(isUp);
  }
}
