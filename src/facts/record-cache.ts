/** The cached users and keys of all planes, each with what was compiled from it. */
import type { KeyFacts } from '../engine/abac.ts';
import type { KeyRecord, UserRecord } from '../engine/records.ts';
import { usableKey } from '../engine/resolve-key.ts';
import { compileUser, NO_GROUPS, type SubjectFacts } from '../engine/subject.ts';
import type { FactKey } from '../store/store.ts';
import type { CacheBounds, OnDemandKey } from './contract.ts';
import { groupsIn, type Plane } from './plane.ts';
import { openShelves, type Entry, type Shelf, type Shelves } from './shelves.ts';
import { sizeOfKey, sizeOfUser } from './size.ts';
import { isStandIn } from './unreadable.ts';

export type CachedUser = Entry<UserRecord, SubjectFacts>;
export type CachedKey = Entry<KeyRecord, KeyFacts | undefined>;

export class RecordCache {
  readonly #users: Shelves<UserRecord, SubjectFacts>;
  readonly #keys: Shelves<KeyRecord, KeyFacts | undefined>;
  readonly #onError: (error: Error) => void;

  /** @param onError called for a key that names a policy set which does not exist: it is no key (CONS-6) */
  constructor(bounds: CacheBounds, onError: (error: Error) => void) {
    const { bytes, absent } = bounds;
    this.#users = openShelves(bounds.subjects, absent, { bytes, sizeOf: sizeOfUser });
    this.#keys = openShelves(bounds.keys, absent, { bytes, sizeOf: sizeOfKey });
    this.#onError = onError;
  }

  /** Users that exist. */
  get users(): number {
    return this.#users.present;
  }

  /** Keys that exist. */
  get keys(): number {
    return this.#keys.present;
  }

  /** Memory of both, by the estimate. */
  get bytes(): number {
    return this.#users.bytes + this.#keys.bytes;
  }

  /** A cached user, compiled for the plane as it is now; `undefined`: it must be read. @param at monotonic ms */
  user(plane: Plane, id: string, at: number): CachedUser | undefined {
    const cached = this.#users.find(plane.users, id, at);
    if (cached !== undefined && cached.generation !== plane.generation) {
      cached.compiled = compiledUser(plane, id, cached.record);
      cached.generation = plane.generation;
    }
    return cached;
  }

  /** The same of a key. */
  key(plane: Plane, id: string, at: number): CachedKey | undefined {
    const cached = this.#keys.find(plane.keys, id, at);
    if (cached === undefined || cached.generation === plane.generation) return cached;
    // With other policy sets it takes other room: its size is estimated anew.
    return this.putKey(plane, id, cached.record);
  }

  /** @param record `undefined`: there is none */
  putUser(plane: Plane, id: string, record: UserRecord | undefined): CachedUser {
    const { generation } = plane;
    const compiled = compiledUser(plane, id, record);
    return this.#users.put(plane.users, { id, record, generation, compiled });
  }

  /** @param record `undefined`: there is none */
  putKey(plane: Plane, id: string, record: KeyRecord | undefined): CachedKey {
    const { generation } = plane;
    const compiled = this.#compiledKey(plane, record);
    return this.#keys.put(plane.keys, { id, record, generation, compiled });
  }

  remove(plane: Plane, kind: OnDemandKey['kind'], id: string): void {
    if (kind === 'user') this.#users.remove(plane.users, id);
    else this.#keys.remove(plane.keys, id);
  }

  /** Removes all of a plane that is no longer used; of a large one in parts, over some turns. */
  abandon(plane: Plane): void {
    this.#users.abandon(plane.users);
    this.#keys.abandon(plane.keys);
  }

  clear(): void {
    this.#users.clear();
    this.#keys.clear();
  }

  #compiledKey(plane: Plane, record: KeyRecord | undefined): KeyFacts | undefined {
    const key = usableKey(record, (name) => plane.sets.get(name));
    if (key !== 'lost_set') return key;
    this.#onError(
      new Error(`key \`${record?.id ?? ''}\` of \`${plane.tenant}\` has a lost policy set`),
    );
    return undefined;
  }
}

/** Whether a record is cached, and takes no more than so many bytes. @param key whatever a hint names */
export function isCachedSmall(plane: Plane, key: FactKey, maxBytes: number): key is OnDemandKey {
  const { kind, id } = key;
  const cachedUser = kind === 'user' ? plane.users.get(id) : undefined;
  if (cachedUser !== undefined) return sizeOfUser(cachedUser) <= maxBytes;
  const cachedKey = kind === 'key' ? plane.keys.get(id) : undefined;
  return cachedKey !== undefined && sizeOfKey(cachedKey) <= maxBytes;
}

/** The records of a shelf that exist and are no stand-ins, by id. */
export function presentRecords<R extends UserRecord | KeyRecord>(
  shelf: Shelf<R, unknown>,
): (readonly [string, R])[] {
  const found: (readonly [string, R])[] = [];
  for (const { id, record } of shelf.values())
    if (record !== undefined && !isStandIn(record)) found.push([id, record]);
  return found;
}

function compiledUser(plane: Plane, id: string, record: UserRecord | undefined): SubjectFacts {
  return compileUser(id, record, record === undefined ? NO_GROUPS : groupsIn(plane, record));
}
