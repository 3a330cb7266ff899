/** Made from proto/postern/v1/admin.proto by `npm run gen`: the requests of AdminService as the loader decodes them. */
import type { ProtoStruct as Struct } from '../../../util/proto-value.ts';

/** The request of each call. */
export interface AdminRequests {
  AddMember: AddMemberRequest;
  Apply: ApplyRequest;
  AttachPolicySet: AttachPolicySetRequest;
  BatchCreateUsers: BatchCreateUsersRequest;
  CheckGrant: CheckGrantRequest;
  CreateGrant: CreateGrantRequest;
  CreateKey: CreateKeyRequest;
  CreateRole: CreateRoleRequest;
  CreateSession: CreateSessionRequest;
  CreateTenant: CreateTenantRequest;
  CreateUser: CreateUserRequest;
  CreateWorkspace: CreateWorkspaceRequest;
  DeletePolicySet: DeletePolicySetRequest;
  DeleteRole: DeleteRoleRequest;
  DeleteTenant: DeleteTenantRequest;
  DeleteUser: DeleteUserRequest;
  DeleteWorkspace: DeleteWorkspaceRequest;
  DetachPolicySet: DetachPolicySetRequest;
  Export: ExportRequest;
  GetKey: GetKeyRequest;
  GetOwner: GetOwnerRequest;
  GetPolicySet: GetPolicySetRequest;
  GetRole: GetRoleRequest;
  GetTenant: GetTenantRequest;
  GetUser: GetUserRequest;
  GetWorkspace: GetWorkspaceRequest;
  GrantPermission: GrantPermissionRequest;
  ListChanges: ListChangesRequest;
  ListGrants: ListGrantsRequest;
  ListKeys: ListKeysRequest;
  ListMembers: ListMembersRequest;
  ListOwners: ListOwnersRequest;
  ListPolicySets: ListPolicySetsRequest;
  ListRoles: ListRolesRequest;
  ListSessions: ListSessionsRequest;
  ListTenants: ListTenantsRequest;
  ListUsers: ListUsersRequest;
  ListWorkspaces: ListWorkspacesRequest;
  PutPolicySet: PutPolicySetRequest;
  RemoveMember: RemoveMemberRequest;
  RemoveOwner: RemoveOwnerRequest;
  RevokeGrant: RevokeGrantRequest;
  RevokeKey: RevokeKeyRequest;
  RevokePermission: RevokePermissionRequest;
  RevokeSession: RevokeSessionRequest;
  RotateKey: RotateKeyRequest;
  SetOwner: SetOwnerRequest;
  UpdateKey: UpdateKeyRequest;
  UpdatePolicySet: UpdatePolicySetRequest;
  UpdateRole: UpdateRoleRequest;
  UpdateUser: UpdateUserRequest;
  UpdateWorkspace: UpdateWorkspaceRequest;
  ValidatePolicySet: ValidatePolicySetRequest;
  WatchChanges: WatchChangesRequest;
}

interface ActionCapability {
  readonly action: string;
  readonly readonly: boolean;
  readonly allowed: boolean;
  readonly constrained: boolean;
  readonly rule: string;
  readonly allowed_enforced: boolean;
}

interface AddMemberRequest {
  readonly tenant: string;
  readonly options: WriteOptions | null;
  readonly group: string;
  readonly member: string;
  readonly admin_option: boolean;
  readonly members: string[];
}

interface ApplyEnd {
  readonly length: number;
  readonly sha256: Buffer;
}

interface ApplyRequest {
  readonly tenant: string;
  readonly options: WriteOptions | null;
  readonly chunk: Buffer;
  readonly prune: boolean;
  readonly keep: boolean;
  readonly end: ApplyEnd | null;
}

interface AttachPolicySetRequest {
  readonly tenant: string;
  readonly options: WriteOptions | null;
  readonly id: string;
  readonly policy_set: string;
}

interface BatchCreateUsersRequest {
  readonly tenant: string;
  readonly options: WriteOptions | null;
  readonly users: User[];
}

interface CheckGrantRequest {
  readonly tenant: string;
  readonly principal: string;
  readonly path: string;
  readonly action: string;
}

interface CreateGrantRequest {
  readonly tenant: string;
  readonly options: WriteOptions | null;
  readonly principal: string;
  readonly path: string;
  readonly actions: string[];
  readonly grant_option: boolean;
  readonly replace: boolean;
  readonly grant_options: string[];
}

