/** Records as the AdminService tells them, in the names of the contract; secrets stay behind. */
import type {
  GrantRow,
  KeyRecord,
  OwnerRecord,
  PolicySetRecord,
  RefsRecord,
  RoleRecord,
  SessionRow,
  UserRecord,
  WorkspaceRecord,
} from '../../engine/records.ts';
import { optionsOf } from '../tree/rows.ts';

export function userView(user: UserRecord): object {
  return {
    id: user.id,
    type: user.type,
    external_id: user.externalId ?? '',
    email: user.email ?? '',
    metadata: user.metadata,
    superuser: user.superuser,
    createrole: user.createrole,
    no_login: false,
    suspended: user.suspended,
    deleted: user.deleted,
    roles: user.roles,
    workspaces: user.workspaces,
    admin_of: user.adminOf ?? [],
  };
}

export function roleView(role: RoleRecord, refs: RefsRecord | undefined): object {
  return {
    id: role.id,
    description: role.description ?? '',
    level: role.level,
    permissions: role.permissions,
    system: role.system,
    roles: role.roles,
    workspaces: role.workspaces,
    member_count: refs?.members ?? 0,
    creator: role.creator ?? '',
  };
}

export function workspaceView(workspace: WorkspaceRecord, refs: RefsRecord | undefined): object {
  return {
    id: workspace.id,
    description: workspace.description ?? '',
    member_count: refs?.members ?? 0,
    creator: workspace.creator ?? '',
  };
}

export interface GrantView {
  readonly principal: string;
  readonly path: string;
  readonly actions: readonly string[];
  readonly grantor: string;
  readonly grant_option: boolean;
  readonly grant_options: readonly string[];
}

export function grantView(holder: string, row: GrantRow): GrantView {
  return {
    principal: holder,
    path: row.path,
    actions: row.actions,
    grantor: row.grantor,
    grant_option: row.grantOption,
    grant_options: optionsOf(row),
  };
}

export interface OwnerView {
  readonly path: string;
  readonly owner: string;
  readonly grantor: string;
}

export function ownerView({ path, owner, grantor = '' }: OwnerRecord): OwnerView {
  return { path, owner: `user:${owner}`, grantor };
}

export function policySetView(set: PolicySetRecord): object {
  return {
    name: set.name,
    description: set.description ?? '',
    mode: set.mode,
    version: set.version,
    rules: set.rules.map(({ id, description, effect, actions, attributes }) => ({
      id,
      description: description ?? '',
      effect,
      actions,
      attributes,
    })),
  };
}

export function keyView(key: KeyRecord, lastUsed: number | undefined): object {
  return {
    id: key.id,
    description: key.description ?? '',
    role: key.role,
    mode: key.mode,
    policy_sets: key.policySets,
    user: key.user ?? '',
    created_at: timeText(key.createdAt),
    expires_at: timeText(key.expiresAt),
    last_used_at: timeText(lastUsed),
    revoked: key.revoked ?? false,
    rate_limit:
      key.rateLimit === undefined
        ? undefined
        : { requests: key.rateLimit.requests, per_seconds: key.rateLimit.seconds },
  };
}

export function sessionView(user: string, session: SessionRow): object {
  return {
    id: session.id,
    user,
    created_at: timeText(session.createdAt),
    expires_at: timeText(session.expiresAt),
  };
}

/** RFC 3339; `''` for no time. */
function timeText(ms: number | undefined): string {
  return ms === undefined ? '' : new Date(ms).toISOString();
}
