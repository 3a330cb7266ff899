/** Object ACL: access lists in the object's own metadata (ACL-1 to ACL-4). */
import type { Action } from './action.ts';
import type { Attributes, Scalar } from './model.ts';
import type { SubjectFacts } from './subject.ts';

export const OWNER_KEY = 'user_id';

export const ACL_KEYS = {
  read: { user: 'user_read_access', workspace: 'workspace_read_access', role: 'role_read_access' },
  write: {
    user: 'user_write_access',
    workspace: 'workspace_write_access',
    role: 'role_write_access',
  },
} as const;

/** Whether the object's own lists name the subject or a group of its closure on the action's side (ACL-2). */
export function aclAllows(facts: SubjectFacts, action: Action, attributes: Attributes): boolean {
  if (action.acl === undefined || attributes.size === 0) return false;
  const { subject, groups } = facts;
  const keys = ACL_KEYS[action.acl];
  if (
    subject.type === 'user' &&
    (names(attributes.get(OWNER_KEY), subject.id) || names(attributes.get(keys.user), subject.id))
  )
    return true;
  return (
    (groups.workspaces.size > 0 && namesOneOf(attributes.get(keys.workspace), groups.workspaces)) ||
    (groups.roles.size > 0 && namesOneOf(attributes.get(keys.role), groups.roles))
  );
}

function names(list: readonly Scalar[] | undefined, id: string): boolean {
  return list !== undefined && list.includes(id);
}

function namesOneOf(
  list: readonly Scalar[] | undefined,
  groups: ReadonlyMap<string, unknown>,
): boolean {
  if (list !== undefined)
    for (const id of list) if (typeof id === 'string' && groups.has(id)) return true;
  return false;
}