interface CreateKeyRequest {
  readonly tenant: string;
  readonly options: WriteOptions | null;
  readonly key: Key | null;
}

interface CreateRoleRequest {
  readonly tenant: string;
  readonly options: WriteOptions | null;
  readonly role: Role | null;
}

interface CreateSessionRequest {
  readonly tenant: string;
  readonly options: WriteOptions | null;
  readonly user: string;
  readonly ttl_seconds: number;
}

interface CreateTenantRequest {
  readonly tenant: string;
  readonly options: WriteOptions | null;
  readonly owner: string;
}

interface CreateUserRequest {
  readonly tenant: string;
  readonly options: WriteOptions | null;
  readonly user: User | null;
}

interface CreateWorkspaceRequest {
  readonly tenant: string;
  readonly options: WriteOptions | null;
  readonly workspace: Workspace | null;
}

interface DeletePolicySetRequest {
  readonly tenant: string;
  readonly options: WriteOptions | null;
  readonly name: string;
}

interface DeleteRoleRequest {
  readonly tenant: string;
  readonly options: WriteOptions | null;
  readonly id: string;
}

interface DeleteTenantRequest {
  readonly tenant: string;
  readonly options: WriteOptions | null;
  readonly confirm: string;
}

interface DeleteUserRequest {
  readonly tenant: string;
  readonly options: WriteOptions | null;
  readonly id: string;
  readonly reassign_to: string;
}

interface DeleteWorkspaceRequest {
  readonly tenant: string;
  readonly options: WriteOptions | null;
  readonly id: string;
}

interface DetachPolicySetRequest {
  readonly tenant: string;
  readonly options: WriteOptions | null;
  readonly id: string;
  readonly policy_set: string;
}

interface ExportRequest {
  readonly tenant: string;
  readonly format: string;
}

interface GetKeyRequest {
  readonly tenant: string;
  readonly id: string;
  readonly action: string;
}

interface GetOwnerRequest {
  readonly tenant: string;
  readonly path: string;
}

interface GetPolicySetRequest {
  readonly tenant: string;
  readonly name: string;
  readonly version: number;
}

interface GetRoleRequest {
  readonly tenant: string;
  readonly id: string;
}

interface GetTenantRequest {
  readonly tenant: string;
}

interface GetUserRequest {
  readonly tenant: string;
  readonly id: string;
}

interface GetWorkspaceRequest {
  readonly tenant: string;
  readonly id: string;
}

interface GrantPermissionRequest {
  readonly tenant: string;
  readonly options: WriteOptions | null;
  readonly id: string;
  readonly permissions: string[];
}

interface Key {
  readonly id: string;
  readonly description: string;
  readonly role: string;
  readonly mode: string;
  readonly policy_sets: string[];
  readonly user: string;
  readonly created_at: string;
  readonly expires_at: string;
  readonly last_used_at: string;
  readonly revoked: boolean;
  readonly rate_limit: RateLimit | null;
  readonly capabilities: string;
  readonly actions: ActionCapability[];
}

interface ListChangesRequest {
  readonly tenant: string;
  readonly after: number;
  readonly page_size: number;
}

interface ListGrantsRequest {
  readonly tenant: string;
  readonly principal: string;
  readonly path?: string;
  readonly grantor: string;
  readonly page_size: number;
  readonly page_token: string;
}

interface ListKeysRequest {
  readonly tenant: string;
  readonly user: string;
  readonly policy_set: string;
  readonly page_size: number;
  readonly page_token: string;
}

interface ListMembersRequest {
  readonly tenant: string;
  readonly group: string;
  readonly page_size: number;
  readonly page_token: string;
}

interface ListOwnersRequest {
  readonly tenant: string;
  readonly owner: string;
  readonly path?: string;
  readonly page_size: number;
  readonly page_token: string;
}

interface ListPolicySetsRequest {
  readonly tenant: string;
  readonly page_size: number;
  readonly page_token: string;
}

interface ListRolesRequest {
  readonly tenant: string;
  readonly page_size: number;
  readonly page_token: string;
}

interface ListSessionsRequest {
  readonly tenant: string;
  readonly user: string;
}

interface ListTenantsRequest {
  readonly page_size: number;
  readonly page_token: string;
}

