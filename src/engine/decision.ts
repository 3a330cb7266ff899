/** Input facts and result of a decision: types that all parts of the engine share. */
import type { KeyFacts, Rule } from './abac.ts';
import type { Catalog } from './action.ts';
import type { Model, Reason } from './model.ts';
import type { SubjectFacts } from './subject.ts';

/** All facts that a decision may read, of one revision of one tenant. */
export interface Facts {
  readonly catalog: Catalog;
  /** The tenant has a state in the store. */
  readonly tenantExists: boolean;
  /** `invalid`: the key of the request is unknown or may not act for this subject (KEY_INVALID). */
  readonly key: KeyFacts | 'invalid' | undefined;
  readonly subject: SubjectFacts | undefined;
}

/** Result of the combining rule for one set of rules in force (COMB-1, COMB-2). */
export interface Outcome {
  readonly reason: Reason;
  /** The ABAC rules that decided the action layer and the object layer; a base role is a rule without a set. */
  readonly actionRule: Rule | undefined;
  readonly objectRule: Rule | undefined;
}

export interface Decision extends Outcome {
  readonly allowed: boolean;
  /** Source of the subject's evidence: a model, the superuser flag, or none. */
  readonly by: Model | 'superuser' | undefined;
  /** The outcome under full enforcement; set only when it could differ (ABAC-8). */
  readonly shadow: Outcome | undefined;
}

/** Whether the outcome under full enforcement is another answer than the one that was given (ABAC-8). */
export function differs(given: Pick<Outcome, 'reason'>, shadow: Outcome | undefined): boolean {
  return shadow !== undefined && (shadow.reason === 'ALLOWED') !== (given.reason === 'ALLOWED');
}
