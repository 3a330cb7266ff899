/** Roles and workspaces (RBAC-3, RBAC-4, ADM-4, ADM-5). */
import type { RoleRecord, WorkspaceRecord } from '../../engine/records.ts';
import { covers, highest, isAdministrator, type Authority } from '../actor.ts';
import type { Context } from '../context.ts';
import { idOf, levelOf, permissionsOf, textOf } from '../input.ts';
import { groupsOf } from '../principals.ts';
import { alreadyExists, denied, forbidden, notFound } from '../refused.ts';
import {
  buriedGroups,
  buriedPrincipals,
  buryGroup,
  mayCreateAgain,
  raiseGroup,
} from './tombstones.ts';
import { mustLeaveOut, OF_A_NEW_WORKSPACE } from './taken.ts';
import { roleView, workspaceView } from '../read/view.ts';
import type { World } from '../world.ts';

// ── what a role gives, and who may manage it ──────────────────────────────────────────────────────

/** What membership of a group gives by its closure: the highest level, and all permissions. */
interface Rank {
  readonly level: number;
  readonly permissions: readonly string[];
}

export function rankOf(world: World, role: RoleRecord): Rank {
  const { roles } = groupsOf(world, { roles: [role.id], workspaces: [] });
  const all = [role, ...roles.values()];
  return {
    level: highest(all),
    permissions: [...new Set(all.flatMap(({ permissions }) => permissions))],
  };
}

/** ADM-5: strictly below the actor, and nothing that the actor does not hold. A plain group has no rank. */
export function mustOutrank(
  authority: Authority,
  what: string,
  { level, permissions }: Rank,
): void {
  if (authority.all) return;
  if ((level > 0 || permissions.length > 0) && authority.level <= level)
    throw denied(
      'ADM-5',
      `\`${authority.name}\` has level ${authority.level} and ${what} has level ${level}`,
      'an actor of a level strictly above it, or a superuser',
    );
  const beyond = permissions.filter((permission) => !covers(authority.permissions, permission));
  if (beyond.length > 0)
    throw denied(
      'ADM-5',
      `\`${authority.name}\` does not hold ${beyond.join(', ')} itself, which ${what} gives`,
      'a holder of them at a higher level, or a superuser',
    );
}

function mayCreateGroups(authority: Authority, what: string): void {
  if (isAdministrator(authority) || authority.user?.createrole === true) return;
  throw denied(
    'ADM-4',
    `\`${authority.name}\` may not create ${what}`,
    'a user with createrole, a holder of postern:admin, or a superuser',
  );
}

/** Its creator by `createrole`, or an administrator. */
export function mayManageGroup(
  authority: Authority,
  group: RoleRecord | WorkspaceRecord,
  name: string,
): void {
  if (isAdministrator(authority)) return;
  if (authority.user?.createrole === true && group.creator === authority.name) return;
  throw denied(
    'ADM-4',
    `\`${authority.name}\` may not manage \`${name}\``,
    `${group.creator ?? 'a holder of postern:admin'}, who created it or administers the tenant, or a superuser`,
  );
}

/** RBAC-4 */
function mustNotBeSystem(role: RoleRecord, verb: string): void {
  if (role.system)
    throw forbidden('RBAC-4', `\`${role.id}\` is a system role: it cannot be ${verb}`);
}

// ── roles ─────────────────────────────────────────────────────────────────────────────────────────

export interface CreateRole {
  readonly role: {
    readonly id: string;
    readonly description?: string;
    readonly level: number;
    readonly permissions: readonly string[];
  };
}

export function createRole(context: Context, { role }: CreateRole): object {
  const { world, authority } = context;
  mayCreateGroups(authority, 'roles');
  const id = idOf('role.id', role.id);
  const level = levelOf('role.level', role.level);
  const permissions = permissionsOf('role.permissions', role.permissions);
  world.prefetch([
    { kind: 'role', id },
    { kind: 'user', id },
    { kind: 'tombstone', id: `role:${id}` },
  ]);
  if (world.get('role', id) !== undefined) throw alreadyExists(`role \`${id}\` exists already`);
  const user = world.get('user', id);
  if (user !== undefined && !user.deleted)
    throw alreadyExists(`\`${id}\` is a user: users and roles share one name space`);
  const buried = buriedPrincipals(world, id);
  if (user !== undefined && isAdministrator(authority))
    throw alreadyExists(
      `\`${id}\` was a user, whose tombstone stays: users and roles share one name space`,
    );
  mustOutrank(authority, `role \`${id}\``, { level, permissions });
  mayCreateAgain(context, buried);
  raiseGroup(world, { type: 'role', id });
  const description = textOf('role.description', role.description);
  world.put('role', id, {
    id,
    level,
    permissions,
    system: false,
    ...(description === undefined ? {} : { description }),
    roles: [],
    workspaces: [],
    grants: [],
    closure: { roles: [], workspaces: [] },
    ...(authority.operator ? {} : { creator: authority.name }),
  });
  return viewOfRole(world, id);
}

export interface UpdateRole {
  readonly id: string;
  readonly description?: string;
  readonly level?: number;
  readonly permissions?: { readonly permissions: readonly string[] } | null;
}

