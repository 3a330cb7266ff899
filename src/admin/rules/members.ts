/** Members of roles and workspaces (ADM-3 to ADM-6). */
import type { Subject } from '../../engine/model.ts';
import type { UserRecord } from '../../engine/records.ts';
import { isAdministrator } from '../actor.ts';
import type { Context } from '../context.ts';
import { existingRole, mayManageGroup, mustOutrank, rankOf } from './groups.ts';
import { nameOf, principalOf, readings } from '../principals.ts';
import { denied, forbidden, invalid, notFound } from '../refused.ts';
import type { World } from '../world.ts';

export interface MemberRequest {
  readonly group: string;
  /** One; `''`: those of `members` alone. */
  readonly member: string;
  /** More, in the same commit. */
  readonly members?: readonly string[];
  readonly admin_option: boolean;
}

/** Members of one request: each may change closures and cascade. */
const MAX_MEMBERS = 1_000;

export function addMember(context: Context, request: MemberRequest): object {
  const { world, authority } = context;
  const { group, members } = membersOf(world, request);
  mayChangeMembers(context, group, members, request.admin_option);
  for (const member of members) {
    if (nameOf(member) === authority.name && !authority.all)
      throw denied(
        'ADM-5',
        `\`${authority.name}\` may not add itself`,
        'another who may manage it',
      );
    if (member.type === 'role' && authority.groups.roles.has(member.id) && !authority.all)
      throw denied(
        'ADM-5',
        `\`${authority.name}\` is in \`${nameOf(member)}\` and would promote itself`,
        'another who may manage it',
      );
    if (member.type === 'user') joinUser(world, member.id, group, request.admin_option);
    else joinRole(context, member.id, group, request.admin_option);
  }
  context.follows.closures.push(...rolesOf(members));
  return {};
}

export function removeMember(
  context: Context,
  request: Omit<MemberRequest, 'admin_option'>,
): object {
  const { world } = context;
  const { group, members } = membersOf(world, { ...request, admin_option: false });
  mayChangeMembers(context, group, members, false);
  for (const member of members) leave(world, group, member);
  context.follows.closures.push(...rolesOf(members));
  context.follows.losses.push(...members.map((of) => ({ of, path: '' })));
  return {};
}

/** Takes a member out of a group. @throws Refused NOT_FOUND */
function leave(world: World, group: Subject, member: Subject): void {
  const list = group.type === 'role' ? 'roles' : 'workspaces';
  const record =
    member.type === 'user' ? world.get('user', member.id) : world.get('role', member.id);
  if (record?.[list].includes(group.id) !== true)
    throw notFound(`\`${nameOf(member)}\` is no member of \`${nameOf(group)}\``);
  const without = record[list].filter((id) => id !== group.id);
  if ('owns' in record) {
    const adminOf = (record.adminOf ?? []).filter((name) => name !== nameOf(group));
    world.put('user', member.id, withAdminOf({ ...record, [list]: without }, adminOf));
  } else world.put('role', member.id, { ...record, [list]: without });
}

function rolesOf(members: readonly Subject[]): readonly string[] {
  return members.flatMap(({ type, id }) => (type === 'role' ? [id] : []));
}

function membersOf(
  world: World,
  request: MemberRequest,
): { readonly group: Subject; readonly members: readonly Subject[] } {
  const { member, members = [] } = request;
  const named = [...(member === '' && members.length > 0 ? [] : [member]), ...members];
  if (named.length > MAX_MEMBERS)
    throw invalid(
      'members',
      `has ${named.length} members: at most ${MAX_MEMBERS} are changed at once`,
    );
  // Each that is looked for by itself would be a read of the store.
  world.prefetch(named.flatMap(readings).map(({ type: kind, id }) => ({ kind, id })));
  const found = named.map((ref, index) =>
    principalOf(world, index === 0 ? 'member' : `members[${index}]`, ref, ['user', 'role']),
  );
  const each = new Map(found.map((subject) => [nameOf(subject), subject]));
  return {
    group: principalOf(world, 'group', request.group, ['role', 'workspace']),
    members: [...each.values()],
  };
}

/** ADM-4, ADM-5: administrators and the creator; and members with the admin option, who may not pass it on. */
function mayChangeMembers(
  { world, authority }: Context,
  group: Subject,
  [first]: readonly Subject[],
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
      `\`${authority.name}\` has the admin option of \`${nameOf(group)}\` and may not pass it on${first === undefined ? '' : ` to \`${nameOf(first)}\``}`,
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
}

/** The roles from one to another over membership, both included; `undefined`: there is no way. */
function wayBetween(world: World, from: string, to: string): readonly string[] | undefined {
  const before = new Map<string, string>([[from, '']]);
  // A closure says whether there is one: the group's own does not change with its members.
  if (from !== to && world.get('role', from)?.closure.roles.includes(to) !== true) return undefined;
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
