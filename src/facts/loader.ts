/** Loads the planes of tenants, each once at a time. */
import { TenantError, VersionError, type Store } from '../store/store.ts';
import type { FeedFollower } from './feed-follower.ts';
import type { Histories } from './history.ts';
import { loadPlane } from './load-plane.ts';
import type { Plane } from './plane.ts';
import type { Planes } from './planes.ts';
import { UnusableRecordError } from './unreadable.ts';

/** Planes that are read at a time at the start. */
const MAX_LOADS = 8;

export interface LoaderOptions {
  readonly store: Store;
  readonly now: () => number;
  readonly planes: Planes;
  readonly histories: Histories;
  readonly follower: FeedFollower;
  /** Compiled closures that a plane caches. */
  readonly groups: number;
  readonly onError: (error: unknown) => void;
}

export class Loader {
  readonly #options: LoaderOptions;
  readonly #loads = new Map<string, Promise<Plane | undefined>>();

  constructor(options: LoaderOptions) {
    this.#options = options;
  }

  /** The plane of a tenant, read from the store; `undefined`: the tenant does not exist. @throws StoreError */
  load(tenant: string): Promise<Plane | undefined> {
    const running = this.#loads.get(tenant);
    if (running !== undefined) return running;
    const started = this.#load(tenant)
      .catch((error: unknown) => {
        if (error instanceof VersionError) this.#options.planes.noteRefused(tenant, error);
        throw error;
      })
      .finally(() => this.#loads.delete(tenant));
    this.#loads.set(tenant, started);
    return started;
  }

  /** Loads the first tenants, up to a bound. Returns the names of all. @throws StoreError */
  async loadFirst(bound: number): Promise<readonly string[]> {
    const { store, onError } = this.#options;
    const tenants = await store.tenants();
    const waiting = tenants.slice(0, bound).values();
    const loadNext = async (): Promise<void> => {
      for (const tenant of waiting)
        try {
          await this.load(tenant);
        } catch (error) {
          // One tenant's trouble is not the others'.
          if (!(error instanceof TenantError)) throw error;
          onError(error);
        }
    };
    await Promise.all(Array.from({ length: MAX_LOADS }, loadNext));
    return tenants;
  }

  async #load(tenant: string): Promise<Plane | undefined> {
    const { store, now, groups, planes, histories, follower, onError } = this.#options;
    const plane = await loadPlane(store, tenant, { groups, now });
    if (plane === 'deleted') {
      // Nothing is lost: the plane before is not compared with what is there.
      planes.remove(tenant);
      planes.noteAbsent(tenant);
      return undefined;
    }
    const current = planes.peek(tenant);
    if (current !== undefined) histories.remember(current);
    await histories.compare(store, tenant, plane);
    if (plane === undefined) {
      planes.noteAbsent(tenant);
      return undefined;
    }
    planes.put(plane);
    for (const key of plane.unreadable.values()) onError(new UnusableRecordError(tenant, key));
    // Nobody followed it while it was read.
    await follower.catchUp(plane);
    return plane;
  }
}
