/** Brings a plane to the store's newest revision by the change feed, or finds that the feed no longer leads there. */
import type { TenantRecord } from '../engine/records.ts';
import {
  Unreadable,
  type FactKey,
  type FactValue,
  type FeedEntry,
  type Head,
  type Store,
} from '../store/store.ts';
import { READER_VERSION } from '../store/format/version.ts';
import { later, type MaybePromise } from '../util/later.ts';
import { advance, type Plane, type PlaneChange, type PlaneKind } from './plane.ts';
import { getLeniently, type Lenient } from './unreadable.ts';

/** What one read of the feed has led to. */
export type Followed =
  | { readonly kind: 'current' }
  | { readonly kind: 'advanced'; readonly entries: readonly FeedEntry[] }
  | { readonly kind: 'broken'; readonly cause: BreakCause };

/** Why a plane can no longer follow its feed, and is read anew. */
export const BREAK_CAUSES = [
  'gap',
  'wiped',
  'rolled_back',
  'unreadable',
  'version',
  'deleted',
] as const;
export type BreakCause = (typeof BREAK_CAUSES)[number];

/** Entries that are read at once. A plane that is further behind is read anew, which costs less: it sees a gap. */
const MAX_ENTRIES = 1_000;
/** Rounds of reading records, and then the commits that came meanwhile, before the plane is read anew. */
const MAX_ROUNDS = 5;
/** Records that are read for one read of the feed: where more were changed, the plane is read anew. */
const MAX_READ = 5_000;

/**
 * Brings the plane to the store's newest revision.
 * @param onEntries called once the plane has moved: drop from caches what the entries name
 * @throws StoreError
 */
export function follow(
  store: Store,
  plane: Plane,
  now: () => number,
  onEntries: (entries: readonly FeedEntry[]) => void,
): MaybePromise<Followed> {
  return new Step(store, plane, now(), onEntries).run();
}

/** One step of a plane along its feed. */
class Step {
  readonly #store: Store;
  readonly #plane: Plane;
  readonly #startedAt: number;
  readonly #onEntries: (entries: readonly FeedEntry[]) => void;
  /** Where the plane stood when the step began. */
  readonly #from: Head;

  constructor(
    store: Store,
    plane: Plane,
    startedAt: number,
    onEntries: (entries: readonly FeedEntry[]) => void,
  ) {
    this.#store = store;
    this.#plane = plane;
    this.#startedAt = startedAt;
    this.#onEntries = onEntries;
    this.#from = plane.head;
  }

  run(): MaybePromise<Followed> {
    return this.#readFeed((entries) => {
      if (entries.length > 0) return this.#absorb(entries, 1);
      this.#confirm();
      return { kind: 'current' };
    });
  }

  /** Reads the entries after the plane's revision, up to the head, and passes them on if they lead there. */
  #readFeed(
    use: (entries: readonly FeedEntry[]) => MaybePromise<Followed>,
  ): MaybePromise<Followed> {
    const from = this.#from;
    return later(
      this.#store.feed(this.#plane.tenant, from.revision, MAX_ENTRIES),
      ({ head, entries }): MaybePromise<Followed> => {
        if (this.#isOvertaken()) return { kind: 'current' };
        const cause = breakOf(from, head, entries);
        if (cause !== undefined) return this.#break(cause);
        const last = entries.at(-1)?.revision ?? 0;
        const top = head?.revision ?? 0;
        return use(last > top ? entries.filter(({ revision }) => revision <= top) : entries);
      },
    );
  }

  /** Reads the records that the entries name, and moves the plane. */
  #absorb(entries: readonly FeedEntry[], round: number): MaybePromise<Followed> {
    const keys = planeKeys(entries);
    if (keys.length === 0) return this.#advance(entries, []);
    if (round > MAX_ROUNDS || keys.length > MAX_READ) return this.#break('gap');
    const read = getLeniently(this.#store, this.#plane.tenant, keys);
    return later(read, (found) => this.#absorbRecords(entries, keys, found, round));
  }

  #absorbRecords(
    entries: readonly FeedEntry[],
    keys: readonly FactKey<PlaneKind | 'tenant'>[],
    { head, values }: Lenient,
    round: number,
  ): MaybePromise<Followed> {
    if (this.#isOvertaken()) return { kind: 'current' };
    if (head === undefined) return this.#break('wiped');
    if (values.some((value) => value instanceof Unreadable)) return this.#break('unreadable');
    const changes: PlaneChange[] = [];
    for (const [index, key] of keys.entries()) {
      // The store returns a record of the kind that was asked for, and none is unreadable.
      const value = values[index] as FactValue | undefined;
      if (key.kind !== 'tenant') changes.push({ kind: key.kind, id: key.id, value });
      else if ((value as TenantRecord | undefined)?.deleted === true) return this.#break('deleted');
    }
    if (head.nonce === entries.at(-1)?.nonce) return this.#advance(entries, changes);
    // The records are of a later commit: the feed is read on up to it.
    return this.#readFeed((more) => {
      const upTo = more.filter(({ revision }) => revision <= head.revision);
      // The keys were read for these entries: others of the same number are of another history.
      if (!entries.every(({ nonce }, index) => upTo[index]?.nonce === nonce))
        return this.#break('rolled_back');
      if (upTo.at(-1)?.nonce !== head.nonce) return this.#break('rolled_back');
      return planeKeys(upTo).length === keys.length
        ? this.#advance(upTo, changes)
        : this.#absorb(upTo, round + 1);
    });
  }

  #advance(entries: readonly FeedEntry[], changes: readonly PlaneChange[]): Followed {
    advance(this.#plane, entries, changes);
    this.#confirm();
    this.#onEntries(entries);
    return { kind: 'advanced', entries };
  }

  #confirm(): void {
    this.#plane.confirmedAt = Math.max(this.#plane.confirmedAt, this.#startedAt);
  }

  #break(cause: BreakCause): Followed {
    this.#plane.broken = true;
    return { kind: 'broken', cause };
  }

  /** Another step has moved or broken the plane meanwhile: what this one has read is old. */
  #isOvertaken(): boolean {
    return this.#plane.head !== this.#from || this.#plane.broken;
  }
}

/** Whether the feed leads from a revision to the head without a gap, nonce by nonce. */
function breakOf(
  from: Head,
  head: Head | undefined,
  entries: readonly FeedEntry[],
): BreakCause | undefined {
  if (head === undefined) return 'wiped';
  if (head.revision < from.revision) return 'rolled_back';
  let at: Head = from;
  for (const entry of entries) {
    // Above the head, it is no commit.
    if (entry.revision > head.revision) break;
    // Reading everything anew finds out whether this version can read the tenant at all.
    if (entry.needs !== undefined && entry.needs > READER_VERSION) return 'version';
    if (entry.unreadable !== undefined) return 'unreadable';
    // It changed more than it names.
    if (entry.keys === undefined) return 'gap';
    if (entry.revision !== at.revision + 1) return 'gap';
    if (entry.previous !== at.nonce) return 'rolled_back';
    at = entry;
  }
  if (at.revision !== head.revision) return 'gap';
  return at.nonce === head.nonce ? undefined : 'rolled_back';
}

function planeKeys(entries: readonly FeedEntry[]): FactKey<PlaneKind | 'tenant'>[] {
  const keys = new Map<string, FactKey<PlaneKind | 'tenant'>>();
  for (const { keys: changed } of entries)
    for (const { kind, id } of changed ?? [])
      if (kind === 'role' || kind === 'workspace' || kind === 'policy_set' || kind === 'tenant')
        keys.set(`${kind} ${id}`, { kind, id });
  return [...keys.values()];
}
