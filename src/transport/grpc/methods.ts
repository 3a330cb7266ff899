/**
 * `postern.v1.AuthorizationService` as functions from bytes to bytes, so that any transport can carry them.
 * Two translations around one service call, nothing else.
 */
import type { CheckCall, Refusal, Service } from '../../service/calls.ts';
import { deniedAnswer, failedAnswer } from '../../service/denied.ts';
import { messageOf, valueText, type Failure } from '../../service/failure.ts';
import { inSlices, type SteppedWork } from '../../util/slices.ts';
import { decodeBatchInSteps, encodeBatch } from '../codec/batch.ts';
import { decodeCheck, encodeCheck, idOf } from '../codec/check.ts';
import { encodeExplain } from '../codec/explain.ts';
import { decodeFilterInSteps, encodeFilter } from '../codec/filter.ts';
import type { CodecLimits } from '../codec/limits.ts';
import { isMalformed } from '../codec/problem.ts';
import { rememberingRepeats } from '../codec/repeats.ts';
import {
  badRequest,
  CODE,
  malformedAsBadRequest,
  tooMany,
  withReason,
  type RpcError,
} from './status.ts';
import { later, type MaybePromise } from '../../util/later.ts';

/**
 * One message in, one out. Throws or rejects with `RpcError`.
 * @param waitMs how long the caller is willing to wait for facts
 */
export type Method = (bytes: Buffer, waitMs: number) => MaybePromise<Buffer>;

export interface Methods {
  /** By full path. */
  readonly unary: Readonly<Record<string, Method>>;
  /** What the operator is answered by, in place of the methods of the same paths. */
  readonly operator: Readonly<Record<string, Method>>;
  /** Each message of the stream is answered by one. */
  readonly stream: Readonly<Record<string, Method>>;
  /** The answer to a message of a stream that is not to be read any more: it is denied, and told why. */
  readonly refused: (bytes: Buffer, why: RpcError) => Buffer;
  /** Lets go of what is kept only to be quicker. */
  readonly forget: () => void;
  /** What that takes, by an estimate, bytes. */
  readonly keptBytes: () => number;
}

/** @param keptBytes what questions that are kept may take together */
export function authorizationMethods(
  service: Service,
  limits: CodecLimits,
  keptBytes: number,
): Methods {
  const path = (name: string): string => `/postern.v1.AuthorizationService/${name}`;
  const repeats = rememberingRepeats((bytes) => decodeCheck(bytes, limits), keptBytes);
  const { read, forget } = repeats;
  const readCheck = reading(read);
  const readExplain = reading((bytes) => decodeCheck(bytes, limits));
  return {
    unary: {
      [path('Check')]: (bytes, waitMs) =>
        later(service.check(readCheck(bytes), 'check', waitMs), (answer) =>
          encodeCheck(orThrow(answer)),
        ),
      [path('BatchCheck')]: (bytes, waitMs) =>
        readInSlices(decodeBatchInSteps(bytes, limits), waitMs, (call, leftMs) =>
          later(service.batch(call, leftMs), (answers) => encodeBatch(orThrow(answers))),
        ),
      [path('Filter')]: (bytes, waitMs) =>
        readInSlices(decodeFilterInSteps(bytes, limits), waitMs, (call, leftMs) =>
          later(service.filter(call, leftMs), (answer) => encodeFilter(call, orThrow(answer))),
        ),
      [path('Explain')]: (bytes, waitMs) =>
        later(service.explain(readExplain(bytes), waitMs), (answer) =>
          encodeExplain(orThrow(answer)),
        ),
    },
    operator: {
      [path('Explain')]: (bytes, waitMs) =>
        later(service.explain(readExplain(bytes), waitMs), (answer) => {
          const explained = orThrow(answer);
          return encodeExplain(explained, explained.credentialProblem);
        }),
    },
    stream: {
      [path('CheckStream')]: (bytes, waitMs) => streamed(service, bytes, read, waitMs),
    },
    // Encoders write the id first: no more of the message is looked at.
    refused: (bytes, why) =>
      encodeCheck(deniedAnswer(idOf(bytes.subarray(0, ID_BYTES)), 'UNAVAILABLE', why.message)),
    forget,
    keptBytes: repeats.bytes,
  };
}

/** The same function; where a message is malformed, it throws INVALID_ARGUMENT. */
function reading<T>(read: (bytes: Buffer) => T): (bytes: Buffer) => T {
  return (bytes) => {
    try {
      return read(bytes);
    } catch (error) {
      throw malformedAsBadRequest(error);
    }
  };
}

/** Of a message that is refused unread, so many bytes are searched for its id. */
const ID_BYTES = 1_024;

/**
 * Reads a message that may be large, and answers it.
 * @throws RpcError where it cannot be read
 */
function readInSlices<C>(
  work: SteppedWork<C>,
  waitMs: number,
  answer: (call: C, leftMs: number) => MaybePromise<Buffer>,
): MaybePromise<Buffer> {
  const deadline = performance.now() + waitMs;
  let call;
  try {
    call = inSlices(work, deadline);
  } catch (error) {
    throw malformedAsBadRequest(error);
  }
  if (!(call instanceof Promise)) return answer(call, waitMs);
  return call.then(
    (read) => answer(read, Math.max(0, deadline - performance.now())),
    (error: unknown) => {
      throw malformedAsBadRequest(error);
    },
  );
}

/** In a stream, an error of one message is that message's answer: the others go on. */
function streamed(
  service: Service,
  bytes: Buffer,
  read: (bytes: Buffer) => CheckCall,
  waitMs: number,
): MaybePromise<Buffer> {
  let call;
  try {
    call = read(bytes);
  } catch (error) {
    if (!isMalformed(error)) throw error;
    return malformed(service, { id: idOf(bytes), action: '' }, error.message, waitMs);
  }
  const { id, request } = call;
  return later(service.check(call, 'check_stream', waitMs), (answer) => {
    if (!('failure' in answer)) return encodeCheck(answer);
    const { tenant, action } = request;
    return answer.failure === 'invalid'
      ? malformed(service, { id, tenant, action }, messageOf(answer), waitMs)
      : encodeCheck(failedAnswer(id, answer));
  });
}

/** A message that is no question is denied, and recorded as that. */
function malformed(
  service: Service,
  refusal: Omit<Refusal, 'reason'>,
  detail: string,
  waitMs: number,
): MaybePromise<Buffer> {
  const { id } = refusal;
  const reason = 'INVALID_ARGUMENT';
  return later(service.refuse({ ...refusal, reason }, 'check_stream', waitMs), (answered) =>
    encodeCheck(
      'failure' in answered
        ? failedAnswer(id, answered)
        : { ...deniedAnswer(id, reason, detail), ...answered },
    ),
  );
}

/** The one table from failures to codes. */
function orThrow<T extends object>(answer: T | Failure): T {
  if (!('failure' in answer)) return answer;
  const failure: Failure = answer;
  switch (failure.failure) {
    case 'invalid':
      throw badRequest(failure.problem.field, valueText(failure.problem));
    case 'limited':
      throw tooMany(failure.message, failure.retryAfterMs);
    case 'unavailable':
      throw withReason(CODE.UNAVAILABLE, failure.reason, failure.message);
    case 'internal':
      throw withReason(CODE.INTERNAL, 'INTERNAL', failure.message);
  }
}
