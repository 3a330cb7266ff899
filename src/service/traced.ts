/** A service that writes what it answers into the span of the call. Attributes are enums, counts and the revision: no tenant and no id. */
import type { Reason } from '../engine/model.ts';
import { later, type MaybePromise } from '../util/later.ts';
import type { CheckAnswer, FilterAnswer, Service } from './calls.ts';
import { reasonOf, type Failure } from './failure.ts';

/** A span, as far as the service writes to it. */
export interface CallSpan {
  isRecording(): boolean;
  setAttributes(attributes: Attributes): unknown;
}

type Attributes = Readonly<Record<string, string | number | boolean>>;

/** @param current the span of the call that is being answered; `undefined`: it is not traced */
export function traced(service: Service, current: () => CallSpan | undefined): Service {
  return {
    refuse(refusal, api, waitMs) {
      current()?.setAttributes(denied(refusal.reason));
      return service.refuse(refusal, api, waitMs);
    },
    check: (call, api, waitMs) =>
      answering(current(), () => service.check(call, api, waitMs), checked),
    explain: (call, waitMs) => answering(current(), () => service.explain(call, waitMs), checked),
    filter: (call, waitMs) => answering(current(), () => service.filter(call, waitMs), filtered),
    batch: (call, waitMs) =>
      answering(
        current(),
        () => service.batch(call, waitMs),
        batched,
        // In order, a batch waits between its checks, wherever their facts come from.
        call.semantic === 'EXECUTE_ALL',
      ),
  };
}

/**
 * Answers a call, and writes the answer into its span.
 * @param showsHit whether an answer without a wait means that the facts came from the caches
 */
function answering<T extends object>(
  span: CallSpan | undefined,
  answer: () => MaybePromise<T | Failure>,
  attributesOf: (answer: T) => Attributes,
  showsHit = true,
): MaybePromise<T | Failure> {
  const answered = answer();
  if (span?.isRecording() !== true) return answered;
  const hit = showsHit ? { 'postern.cache_hit': !(answered instanceof Promise) } : {};
  return later(answered, (given) => {
    const attributes = isFailure(given) ? denied(reasonOf(given)) : attributesOf(given);
    span.setAttributes({ ...hit, ...attributes });
    return given;
  });
}

/** Nothing else that is answered has that field. */
function isFailure(answer: object): answer is Failure {
  return 'failure' in answer;
}

function checked({ decision, revision }: CheckAnswer): Attributes {
  const { allowed, reason } = decision;
  return { 'postern.allowed': allowed, 'postern.reason': reason, 'postern.revision': revision };
}

function filtered({ result, revision }: FilterAnswer): Attributes {
  return {
    'postern.allowed': result.reason === 'ALLOWED',
    'postern.reason': result.reason,
    'postern.revision': revision,
    'postern.objects': result.examined,
    'postern.visible': result.visible.length,
  };
}

function batched(answers: readonly CheckAnswer[]): Attributes {
  return {
    'postern.checks': answers.length,
    'postern.checks_allowed': answers.filter(({ decision }) => decision.allowed).length,
    'postern.revision': answers.reduce((newest, { revision }) => Math.max(newest, revision), 0),
  };
}

function denied(reason: Exclude<Reason, 'ALLOWED'>): Attributes {
  return { 'postern.allowed': false, 'postern.reason': reason };
}