export function updateRole(context: Context, request: UpdateRole): object {
  const role = existingRole(context.world, request.id);
  const { permissions } = request;
  setRole(context, role, {
    ...(request.level === undefined ? {} : { level: levelOf('level', request.level) }),
    ...(permissions === undefined || permissions === null
      ? {}
      : { permissions: permissionsOf('permissions', permissions.permissions) }),
    ...(request.description === undefined
      ? {}
      : { description: textOf('description', request.description) }),
  });
  return viewOfRole(context.world, role.id);
}

/** Fields of a role that change; those that are left out stay. */
export interface RoleChanges {
  readonly level?: number;
  readonly permissions?: readonly string[];
  readonly description?: string | undefined;
}

/** Changes a role, if the actor may (ADM-4, ADM-5, RBAC-4). @throws Refused */
export function setRole(context: Context, role: RoleRecord, changes: RoleChanges): void {
  const { world, authority } = context;
  mayManageGroup(authority, role, role.id);
  mustNotBeSystem(role, 'changed');
  mustOutrank(authority, `role \`${role.id}\``, rankOf(world, role));
  const { level = role.level, permissions = role.permissions } = changes;
  mustOutrank(authority, `role \`${role.id}\` then`, { level, permissions });
  mustNotRaiseItself(context, role, { level, permissions });
  const { description: old, ...rest } = role;
  const description = 'description' in changes ? changes.description : old;
  world.put('role', role.id, {
    ...rest,
    level,
    permissions,
    ...(description === undefined ? {} : { description }),
  });
}

/** ADM-5: nobody promotes itself, by its own role neither. */
function mustNotRaiseItself({ authority }: Context, role: RoleRecord, next: Rank): void {
  if (authority.all || !authority.groups.roles.has(role.id)) return;
  const more = next.permissions.some((permission) => !role.permissions.includes(permission));
  if (next.level > role.level || more)
    throw denied(
      'ADM-5',
      `\`${authority.name}\` has role \`${role.id}\` and may not raise it`,
      'another who may manage it',
    );
}

export function deleteRole(context: Context, { id }: { readonly id: string }): object {
  const { world, authority } = context;
  const role = existingRole(world, id);
  mayManageGroup(authority, role, id);
  mustNotBeSystem(role, 'deleted');
  mustOutrank(authority, `role \`${id}\``, rankOf(world, role));
  mustBeEmpty(world, `role:${id}`);
  buryGroup(world, { type: 'role', id });
  return {};
}

// ── workspaces ────────────────────────────────────────────────────────────────────────────────────

export interface CreateWorkspace {
  readonly workspace: { readonly id: string; readonly description?: string };
}

export function createWorkspace(context: Context, { workspace }: CreateWorkspace): object {
  mustLeaveOut('workspace', workspace, OF_A_NEW_WORKSPACE);
  const { world, authority } = context;
  mayCreateGroups(authority, 'workspaces');
  const id = idOf('workspace.id', workspace.id);
  if (world.get('workspace', id) !== undefined)
    throw alreadyExists(`workspace \`${id}\` exists already`);
  const itself = { type: 'workspace' as const, id };
  mayCreateAgain(context, buriedGroups(world, itself));
  raiseGroup(world, itself);
  const description = textOf('workspace.description', workspace.description);
  world.put('workspace', id, {
    id,
    ...(description === undefined ? {} : { description }),
    grants: [],
    ...(authority.operator ? {} : { creator: authority.name }),
  });
  return viewOfWorkspace(world, id);
}

export function updateWorkspace(
  { world, authority }: Context,
  request: { readonly id: string; readonly description?: string },
): object {
  const workspace = existingWorkspace(world, request.id);
  mayManageGroup(authority, workspace, request.id);
  const { description: old, ...rest } = workspace;
  const description =
    request.description === undefined ? old : textOf('description', request.description);
  world.put('workspace', request.id, {
    ...rest,
    ...(description === undefined ? {} : { description }),
  });
  return viewOfWorkspace(world, request.id);
}

export function deleteWorkspace(
  { world, authority }: Context,
  { id }: { readonly id: string },
): object {
  mayManageGroup(authority, existingWorkspace(world, id), id);
  mustBeEmpty(world, `workspace:${id}`);
  buryGroup(world, { type: 'workspace', id });
  return {};
}

/** RBAC-4 */
function mustBeEmpty(world: World, name: string): void {
  const count = world.get('refs', name)?.members ?? 0;
  if (count > 0) throw forbidden('RBAC-4', `\`${name}\` has ${count} member(s): remove them first`);
}

export function existingRole(world: World, id: string): RoleRecord {
  const role = world.get('role', id);
  if (role === undefined) throw notFound(`there is no role \`${id}\``, { kinds: ['role'], id });
  return role;
}

export function existingWorkspace(world: World, id: string): WorkspaceRecord {
  const workspace = world.get('workspace', id);
  if (workspace === undefined)
    throw notFound(`there is no workspace \`${id}\``, { kinds: ['workspace'], id });
  return workspace;
}

export function viewOfRole(world: World, id: string): object {
  return { role: roleView(existingRole(world, id), world.get('refs', `role:${id}`)) };
}

export function viewOfWorkspace(world: World, id: string): object {
  const workspace = existingWorkspace(world, id);
  return { workspace: workspaceView(workspace, world.get('refs', `workspace:${id}`)) };
}
