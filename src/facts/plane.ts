/**
 * The policy plane of one tenant: all roles, workspaces and policy sets, as they stand at one revision.
 * It follows the change feed, or notices that it cannot and must be read again (CONS-1, CONS-4).
 */
import type { LRUCache } from 'lru-cache';
import type { KeyFacts } from '../engine/abac.ts';
import type {
  KeyRecord,
  PolicySetRecord,
  Records,
  RoleRecord,
  TenantRecord,
  UserRecord,
  WorkspaceRecord,
} from '../engine/records.ts';
import { groupsOf, type Direct, type GroupFacts, type SubjectFacts } from '../engine/subject.ts';
import {
  readPages,
  StoreError,
  TenantError,
  Unreadable,
  VersionError,
  type FactKey,
  type FactValue,
  type FeedEntry,
  type Head,
  type Store,
} from '../store/store.ts';
import { READER_VERSION } from '../store/format/version.ts';
import { later, type MaybePromise } from '../util/later.ts';
import { bounded } from './bounded.ts';
import { namesOf } from './history.ts';
import type { Shelf } from './shelves.ts';
import { getLeniently, mustUnderstand } from './unreadable.ts';

export interface Plane {
  readonly tenant: string;
  /** Of its users and keys, those that were asked about. */
  readonly users: Shelf<UserRecord, SubjectFacts>;
  readonly keys: Shelf<KeyRecord, KeyFacts | undefined>;
  head: Head;
  /** The newest revisions that the plane has been at: what was read at one of them is of its history. */
  readonly trail: Map<number, string>;
  readonly directory: {
    readonly roles: Map<string, RoleRecord>;
    readonly workspaces: Map<string, WorkspaceRecord>;
  };
  readonly sets: Map<string, PolicySetRecord>;
  /** Counts the changes of the plane itself; what was compiled from an older generation is compiled again. */
  generation: number;
  /** When the store was last known to have nothing newer, on the monotonic clock, ms. */
  confirmedAt: number;
  /** Commits that were acknowledged here, by revision, as far as the plane has not come by them yet. */
  readonly acknowledged: Map<number, string>;
  /** Records of the plane that cannot be used: they give nothing, and are looked for again (CONS-6). */
  readonly unreadable: Map<string, FactKey>;
  /** A gap, a wipe or a roll-back was seen: nothing of it may answer any more. */
  broken: boolean;
  /** Compiled closures by their direct groups: subjects with the same groups share one. */
  readonly groups: LRUCache<string, GroupFacts>;
}

type PlaneKind = 'role' | 'workspace' | 'policy_set';
type PlaneChange = FactKey<PlaneKind> & { readonly value: FactValue | undefined };
/** The tenant's own record is looked at last: a deletion that comes while the others are read is seen (ADM-9). */
const READ_KINDS = ['role', 'workspace', 'policy_set', 'tenant'] as const;

/**
 * Reads a tenant's plane. Commits that come between the pages do not matter: what they changed is read again by the
 * feed, from the first page's revision on. `undefined`: the tenant does not exist; `deleted`: it exists no more (ADM-9).
 * @throws StoreError where it changes faster than it can be read
 */
export async function loadPlane(
  store: Store,
  tenant: string,
  options: { readonly groups: number; readonly now: () => number },
): Promise<Plane | 'deleted' | undefined> {
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const startedAt = options.now();
    const unreadable: Unreadable[] = [];
    const { first, newest, records } = await readPages(
      store,
      tenant,
      READ_KINDS,
      false,
      (record) => void unreadable.push(record),
    );
    mustUnderstand(tenant, unreadable);
    if (first === undefined && newest === undefined) return undefined;
    if (first === undefined || newest === undefined) continue;
    if (records.tenant.get('')?.deleted === true) return 'deleted';
    const lost = unreadable.find(({ key }) => key.kind === 'tenant');
    // Whether it was deleted cannot be known.
    if (lost !== undefined)
      throw new TenantError(`the record of tenant \`${tenant}\` cannot be used: ${lost.problem}`);
    const plane = planeOf(tenant, first, startedAt, options.groups, records);
    await lookBack(store, plane);
    for (const { key } of unreadable) noteUnreadable(plane, key);
    const { kind } = await follow(store, plane, options.now, () => {});
    // A page of a history that is no more may hold what no feed names.
    if (kind !== 'broken' && isOfHistory(plane, newest)) return plane;
  }
  throw new StoreError(`\`${tenant}\` changes faster than it can be read`);
}

