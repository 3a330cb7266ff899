/**
 * The store contract: a versioned key–value map with a change feed, a tenant at a time. It knows records,
 * not their meaning. Every implementation passes `test/store/contract.ts`.
 */
import { Breath } from '../util/breath.ts';
import type { Kind, Records } from '../engine/records.ts';
import type { MaybePromise } from '../util/later.ts';

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
  /** The nonce of that revision, where it is known: the same number may be of another history. */
  readonly nonce?: string | undefined;
  readonly changes: readonly Change[];
  readonly event: CommitEvent;
}

export type CommitResult =
  | { readonly committed: true; readonly head: Head }
  /** Somebody else committed first: read again, decide again (CONS-5). */
  | { readonly committed: false; readonly head: Head | undefined };

/** Keys that a feed entry names; an entry of more says that everything must be read again. */
export const MAX_NAMED = 1_000;

export interface FeedEntry extends Head {
  /** Nonce of the entry before this one; `''` for a tenant's first. */
  readonly previous: string;
  /** `undefined`: more than `MAX_NAMED`; the reader must read everything again. */
  readonly keys: readonly FactKey[] | undefined;
  readonly event: CommitEvent;
  /** Milliseconds since the epoch by the writer's clock: for people, never for decisions. */
  readonly time: number;
  /** Least version of a reader that understands the tenant from this entry on; absent: 1 (CONS-6). */
  readonly needs?: number | undefined;
  /** What is wrong with an entry that cannot be read; its `keys` are `undefined` then (CONS-6). */
  readonly unreadable?: string | undefined;
}

/** The entries after a revision, oldest first, and the head that they lead to. */
export interface Feed {
  readonly head: Head | undefined;
  /** Empty with a newer head: the entries are gone, the reader must read everything again. */
  readonly entries: readonly FeedEntry[];
}

/** @param tenant `undefined`: any may have changed @param changed nothing is said of what it leaves out */
export type OnChange = (tenant: string | undefined, changed?: readonly FactKey[]) => void;

/**
 * Methods may answer at once or with a promise, so that an embedded store costs no await. They throw
 * `StoreError` when the store cannot answer; a caller denies.
 */
export interface Store {
  get(tenant: string, keys: readonly FactKey[]): MaybePromise<Snapshot>;
  /** A page of all records of a kind, each once, by id; `after` is an earlier page's `next`, or an id to go on behind. */
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
  /** Resolves when what was committed to a tenant so far is as durable as `commit` promises. @throws StoreError */
  settle(tenant: string): Promise<void>;
  /**
   * Calls back soon after something may have changed, with the tenant where it is known, and with what was changed in
   * it where that is known and little. A hint: readers also look on their own, and trust the feed alone.
   */
  watch(onChange: OnChange): () => void;
  close(): Promise<void>;
}

export class StoreError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'StoreError';
  }
}

/** Stands in the place of a record that is in the store and cannot be used (CONS-6). */
export class Unreadable {
  readonly key: FactKey;
  /** What is wrong with it: `superuser is no boolean`. */
  readonly problem: string;
  /** The version of a reader that it needs, where that is higher than this one's. */
  readonly needs: number | undefined;

  constructor(key: FactKey, problem: string, needs?: number) {
    this.key = key;
    this.problem = problem;
    this.needs = needs;
  }
}

/** Records as they were read, with those that cannot be used in their places. */
export interface Found<T> {
  readonly head: Head | undefined;
  readonly values: readonly T[];
  /** Of a page: where the next one begins. */
  readonly next?: string | undefined;
}

/** The facts of one tenant cannot be read as they are in the store; those of others can. */
export class TenantError extends StoreError {
  constructor(message: string) {
    super(message);
    this.name = 'TenantError';
  }
}

/** Facts of a tenant need a newer version of Postern: an older one must not answer from them (CONS-6). */
export class VersionError extends TenantError {
  readonly needs: number;

  constructor(what: string, needs: number) {
    super(`${what} needs a reader of version ${needs}: upgrade this instance`);
    this.name = 'VersionError';
    this.needs = needs;
  }
}

/**
 * At least one of the records that were asked for cannot be used. Whoever can do with the others finds all of them
 * here, in the order in which they were asked for.
 */
export class UnreadableError extends TenantError {
  readonly found: Found<readonly [id: string, value: FactValue | Unreadable | undefined]>;

  constructor(found: UnreadableError['found'], first: Unreadable) {
    super(
      `the ${first.key.kind} \`${first.key.id}\` in the store cannot be used: ${first.problem}: write it anew, or restore it`,
    );
    this.name = 'UnreadableError';
    this.found = found;
  }

