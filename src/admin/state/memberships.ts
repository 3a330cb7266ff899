/** Memberships of a state file, from whichever side they are written (ADM-6). */
import type { StateFile } from '../../config/state.ts';
import type { Subject } from '../../engine/model.ts';
import { findCycle } from '../closure.ts';
import type { Group } from '../rules/tombstones.ts';
import type { Directory } from './directory.ts';
import { eachEntry, type Find } from './tenant-facts.ts';

interface MemberEntry {
  readonly id: string;
  readonly roles?: readonly string[] | undefined;
  readonly workspaces?: readonly string[] | undefined;
}

/** Adds the memberships of a state to its directory. */
export function addMemberships(state: StateFile, directory: Directory): void {
  const join = (type: 'user' | 'role', entry: MemberEntry, path: readonly PropertyKey[]): void => {
    const member: Subject = { type, id: entry.id };
    for (const [index, role] of (entry.roles ?? []).entries())
      directory.join(member, { type: 'role', id: role }, [...path, 'roles', index]);
    for (const [index, workspace] of (entry.workspaces ?? []).entries())
      directory.join(member, { type: 'workspace', id: workspace }, [...path, 'workspaces', index]);
  };
  eachEntry(state, 'users', (user, path) => join('user', user, path));
  eachEntry(state, 'roles', (role, path) => join('role', role, path));
  const addMembers = (
    group: Subject & { readonly type: Group },
    refs: readonly string[] | undefined,
    path: readonly PropertyKey[],
  ): void => {
    for (const [index, ref] of (refs ?? []).entries()) {
      const place = [...path, 'members', index];
      const member = directory.resolve(ref, place, ['user', 'role']);
      if (member !== undefined) directory.join(member, group, place);
    }
  };
  eachEntry(state, 'roles', ({ id, members }, path) =>
    addMembers({ type: 'role', id }, members, path),
  );
  eachEntry(state, 'workspaces', ({ id, members }, path) =>
    addMembers({ type: 'workspace', id }, members, path),
  );
}

/** ADM-6 */
export function checkCycles(state: StateFile, directory: Directory, find: Find): void {
  const cycle = findCycle(directory.roleEdges());
  if (cycle === undefined) return;
  const index = (state.roles ?? []).findIndex(({ id }) => cycle.includes(id));
  find(
    index < 0 ? ['roles'] : ['roles', index],
    `membership closes a cycle: ${cycle.join(' → ')}: remove one of its edges (ADM-6)`,
  );
}
