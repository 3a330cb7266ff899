/**
 * The vocabulary (semantics.md section 1): every closed list with its derived type, and the request.
 * Everything here is readonly data. Stored facts are in `records.ts`; input and result of a decision are in `decision.ts`.
 */

/** A typed metadata value. `5`, `"5"` and `true` are three different values (ABAC-3). */
export type Scalar = string | number | boolean;

/**
 * Metadata of an object: key → values; a scalar is a list of one (ACL-1, ABAC-9).
 * A Map, so that `__proto__` and its like are ordinary keys (ID-3). Values hold no NaN.
 */
export type Attributes = ReadonlyMap<string, readonly Scalar[]>;

export const PRINCIPAL_TYPES = ['user', 'role', 'workspace'] as const;
export type PrincipalType = (typeof PRINCIPAL_TYPES)[number];

export interface Subject {
  readonly type: PrincipalType;
  readonly id: string;
}

export interface Resource {
  /** `''` if the request names none. */
  readonly type: string;
  /** `''` if the request names none. */
  readonly id: string;
  /** A tree path; `''` is the root, `undefined` means no path (TREE-5). */
  readonly path: string | undefined;
  readonly attributes: Attributes;
  /** Metadata of each source; empty: the resource's own attributes are used (ABAC-9). */
  readonly sources: readonly Attributes[];
}

/** One request, already validated by `validate.ts`. */
export interface Request {
  readonly tenant: string;
  readonly subject: Subject | undefined;
  readonly keyId: string | undefined;
  readonly action: string;
  readonly resource: Resource;
}

/** Reasons of decisions. Each transport has a table that maps them to its codes. */
export const REASONS = [
  'ALLOWED',
  'ACTION_DENIED',
  'OBJECT_HIDDEN',
  'NO_GRANT',
  'UNKNOWN_ACTION',
  'SUBJECT_INACTIVE',
  'KEY_INVALID',
  'TENANT_MISMATCH',
  'STALE',
  'UNAVAILABLE',
  'HISTORY_LOST',
  'VERSION',
  'RATE_LIMITED',
  'INTERNAL',
  'INVALID_ARGUMENT',
] as const;
export type Reason = (typeof REASONS)[number];

/** The three models that give evidence for a subject (COMB-3). */
export const MODELS = ['rbac', 'tree', 'acl'] as const;
export type Model = (typeof MODELS)[number];

/** In the order in which records list them. */
export const TREE_ACTIONS = ['read', 'write', 'create', 'delete', 'admin'] as const;
export type TreeAction = (typeof TREE_ACTIONS)[number];

/** How a key's or a policy set's rules count (ABAC-1). */
export const MODES = ['off', 'report_only', 'enforce'] as const;
export type Mode = (typeof MODES)[number];

export const EFFECTS = ['allow', 'deny'] as const;
export type Effect = (typeof EFFECTS)[number];

/** Result of a key if no rule decides (ABAC-4). */
export const KEY_ROLES = ['default_allow', 'default_deny'] as const;
export type KeyRole = (typeof KEY_ROLES)[number];

export const USER_TYPES = ['user', 'developerUser', 'agent'] as const;
export type UserType = (typeof USER_TYPES)[number];
