/** Reads the plane of a tenant from the store, whole and of one history. */
import {
  readPages,
  StoreError,
  TenantError,
  VersionError,
  type FactKey,
  type Store,
  type Unreadable,
} from '../store/store.ts';
import { READER_VERSION } from '../store/format/version.ts';
import { follow } from './follow.ts';
import { planeOf, type Plane } from './plane.ts';
import { isOfHistory, namesOf } from './trail.ts';
import { mustUnderstand } from './unreadable.ts';

/** The tenant's own record is read last: a deletion that comes while the others are read is seen (ADM-9). */
const READ_KINDS = ['role', 'workspace', 'policy_set', 'tenant'] as const;
/** Attempts at a plane of one history. */
const MAX_ROUNDS = 5;
/** Entries before the head that a plane reads to learn its trail. */
const LOOK_BACK = 16;
/** Records of one plane that cannot be used and are read again at each heartbeat. */
const MAX_UNREADABLE = 100;

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
    await learnTrail(store, plane);
    for (const { key } of unreadable) noteUnreadable(plane, key);
    const { kind } = await follow(store, plane, options.now, () => {});
    // A page of a history that is no more may hold what no feed names.
    if (kind !== 'broken' && isOfHistory(plane, newest)) return plane;
  }
  throw new StoreError(`\`${tenant}\` changes faster than it can be read`);
}

/**
 * Learns from the feed how the plane's revision came to be.
 * @throws VersionError where the tenant needs a newer version (CONS-6)
 */
async function learnTrail(store: Store, plane: Plane): Promise<void> {
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
