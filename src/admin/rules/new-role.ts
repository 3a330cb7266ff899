/** A role with the groups that it is a member of from the start (ADM-5, ADM-6). */
import type { Context } from '../context.ts';
import { createRole, viewOfRole, type CreateRole } from './groups.ts';
import { addMember } from './members.ts';
import { mustLeaveOut, OF_A_NEW_ROLE } from './taken.ts';

export interface NewRole {
  readonly role: CreateRole['role'] & {
    readonly roles?: readonly string[];
    readonly workspaces?: readonly string[];
  };
}

/** @throws Refused */
export function createRoleInGroups(context: Context, request: NewRole): object {
  const { role } = request;
  mustLeaveOut('role', role, OF_A_NEW_ROLE);
  createRole(context, request);
  const { roles = [], workspaces = [] } = role;
  const groups = [...roles.map((id) => `role:${id}`), ...workspaces.map((id) => `workspace:${id}`)];
  for (const group of groups)
    addMember(context, { group, member: `role:${role.id}`, admin_option: false });
  return viewOfRole(context.world, role.id);
}
