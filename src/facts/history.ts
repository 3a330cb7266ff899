/**
 * Whether a revision that was told to a caller is still a part of its tenant's history. A fail-over or a restore can
 * take commits away and number others alike: then facts must not answer for those that are gone (CONS-1).
 */
import type { LRUCache } from 'lru-cache';
import type { Head, Store } from '../store/store.ts';
import { bounded } from './bounded.ts';
import type { Plane } from './plane.ts';
import { namesOf, type Trail } from './trail.ts';

/** Revisions that were seen and are gone: those above `after`, up to `upTo`. */
export interface Lost {
  readonly after: number;
  readonly upTo: number;
  /** Nonces of those whose names were remembered. */
  readonly nonces: ReadonlySet<string>;
}

/** Newest revisions of a plane that are remembered when it leaves the cache. */
const MAX_REMEMBERED = 64;
/** Windows of the feed that are read to find where two histories part; a smaller one where the feed is short. */
const WINDOWS = [256, 16, 1];
/** Acknowledged commits of a tenant that its plane has not reached yet. */
const MAX_ACKNOWLEDGED = 64;

interface Past {
  readonly head: Head;
  readonly trail: ReadonlyMap<number, string>;
}

/** The pasts of tenants, and what of them was lost since the start. */
export class Histories {
  readonly #pasts: LRUCache<string, Past>;
  readonly #losses: LRUCache<string, Lost>;
  readonly #onLost: (tenant: string, lost: Lost) => void;

  /** @param tenants how many are remembered @param onLost called for each loss */
  constructor(tenants: number, onLost: (tenant: string, lost: Lost) => void) {
    this.#pasts = bounded<Past>(tenants);
    this.#losses = bounded<Lost>(tenants);
    this.#onLost = onLost;
  }

  /** Tenants that have lost something since the start. */
  get size(): number {
    return this.#losses.size;
  }

  /** What a tenant has lost since the start; `undefined`: nothing, as far as is known. */
  lost(tenant: string): Lost | undefined {
    return this.#losses.get(tenant);
  }

  /** A plane leaves the cache: its revisions will be compared with the next plane of its tenant. */
  remember(plane: Plane): void {
    const trail = new Map([...plane.trail].slice(-MAX_REMEMBERED));
    for (const [revision, nonce] of plane.acknowledged) trail.set(revision, nonce);
    this.#pasts.set(plane.tenant, { head: newestOf(plane.head, trail), trail });
  }

  /** A commit was acknowledged here: the plane must reach it. @param plane `undefined`: none is loaded */
  acknowledge(tenant: string, plane: Plane | undefined, head: Head): void {
    const { revision, nonce } = head;
    if (plane === undefined) {
      const past = this.#pasts.peek(tenant);
      // A loss of an older commit is one of all later ones: the newest are enough.
      const trail = new Map(
        [...(past?.trail ?? []), [revision, nonce] as const].slice(-MAX_REMEMBERED),
      );
      this.#pasts.set(tenant, { head: newestOf(past?.head ?? head, trail), trail });
      return;
    }
    if (plane.trail.get(revision) === nonce) return;
    if (plane.acknowledged.size < MAX_ACKNOWLEDGED) plane.acknowledged.set(revision, nonce);
    this.check(plane);
  }

  /** Compares acknowledged commits with the plane, as far as it has come. */
  check(plane: Plane): void {
    for (const [revision, nonce] of plane.acknowledged) {
      const name = plane.trail.get(revision);
      if (revision > plane.head.revision) continue;
      plane.acknowledged.delete(revision);
      if (name !== undefined && name !== nonce)
        this.#lose(plane.tenant, revision - 1, revision, [nonce]);
    }
  }

  /**
   * Compares a plane that was just read with the last one of its tenant.
   * @param plane `undefined`: the tenant does not exist any more
   * @throws StoreError
   */
  async compare(store: Store, tenant: string, plane: Plane | undefined): Promise<void> {
    const past = this.#pasts.peek(tenant);
    if (past === undefined) return;
    const lost = await lostOf(store, past, plane);
    this.#pasts.delete(tenant);
    if (lost !== undefined) this.#lose(tenant, lost.after, past.head.revision, lost.nonces);
  }

  #lose(tenant: string, after: number, upTo: number, nonces: Iterable<string>): void {
    const before = this.#losses.peek(tenant);
    const lost: Lost = {
      after: Math.min(after, before?.after ?? after),
      upTo: Math.max(upTo, before?.upTo ?? upTo),
      nonces: new Set([...nonces, ...(before?.nonces ?? [])].slice(0, 2 * MAX_REMEMBERED)),
    };
    this.#losses.set(tenant, lost);
    this.#onLost(tenant, lost);
  }
}

/** The head, or what was acknowledged above it. */
function newestOf(head: Head, trail: ReadonlyMap<number, string>): Head {
  let newest = head;
  for (const [revision, nonce] of trail)
    if (revision > newest.revision) newest = { revision, nonce };
  return newest;
}

async function lostOf(
  store: Store,
  { head, trail }: Past,
  plane: Plane | undefined,
): Promise<Pick<Lost, 'after' | 'nonces'> | undefined> {
  if (plane === undefined) return { after: 0, nonces: new Set(trail.values()) };
  if (plane.trail.get(head.revision) === head.nonce) return undefined;
  const names = await namesUpTo(store, plane, Math.min(head.revision, plane.head.revision));
  const same = names.get(head.revision);
  if (same === head.nonce) return undefined;
  // The feed does not reach so far: a number cannot tell.
  if (same === undefined && head.revision <= plane.head.revision) return undefined;
  let fork = 0;
  for (const [revision, nonce] of trail)
    if (names.get(revision) === nonce) fork = Math.max(fork, revision);
  const nonces = new Set<string>();
  for (const [revision, nonce] of trail) if (revision > fork) nonces.add(nonce);
  return { after: fork, nonces };
}

/** Nonces by revision, as the feed has them up to a revision, and the plane itself. */
async function namesUpTo(store: Store, plane: Plane, upTo: number): Promise<Trail> {
  const names: Trail = new Map(plane.trail);
  for (const window of WINDOWS) {
    const after = Math.max(0, upTo - window);
    const { entries } = await store.feed(plane.tenant, after, window);
    if (entries.length === 0) continue;
    for (const [revision, nonce] of namesOf(entries)) names.set(revision, nonce);
    break;
  }
  return names;
}
