/** All records of one tenant, and the parts of a state file that say them. */
import type { DefaultRole } from '../../config/roles.ts';
import type { Finding, StateFile } from '../../config/state.ts';
import type { Records, RoleRecord, StateKind } from '../../engine/records.ts';

/** All records of one tenant. */
export type TenantFacts = { readonly [K in StateKind]: ReadonlyMap<string, Records[K]> };

/** A list of a state file. */
export type Section = Exclude<keyof StateFile, 'tenant'>;
export type Entry<K extends Section> = NonNullable<StateFile[K]>[number];

/** Whether a record is there already: its id may break a rule that is newer (ID-1). */
export type IsStored = (kind: StateKind, id: string) => boolean;

/** Notes what is wrong with a state, at a path in its file. */
export type Find = (path: Finding['path'], message: string) => void;

/** A role that exists without being listed. A system role may be listed, for its members, but not changed. */
export type BaseRole = Pick<RoleRecord, 'id' | 'level' | 'permissions' | 'system' | 'description'>;

export function fromDefaults(roles: readonly DefaultRole[]): BaseRole[] {
  return roles.map(({ id, level, permissions, system = true, description }) => ({
    id,
    level,
    permissions: [...new Set(permissions)].sort(),
    system,
    ...(description === undefined ? {} : { description }),
  }));
}

/** Visits the entries of a list, but tombstones of groups: those are nowhere else. */
export function eachEntry<K extends Section>(
  state: StateFile,
  section: K,
  visit: (entry: Entry<K>, path: readonly PropertyKey[]) => void,
): void {
  for (const [index, entry] of (state[section] ?? []).entries())
    if (!isTombstone(section, entry)) visit(entry, [section, index]);
}

/** A group that once existed. A user that is deleted keeps its record. */
export function isTombstone(section: Section, entry: object): boolean {
  return section !== 'users' && 'deleted' in entry && entry.deleted === true;
}
