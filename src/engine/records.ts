/**
 * Facts as they are stored: plain JSON, one record a principal, a policy set, a key or an owned path.
 * What a subject's decision needs stands in its own record and in those of its groups, so that a cold
 * check reads one record and no joins. Written by `admin/`, never by a decision.
 */
import type { Effect, KeyRole, Mode, Scalar, TreeAction, UserType } from './model.ts';

/** The kinds that make up a tenant's state: what `export` writes and decisions look at. */
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

/** Records that follow from the state, so that management need not read all of it. No decision reads them. */
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
  /** All its actions may be granted on. */
  readonly grantOption: boolean;
  /** The actions that may be granted on, in the order of records, where these are some and not all. */
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
  /** Groups whose members it manages by the admin option of its own membership, `role:team`, sorted. */
  readonly adminOf?: readonly string[];
  /** Sessions that have not been ended; some may be over. */
  readonly sessions?: readonly SessionRow[];
}

/** A session token of a user: what is kept of it proves it, and does not tell it. */
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
  /** Every group reachable from here, itself not counted; materialized at write time, sorted. */
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

/** The one owner of a path (TREE-2); the same fact as an entry of `UserRecord.owns`, for uniqueness. */
export interface OwnerRecord {
  readonly path: string;
  readonly owner: string;
  /** By whose right it is: `user:alice`; absent: the operator's, or set before this was recorded (ADM-2). */
  readonly grantor?: string;
}

export interface RuleRecord {
  readonly id: string;
  readonly description?: string;
  readonly effect: Effect;
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
  readonly role: KeyRole;
  readonly mode: Mode;
  readonly policySets: readonly string[];
  /** The user on whose behalf the key acts. */
  readonly user?: string;
  /** Milliseconds since the epoch. */
  readonly createdAt?: number;
  /** From then on it is no key any more, ms since the epoch; absent: it does not expire. */
  readonly expiresAt?: number;
  /** Ended for good. */
  readonly revoked?: boolean;
  readonly rateLimit?: RateLimit;
  /** What proves its credential; absent or empty: it is named by `key_id` only. No export tells them. */
  readonly secrets?: readonly SecretRow[];
}

/** Decisions that a key may ask for in a time. */
export interface RateLimit {
  readonly requests: number;
  readonly seconds: number;
}

export interface SecretRow {
  /** SHA-256 of the secret, base64url. */
  readonly hash: string;
  /** A secret that was rotated out is good until then, ms since the epoch. */
  readonly expiresAt?: number;
}

/** That a tenant exists, and which migrations of its permissions were applied, in order. */
export interface TenantRecord {
  readonly id: string;
  readonly migrations?: readonly AppliedMigration[];
  /** A tombstone: the tenant was deleted, and its other records are gone or on their way (ADM-9). */
  readonly deleted?: boolean;
  /** `operator`, or whom the operator named. */
  readonly deletedBy?: string;
  /** Milliseconds since the epoch. */
  readonly deletedAt?: number;
}

export interface AppliedMigration {
  /** `0001-name`, the file's name without its ending. */
  readonly name: string;
  /** SHA-256 of what the file says, hex: an applied migration must not be edited. */
  readonly digest: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

/** That a role or a workspace once existed, `role:crew`; a user's tombstone is its own record (ADM-4). No decision reads it. */
export interface TombstoneRecord {
  readonly id: string;
}

/** What refers to a principal (`user:alice`) or a policy set (`policy_set:tenant-acme`); absent: nothing does. */
export interface RefsRecord {
  readonly id: string;
  /** Direct members of a group. */
  readonly members: number;
  /** Active users among the members of a system role of the highest level (ADM-5). */
  readonly owners: readonly string[];
  /** Grant rows that the principal has given, as JSON `[holder, path]`, sorted. */
  readonly given: readonly string[];
  /** Keys that are bound to the user, or that the set is attached to, sorted. */
  readonly keys: readonly string[];
  /** Paths whose ownership is by the user's right, sorted; absent: none. */
  readonly appointed?: readonly string[];
}

/** Users by a name that is not their id; the record's id is JSON `[what, name]`. */
export interface NameRecord {
  readonly id: string;
  /** Sorted. */
  readonly users: readonly string[];
}

/** A policy set as one of its puts made it; the record's id is JSON `[name, version]`. */
export interface PolicyVersionRecord {
  readonly id: string;
  readonly set: PolicySetRecord;
  readonly actor: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

/** When a key was last used, to about a minute; written aside from decisions. */
export interface UsageRecord {
  readonly id: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
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
  readonly tombstone: TombstoneRecord;
  readonly refs: RefsRecord;
  readonly name: NameRecord;
  readonly policy_version: PolicyVersionRecord;
  readonly usage: UsageRecord;
  readonly receipt: ReceiptRecord;
}
