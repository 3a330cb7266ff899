/** Resolves one question to the facts of one revision. A question whose facts are cached neither awaits nor reads. */
import { TenantError, VersionError, type Head, type Store } from '../store/store.ts';
import type { MaybePromise } from '../util/later.ts';
import type { Assembler } from './assemble.ts';
import { unavailable, type Loaded, type Who } from './contract.ts';
import type { FeedFollower } from './feed-follower.ts';
import type { Histories } from './history.ts';
import type { Loader } from './loader.ts';
import type { Plane } from './plane.ts';
import type { Planes } from './planes.ts';
import type { Reads } from './reads.ts';
import { inTime } from './timed.ts';
import { inTrail, isOfHistory } from './trail.ts';
import type { Waiters } from './waiters.ts';

/** Reads of one question that were spoiled by changes, before it is answered as unavailable. */
const MAX_ROUNDS = 20;

export interface ResolverOptions {
  readonly store: Store;
  readonly now: () => number;
  readonly maxStalenessMs: number;
  /** For the message of a full queue. */
  readonly maxWaiting: number;
  readonly planes: Planes;
  readonly histories: Histories;
  readonly follower: FeedFollower;
  readonly loader: Loader;
  readonly reads: Reads;
  readonly waiters: Waiters;
  readonly assembler: Assembler;
  readonly onError: (error: unknown) => void;
}

/** A question whose facts are not all cached. */
interface Pending {
  readonly who: Who;
  /** Answer from this revision by its number, or newer; 0: any. */
  readonly minRevision: number;
  /** The same by its name. */
  readonly token: Head | undefined;
  /** The higher of both. */
  readonly wanted: number;
  /** Monotonic ms. */
  readonly deadline: number;
  /**
   * The plane that records were read for. Where many tenants share a small cache, others push it out between the rounds
   * of this question: what was read for it stays true.
   */
  held: Plane | undefined;
}

/** `again`: look again, at no cost. `spoiled`: a round was in vain. */
type Retry = 'again' | 'spoiled';

export class Resolver {
  readonly #options: ResolverOptions;
  // Those of the warm path, at hand.
  readonly #now: () => number;
  readonly #maxStalenessMs: number;
  readonly #planes: Planes;
  readonly #histories: Histories;
  readonly #assembler: Assembler;
  #hits = 0;
  #misses = 0;
  #isClosed = false;

  constructor(options: ResolverOptions) {
    this.#options = options;
    this.#now = options.now;
    this.#maxStalenessMs = options.maxStalenessMs;
    this.#planes = options.planes;
    this.#histories = options.histories;
    this.#assembler = options.assembler;
  }

  get hits(): number {
    return this.#hits;
  }

  get misses(): number {
    return this.#misses;
  }

  /** From now on every question is answered as unavailable. */
  close(): void {
    this.#isClosed = true;
  }

  /** See `FactsRoom.resolve`. */
  resolve(who: Who, minRevision: number, waitMs: number, token?: Head): MaybePromise<Loaded> {
    if (this.#isClosed) return ENDED;
    const plane = this.#planes.get(who.tenant);
    const at = this.#now();
    if (
      plane !== undefined &&
      !plane.broken &&
      minRevision <= plane.head.revision &&
      (token === undefined || inTrail(plane, token) === true) &&
      (minRevision === 0 || this.#histories.size === 0) &&
      at - plane.confirmedAt <= this.#maxStalenessMs
    ) {
      const answer = this.#assembler.facts(plane, who, at);
      if (!Array.isArray(answer)) {
        this.#hits++;
        return answer;
      }
    }
    this.#misses++;
    const wanted = Math.max(minRevision, token?.revision ?? 0);
    const deadline = at + waitMs;
    const pending = { who, minRevision, token, wanted, deadline, held: undefined };
    const resolving = this.#resolveSlowly(pending).then((loaded) =>
      this.#isClosed ? ENDED : loaded,
    );
    return inTime(resolving, waitMs, () => this.#tooLate(who.tenant, wanted, waitMs));
  }

  async #resolveSlowly(pending: Pending): Promise<Loaded> {
    try {
      for (let round = 0; round < MAX_ROUNDS;) {
        const outcome = await this.#tryOnce(pending);
        if (typeof outcome === 'object') return outcome;
        if (outcome === 'spoiled') round++;
      }
      return unavailable('facts change faster than they can be read: retry');
    } catch (error) {
      // It was reported when it was found.
      if (error instanceof VersionError) return unavailable(error.message, 'VERSION');
      this.#options.onError(error);
      if (error instanceof TenantError) return unavailable(error.message);
      return unavailable(
        'the store does not answer, and facts that are not cached cannot be guessed',
      );
    }
  }

  async #tryOnce(pending: Pending): Promise<Loaded | Retry> {
    const { who, token, wanted } = pending;
    const { tenant } = who;
    const plane = this.#planes.get(tenant) ?? pending.held ?? (await this.#load(tenant));
    if (plane?.broken === true) {
      pending.held = undefined;
      // The poll that saw the break has yet to remove it: nothing of it may answer.
      this.#planes.removeIfCurrent(plane);
      return 'spoiled';
    }
    if (this.#isLost(pending)) return HISTORY_LOST;
    if ((plane?.head.revision ?? 0) < wanted) return this.#waitFor(pending, plane);
    if (plane === undefined) return this.#assembler.noTenant(who);
    if (token !== undefined) {
      const proof = await this.#prove(plane, token);
      if (proof !== 'proven') return proof;
    }
    if (this.#isStale(plane)) {
      const freshened = await this.#freshen(plane);
      if (freshened !== 'fresh') return freshened;
    }
    const answer = this.#assembler.facts(plane, who, this.#now());
    if (!Array.isArray(answer)) return answer;
    pending.held = plane;
    await this.#options.reads.fetch(plane, answer);
    return 'spoiled';
  }

  /** @throws VersionError, StoreError */
  #load(tenant: string): MaybePromise<Plane | undefined> {
    return this.#planes.isAbsent(tenant) ? undefined : this.#options.loader.load(tenant);
  }

