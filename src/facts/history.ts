/**
 * Whether a revision that somebody was told is still a part of a tenant's history. A fail-over or a restore can take
 * commits away and number others alike: then facts must not answer for those that are gone (CONS-1).
 */
import type { FeedEntry, Head, Store } from '../store/store.ts';
import { bounded } from './bounded.ts';
import type { Plane } from './plane.ts';

/** Revisions that were seen and are gone: those above `after`, up to `upTo`. */
export interface Lost {
  readonly after: number;
  readonly upTo: number;
  /** Nonces of those that are known by name. */
  readonly nonces: ReadonlySet<string>;
}

export interface Histories {
  /** A plane leaves: what it was at is compared with the next one of its tenant. */
  left(plane: Plane): void;
  /** A commit was acknowledged here: the plane must come by it. */
  acknowledged(tenant: string, plane: Plane | undefined, head: Head): void;
  /** Looks at what was acknowledged here, as far as the plane has come. */
  arrived(plane: Plane): void;
  /**
   * Compares a plane that was just read with the last one of its tenant.
   * @param plane `undefined`: the tenant is not there any more
   * @throws StoreError
   */
  compare(store: Store, tenant: string, plane: Plane | undefined): Promise<void>;
  /** What was lost of a tenant since the start; `undefined`: nothing that is known. */
  lost(tenant: string): Lost | undefined;
  /** Tenants that have lost something since the start. */
  readonly size: number;
}

/** Newest revisions of a plane that are kept when it leaves. */
const KEPT = 64;
/** Windows of the feed that are read to find where two histories part; a smaller one where the feed is short. */
const WINDOWS = [256, 16, 1];
/** Acknowledged commits of a tenant that a plane may have to come by. */
const MAX_ACKNOWLEDGED = 64;

interface Past {
  readonly head: Head;
  readonly trail: ReadonlyMap<number, string>;
}

/** @param tenants how many are remembered @param onLost told of each loss */
export function openHistories(
  tenants: number,
  onLost: (tenant: string, lost: Lost) => void,
): Histories {
  const past = bounded<Past>(tenants);
  const losses = bounded<Lost>(tenants);
  const compared = new WeakSet<Plane>();

  const lose = (tenant: string, after: number, upTo: number, nonces: Iterable<string>): void => {
    const known = losses.peek(tenant);
    const lost: Lost = {
      after: Math.min(after, known?.after ?? after),
      upTo: Math.max(upTo, known?.upTo ?? upTo),
      nonces: new Set([...nonces, ...(known?.nonces ?? [])].slice(0, 2 * KEPT)),
    };
    losses.set(tenant, lost);
    onLost(tenant, lost);
  };

  return {
    left(plane): void {
      if (compared.has(plane)) return;
      const trail = new Map([...plane.trail].slice(-KEPT));
      for (const [revision, nonce] of plane.acknowledged) trail.set(revision, nonce);
      past.set(plane.tenant, { head: newestOf(plane.head, trail), trail });
    },

    acknowledged(tenant, plane, head): void {
      const { revision, nonce } = head;
      if (plane === undefined) {
        const before = past.peek(tenant);
        const trail = new Map(before?.trail).set(revision, nonce);
        past.set(tenant, { head: newestOf(before?.head ?? head, trail), trail });
        return;
      }
      if (plane.trail.get(revision) === nonce) return;
      if (plane.acknowledged.size < MAX_ACKNOWLEDGED) plane.acknowledged.set(revision, nonce);
      this.arrived(plane);
    },

    arrived(plane): void {
      for (const [revision, nonce] of plane.acknowledged) {
        const known = plane.trail.get(revision);
        if (revision > plane.head.revision) continue;
        plane.acknowledged.delete(revision);
        if (known !== undefined && known !== nonce)
          lose(plane.tenant, revision - 1, revision, [nonce]);
      }
    },

    async compare(store, tenant, plane): Promise<void> {
      const before = past.peek(tenant);
      if (before === undefined) return;
      const lost = await lostOf(store, before, plane);
      past.delete(tenant);
      if (lost !== undefined) lose(tenant, lost.after, before.head.revision, lost.nonces);
    },

    lost: (tenant) => losses.get(tenant),
    get size(): number {
      return losses.size;
    },
  };

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
    const now = await namesIn(store, plane, Math.min(head.revision, plane.head.revision));
    const same = now.get(head.revision);
    if (same === head.nonce) return undefined;
    // The feed does not reach so far: a number cannot tell.
    if (same === undefined && head.revision <= plane.head.revision) return undefined;
    let fork = 0;
    for (const [revision, nonce] of trail)
      if (now.get(revision) === nonce) fork = Math.max(fork, revision);
    const nonces = new Set<string>();
    for (const [revision, nonce] of trail) if (revision > fork) nonces.add(nonce);
    return { after: fork, nonces };
  }
}

/** Nonces by revision, as the feed has them up to a revision, and the plane itself. */
async function namesIn(store: Store, plane: Plane, upTo: number): Promise<Map<number, string>> {
  const names = new Map(plane.trail);
  for (const window of WINDOWS) {
    const after = Math.max(0, upTo - window);
    const { entries } = await store.feed(plane.tenant, after, window);
    if (entries.length === 0) continue;
    for (const [revision, nonce] of namesOf(entries)) names.set(revision, nonce);
    break;
  }
  return names;
}

/** What entries say of their own revisions and of those before them. */
export function namesOf(entries: readonly FeedEntry[]): Map<number, string> {
  const names = new Map<number, string>();
  for (const { revision, nonce, previous } of entries) {
    if (previous !== '') names.set(revision - 1, previous);
    // One that cannot be read may lack it.
    if (nonce !== '') names.set(revision, nonce);
  }
  return names;
}

/** Whether a revision that a token names is in the plane's history; `undefined`: it must be read. */
export function knownToPlane(plane: Plane, { revision, nonce }: Head): boolean | undefined {
  const known = plane.trail.get(revision);
  return known === undefined ? undefined : known === nonce;
}
