/** The cached planes of all tenants, and the tenants of which it is known that there is no plane. */
import type { LRUCache } from 'lru-cache';
import type { VersionError } from '../store/store.ts';
import { bounded } from './bounded.ts';
import type { CacheBounds } from './contract.ts';
import type { BreakCause } from './follow.ts';
import type { Plane } from './plane.ts';

export interface PlanesOptions {
  readonly bounds: CacheBounds;
  readonly now: () => number;
  /** How long it holds that a tenant does not exist, ms. */
  readonly absentMs: number;
  /** A plane has left the cache, for whatever reason. */
  readonly onGone: (plane: Plane) => void;
  readonly onResync: (tenant: string, cause: BreakCause) => void;
}

export class Planes {
  readonly #planes: LRUCache<string, Plane>;
  /** Since when tenants are known not to exist. */
  readonly #absent: LRUCache<string, number>;
  /** Tenants that need a newer version of Postern. */
  readonly #refused: LRUCache<string, VersionError>;
  readonly #options: PlanesOptions;
  #resyncs = 0;

  constructor(options: PlanesOptions) {
    const { tenants, absent } = options.bounds;
    this.#planes = bounded(tenants, undefined, options.onGone);
    this.#absent = bounded(absent);
    this.#refused = bounded(absent);
    this.#options = options;
  }

  get size(): number {
    return this.#planes.size;
  }

  /** Planes that were found broken since the start. */
  get resyncs(): number {
    return this.#resyncs;
  }

  /** For a question: its plane stays longest. */
  get(tenant: string): Plane | undefined {
    return this.#planes.get(tenant);
  }

  /** Without counting as a use. */
  peek(tenant: string): Plane | undefined {
    return this.#planes.peek(tenant);
  }

  has(tenant: string): boolean {
    return this.#planes.has(tenant);
  }

  all(): readonly Plane[] {
    return [...this.#planes.values()];
  }

  /** Since when the oldest and the youngest plane are confirmed, ms; `undefined`: there is no plane. */
  confirmed(): { readonly oldest: number; readonly youngest: number } | undefined {
    if (this.#planes.size === 0) return undefined;
    let oldest = Infinity;
    let youngest = -Infinity;
    for (const { confirmedAt } of this.#planes.values()) {
      oldest = Math.min(oldest, confirmedAt);
      youngest = Math.max(youngest, confirmedAt);
    }
    return { oldest, youngest };
  }

  put(plane: Plane): void {
    this.#planes.set(plane.tenant, plane);
  }

  remove(tenant: string): void {
    this.#planes.delete(tenant);
  }

  /** Removes this plane, and no other that has taken its place meanwhile. */
  removeIfCurrent(plane: Plane): void {
    if (this.#planes.peek(plane.tenant) === plane) this.#planes.delete(plane.tenant);
  }

  /** The plane answers nothing any more, and everything of its tenant is read again. */
  break(plane: Plane, cause: BreakCause): void {
    plane.broken = true;
    this.#resyncs++;
    this.removeIfCurrent(plane);
    this.#options.onResync(plane.tenant, cause);
  }

  noteAbsent(tenant: string): void {
    this.#absent.set(tenant, this.#options.now());
  }

  noteRefused(tenant: string, error: VersionError): void {
    this.#refused.set(tenant, error);
  }

  /** Whether the tenant is known not to exist. @throws VersionError where it is known to need a newer version */
  isAbsent(tenant: string): boolean {
    const refused = this.#refused.get(tenant);
    if (refused !== undefined) throw refused;
    const since = this.#absent.get(tenant);
    return since !== undefined && this.#options.now() - since <= this.#options.absentMs;
  }

  /** Somebody has written to the tenant: it may exist now. */
  forgetAbsent(tenant: string): void {
    this.#absent.delete(tenant);
  }

  /** At each heartbeat: absent and refused tenants are read again when they are asked for. */
  forgetAllAbsent(): void {
    this.#absent.clear();
    this.#refused.clear();
  }

  /** Empties what is kept only to be quicker: closures, and the absent tenants. */
  shed(): void {
    this.#absent.clear();
    for (const { groups } of this.#planes.values()) groups.clear();
  }
}
