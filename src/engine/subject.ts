/** Compiled evidence of a subject: its own, and that of its groups, which all members share. */
import { NO_LEVEL } from './action.ts';
import { NO_GRANTS, compileGrants, type Grants } from './grants.ts';
import type { Subject } from './model.ts';
import { compilePermissions, type Permissions } from './permissions.ts';
import type { RoleRecord, UserRecord, WorkspaceRecord } from './records.ts';

/** All groups of a tenant. */
export interface Directory {
  readonly roles: ReadonlyMap<string, RoleRecord>;
  readonly workspaces: ReadonlyMap<string, WorkspaceRecord>;
}

/** The direct groups of a principal. */
export interface Direct {
  readonly roles: readonly string[];
  readonly workspaces: readonly string[];
}

/** A closed set of groups. Subjects with the same direct groups share one. */
export interface GroupFacts {
  readonly roles: ReadonlyMap<string, RoleRecord>;
  readonly workspaces: ReadonlyMap<string, WorkspaceRecord>;
  readonly permissions: Permissions;
  /** Highest level among the roles; NO_LEVEL without roles (RBAC-3). */
  readonly level: number;
  readonly grants: Grants;
}

export interface SubjectFacts {
  /** Identity of these compiled facts: a cached conclusion can refer to it without keeping the facts in memory. */
  readonly stamp: Stamp;
  readonly subject: Subject;
  /** `undefined`: a group, or a user without a record, which can only have ACL entries (ACL-4). */
  readonly record: UserRecord | undefined;
  /** Deleted or suspended (SUBJECT_INACTIVE). */
  readonly inactive: boolean;
  readonly superuser: boolean;
  /** Grants and ownership of the subject itself; those of groups are in `groups`. */
  readonly own: Grants;
  readonly groups: GroupFacts;
}

/**
 * The closure of some direct groups (RBAC-2, TREE-1, ACL-2). Role records contain their own closure,
 * so no walk is needed. A group without a record gives no rights.
 */
export function groupsOf(directory: Directory, direct: Direct): GroupFacts {
  const roles = new Map<string, RoleRecord>();
  const workspaces = new Map<string, WorkspaceRecord>();
  const addRole = (id: string): void => {
    const role = directory.roles.get(id);
    if (role !== undefined) roles.set(id, role);
  };
  const addWorkspace = (id: string): void => {
    const workspace = directory.workspaces.get(id);
    if (workspace !== undefined) workspaces.set(id, workspace);
  };
  for (const id of direct.roles) {
    addRole(id);
    const closure = directory.roles.get(id)?.closure;
    closure?.roles.forEach(addRole);
    closure?.workspaces.forEach(addWorkspace);
  }
  direct.workspaces.forEach(addWorkspace);
  const all = [...roles.values()];
  return {
    roles,
    workspaces,
    permissions: compilePermissions(all.flatMap((role) => role.permissions)),
    level: all.reduce((highest, { level }) => Math.max(highest, level), NO_LEVEL),
    grants: compileGrants([...all, ...workspaces.values()].flatMap((group) => group.grants)),
  };
}

/** Empty object, compared by identity. */
export type Stamp = Readonly<Record<string, never>>;

export const NO_GROUPS: GroupFacts = {
  roles: new Map(),
  workspaces: new Map(),
  permissions: new Map(),
  level: NO_LEVEL,
  grants: NO_GRANTS,
};

/** A user's facts; without a record it is a stranger, which access lists can name (ACL-4). */
export function compileUser(
  id: string,
  record: UserRecord | undefined,
  groups: GroupFacts,
): SubjectFacts {
  return {
    stamp: {},
    subject: { type: 'user', id },
    record,
    inactive: record !== undefined && (record.deleted || record.suspended),
    superuser: record?.superuser ?? false,
    own: record === undefined ? NO_GRANTS : compileGrants(record.grants, record.owns),
    groups,
  };
}

/** A role or workspace as the subject; `groups` includes itself. */
function compileGroup(subject: Subject, groups: GroupFacts): SubjectFacts {
  return {
    stamp: {},
    subject,
    record: undefined,
    inactive: false,
    superuser: false,
    own: NO_GRANTS,
    groups,
  };
}

/** A role or a workspace as the subject is in its own closure; without a record the closure is empty. */
export function groupSubject(
  subject: Subject,
  closure: (direct: Direct) => GroupFacts,
): SubjectFacts {
  const { type, id } = subject;
  const itself =
    type === 'role' ? { roles: [id], workspaces: [] } : { roles: [], workspaces: [id] };
  return compileGroup(subject, closure(itself));
}
