/** Roles, workspaces and their members (RBAC-3, RBAC-4, ADM-4, ADM-5, ADM-6). */
import type { RoleRecord, UserRecord, WorkspaceRecord } from '../engine/records.ts';
import type { Subject } from '../engine/model.ts';
import { covers, highest, isAdministrator, type Authority } from './actor.ts';
import { closureOf, MAX_CLOSURE, type Edges } from './closure.ts';
import type { Context } from './context.ts';
import { idOf, levelOf, permissionsOf, textOf } from './input.ts';
import { cascade } from './justify.ts';
import { groupsOf, nameOf, principalOf } from './principals.ts';
import { alreadyExists, denied, forbidden, notFound } from './refused.ts';
import { roleView, workspaceView } from './view.ts';
import type { World } from './world.ts';

// ── what a role gives, and who may manage it ──────────────────────────────────────────────────────

/** What membership of a group gives by its closure: the highest level, and all permissions. */
interface Rank {
  readonly level: number;
  readonly permissions: readonly string[];
}

function rankOf(world: World, role: RoleRecord): Rank {
  const { roles } = groupsOf(world, { roles: [role.id], workspaces: [] });
  const all = [role, ...roles.values()];
  return {
    level: highest(all),
    permissions: [...new Set(all.flatMap(({ permissions }) => permissions))],
  };
}

