/**
 * A store in plain Maps, for tests only, and a wrapper that makes any store slow in a way that the test
 * controls, so that interleavings are forced and not hoped for.
 */
import { randomBytes } from 'node:crypto';
import type { Kind } from '../../src/engine/records.ts';
import {
  MAX_NAMED,
  StoreError,
  type Commit,
  type CommitResult,
  type FactKey,
  type FactValue,
  type Feed,
  type FeedEntry,
  type Head,
  type Page,
  type Snapshot,
  type Store,
} from '../../src/store/store.ts';
import type { MaybePromise } from '../../src/util/later.ts';

export interface MemoryOptions {
  /** Feed entries kept a tenant. */
  readonly feedLength?: number;
}

/** Everything in a memory store, as an opaque value. */
export type Image = ReadonlyMap<string, Readonly<Tenant>>;

export interface MemoryStore extends Store {
  /** The whole content now, to be restored later: how a fail-over loses commits. */
  image(): Image;
  /** Replaces the whole content, as a restart or a fail-over would. Nobody is told. */
  restore(image: Image): void;
  /** Drops the feed's entries up to a revision, as trimming would. */
  trim(tenant: string, upTo: number): void;
}

interface Tenant {
  head: Head;
  /** kind → id → JSON, so that no caller shares an object with the store. */
  readonly facts: Map<Kind, Map<string, string>>;
  readonly feed: FeedEntry[];
}

/** What a store looks like after it was emptied. */
export const EMPTY_IMAGE: Image = new Map();

export function openMemoryStore({ feedLength = 10_000 }: MemoryOptions = {}): MemoryStore {
  let tenants = new Map<string, Tenant>();
  const listeners = new Set<(tenant: string | undefined) => void>();
  let closed = false;

  const open = (): void => {
    if (closed) throw new StoreError('the store is closed');
  };
  const read = (tenant: Tenant | undefined, { kind, id }: FactKey): FactValue | undefined => {
    const json = tenant?.facts.get(kind)?.get(id);
    return json === undefined ? undefined : (JSON.parse(json) as FactValue);
  };
  const apply = ({ tenant: name, expected, nonce, changes, event }: Commit): CommitResult => {
    const old = tenants.get(name);
    const other = nonce !== undefined && nonce !== old?.head.nonce;
    if ((old?.head.revision ?? 0) !== expected || other)
      return { committed: false, head: old?.head };
    // Serialized before anything is changed: a value that cannot be stored changes nothing.
    const written = changes.map(({ kind, id, value }) => ({
      kind,
      id,
      json: value === undefined ? undefined : JSON.stringify(value),
    }));
    const head: Head = { revision: expected + 1, nonce: randomBytes(9).toString('base64url') };
    const tenant: Tenant = old ?? { head, facts: new Map(), feed: [] };
    tenants.set(name, tenant);
    for (const { kind, id, json } of written) {
      const records = tenant.facts.get(kind) ?? new Map<string, string>();
      tenant.facts.set(kind, records);
      if (json === undefined) records.delete(id);
      else records.set(id, json);
    }
    tenant.feed.push({
      ...head,
      previous: old?.head.nonce ?? '',
      keys: changes.length > MAX_NAMED ? undefined : changes.map(({ kind, id }) => ({ kind, id })),
      event,
      time: Date.now(),
    });
    if (tenant.feed.length > feedLength) tenant.feed.shift();
    tenant.head = head;
    return { committed: true, head };
  };

  return {
    get(name, keys): Snapshot {
      open();
      const tenant = tenants.get(name);
      return { head: tenant?.head, values: keys.map((key) => read(tenant, key)) };
    },

    scan(name, kind, after, limit): Page {
      open();
      const tenant = tenants.get(name);
      const ids = [...(tenant?.facts.get(kind)?.keys() ?? [])]
        .filter((id) => after === undefined || byteOrder(id, after) > 0)
        .toSorted(byteOrder);
      const page = ids.slice(0, limit);
      return {
        head: tenant?.head,
        entries: page.map((id) => [id, read(tenant, { kind, id }) as FactValue] as const),
        next: ids.length > limit ? page.at(-1) : undefined,
      };
    },

    async commit(commit): Promise<CommitResult> {
      open();
      let result: CommitResult;
      try {
        result = apply(commit);
      } catch (error) {
        throw new StoreError('the memory store could not commit', { cause: error });
      }
      await Promise.resolve();
      if (result.committed) for (const listener of listeners) listener(undefined);
      return result;
    },

    feed(name, after, limit): Feed {
      open();
      const tenant = tenants.get(name);
      const entries = (tenant?.feed ?? []).filter(({ revision }) => revision > after);
      const dense = entries[0]?.revision === after + 1;
      return { head: tenant?.head, entries: dense ? entries.slice(0, limit) : [] };
    },

    heads(names): readonly (Head | undefined)[] {
      open();
      return names.map((name) => tenants.get(name)?.head);
    },

    tenants(): readonly string[] {
      open();
      return [...tenants.keys()];
    },

    settle: () => Promise.resolve(),

    watch(onChange): () => void {
      listeners.add(onChange);
      return () => void listeners.delete(onChange);
    },

    // eslint-disable-next-line @typescript-eslint/require-await
    async close(): Promise<void> {
      closed = true;
      listeners.clear();
    },

    image: () => copyOf(tenants),
    restore(image): void {
      tenants = copyOf(image);
    },
    trim(name, upTo): void {
      const feed = tenants.get(name)?.feed ?? [];
      feed.splice(0, feed.filter(({ revision }) => revision <= upTo).length);
    },
  };
}

