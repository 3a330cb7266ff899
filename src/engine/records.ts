/**
 * Facts as they are stored: plain JSON, one record a principal, a policy set, a key or an owned path.
 * What a subject's decision needs stands in its own record and in those of its groups, so that a cold
 * check reads one record and no joins. Written by `admin/`, never by a decision.
 */
import type { Scalar } from './model.ts';

export type Kind =
  'tenant' | 'user' | 'role' | 'workspace' | 'owner' | 'policy_set' | 'key' | 'receipt';

/** The kinds that make up a tenant's state: what `export` writes and decisions look at. */
export type StateKind = Exclude<Kind, 'receipt'>;

export type TreeAction = 'read' | 'write' | 'create' | 'delete' | 'admin';

/** One grant row of a principal: (principal, path, grantor) is its identity (TREE-3). */
export interface GrantRow {
  readonly path: string;
  readonly actions: readonly TreeAction[];
  /** `user:alice`, `role:team`, …; `''`: given by the operator. */
  readonly grantor: string;
  readonly grantOption: boolean;
}

export type UserType = 'user' | 'developerUser' | 'agent';

export interface UserRecord {
  readonly id: string;
  readonly type: UserType;
  readonly externalId?: string;
  readonly email?: string;
  readonly metadata?: Readonly<Record<string, unknown>>;
  readonly superuser: boolean;
  readonly createrole: boolean;
  readonly suspended: boolean;
  /** A tombstone: denied by every model until it is created again (ACL-4). */
  readonly deleted: boolean;
  /** Direct groups, sorted. */
  readonly roles: readonly string[];
  readonly workspaces: readonly string[];
  readonly grants: readonly GrantRow[];
  /** Paths that this user owns (TREE-2), sorted. */
  readonly owns: readonly string[];
}

export interface RoleRecord {
  readonly id: string;
  readonly description?: string;
  readonly level: number;
  readonly permissions: readonly string[];
  readonly system: boolean;
  /** Direct groups, sorted. */
  readonly roles: readonly string[];
  readonly workspaces: readonly string[];
  readonly grants: readonly GrantRow[];
  /** Every group reachable from here, itself not counted; materialized at write time, sorted. */
  readonly closure: { readonly roles: readonly string[]; readonly workspaces: readonly string[] };
}

export interface WorkspaceRecord {
  readonly id: string;
  readonly description?: string;
  readonly grants: readonly GrantRow[];
}

/** The one owner of a path (TREE-2); the same fact as an entry of `UserRecord.owns`, for uniqueness. */
export interface OwnerRecord {
  readonly path: string;
  readonly owner: string;
}

export type Mode = 'off' | 'report_only' | 'enforce';

export interface RuleRecord {
  readonly id: string;
  readonly effect: 'allow' | 'deny';
  /** Exact action names, or the macro `readonly` (ACT-5). */
  readonly actions: readonly string[];
  /** Constraints in file order as [key, required values]; absent: the rule holds for every object. */
  readonly attributes?: readonly (readonly [string, readonly Scalar[]])[];
}

export interface PolicySetRecord {
  readonly name: string;
  readonly description?: string;
  readonly mode: Mode;
  /** Counts the puts of this set; the store's, not the file's. */
  readonly version: number;
  readonly rules: readonly RuleRecord[];
}

export interface KeyRecord {
  readonly id: string;
  readonly description?: string;
  readonly role: 'default_allow' | 'default_deny';
  readonly mode: Mode;
  readonly policySets: readonly string[];
  /** The user on whose behalf the key acts. */
  readonly user?: string;
}

/** That a tenant exists, and which default roles it was given (RBAC-4). */
export interface TenantRecord {
  readonly id: string;
}

/** That an operation with an idempotency key was done (CONS-5). No decision reads it. */
export interface ReceiptRecord {
  /** Hash of the key. */
  readonly id: string;
  /** Hash of what was asked for. */
  readonly digest: string;
  readonly revision: number;
  /** Milliseconds since the epoch, by the writer's clock. */
  readonly time: number;
}

export interface Records {
  readonly tenant: TenantRecord;
  readonly user: UserRecord;
  readonly role: RoleRecord;
  readonly workspace: WorkspaceRecord;
  readonly owner: OwnerRecord;
  readonly policy_set: PolicySetRecord;
  readonly key: KeyRecord;
  readonly receipt: ReceiptRecord;
}
