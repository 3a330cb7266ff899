/**
 * The policy plane of one tenant: all roles, workspaces and policy sets, as they stand at one revision. It follows the
 * change feed (`follow.ts`), or is found broken and read again (`load-plane.ts`) (CONS-1, CONS-4).
 */
import type { LRUCache } from 'lru-cache';
import type { KeyFacts } from '../engine/abac.ts';
import type {
  KeyRecord,
  PolicySetRecord,
  Records,
  RoleRecord,
  UserRecord,
  WorkspaceRecord,
} from '../engine/records.ts';
import { groupsOf, type Direct, type GroupFacts, type SubjectFacts } from '../engine/subject.ts';
import type { FactKey, FactValue, FeedEntry, Head } from '../store/store.ts';
import { bounded } from './bounded.ts';
import type { Shelf } from './shelves.ts';
import { extendTrail, type Trail } from './trail.ts';

export interface Plane {
  readonly tenant: string;
  /** The cached ones of its users and keys. */
  readonly users: Shelf<UserRecord, SubjectFacts>;
  readonly keys: Shelf<KeyRecord, KeyFacts | undefined>;
  head: Head;
  /** The newest revisions that the plane has been at. */
  readonly trail: Trail;
  readonly directory: {
    readonly roles: Map<string, RoleRecord>;
    readonly workspaces: Map<string, WorkspaceRecord>;
  };
  readonly sets: Map<string, PolicySetRecord>;
  /** Counts the changes of the plane itself; what was compiled from an older generation is compiled again. */
  generation: number;
  /** When the store was last known to have nothing newer, on the monotonic clock, ms. */
  confirmedAt: number;
  /** Commits that were acknowledged here and that the plane has not reached yet, by revision. */
  readonly acknowledged: Map<number, string>;
  /** Records of the plane that cannot be used: they give nothing, and are read again at each heartbeat (CONS-6). */
  readonly unreadable: Map<string, FactKey>;
  /** A gap, a wipe or a roll-back was seen: nothing of it may answer any more. */
  broken: boolean;
  /** Compiled closures by their direct groups: subjects with the same groups share one. */
  readonly groups: LRUCache<string, GroupFacts>;
}

export type PlaneKind = 'role' | 'workspace' | 'policy_set';
export type PlaneChange = FactKey<PlaneKind> & { readonly value: FactValue | undefined };

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

/** Moves the plane to the revision of the last entry. @param changes the new records of all that the entries name */
export function advance(
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
  const last = entries.at(-1);
  if (last !== undefined) plane.head = { revision: last.revision, nonce: last.nonce };
  extendTrail(plane, entries);
}

/** The closure of some direct groups, compiled once for all subjects that have the same. */
export function groupsIn(plane: Plane, direct: Direct): GroupFacts {
  const key = JSON.stringify([direct.roles, direct.workspaces]);
  const cached = plane.groups.get(key);
  if (cached !== undefined) return cached;
  const compiled = groupsOf(plane.directory, direct);
  plane.groups.set(key, compiled);
  return compiled;
}