/** ADM-5: strictly below the actor, and nothing that the actor does not hold. A plain group has no rank. */
function mustOutrank(authority: Authority, what: string, { level, permissions }: Rank): void {
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
function mayManageGroup(
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
  if (world.get('role', id) !== undefined) throw alreadyExists(`role \`${id}\` exists already`);
  if (world.get('user', id) !== undefined)
    throw alreadyExists(`\`${id}\` is a user: users and roles share one name space`);
  mustOutrank(authority, `role \`${id}\``, { level, permissions });
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
  const { world, authority } = context;
  const role = existingRole(world, request.id);
  mayManageGroup(authority, role, role.id);
  mustNotBeSystem(role, 'changed');
  mustOutrank(authority, `role \`${role.id}\``, rankOf(world, role));
  const level = request.level === undefined ? role.level : levelOf('level', request.level);
  const permissions =
    request.permissions === undefined || request.permissions === null
      ? role.permissions
      : permissionsOf('permissions', request.permissions.permissions);
  mustOutrank(authority, `role \`${role.id}\` then`, { level, permissions });
  mustNotRaiseItself(context, role, { level, permissions });
  const { description: old, ...rest } = role;
  const description =
    request.description === undefined ? old : textOf('description', request.description);
  world.put('role', role.id, {
    ...rest,
    level,
    permissions,
    ...(description === undefined ? {} : { description }),
  });
  return viewOfRole(world, role.id);
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
  world.put('role', id, undefined);
  return {};
}

// ── workspaces ────────────────────────────────────────────────────────────────────────────────────

export interface CreateWorkspace {
  readonly workspace: { readonly id: string; readonly description?: string };
}

export function createWorkspace(context: Context, { workspace }: CreateWorkspace): object {
  const { world, authority } = context;
  mayCreateGroups(authority, 'workspaces');
  const id = idOf('workspace.id', workspace.id);
  if (world.get('workspace', id) !== undefined)
    throw alreadyExists(`workspace \`${id}\` exists already`);
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
  world.put('workspace', id, undefined);
  return {};
}

/** RBAC-4 */
function mustBeEmpty(world: World, name: string): void {
  const count = world.get('refs', name)?.members ?? 0;
  if (count > 0) throw forbidden('RBAC-4', `\`${name}\` has ${count} member(s): remove them first`);
}

// ── members ───────────────────────────────────────────────────────────────────────────────────────

export interface MemberRequest {
  readonly group: string;
  readonly member: string;
  readonly admin_option: boolean;
}

export function addMember(context: Context, request: MemberRequest): object {
  const { world, authority } = context;
  const { group, member } = membersOf(world, request);
  mayChangeMembers(context, group, member, request.admin_option);
  if (nameOf(member) === authority.name && !authority.all)
    throw denied('ADM-5', `\`${authority.name}\` may not add itself`, 'another who may manage it');
  if (member.type === 'role' && authority.groups.roles.has(member.id) && !authority.all)
    throw denied(
      'ADM-5',
      `\`${authority.name}\` is in \`${nameOf(member)}\` and would promote itself`,
      'another who may manage it',
    );
  if (member.type === 'user') joinUser(world, member.id, group, request.admin_option);
  else joinRole(context, member.id, group, request.admin_option);
  return {};
}

export function removeMember(
  context: Context,
  request: Omit<MemberRequest, 'admin_option'>,
): object {
  const { world } = context;
  const { group, member } = membersOf(world, { ...request, admin_option: false });
  mayChangeMembers(context, group, member, false);
  const list = group.type === 'role' ? 'roles' : 'workspaces';
  const record =
    member.type === 'user' ? world.get('user', member.id) : world.get('role', member.id);
  if (record?.[list].includes(group.id) !== true)
    throw notFound(`\`${nameOf(member)}\` is no member of \`${nameOf(group)}\``);
  const without = record[list].filter((id) => id !== group.id);
  if ('owns' in record) {
    const adminOf = (record.adminOf ?? []).filter((name) => name !== nameOf(group));
    world.put('user', member.id, withAdminOf({ ...record, [list]: without }, adminOf));
  } else {
    world.put('role', member.id, { ...record, [list]: without });
    recompute(world, member.id);
  }
  context.revoked.push(...cascade(world, [{ of: member, path: '' }]));
  return {};
}

function membersOf(
  world: World,
  request: MemberRequest,
): { readonly group: Subject; readonly member: Subject } {
  return {
    group: principalOf(world, 'group', request.group, ['role', 'workspace']),
    member: principalOf(world, 'member', request.member, ['user', 'role']),
  };
}

/** ADM-4, ADM-5: administrators and the creator; and members with the admin option, who may not pass it on. */
function mayChangeMembers(
  { world, authority }: Context,
  group: Subject,
  member: Subject,
  adminOption: boolean,
): void {
  const record =
    group.type === 'role' ? world.get('role', group.id) : world.get('workspace', group.id);
  if (record === undefined) throw notFound(`there is no ${group.type} \`${group.id}\``);
  const created = authority.user?.createrole === true && record.creator === authority.name;
  const option = !created && authority.user?.adminOf?.includes(nameOf(group)) === true;
  if (!option) mayManageGroup(authority, record, nameOf(group));
  // Whoever has the option was trusted with this very group, at the level that it has.
  const role = group.type === 'role' ? world.get('role', group.id) : undefined;
  if (!option && role !== undefined)
    mustOutrank(authority, `role \`${group.id}\``, rankOf(world, role));
  if (option && !authority.all && adminOption && !isAdministrator(authority))
    throw denied(
      'ADM-5',
      `\`${authority.name}\` has the admin option of \`${nameOf(group)}\` and may not pass it on to \`${nameOf(member)}\``,
      'its creator or an administrator',
    );
}

function joinUser(world: World, id: string, group: Subject, adminOption: boolean): void {
  const user = world.get('user', id);
  if (user === undefined) throw notFound(`there is no user \`${id}\``);
  const list = group.type === 'role' ? 'roles' : 'workspaces';
  const name = nameOf(group);
  const others = (user.adminOf ?? []).filter((one) => one !== name);
  const adminOf = adminOption ? [...others, name].sort() : others;
  const groups = [...new Set([...user[list], group.id])].sort();
  world.put('user', id, withAdminOf({ ...user, [list]: groups }, adminOf));
}

function withAdminOf(user: UserRecord, adminOf: readonly string[]): UserRecord {
  const { adminOf: _old, sessions, ...rest } = user;
  return {
    ...rest,
    ...(adminOf.length === 0 ? {} : { adminOf }),
    ...(sessions === undefined ? {} : { sessions }),
  };
}

function joinRole(context: Context, id: string, group: Subject, adminOption: boolean): void {
  const { world } = context;
  if (adminOption)
    throw forbidden('ADM-4', `role \`${id}\` cannot have the admin option: give it to users`);
  const role = existingRole(world, id);
  const list = group.type === 'role' ? 'roles' : 'workspaces';
  if (group.type === 'role') {
    const way = wayBetween(world, group.id, id);
    if (way !== undefined)
      throw forbidden('ADM-6', `membership would close a cycle: ${[id, ...way].join(' → ')}`);
  }
  world.put('role', id, { ...role, [list]: [...new Set([...role[list], group.id])].sort() });
  recompute(world, id);
}

/** The roles from one to another over membership, both included; `undefined`: there is no way. */
function wayBetween(world: World, from: string, to: string): readonly string[] | undefined {
  const before = new Map<string, string>([[from, '']]);
  for (const [id] of before) {
    if (id === to) {
      const way: string[] = [];
      for (let at = to; at !== ''; at = before.get(at) ?? '') way.unshift(at);
      return way;
    }
    for (const next of world.get('role', id)?.roles ?? [])
      if (!before.has(next)) before.set(next, id);
  }
  return undefined;
}

/** Computes the closures of a role and of all that reach it anew. */
function recompute(world: World, changed: string): void {
  const roles = new Map<string, RoleRecord>(world.all('role').map((role) => [role.id, role]));
  const edges: ReadonlyMap<string, Edges> = roles;
  for (const role of roles.values()) {
    if (role.id !== changed && !role.closure.roles.includes(changed)) continue;
    const closure = closureOf(role.id, edges);
    const reached = closure.roles.length + closure.workspaces.length;
    if (reached > MAX_CLOSURE)
      throw forbidden(
        'ADM-6',
        `role \`${role.id}\` would reach ${reached} groups, ${MAX_CLOSURE} are allowed: nest fewer`,
      );
    world.put('role', role.id, { ...role, closure });
  }
}

export function existingRole(world: World, id: string): RoleRecord {
  const role = world.get('role', id);
  if (role === undefined) throw notFound(`there is no role \`${id}\``);
  return role;
}

export function existingWorkspace(world: World, id: string): WorkspaceRecord {
  const workspace = world.get('workspace', id);
  if (workspace === undefined) throw notFound(`there is no workspace \`${id}\``);
  return workspace;
}

export function viewOfRole(world: World, id: string): object {
  return { role: roleView(existingRole(world, id), world.get('refs', `role:${id}`)) };
}

export function viewOfWorkspace(world: World, id: string): object {
  const workspace = existingWorkspace(world, id);
  return { workspace: workspaceView(workspace, world.get('refs', `workspace:${id}`)) };
}
