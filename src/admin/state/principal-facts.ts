/** Users, roles and workspaces of a state file, with their rows and closures. */
import type { StateFile } from '../../config/state.ts';
import type { GrantRow, RoleRecord, UserRecord, WorkspaceRecord } from '../../engine/records.ts';
import { closureOf, MAX_CLOSURE } from '../closure.ts';
import { newEdges, sortEdges, type Directory } from './directory.ts';
import { eachEntry, type BaseRole, type Entry, type Find } from './tenant-facts.ts';
import type { Owners } from './tree-facts.ts';

/** What the records of principals are made of. */
export interface PrincipalParts {
  readonly state: StateFile;
  /** Roles that exist without being listed. */
  readonly base: readonly BaseRole[];
  readonly directory: Directory;
  /** By the name of the principal. */
  readonly rows: ReadonlyMap<string, readonly GrantRow[]>;
  readonly owns: Owners['owns'];
  readonly find: Find;
}

export function usersOf(parts: PrincipalParts): Map<string, UserRecord> {
  const { state, directory, rows, owns } = parts;
  const users = new Map<string, UserRecord>();
  eachEntry(state, 'users', (user) => {
    const { external_id, email, metadata } = user;
    users.set(user.id, {
      id: user.id,
      type: user.type ?? 'user',
      ...(external_id === undefined ? {} : { externalId: external_id }),
      ...(email === undefined ? {} : { email }),
      ...(metadata === undefined ? {} : { metadata }),
      superuser: user.superuser ?? false,
      createrole: user.createrole ?? false,
      suspended: user.suspended ?? false,
      deleted: user.deleted ?? false,
      ...sortEdges(directory.edges.user.get(user.id) ?? newEdges()),
      grants: rows.get(`user:${user.id}`) ?? [],
      owns: owns.get(user.id) ?? [],
      ...adminOf(parts, user),
    });
  });
  return users;
}

/** The admin option is of a membership: there is none without it. */
function adminOf(
  { state, directory, find }: PrincipalParts,
  { id, admin_of: refs = [] }: Entry<'users'>,
): { readonly adminOf?: readonly string[] } {
  if (refs.length === 0) return {};
  const edges = directory.edges.user.get(id) ?? newEdges();
  const index = (state.users ?? []).findIndex((user) => user.id === id);
  const names = refs.flatMap((ref, place) => {
    const path = ['users', index, 'admin_of', place];
    const group = directory.resolve(ref, path, ['role', 'workspace']);
    if (group === undefined) return [];
    if (!edges[group.type === 'role' ? 'roles' : 'workspaces'].has(group.id))
      find(path, `user \`${id}\` is no member of \`${ref}\`: list it among its groups`);
    return [`${group.type}:${group.id}`];
  });
  return { adminOf: [...new Set(names)].sort() };
}

/**
 * @param isCyclic the memberships of the state have a cycle, or something else is wrong with it: closures are left out
 * @returns `undefined`: a role reaches too many groups. One finding is enough: roles nested in a chain would have one each
 */
export function rolesOf(
  parts: PrincipalParts,
  creators: ReadonlyMap<string, Created>,
  isCyclic: boolean,
): Map<string, RoleRecord> | undefined {
  const { state, base, directory, rows, find } = parts;
  const edges = directory.roleEdges();
  const roles = new Map<string, RoleRecord>();
  for (const role of listedOver(base, state, find)) {
    const direct = edges.get(role.id) ?? { roles: [], workspaces: [] };
    const closure = isCyclic ? direct : closureOf(role.id, edges);
    const reached = closure.roles.length + closure.workspaces.length;
    if (reached > MAX_CLOSURE) {
      const index = (state.roles ?? []).findIndex(({ id }) => id === role.id);
      find(
        index < 0 ? ['roles'] : ['roles', index],
        `role \`${role.id}\` reaches ${reached} groups, ${MAX_CLOSURE} are allowed: nest fewer`,
      );
      return undefined;
    }
    const grants = rows.get(`role:${role.id}`) ?? [];
    roles.set(role.id, { ...role, ...direct, grants, closure, ...creators.get(role.id) });
  }
  return roles;
}

export function workspacesOf(parts: PrincipalParts): Map<string, WorkspaceRecord> {
  const { state, rows } = parts;
  const workspaces = new Map<string, WorkspaceRecord>();
  eachEntry(state, 'workspaces', ({ id, description, creator }, path) => {
    workspaces.set(id, {
      id,
      ...(description === undefined ? {} : { description }),
      grants: rows.get(`workspace:${id}`) ?? [],
      ...createdBy(parts, creator, path),
    });
  });
  return workspaces;
}

/** Who created a group, as its record has it. */
interface Created {
  readonly creator?: string;
}

/** Who created the roles that the state lists. */
export function roleCreatorsOf(parts: PrincipalParts): ReadonlyMap<string, Created> {
  const creators = new Map<string, Created>();
  eachEntry(parts.state, 'roles', ({ id, creator }, path) =>
    creators.set(id, createdBy(parts, creator, path)),
  );
  return creators;
}

function createdBy(
  { directory }: PrincipalParts,
  creator: string | undefined,
  path: readonly PropertyKey[],
): Created {
  if (creator === undefined) return {};
  const user = directory.resolve(`user:${creator}`, [...path, 'creator'], ['user']);
  return user === undefined ? {} : { creator: `user:${user.id}` };
}

/** The base roles with the state's roles over them. */
function listedOver(base: readonly BaseRole[], state: StateFile, find: Find): BaseRole[] {
  const roles = new Map(base.map((role) => [role.id, role]));
  eachEntry(state, 'roles', (listed, path) => {
    const { id, level, permissions, description, system } = listed;
    const stored = roles.get(id);
    const text = description ?? stored?.description;
    const wanted: BaseRole = {
      id,
      level: level ?? stored?.level ?? 0,
      permissions: [...new Set(permissions ?? stored?.permissions ?? [])].sort(),
      system: system ?? stored?.system ?? false,
      ...(text === undefined ? {} : { description: text }),
    };
    if (stored?.system === true && !isSameRole(wanted, stored))
      find(
        path,
        `\`${id}\` is a system role and cannot be edited: list only its members, or use another id (RBAC-4)`,
      );
    roles.set(id, wanted);
  });
  return [...roles.values()];
}

function isSameRole(one: BaseRole, other: BaseRole): boolean {
  const fields = ({ id, level, permissions, system, description }: BaseRole): string =>
    JSON.stringify([id, level, permissions, system, description]);
  return fields(one) === fields(other);
}
