/** Every write of the AdminService, by the name of its call: the one place that says which rule answers it. */
import type { Context } from './context.ts';
import { createGrant, revokeGrant } from './rules/grants.ts';
import { removeOwner, setOwner } from './tree/owners.ts';
import {
  createWorkspace,
  deleteRole,
  deleteWorkspace,
  updateRole,
  updateWorkspace,
} from './rules/groups.ts';
import {
  attachPolicySet,
  createKey,
  deletePolicySet,
  detachPolicySet,
  putPolicySet,
  revokeKey,
  rotateKey,
  updateKey,
} from './rules/policies.ts';
import { addMember, removeMember } from './rules/members.ts';
import { createRoleInGroups } from './rules/new-role.ts';
import { updatePolicySet } from './rules/policy-set-fields.ts';
import { grantPermission, revokePermission } from './rules/role-permissions.ts';
import { deleteTenant } from './tenant/delete.ts';
import { createSession, revokeSession } from './rules/sessions.ts';
import { createTenant } from './rules/tenants.ts';
import { batchCreateUsers, createUser, deleteUser, updateUser } from './rules/users.ts';

/** A rule and how its call is named in the log. */
interface Write<Request> {
  readonly operation: string;
  readonly rule: (context: Context, request: Request) => object;
  /** May be done for a tenant that does not exist. */
  readonly creates: boolean;
  /** What is read on a thread before the rule runs, which finds it as `read` in its request (ADM-11). */
  readonly reads: 'document' | undefined;
}

function as<Request>(
  operation: string,
  rule: Write<Request>['rule'],
  { creates = false, reads }: Partial<Pick<Write<Request>, 'creates' | 'reads'>> = {},
): Write<Request> {
  return { operation, rule, creates, reads };
}

export const WRITES = {
  CreateTenant: as('tenant.create', createTenant, { creates: true }),
  DeleteTenant: as('tenant.delete', deleteTenant, { creates: true }),
  CreateUser: as('user.create', createUser),
  BatchCreateUsers: as('user.batch_create', batchCreateUsers),
  UpdateUser: as('user.update', updateUser),
  DeleteUser: as('user.delete', deleteUser),
  CreateRole: as('role.create', createRoleInGroups),
  UpdateRole: as('role.update', updateRole),
  GrantPermission: as('role.grant_permission', grantPermission),
  RevokePermission: as('role.revoke_permission', revokePermission),
  DeleteRole: as('role.delete', deleteRole),
  CreateWorkspace: as('workspace.create', createWorkspace),
  UpdateWorkspace: as('workspace.update', updateWorkspace),
  DeleteWorkspace: as('workspace.delete', deleteWorkspace),
  AddMember: as('member.add', addMember),
  RemoveMember: as('member.remove', removeMember),
  CreateGrant: as('grant.create', createGrant),
  RevokeGrant: as('grant.revoke', revokeGrant),
  SetOwner: as('owner.set', setOwner),
  RemoveOwner: as('owner.remove', removeOwner),
  PutPolicySet: as('policy_set.put', putPolicySet, { reads: 'document' }),
  UpdatePolicySet: as('policy_set.update', updatePolicySet),
  DeletePolicySet: as('policy_set.delete', deletePolicySet),
  CreateKey: as('key.create', createKey),
  UpdateKey: as('key.update', updateKey),
  RotateKey: as('key.rotate', rotateKey),
  RevokeKey: as('key.revoke', revokeKey),
  AttachPolicySet: as('key.attach', attachPolicySet),
  DetachPolicySet: as('key.detach', detachPolicySet),
  CreateSession: as('session.create', createSession),
  RevokeSession: as('session.revoke', revokeSession),
} as const;

export type WriteName = keyof typeof WRITES;

export function isWrite(name: string): name is WriteName {
  return Object.hasOwn(WRITES, name);
}
