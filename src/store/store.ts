/**
 * The store contract: a versioned key–value map with a change feed, a tenant at a time. It knows records,
 * not their meaning. Every implementation passes `test/store/contract.ts`.
 */
import type { Kind, Records } from '../engine/records.ts';
import type { MaybePromise } from '../later.ts';

/** Names one record of a tenant. */
export interface FactKey<K extends Kind = Kind> {
  readonly kind: K;
  readonly id: string;
}

export type FactValue = Records[Kind];

/** A tenant's newest commit: its number, and the random name that the next feed entry must refer to. */
export interface Head {
  /** 1 for the first commit of a tenant, then dense. */
  readonly revision: number;
  readonly nonce: string;
}

/** Records read in one snapshot, in the order they were asked for. */
export interface Snapshot {
  /** `undefined`: the tenant has never been written. */
  readonly head: Head | undefined;
  readonly values: readonly (FactValue | undefined)[];
}

export interface Page {
  readonly head: Head | undefined;
  readonly entries: readonly (readonly [id: string, value: FactValue])[];
  /** Where the next page begins; `undefined`: this was the last. */
  readonly next: string | undefined;
}

/** One record's new value; `undefined` deletes it. */
export interface Change extends FactKey {
  readonly value: FactValue | undefined;
}

/** What was done, for the feed's readers and the management log. */
export interface CommitEvent {
  readonly actor: string;
  readonly operation: string;
}

export interface Commit {
  readonly tenant: string;
  /** The revision that the changes were computed from; 0: the tenant must not exist yet. */
  readonly expected: number;
  readonly changes: readonly Change[];
  readonly event: CommitEvent;
}

export type CommitResult =
  | { readonly committed: true; readonly head: Head }
  /** Somebody else committed first: read again, decide again (CONS-5). */
  | { readonly committed: false; readonly head: Head | undefined };

export interface FeedEntry extends Head {
  /** Nonce of the entry before this one; `''` for a tenant's first. */
  readonly previous: string;
  readonly keys: readonly FactKey[];
  readonly event: CommitEvent;
  /** Milliseconds since the epoch by the writer's clock: for people, never for decisions. */
  readonly time: number;
}

/** The entries after a revision, oldest first, and the head that they lead to. */
export interface Feed {
  readonly head: Head | undefined;
  /** Empty with a newer head: the entries are gone, the reader must read everything again. */
  readonly entries: readonly FeedEntry[];
}

/**
 * Methods may answer at once or with a promise, so that an embedded store costs no await. They throw
 * `StoreError` when the store cannot answer; a caller denies.
 */
export interface Store {
  get(tenant: string, keys: readonly FactKey[]): MaybePromise<Snapshot>;
  /** A page of all records of a kind, each once, in an order of the store's own; `after` is an earlier page's `next`. */
  scan(tenant: string, kind: Kind, after: string | undefined, limit: number): MaybePromise<Page>;
  /**
   * All or nothing, durable when it resolves (CONS-5).
   * @throws UnknownOutcomeError where it may have been done, or may still be
   */
  commit(commit: Commit): Promise<CommitResult>;
  /**
   * The newest commits of several tenants, each as of a moment after the call, in the order asked; `unknown`: the part
   * of the store that has it does not answer, while others do.
   */
  heads(tenants: readonly string[]): MaybePromise<readonly (Head | undefined | 'unknown')[]>;
  feed(tenant: string, after: number, limit: number): MaybePromise<Feed>;
  tenants(): MaybePromise<readonly string[]>;
  /**
   * Calls back soon after something may have changed, with the tenant where it is known. A hint: readers also look
   * on their own.
   */
  watch(onChange: (tenant: string | undefined) => void): () => void;
  close(): Promise<void>;
}

export class StoreError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'StoreError';
  }
}

/** The store is there, and must not be used as it is: a server does not start on it. */
export class UnusableStoreError extends StoreError {
  constructor(message: string) {
    super(message);
    this.name = 'UnusableStoreError';
  }
}

/** A commit was sent, and whether it was or will be done is not known (CONS-5): look before doing it again. */
export class UnknownOutcomeError extends StoreError {
  /** `lost`: nobody knows. `ended`: it ended in its middle. `done`: it was done, and may not last. */
  readonly what: 'lost' | 'ended' | 'done';

  constructor(message: string, what: UnknownOutcomeError['what'] = 'lost') {
    super(
      `UNKNOWN outcome: ${message}${what === 'lost' ? ': the commit may have been done, or may still be' : ''}`,
    );
    this.name = 'UnknownOutcomeError';
    this.what = what;
  }
}

/** Page size of a full read. */
const SCAN_PAGE = 2_000;

/**
 * All records of some kinds as they stood at one revision: pages are read again from the start when a
 * commit comes between them.
 */
export async function readAll<K extends Kind>(
  store: Store,
  tenant: string,
  kinds: readonly K[],
): Promise<{
  readonly head: Head | undefined;
  readonly records: { readonly [P in K]: ReadonlyMap<string, Records[P]> };
}> {
  for (;;) {
    const read = await readOnce(store, tenant, kinds);
    if (read !== undefined) return read;
  }
}

async function readOnce<K extends Kind>(
  store: Store,
  tenant: string,
  kinds: readonly K[],
): Promise<Awaited<ReturnType<typeof readAll<K>>> | undefined> {
  const maps = kinds.map((kind) => [kind, new Map<string, Records[K]>()] as const);
  let head: Head | undefined;
  let first = true;
  for (const [kind, records] of maps) {
    let after: string | undefined;
    do {
      const page = await store.scan(tenant, kind, after, SCAN_PAGE);
      if (!first && page.head?.nonce !== head?.nonce) return undefined;
      head = page.head;
      first = false;
      // A scan of a kind yields records of that kind: the store's keys carry it.
      for (const [id, value] of page.entries) records.set(id, value as Records[K]);
      after = page.next;
    } while (after !== undefined);
  }
  return {
    head,
    // `fromEntries` forgets which key has which kind of records; `maps` was built from `kinds`.
    records: Object.fromEntries(maps) as unknown as {
      readonly [P in K]: ReadonlyMap<string, Records[P]>;
    },
  };
}
