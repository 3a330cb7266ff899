/** What a decision reads and what it answers: leaf types that every part of the engine shares. */
import type { KeyFacts, Rule } from './abac.ts';
import type { Catalog } from './action.ts';
import type { Model, Reason } from './model.ts';
import type { SubjectFacts } from './subject.ts';

/** Everything a decision may look at, true at one revision of one tenant. */
export interface Facts {
  readonly catalog: Catalog;
  /** The tenant has a state in the store. */
  readonly tenantExists: boolean;
  /** `invalid`: the request names a key, and it is unknown or may not act for this subject (KEY_INVALID). */
  readonly key: KeyFacts | 'invalid' | undefined;
  readonly subject: SubjectFacts | undefined;
}

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

/** Whether the outcome under full enforcement is another answer than the one that was given (ABAC-8). */
export function differs(given: Pick<Outcome, 'reason'>, shadow: Outcome | undefined): boolean {
  return shadow !== undefined && (shadow.reason === 'ALLOWED') !== (given.reason === 'ALLOWED');
}
