/** Stores and rooms as the scale bench needs them. */
import { settingsSchema } from '../../src/config/settings/settings-schema.ts';
import { openRedisStore, REDIS_DEFAULTS } from '../../src/store/redis/store.ts';
import type { Store } from '../../src/store/store.ts';
import { openRoom, type TestRoom } from '../../test/support/records.ts';
import { CATALOG } from './world.ts';

const { facts } = settingsSchema.parse({});
/** Users that an instance keeps at most, where nothing else is said. */
export const CACHED_SUBJECTS = facts.cached_subjects;
const CACHE = {
  subjects: facts.cached_subjects,
  keys: facts.cached_keys,
  absent: facts.cached_absent,
  groups: facts.cached_closures,
};

export function openStoreAt(url: string, keyPrefix: string): Store {
  return openRedisStore({
    ...REDIS_DEFAULTS,
    address: url,
    keyPrefix,
    onProblem: (message) => void process.stderr.write(`${message}\n`),
  });
}

/** An instance's facts, with caches as by default. */
export function openInstance(store: Store, bytes = facts.cache_bytes): TestRoom {
  const room = openRoom(store, { heartbeatMs: facts.heartbeat_ms, cache: { ...CACHE, bytes } });
  room.setCatalog(CATALOG);
  return room;
}

export interface CountedStore extends Store {
  /** Reads so far; the heartbeat's are not among them. */
  trips(): number;
}

export function counted(store: Store): CountedStore {
  let trips = 0;
  const counting =
    <A extends readonly unknown[], R>(method: (...args: A) => R) =>
    (...args: A): R => {
      trips++;
      return method(...args);
    };
  return {
    ...store,
    get: counting(store.get.bind(store)),
    scan: counting(store.scan.bind(store)),
    feed: counting(store.feed.bind(store)),
    tenants: counting(store.tenants.bind(store)),
    trips: () => trips,
  };
}

/** The store without hints: who reads it does not notice a commit. */
export function deaf(store: Store): Store {
  return { ...store, watch: () => () => {} };
}