/** Entries before the head that a plane looks at when it is read. */
const LOOK_BACK = 16;

/**
 * Learns from the feed how the plane's revision came to be.
 * @throws VersionError where the tenant needs a newer version (CONS-6)
 */
async function lookBack(store: Store, plane: Plane): Promise<void> {
  const { revision, nonce } = plane.head;
  for (const count of [LOOK_BACK, 1]) {
    const { entries } = await store.feed(plane.tenant, Math.max(0, revision - count), count);
    // A feed that does not reach so far has no entries; one of another history tells nothing of this one.
    const own = entries.filter((entry) => entry.revision <= revision);
    const last = own.at(-1);
    if (last?.needs !== undefined && last.needs > READER_VERSION)
      throw new VersionError(`\`${plane.tenant}\` in the store`, last.needs);
    if (last?.revision !== revision || last.nonce !== nonce) continue;
    // Oldest first, as the trail is.
    plane.trail.clear();
    for (const [at, name] of namesOf(own)) plane.trail.set(at, name);
    return;
  }
}

function noteUnreadable(plane: Plane, { kind, id }: FactKey): void {
  if (plane.unreadable.size < MAX_UNREADABLE) plane.unreadable.set(`${kind} ${id}`, { kind, id });
}

/** @param confirmedAt when the store was last known to have nothing newer @param groups closures kept compiled */
export function planeOf(
  tenant: string,
  head: Head,
  confirmedAt: number,
  groups: number,
  records: { readonly [K in PlaneKind]: ReadonlyMap<string, Records[K]> },
): Plane {
  return {
    tenant,
    users: new Map(),
    keys: new Map(),
    head,
    trail: new Map([[head.revision, head.nonce]]),
    directory: { roles: new Map(records.role), workspaces: new Map(records.workspace) },
    sets: new Map(records.policy_set),
    generation: 0,
    acknowledged: new Map(),
    unreadable: new Map(),
    confirmedAt,
    broken: false,
    groups: bounded(groups),
  };
}

/** What a look at the feed found. */
export type Followed =
  | { readonly kind: 'current' }
  | { readonly kind: 'advanced'; readonly entries: readonly FeedEntry[] }
  | { readonly kind: 'broken'; readonly cause: Cause };

type Cause = 'wiped' | 'rolled_back' | 'gap' | 'unreadable' | 'version' | 'deleted';

/** Who is further behind reads everything again, which costs less; the feed then looks like one with a gap. */
const MAX_ENTRIES = 1_000;
/** Revisions that are remembered: more than pass while a read is under way. */
const TRAIL = 2_000;
/** Rounds of reading records and reading on because commits came between, before everything is read again. */
const MAX_ROUNDS = 5;
/** Records that are read for one look at the feed: where more were changed, everything is read again. */
const MAX_READ = 5_000;
/** Records that cannot be used and are looked for again, of one plane. */
const MAX_UNREADABLE = 100;

