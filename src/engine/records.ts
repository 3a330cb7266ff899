/**
 * Stored facts: plain JSON, one record per principal, policy set, key or owned path. The facts for a decision about a
 * subject are in its own record and in those of its groups, so a cold check reads one record and needs no joins.
 * `admin/` writes them, decisions never do.
 */
import type { Effect, KeyRole, Mode, Scalar, TreeAction, UserType } from './model.ts';

/** The kinds of a tenant's state: `export` writes them and decisions read them. */
export const STATE_KINDS = [
  'tenant',
  'user',
  'role',
  'workspace',
  'owner',
  'policy_set',
  'key',
  'tombstone',
] as const;
export type StateKind = (typeof STATE_KINDS)[number];

/** Records derived from the state, so that management need not read all of it. Decisions do not read them. */
const DERIVED_KINDS = ['refs', 'name'] as const;

export const KINDS = [
  ...STATE_KINDS,
  ...DERIVED_KINDS,
  'policy_version',
  'usage',
  'receipt',
] as const;
export type Kind = (typeof KINDS)[number];

/** One grant row of a principal: (principal, path, grantor) is its identity (TREE-3). */
export interface GrantRow {
  readonly path: string;
  readonly actions: readonly TreeAction[];
  /** `user:alice`, `role:team`, …; `''`: given by the operator. */
  readonly grantor: string;
  /** The grant option for all actions. */
  readonly grantOption: boolean;
  /** Actions with the grant option, in the order of records, if only some have it. */
  readonly options?: readonly TreeAction[];
}

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
  /** Groups whose members it manages by the admin option, `role:team`, sorted. */
  readonly adminOf?: readonly string[];
  /** Sessions that were not ended; some can have expired. */
  readonly sessions?: readonly SessionRow[];
}

/** A session of a user. The stored hash verifies its token and does not reveal it. */
export interface SessionRow {
  readonly id: string;
  /** SHA-256 of the secret, base64url. */
  readonly hash: string;
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
  readonly expiresAt: number;
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
  /** Every group that it is in, directly or not, without itself; computed at write time, sorted. */
  readonly closure: { readonly roles: readonly string[]; readonly workspaces: readonly string[] };
  /** Who created it; absent: the operator (ADM-4). */
  readonly creator?: string;
}

export interface WorkspaceRecord {
  readonly id: string;
  readonly description?: string;
  readonly grants: readonly GrantRow[];
  /** Who created it; absent: the operator (ADM-4). */
  readonly creator?: string;
}

/** The owner of a path (TREE-2). Duplicates an entry of `UserRecord.owns` to ensure uniqueness. */
export interface OwnerRecord {
  readonly path: string;
  readonly owner: string;
  /** Grantor: `user:alice`; absent: the operator, or set before grantors were recorded (ADM-2). */
  readonly grantor?: string;
}

export interface RuleRecord {
  readonly id: string;
  readonly description?: string;
  readonly effect: Effect;
  /** Exact action names, or the macro `readonly` (ACT-5). */
  readonly actions: readonly string[];
  /** Constraints in file order as [key, required values]; absent: the rule matches every object. */
  readonly attributes?: readonly (readonly [string, readonly Scalar[]])[];
}

export interface PolicySetRecord {
  readonly name: string;
  readonly description?: string;
  readonly mode: Mode;
  /** Counts the changes of this set; kept by the store, not by files. */
  readonly version: number;
  readonly rules: readonly RuleRecord[];
}

export interface KeyRecord {
  readonly id: string;
  readonly description?: string;
  readonly role: KeyRole;
  readonly mode: Mode;
  readonly policySets: readonly string[];
  /** The user on whose behalf the key acts. */
  readonly user?: string;
  /** Milliseconds since the epoch. */
  readonly createdAt?: number;
  /** Expiry, ms since the epoch; absent: it does not expire. */
  readonly expiresAt?: number;
  /** Permanently revoked. */
  readonly revoked?: boolean;
  readonly rateLimit?: RateLimit;
  /** Secrets of its credential; absent or empty: it can only be named by `key_id`. Exports omit them. */
  readonly secrets?: readonly SecretRow[];
}

/** Largest number of decisions of a key in a time window. */
export interface RateLimit {
  readonly requests: number;
  readonly seconds: number;
}

export interface SecretRow {
  /** SHA-256 of the secret, base64url. */
  readonly hash: string;
  /** End of a rotated secret, ms since the epoch. */
  readonly expiresAt?: number;
}

/** Existence of a tenant, and its applied migrations in order. */
export interface TenantRecord {
  readonly id: string;
  readonly migrations?: readonly AppliedMigration[];
  /** A tombstone: the tenant was deleted; its other records are or will be removed (ADM-9). */
  readonly deleted?: boolean;
  /** `operator`, or the user that the operator acted as. */
  readonly deletedBy?: string;
  /** Milliseconds since the epoch. */
  readonly deletedAt?: number;
}

export interface AppliedMigration {
  /** `0001-name`, the file's name without its ending. */
  readonly name: string;
  /** SHA-256 of the steps, hex: an applied migration must not be edited. */
  readonly digest: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

/** Tombstone of a role or a workspace, `role:crew`; a user's tombstone is its own record (ADM-4). Decisions do not read it. */
export interface TombstoneRecord {
  readonly id: string;
}

/** References to a principal (`user:alice`) or a policy set (`policy_set:tenant-acme`); absent: none. */
export interface RefsRecord {
  readonly id: string;
  /** Direct members of a group. */
  readonly members: number;
  /** Active users among the members of a system role of the highest level (ADM-5). */
  readonly owners: readonly string[];
  /** Grant rows of which the principal is the grantor, as JSON `[holder, path]`, sorted. */
  readonly given: readonly string[];
  /** Keys that are bound to the user, or that the set is attached to, sorted. */
  readonly keys: readonly string[];
  /** Paths of whose ownership the user is the grantor, sorted; absent: none. */
  readonly appointed?: readonly string[];
}

/** Index of users by e-mail or external id; the record's id is JSON `[what, name]`. */
export interface NameRecord {
  readonly id: string;
  /** Sorted. */
  readonly users: readonly string[];
}

/** One version of a policy set; the record's id is JSON `[name, version]`. */
export interface PolicyVersionRecord {
  readonly id: string;
  readonly set: PolicySetRecord;
  readonly actor: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

/** Last use of a key, exact to about a minute; not written by decisions themselves. */
export interface UsageRecord {
  readonly id: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

/** Receipt of an operation with an idempotency key (CONS-5). Decisions do not read it. */
export interface ReceiptRecord {
  /** Hash of the key. */
  readonly id: string;
  /** Hash of the operation's request. */
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
  readonly tombstone: TombstoneRecord;
  readonly refs: RefsRecord;
  readonly name: NameRecord;
  readonly policy_version: PolicyVersionRecord;
  readonly usage: UsageRecord;
  readonly receipt: ReceiptRecord;
}