  /** The highest version that one of them needs, where that is higher than this one's. */
  get needs(): number | undefined {
    let highest: number | undefined;
    for (const [, value] of this.found.values)
      if (value instanceof Unreadable && value.needs !== undefined)
        highest = Math.max(highest ?? 0, value.needs);
    return highest;
  }
}

type Value = FactValue | Unreadable | undefined;

/** @throws UnreadableError where one of the records is unreadable */
export function readable(
  head: Head | undefined,
  values: readonly (readonly [id: string, value: Value])[],
): Snapshot {
  const first = values.find(([, value]) => value instanceof Unreadable)?.[1];
  if (first instanceof Unreadable) throw new UnreadableError({ head, values }, first);
  // None of them is unreadable.
  return { head, values: values.map(([, value]) => value as FactValue | undefined) };
}

/** @throws UnreadableError where one of the records is unreadable */
export function readablePage(
  head: Head | undefined,
  values: readonly (readonly [id: string, value: Value])[],
  next: string | undefined,
): Page {
  const first = values.find(([, value]) => value instanceof Unreadable)?.[1];
  if (first instanceof Unreadable) throw new UnreadableError({ head, values, next }, first);
  // None of them is unreadable, and a scan yields what is there.
  return { head, entries: values as (readonly [string, FactValue])[], next };
}

/** The store is there, and must not be used as it is: a server does not start on it. */
export class UnusableStoreError extends StoreError {
  constructor(message: string) {
    super(message);
    this.name = 'UnusableStoreError';
  }
}

/** The user that the store was opened as may not do what was asked; no waiting gives it the right. */
export class NoRightError extends UnusableStoreError {
  constructor(message: string) {
    super(message);
    this.name = 'NoRightError';
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

/** Attempts at a full read, before we give up rather than spin. */
const MAX_READS = 50;

/** Records of some kinds, in maps by id. */
type RecordsOf<K extends Kind> = { readonly [P in K]: ReadonlyMap<string, Records[P]> };

/**
 * All records of some kinds as they stood at one revision: pages are read again from the start when a
 * commit comes between them.
 * @throws StoreError where commits come faster than it can be read
 */
export async function readAll<K extends Kind>(
  store: Store,
  tenant: string,
  kinds: readonly K[],
): Promise<{ readonly head: Head | undefined; readonly records: RecordsOf<K> }> {
  for (let attempt = 0; attempt < MAX_READS; attempt++) {
    const { first, newest, records } = await readPages(store, tenant, kinds, true);
    if (first?.nonce === newest?.nonce) return { head: newest, records };
  }
  throw new StoreError(`\`${tenant}\` was changed ${MAX_READS} times while it was read: try again`);
}

/**
 * All records of some kinds, page by page, and the heads that the first and the newest page were read at: where they
 * differ, each record is of one of the revisions between.
 * @param stop at the first page that was read at another head
 * @param onUnreadable called for each record that cannot be used, and is left out; `undefined`: such a record throws
 * @throws UnreadableError
 */
export async function readPages<K extends Kind>(
  store: Store,
  tenant: string,
  kinds: readonly K[],
  stop = false,
  onUnreadable?: (record: Unreadable) => void,
): Promise<{
  readonly first: Head | undefined;
  readonly newest: Head | undefined;
  readonly records: RecordsOf<K>;
}> {
  const maps = kinds.map((kind) => [kind, new Map<string, Records[K]>()] as const);
  // `fromEntries` forgets which key has which kind of records; `maps` was built from `kinds`.
  const records = Object.fromEntries(maps) as unknown as RecordsOf<K>;
  let first: Head | undefined;
  let newest: Head | undefined;
  let started = false;
  const breath = new Breath();
  for (const [kind, found] of maps) {
    let after: string | undefined;
    do {
      const page = await scanPage(store, tenant, kind, after, onUnreadable);
      if (!started) first = page.head;
      started = true;
      newest = page.head;
      if (stop && newest?.nonce !== first?.nonce) return { first, newest, records };
      // A scan of a kind yields records of that kind: the store's keys carry it.
      for (const [id, value] of page.entries) found.set(id, value as Records[K]);
      after = page.next;
      await breath.take();
    } while (after !== undefined);
  }
  return { first, newest, records };
}

async function scanPage(
  store: Store,
  tenant: string,
  kind: Kind,
  after: string | undefined,
  onUnreadable: ((record: Unreadable) => void) | undefined,
): Promise<Page> {
  try {
    return await store.scan(tenant, kind, after, SCAN_PAGE);
  } catch (error) {
    if (!(error instanceof UnreadableError) || onUnreadable === undefined) throw error;
    const { head, values, next } = error.found;
    const entries: (readonly [string, FactValue])[] = [];
    for (const [id, value] of values)
      if (value instanceof Unreadable) onUnreadable(value);
      else if (value !== undefined) entries.push([id, value]);
    return { head, entries, next };
  }
}