/** Brings the plane to the store's newest revision. The caller drops what the entries name from its caches. */
export function follow(
  store: Store,
  plane: Plane,
  now: () => number,
  onEntries: (entries: readonly FeedEntry[]) => void,
): MaybePromise<Followed> {
  const startedAt = now();
  const from = plane.head;
  const overtaken = (): boolean => plane.head !== from || plane.broken;
  const breakWith = (cause: Cause): Followed => {
    plane.broken = true;
    return { kind: 'broken', cause };
  };
  const confirm = (): void => {
    plane.confirmedAt = Math.max(plane.confirmedAt, startedAt);
  };
  const arrive = (entries: readonly FeedEntry[], changes: readonly PlaneChange[]): Followed => {
    advance(plane, entries, changes);
    confirm();
    onEntries(entries);
    return { kind: 'advanced', entries };
  };
  /** The entries from where we stand up to a revision, or why there are none. */
  const readFeed = (use: (entries: readonly FeedEntry[]) => MaybePromise<Followed>) =>
    later(
      store.feed(plane.tenant, from.revision, MAX_ENTRIES),
      ({ head, entries }): MaybePromise<Followed> => {
        // Another look came first: this one's reading is old.
        if (overtaken()) return { kind: 'current' };
        const cause = breakOf(from, head, entries);
        if (cause !== undefined) return breakWith(cause);
        const last = entries.at(-1)?.revision ?? 0;
        const top = head?.revision ?? 0;
        return use(last > top ? entries.filter(({ revision }) => revision <= top) : entries);
      },
    );
  /** Reads the records that the entries name. They may be of a later commit: then the feed is read on up to it. */
  const absorb = (entries: readonly FeedEntry[], round: number): MaybePromise<Followed> => {
    const keys = planeKeys(entries);
    if (keys.length === 0) return arrive(entries, []);
    if (round > MAX_ROUNDS || keys.length > MAX_READ) return breakWith('gap');
    const read = getLeniently(store, plane.tenant, keys);
    return later(read, ({ head, values }): MaybePromise<Followed> => {
      if (overtaken()) return { kind: 'current' };
      if (head === undefined) return breakWith('wiped');
      if (values.some((value) => value instanceof Unreadable)) return breakWith('unreadable');
      const changes: PlaneChange[] = [];
      for (const [index, key] of keys.entries()) {
        // The store returns a record of the kind that was asked for, and none is unreadable.
        const value = values[index] as FactValue | undefined;
        if (key.kind !== 'tenant') changes.push({ kind: key.kind, id: key.id, value });
        else if ((value as TenantRecord | undefined)?.deleted === true) return breakWith('deleted');
      }
      if (head.nonce === entries.at(-1)?.nonce) return arrive(entries, changes);
      return readFeed((more) => {
        const upTo = more.filter(({ revision }) => revision <= head.revision);
        // The keys were read for these entries: others of the same number are of another history.
        if (!entries.every(({ nonce }, index) => upTo[index]?.nonce === nonce))
          return breakWith('rolled_back');
        if (upTo.at(-1)?.nonce !== head.nonce) return breakWith('rolled_back');
        return planeKeys(upTo).length === keys.length
          ? arrive(upTo, changes)
          : absorb(upTo, round + 1);
      });
    });
  };
  return readFeed((entries) => {
    if (entries.length > 0) return absorb(entries, 1);
    confirm();
    return { kind: 'current' };
  });
}

/** Whether the feed leads from where we stand to the head without a gap, nonce by nonce. */
function breakOf(
  from: Head,
  head: Head | undefined,
  entries: readonly FeedEntry[],
): Cause | undefined {
  if (head === undefined) return 'wiped';
  if (head.revision < from.revision) return 'rolled_back';
  let at: Head = from;
  for (const entry of entries) {
    // Above the head, it is no commit.
    if (entry.revision > head.revision) break;
    // Of this version it is a gap, of a newer one an end: who reads everything again finds out.
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

function advance(
  plane: Plane,
  entries: readonly FeedEntry[],
  changes: readonly PlaneChange[],
): void {
  const maps = {
    role: plane.directory.roles,
    workspace: plane.directory.workspaces,
    policy_set: plane.sets,
  };
  for (const { kind, id, value } of changes) {
    // The store returns a record of the kind that was asked for.
    const map = maps[kind] as Map<string, unknown>;
    if (value === undefined) map.delete(id);
    else map.set(id, value);
  }
  if (changes.length > 0) {
    plane.generation++;
    plane.groups.clear();
  }
  for (const { revision, nonce } of entries) {
    plane.head = { revision, nonce };
    plane.trail.set(revision, nonce);
  }
  // Oldest first: so many go as are too many.
  for (const revision of plane.trail.keys()) {
    if (plane.trail.size <= TRAIL) break;
    plane.trail.delete(revision);
  }
}

/** Whether something that was read at a head is of the plane's own past or present. */
export function isOfHistory(plane: Plane, { revision, nonce }: Head): boolean {
  return plane.trail.get(revision) === nonce;
}

/** The closure of some direct groups, compiled once for all subjects that have the same. */
export function groupsIn(plane: Plane, direct: Direct): GroupFacts {
  const key = JSON.stringify([direct.roles, direct.workspaces]);
  const known = plane.groups.get(key);
  if (known !== undefined) return known;
  const compiled = groupsOf(plane.directory, direct);
  plane.groups.set(key, compiled);
  return compiled;
}