  /** Whether the revision is known to be lost: its number may be one that was, or its name is. */
  #isLost({ who, minRevision, token }: Pending): boolean {
    const lost = this.#histories.lost(who.tenant);
    if (lost === undefined) return false;
    if (minRevision > lost.after && minRevision <= lost.upTo) return true;
    return token !== undefined && lost.nonces.has(token.nonce);
  }

  /** Waits until the tenant is at the revision, or something else has happened to it. */
  async #waitFor(
    { who, wanted, deadline }: Pending,
    plane: Plane | undefined,
  ): Promise<Loaded | Retry> {
    const { follower, waiters, maxWaiting } = this.#options;
    const { tenant } = who;
    const before = plane?.head.revision ?? 0;
    if (plane !== undefined) await follower.catchUp(plane);
    const reached = this.#planes.peek(tenant)?.head.revision ?? 0;
    if (plane?.broken === true || reached >= wanted) return 'again';
    const left = deadline - this.#now();
    if (left <= 0 || this.#isClosed) return notReached(wanted, before);
    if (waiters.isFull)
      return unavailable(
        `more than ${maxWaiting} calls wait for a revision: retry later, or raise \`limits.waiting_calls\``,
      );
    await waiters.wait(tenant, wanted, left);
    return 'again';
  }

  /** Whether the revision of a token is in the plane's history, as far back as the feed reaches. */
  async #prove(plane: Plane, token: Head): Promise<'proven' | Loaded | Retry> {
    const isOurs = inTrail(plane, token);
    if (isOurs !== undefined) return isOurs ? 'proven' : HISTORY_LOST;
    const { store, follower } = this.#options;
    const { head, entries } = await store.feed(plane.tenant, token.revision - 1, 1);
    // The feed may be of another history than the plane, or newer.
    if (head === undefined || !isOfHistory(plane, head)) await follower.catchUp(plane);
    if (plane.broken || head === undefined || !isOfHistory(plane, head)) return 'spoiled';
    if (entries[0]?.nonce !== token.nonce) return HISTORY_LOST;
    plane.trail.set(token.revision, token.nonce);
    return 'proven';
  }

  #isStale({ confirmedAt }: Plane): boolean {
    return this.#now() - confirmedAt > this.#maxStalenessMs;
  }

  async #freshen(plane: Plane): Promise<'fresh' | Loaded | Retry> {
    await this.#options.follower.catchUp(plane);
    if (plane.broken) return 'again';
    const age = this.#now() - plane.confirmedAt;
    if (age <= this.#maxStalenessMs) return 'fresh';
    return unavailable(
      `facts are ${Math.round(age)} ms old, ${this.#maxStalenessMs} ms are allowed: the store does not answer`,
      'STALE',
    );
  }

  /** The store has not answered in time: the reason follows from what is loaded, and its age. */
  #tooLate(tenant: string, wanted: number, waitMs: number): Loaded {
    const plane = this.#planes.peek(tenant);
    const reached = plane?.head.revision ?? 0;
    if (reached < wanted) return notReached(wanted, reached);
    return unavailable(
      `the facts are not here after ${Math.round(waitMs)} ms: retry with a longer deadline`,
      plane !== undefined && this.#isStale(plane) ? 'STALE' : 'UNAVAILABLE',
    );
  }
}

/** Facts may have been revoked since the feed was last followed. */
const ENDED: Loaded = unavailable('this server ends: ask another one');

const HISTORY_LOST: Loaded = unavailable(
  'the revision that was asked for is not in the history of this tenant, or can no longer be proven to be: the store has lost commits, or the token is older than its feed; look at what is there now, and ask by a newer token',
  'HISTORY_LOST',
);

function notReached(wanted: number, reached: number): Loaded {
  return unavailable(`revision ${wanted} was asked for, this instance has ${reached}: retry`);
}