function copyOf(tenants: Image): Map<string, Tenant> {
  return new Map(
    [...tenants].map(([name, { head, facts, feed }]) => [
      name,
      {
        head,
        facts: new Map([...facts].map(([kind, records]) => [kind, new Map(records)])),
        feed: [...feed],
      },
    ]),
  );
}

/** The order of a scan: by the bytes of UTF-8, which is not the order of JavaScript's `<`. */
export function byteOrder(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

// ── slow ────────────────────────────────────────────────────────────────────────────────────────

/** One read of a store that is made slow. */
export interface Read {
  readonly method: 'get' | 'scan' | 'feed';
  readonly tenant: string;
  /** What is asked for; empty for a scan and for the feed. */
  readonly keys: readonly FactKey[];
}

export interface Hooks {
  /** Runs before the store is read: what it waits for can still change the answer. */
  readonly before?: ((read: Read) => MaybePromise<void>) | undefined;
  /** Runs when the store has answered: what it waits for makes the answer old. */
  readonly after?: ((read: Read) => MaybePromise<void>) | undefined;
}

/** Every get, scan and feed becomes a promise that waits for the hooks; a hook that throws fails the read. */
export function slowly(store: Store, { before, after }: Hooks): Store {
  const slow = async <T>(read: Read, answer: () => MaybePromise<T>): Promise<T> => {
    await before?.(read);
    const answered = await answer();
    await after?.(read);
    return answered;
  };
  return {
    ...store,
    get: (tenant, keys) => slow({ method: 'get', tenant, keys }, () => store.get(tenant, keys)),
    scan: (tenant, kind, from, limit) =>
      slow({ method: 'scan', tenant, keys: [] }, () => store.scan(tenant, kind, from, limit)),
    feed: (tenant, from, limit) =>
      slow({ method: 'feed', tenant, keys: [] }, () => store.feed(tenant, from, limit)),
  };
}

/** Holds some reads until they are let go. */
export interface Gate {
  /** A hook for `slowly`. */
  readonly pass: (read: Read) => MaybePromise<void>;
  /** From now on, the reads that match wait. */
  hold(matches: (read: Read) => boolean): void;
  /** Resolves when so many reads are waiting. */
  held(count?: number): Promise<void>;
  /** Lets all waiting reads go, and holds no more. */
  release(): void;
}

export function openGate(): Gate {
  let matches: ((read: Read) => boolean) | undefined;
  let waiting: (() => void)[] = [];
  let watchers: { readonly count: number; readonly go: () => void }[] = [];
  return {
    pass(read): MaybePromise<void> {
      if (matches?.(read) !== true) return;
      return new Promise<void>((go) => {
        waiting.push(go);
        watchers = watchers.filter((watcher) => {
          if (watcher.count > waiting.length) return true;
          watcher.go();
          return false;
        });
      });
    },
    hold(which): void {
      matches = which;
    },
    held: (count = 1) =>
      new Promise<void>((go) => {
        if (waiting.length >= count) go();
        else watchers.push({ count, go });
      }),
    release(): void {
      matches = undefined;
      const going = waiting;
      waiting = [];
      for (const go of going) go();
    },
  };
}

// ── failing ─────────────────────────────────────────────────────────────────────────────────────

/** How reads fail: as an embedded store's would, as a remote one's would, or not even that. */
export type Failure = 'throws' | 'rejects' | 'hangs';

export interface FailingStore extends Store {
  /** From now on reads fail this way; `undefined`: they work again. */
  fail(how: Failure | undefined): void;
  /** Calls the watchers back; commits alone do not. */
  hint(): void;
}

/** A store whose reads can be made to fail, and whose hints come only when the test gives one. */
export function failing(store: Store): FailingStore {
  let failure: Failure | undefined;
  const listeners = new Set<(tenant: string | undefined) => void>();
  const unless = <T>(answer: () => MaybePromise<T>): MaybePromise<T> => {
    switch (failure) {
      case 'throws':
        throw new StoreError('the store fails');
      case 'rejects':
        return Promise.reject(new StoreError('the store fails'));
      case 'hangs':
        return new Promise<T>(() => {});
      case undefined:
        return answer();
    }
  };
  return {
    ...store,
    get: (...call) => unless(() => store.get(...call)),
    scan: (...call) => unless(() => store.scan(...call)),
    feed: (...call) => unless(() => store.feed(...call)),
    heads: (...call) => unless(() => store.heads(...call)),
    tenants: () => unless(() => store.tenants()),
    watch(onChange): () => void {
      listeners.add(onChange);
      return () => void listeners.delete(onChange);
    },
    fail(how): void {
      failure = how;
    },
    hint(): void {
      for (const listener of listeners) listener(undefined);
    },
  };
}