interface ListUsersRequest {
  readonly tenant: string;
  readonly external_id: string;
  readonly email: string;
  readonly include_deleted: boolean;
  readonly page_size: number;
  readonly page_token: string;
}

interface ListWorkspacesRequest {
  readonly tenant: string;
  readonly page_size: number;
  readonly page_token: string;
}

interface PermissionList {
  readonly permissions: string[];
}

interface PutPolicySetRequest {
  readonly tenant: string;
  readonly options: WriteOptions | null;
  readonly document: string;
  readonly must_exist: boolean;
  readonly must_not_exist: boolean;
}

interface RateLimit {
  readonly requests: number;
  readonly per_seconds: number;
}

interface RemoveMemberRequest {
  readonly tenant: string;
  readonly options: WriteOptions | null;
  readonly group: string;
  readonly member: string;
  readonly members: string[];
}

interface RemoveOwnerRequest {
  readonly tenant: string;
  readonly options: WriteOptions | null;
  readonly path: string;
}

interface RevokeGrantRequest {
  readonly tenant: string;
  readonly options: WriteOptions | null;
  readonly principal: string;
  readonly path: string;
  readonly actions: string[];
  readonly grantor: string;
  readonly all_grantors: boolean;
  readonly grant_option_only: boolean;
}

interface RevokeKeyRequest {
  readonly tenant: string;
  readonly options: WriteOptions | null;
  readonly id: string;
}

interface RevokePermissionRequest {
  readonly tenant: string;
  readonly options: WriteOptions | null;
  readonly id: string;
  readonly permissions: string[];
}

interface RevokeSessionRequest {
  readonly tenant: string;
  readonly options: WriteOptions | null;
  readonly user: string;
  readonly id: string;
}

interface Role {
  readonly id: string;
  readonly description: string;
  readonly level: number;
  readonly permissions: string[];
  readonly system: boolean;
  readonly roles: string[];
  readonly workspaces: string[];
  readonly member_count: number;
  readonly creator: string;
}

interface RotateKeyRequest {
  readonly tenant: string;
  readonly options: WriteOptions | null;
  readonly id: string;
  readonly overlap_seconds: number;
}

interface SetOwnerRequest {
  readonly tenant: string;
  readonly options: WriteOptions | null;
  readonly path: string;
  readonly owner: string;
}

interface UpdateKeyRequest {
  readonly tenant: string;
  readonly options: WriteOptions | null;
  readonly id: string;
  readonly description?: string;
  readonly role?: string;
  readonly mode?: string;
  readonly expires_at?: string;
  readonly rate_limit: RateLimit | null;
}

interface UpdatePolicySetRequest {
  readonly tenant: string;
  readonly options: WriteOptions | null;
  readonly name: string;
  readonly mode?: string;
  readonly description?: string;
}

interface UpdateRoleRequest {
  readonly tenant: string;
  readonly options: WriteOptions | null;
  readonly id: string;
  readonly description?: string;
  readonly level?: number;
  readonly permissions: PermissionList | null;
}

interface UpdateUserRequest {
  readonly tenant: string;
  readonly options: WriteOptions | null;
  readonly id: string;
  readonly external_id?: string;
  readonly email?: string;
  readonly type?: string;
  readonly metadata: Struct | null;
  readonly superuser?: boolean;
  readonly createrole?: boolean;
  readonly suspended?: boolean;
}

interface UpdateWorkspaceRequest {
  readonly tenant: string;
  readonly options: WriteOptions | null;
  readonly id: string;
  readonly description?: string;
}

interface User {
  readonly id: string;
  readonly type: string;
  readonly external_id: string;
  readonly email: string;
  readonly metadata: Struct | null;
  readonly superuser: boolean;
  readonly createrole: boolean;
  readonly no_login: boolean;
  readonly suspended: boolean;
  readonly deleted: boolean;
  readonly roles: string[];
  readonly workspaces: string[];
  readonly admin_of: string[];
}

interface ValidatePolicySetRequest {
  readonly tenant: string;
  readonly document: string;
}

interface WatchChangesRequest {
  readonly tenant: string;
  readonly after: number;
}

interface Workspace {
  readonly id: string;
  readonly description: string;
  readonly member_count: number;
  readonly creator: string;
}

interface WriteOptions {
  readonly dry_run: boolean;
  readonly idempotency_key: string;
  readonly expected_revision: number;
  readonly request_id: string;
  readonly all_facts: boolean;
}
