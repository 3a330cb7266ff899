/** Reads users and keys on demand, once for all who wait for them, and fills the caches with what is still true. */
import type { KeyRecord, UserRecord } from '../engine/records.ts';
import { Unreadable, type FactKey, type Head, type Store } from '../store/store.ts';
import type { OnDemandKey } from './contract.ts';
import type { FeedFollower } from './feed-follower.ts';
import type { Flights } from './flights.ts';
import type { Plane } from './plane.ts';
import { isCachedSmall, type RecordCache } from './record-cache.ts';
import { inTime } from './timed.ts';
import { isOfHistory } from './trail.ts';
import { deniedUser, getLeniently, mustUnderstand, UnusableRecordError } from './unreadable.ts';

/** How long a poll that others have begun is waited for, ms: one that hangs delays nobody. */
const MAX_POLL_MS = 20;
/** Reads ahead of a question at a time, and how large the records may be, bytes: larger ones are read when asked for. */
const MAX_AHEAD = 64;
const MAX_AHEAD_BYTES = 65_536;

export interface ReadsOptions {
  readonly store: Store;
  readonly records: RecordCache;
  readonly flights: Flights;
  readonly follower: FeedFollower;
  /** Records that cannot be used and are read again at the next heartbeat; beyond this, all of them at once. */
  readonly maxStandIns: number;
  readonly onError: (error: unknown) => void;
}

export class Reads {
  readonly #options: ReadsOptions;
  #ahead = 0;
  /** Each removes a stand-in, so that the record it stands for is read again. */
  #standIns: (() => void)[] = [];

  constructor(options: ReadsOptions) {
    this.#options = options;
  }

  /** Resolves when the records are cached, or were spoiled by a change: ask the caches again. @throws StoreError */
  async fetch(plane: Plane, keys: readonly OnDemandKey[]): Promise<void> {
    const { flights } = this.#options;
    const fresh = keys.filter((key) => flights.of(plane, key) === undefined);
    if (fresh.length > 0) flights.start(plane, fresh, this.#read(plane, fresh));
    await Promise.all(keys.map((key) => flights.of(plane, key) ?? Promise.resolve()));
  }

  /**
   * Reads cached records again, in the round trip of the poll that finds them changed: a revoke is in force that much
   * sooner. Nothing of the hint is trusted: what is read is cached as for a question, or not.
   * @param hinted records that a hint names
   */
  readAhead(plane: Plane, hinted: readonly FactKey[]): void {
    if (this.#ahead >= MAX_AHEAD) return;
    const keys = hinted.filter((key) => isCachedSmall(plane, key, MAX_AHEAD_BYTES));
    if (keys.length === 0) return;
    this.#ahead++;
    const done = (): void => void this.#ahead--;
    // That the store does not answer is reported by the poll.
    this.fetch(plane, keys).then(done, done);
  }

  /** Caches a record as it was read, or a stand-in for one that cannot be used. */
  fill(plane: Plane, { kind, id }: OnDemandKey, read: unknown): void {
    const { records } = this.#options;
    const value = read instanceof Unreadable ? this.#standIn(plane, kind, id, read) : read;
    // The store returns a record of the kind that was asked for.
    if (kind === 'user') records.putUser(plane, id, value as UserRecord | undefined);
    else records.putKey(plane, id, value as KeyRecord | undefined);
  }

  /** Removes all stand-ins: the records they stand for are read again when they are asked for. */
  removeStandIns(): void {
    const removals = this.#standIns;
    this.#standIns = [];
    for (const remove of removals) remove();
  }

  async #read(plane: Plane, keys: readonly OnDemandKey[]): Promise<void> {
    // The flights are registered in the turn of the call, before anything is read.
    await Promise.resolve();
    const { store, flights, follower } = this.#options;
    const from = plane.head.revision;
    const { head, values } = await getLeniently(store, plane.tenant, keys);
    mustUnderstand(plane.tenant, values);
    const isOurs = (at: Head | undefined): at is Head =>
      at !== undefined && at.revision >= from && isOfHistory(plane, at);
    // Where the records are ahead of the feed, a poll under way is about to bring that, or another does.
    const poll = isOurs(head) ? undefined : follower.latestPoll(plane);
    if (poll !== undefined) await inTime(poll, MAX_POLL_MS, () => {});
    if (!isOurs(head)) await follower.catchUp(plane);
    // From another history, or before a change that nobody has noted: not for this plane.
    if (plane.broken || !isOurs(head)) return;
    for (const [index, key] of keys.entries())
      if (!flights.isSpoiled(plane, key, head.revision)) this.fill(plane, key, values[index]);
  }

  #standIn(
    plane: Plane,
    kind: OnDemandKey['kind'],
    id: string,
    { key, problem }: Unreadable,
  ): UserRecord | undefined {
    const { records, maxStandIns, onError } = this.#options;
    onError(new UnusableRecordError(plane.tenant, key, problem));
    if (this.#standIns.length >= maxStandIns) this.removeStandIns();
    this.#standIns.push(() => records.remove(plane, kind, id));
    // A key that is not there is no key; a user that is not there is one that lists may name (ACL-4).
    return kind === 'user' ? deniedUser(id) : undefined;
  }
}
