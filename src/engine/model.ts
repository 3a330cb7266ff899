/**
 * The vocabulary of a decision (semantics.md section 1): what is asked, what is known, what is answered.
 * Everything here is readonly data. Stored facts have their own page, `records.ts`.
 */
import type { Catalog } from './action.ts';
import type { KeyFacts, Rule } from './abac.ts';
import type { SubjectFacts } from './subject.ts';

/** A typed metadata value. `5`, `"5"` and `true` are three different values (ABAC-3). */
export type Scalar = string | number | boolean;

/**
 * Metadata of an object: key → values, a scalar being a list of one (ACL-1, ABAC-9).
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
  /** `''` where the request names none. */
  readonly type: string;
  /** `''` where the request names none. */
  readonly id: string;
  /** A tree path; `''` is the root, `undefined` is no path at all (TREE-5). */
  readonly path: string | undefined;
  readonly attributes: Attributes;
  /** The metadata of every contributing source; empty: the resource's own attributes stand for it (ABAC-9). */
  readonly sources: readonly Attributes[];
}

/** One question, already validated by `validate.ts`. */
export interface Request {
  readonly tenant: string;
  readonly subject: Subject | undefined;
  readonly keyId: string | undefined;
  readonly action: string;
  readonly resource: Resource;
}

/** Everything a decision may look at, true at one revision of one tenant. */
export interface Facts {
  readonly catalog: Catalog;
  /** The tenant has a state in the store. */
  readonly tenantExists: boolean;
  /** `invalid`: the request names a key, and it is unknown or may not act for this subject (KEY_INVALID). */
  readonly key: KeyFacts | 'invalid' | undefined;
  readonly subject: SubjectFacts | undefined;
}

/** Why, in one word. The transports have a table from these to their own codes. */
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

/** What the combining rule concluded for one set of rules in force (COMB-1, COMB-2). */
export interface Outcome {
  readonly reason: Reason;
  /** The ABAC rules that spoke at the action and at the object layer; a base role is a rule without a set. */
  readonly actionRule: Rule | undefined;
  readonly objectRule: Rule | undefined;
}

export interface Decision extends Outcome {
  readonly allowed: boolean;
  /** What made the subject's evidence: a model, the superuser flag, or nothing. */
  readonly by: Model | 'superuser' | undefined;
  /** The outcome under full enforcement; set only when it could differ (ABAC-8). */
  readonly shadow: Outcome | undefined;
}
