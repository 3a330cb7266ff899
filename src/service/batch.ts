/** BatchCheck: many checks at once or one after the other. What is wrong with one check alone is its own denied answer. */
import type { Resource } from '../engine/model.ts';
import { callerProblem, requestIdProblem, type RequestLimits } from '../engine/validate.ts';
import { later, type MaybePromise } from '../util/later.ts';
import { inSlices, type SteppedWork } from '../util/slices.ts';
import { callProblem, namedRequest } from './answering.ts';
import type { BatchCall, BatchSemantic, CheckAnswer, CheckCall, MalformedCheck } from './calls.ts';
import type { Checker } from './check.ts';
import { deniedAnswer, failedAnswer } from './denied.ts';
import { problemText, unavailable, type Failure } from './failure.ts';
import type { Refuser } from './refuse.ts';

const TOO_LATE = unavailable(
  'the deadline passed before all checks were decided: send fewer checks, or a later deadline',
);

export class BatchChecker {
  readonly #checker: Checker;
  readonly #refuser: Refuser;
  readonly #limits: RequestLimits;

  constructor(checker: Checker, refuser: Refuser, limits: RequestLimits) {
    this.#checker = checker;
    this.#refuser = refuser;
    this.#limits = limits;
  }

  batch(
    { checks, semantic }: BatchCall,
    waitMs: number,
  ): MaybePromise<readonly CheckAnswer[] | Failure> {
    const deadline = performance.now() + waitMs;
    const ask = this.#asking(waitMs, deadline);
    return inSlices(stepsOf(semantic, checks, ask), deadline);
  }

  /** @returns what answers the checks of one batch */
  #asking(waitMs: number, deadline: number): AskItem {
    // Checks that leave their resource out share the default: it is validated once.
    let valid: Resource | undefined;
    return (item) => {
      if ('error' in item) return this.#malformed(item, item.error, waitMs);
      const isShared = item.request.resource === valid;
      const problem = isShared
        ? (requestIdProblem('id', item.id) ?? callerProblem(namedRequest(item)))
        : callProblem(item, this.#limits);
      if (problem !== undefined) return this.#malformed(item, problemText(problem), waitMs);
      valid = item.request.resource;
      const left = Math.min(waitMs, Math.max(0, deadline - performance.now()));
      const answered = this.#checker.checkValid(item, 'batch_check', left);
      return later(answered, (answer) =>
        'failure' in answer ? this.#failed(item, answer, waitMs) : answer,
      );
    };
  }

  /** What is wrong with one check is its answer; what is wrong with the facts fails the batch. */
  #failed(item: CheckCall, failure: Failure, waitMs: number): MaybePromise<CheckAnswer | Failure> {
    switch (failure.failure) {
      case 'invalid':
        return this.#malformed(item, problemText(failure.problem), waitMs);
      case 'limited':
        return failedAnswer(item.id, failure);
      case 'unavailable':
      case 'internal':
        return failure;
    }
  }

  /** A check that is no question is denied, and recorded as that. */
  #malformed(
    item: CheckCall | MalformedCheck,
    detail: string,
    waitMs: number,
  ): MaybePromise<CheckAnswer | Failure> {
    const { id } = item;
    const { tenant = '', action = '' } = 'request' in item ? item.request : {};
    const refusal = { id, reason: 'INVALID_ARGUMENT', tenant, action } as const;
    return later(this.#refuser.refuse(refusal, 'batch_check', waitMs), (answered) =>
      'failure' in answered
        ? answered
        : { ...deniedAnswer(id, 'INVALID_ARGUMENT', detail), ...answered },
    );
  }
}

type AskItem = (item: BatchCall['checks'][number]) => MaybePromise<CheckAnswer | Failure>;

function stepsOf(
  semantic: BatchSemantic,
  checks: BatchCall['checks'],
  ask: AskItem,
): SteppedWork<readonly CheckAnswer[] | Failure> {
  switch (semantic) {
    case 'EXECUTE_ALL':
      return together(checks, ask);
    case 'DENY_ON_FIRST_DENY':
      return inOrder(checks, false, ask);
    case 'PERMIT_ON_FIRST_PERMIT':
      return inOrder(checks, true, ask);
  }
}

/** Evaluates all checks; those that wait for facts wait together. */
function* together(
  checks: BatchCall['checks'],
  ask: AskItem,
): SteppedWork<readonly CheckAnswer[] | Failure> {
  const asked: MaybePromise<CheckAnswer | Failure>[] = [];
  let isWaiting = false;
  for (const item of checks) {
    const answered = ask(item);
    isWaiting ||= answered instanceof Promise;
    asked.push(answered);
    if (yield) return TOO_LATE;
  }
  let answers: readonly (CheckAnswer | Failure)[] = asked.filter(isReady);
  if (isWaiting)
    yield Promise.all(asked.map((one) => Promise.resolve(one))).then((all) => {
      answers = all;
    });
  return allOrFailure(answers);
}

function isReady<T extends object>(answer: MaybePromise<T>): answer is T {
  return !(answer instanceof Promise);
}

function allOrFailure(
  answers: readonly (CheckAnswer | Failure)[],
): readonly CheckAnswer[] | Failure {
  const good: CheckAnswer[] = [];
  for (const answered of answers)
    if ('failure' in answered) return answered;
    else good.push(answered);
  return good;
}

/** Evaluates one check after the other until one of them is allowed, or denied, as `stopOn` says. */
function* inOrder(
  checks: BatchCall['checks'],
  stopOn: boolean,
  ask: AskItem,
): SteppedWork<readonly CheckAnswer[] | Failure> {
  const answers: CheckAnswer[] = [];
  for (const item of checks) {
    const asked = ask(item);
    const came: { answer: CheckAnswer | Failure } = { answer: TOO_LATE };
    if (asked instanceof Promise)
      yield asked.then((answer) => {
        came.answer = answer;
      });
    else came.answer = asked;
    const { answer: answered } = came;
    if ('failure' in answered) return answered;
    answers.push(answered);
    if (answered.decision.allowed === stopOn) break;
    if (yield) return TOO_LATE;
  }
  return answers;
}
