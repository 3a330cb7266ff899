/** The denied answers of checks that were not decided. */
import type { Outcome } from '../engine/decision.ts';
import type { Reason } from '../engine/model.ts';
import type { CheckAnswer } from './calls.ts';
import { messageOf, reasonOf, type Failure } from './failure.ts';

/** An outcome to which no rule contributed. */
export function outcomeOf(reason: Reason): Outcome {
  return { reason, actionRule: undefined, objectRule: undefined };
}

/** The answer of a check that was not decided, in the place of a decision. */
export function deniedAnswer(
  id: string,
  reason: Exclude<Reason, 'ALLOWED'>,
  detail: string,
): CheckAnswer {
  return {
    id,
    decision: { ...outcomeOf(reason), allowed: false, by: undefined, shadow: undefined },
    detail,
    decisionId: '',
    revision: 0,
    ageMs: 0,
  };
}

/** The denied answer of a check that failed, where the checks beside it are answered all the same. */
export function failedAnswer(id: string, failure: Failure): CheckAnswer {
  return deniedAnswer(id, reasonOf(failure), messageOf(failure));
}
