/** By what a principal may still do what was revoked from it (TREE-3): other rows, groups, ownership, permissions. */
import { actionOfVerb, TREE_BIT, TREE_VERBS, type Catalog } from '../../engine/action.ts';
import type { TreeAction, Subject } from '../../engine/model.ts';
import type { GrantRow } from '../../engine/records.ts';
import { groupsOf, nameOf, userIn, type Groups } from '../principals.ts';
import { grantView, ownerView, type GrantView, type OwnerView } from '../read/view.ts';
import type { World } from '../world.ts';
import { upwards } from './rights.ts';

/** One source of access that is left. */
export interface Remaining {
  /** Tree actions that it still gives at the path. */
  readonly actions: readonly TreeAction[];
  readonly by: 'grant' | 'owner' | 'superuser' | 'permission';
  readonly grant?: GrantView;
  readonly owner?: OwnerView;
  /** `role:team`, which carries the permission. */
  readonly role?: string;
  readonly permission?: string;
}

/** Sources that one answer tells; of more, their number. */
const MAX_LISTED = 100;

/** The groups of any principal; one that is a group is among them itself. */
function groupsOfAny(world: World, subject: Subject): Groups {
  const { type, id } = subject;
  const user = type === 'user' ? userIn(world, id) : undefined;
  if (user !== undefined) return groupsOf(world, user);
  return groupsOf(world, {
    roles: type === 'role' ? [id] : [],
    workspaces: type === 'workspace' ? [id] : [],
  });
}

/** What still gives some tree actions at a path, and how much of that is not listed. */
export function remaining(
  world: World,
  catalog: Catalog,
  subject: Subject,
  path: string,
  actions: readonly TreeAction[],
): { readonly remaining: readonly Remaining[]; readonly remaining_more: number } {
  const user = subject.type === 'user' ? userIn(world, subject.id) : undefined;
  const groups = groupsOfAny(world, subject);
  const found: Remaining[] = [];
  if (user?.superuser === true) found.push({ actions, by: 'superuser' });
  const above = new Set(upwards(path));
  for (const owned of user?.owns ?? []) {
    const owner = above.has(owned) ? world.get('owner', owned) : undefined;
    if (owner !== undefined) found.push({ actions, by: 'owner', owner: ownerView(owner) });
  }
  const holders: (readonly [name: string, rows: readonly GrantRow[]])[] = [
    ...(user === undefined ? [] : [[nameOf(subject), user.grants] as const]),
    ...[...groups.roles.values()].map(({ id, grants }) => [`role:${id}`, grants] as const),
    ...[...groups.workspaces.values()].map(
      ({ id, grants }) => [`workspace:${id}`, grants] as const,
    ),
  ];
  for (const [name, rows] of holders)
    for (const row of rows) {
      const left = actions.filter((action) => row.actions.includes(action));
      if (left.length > 0 && above.has(row.path))
        found.push({ actions: left, by: 'grant', grant: grantView(name, row) });
    }
  for (const role of groups.roles.values())
    for (const permission of role.permissions) {
      const left = actions.filter((action) => mayGive(permission, action, catalog));
      if (left.length > 0)
        found.push({ actions: left, by: 'permission', role: `role:${role.id}`, permission });
    }
  return {
    remaining: found.slice(0, MAX_LISTED),
    remaining_more: Math.max(0, found.length - MAX_LISTED),
  };
}

/** Whether a permission allows any request that asks for the tree action (ACT-1, ACT-2, RBAC-2). */
function mayGive(permission: string, action: TreeAction, catalog: Catalog): boolean {
  const colon = permission.indexOf(':');
  const [resource, verb] = [permission.slice(0, colon), permission.slice(colon + 1)];
  if (verb === '*' || TREE_VERBS.some((one) => one === verb && actionOfVerb(one) === action))
    return true;
  if (catalog.satisfiedBy.get(action)?.includes(verb) === true) return true;
  const bit = TREE_BIT.get(action);
  for (const entry of catalog.actions.values())
    if (
      entry.treeBit === bit &&
      entry.verbs.includes(verb) &&
      (resource === '*' || resource === entry.resource)
    )
      return true;
  return false;
}
