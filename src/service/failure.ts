/** Calls that get no answer, and the one translation of them to a reason and a sentence (`denied.ts` has the denied answer). */
import type { Reason } from '../engine/model.ts';
import { printable, type Problem } from '../engine/validate.ts';
import type { Unavailability } from '../facts/facts.ts';

/** No answer; the transports have a code for each kind. */
export type Failure =
  /** A key has asked more often than its rate limit allows. */
  | { readonly failure: 'limited'; readonly message: string; readonly retryAfterMs: number }
  | { readonly failure: 'invalid'; readonly problem: Problem }
  | Unavailable
  | { readonly failure: 'internal'; readonly message: string };

/** No answer now; another instance, or a later call, may get one. */
export interface Unavailable {
  readonly failure: 'unavailable';
  readonly message: string;
  readonly reason: Unavailability;
}

export function invalid(problem: Problem): Failure {
  return { failure: 'invalid', problem };
}

export function unavailable(message: string, reason: Unavailability = 'UNAVAILABLE'): Unavailable {
  return { failure: 'unavailable', message, reason };
}

/** The reason of the deny that a failure is, for answers, audit records, metrics and traces. */
export function reasonOf(failure: Failure): Exclude<Reason, 'ALLOWED'> {
  switch (failure.failure) {
    case 'invalid':
      return 'INVALID_ARGUMENT';
    case 'limited':
      return 'RATE_LIMITED';
    case 'unavailable':
      return failure.reason;
    case 'internal':
      return 'INTERNAL';
  }
}

/** What a caller is told of a failure. */
export function messageOf(failure: Failure): string {
  return failure.failure === 'invalid' ? problemText(failure.problem) : failure.message;
}

/** `resource.path: `a..b` has an empty label: …` */
export function problemText(problem: Problem): string {
  return `${problem.field}: ${valueText(problem)}`;
}

/** The same without the field, for where it is named beside it. */
export function valueText({ value, problem }: Problem): string {
  return value === '' ? problem : `\`${printable(value)}\` ${problem}`;
}
