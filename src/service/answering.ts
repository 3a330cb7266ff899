/** What every call passes: it is validated, its facts are loaded, and it is concluded from them. Each failure is a recorded deny (COMB-5). */
import type { Request } from '../engine/model.ts';
import {
  requestIdProblem,
  requestProblem,
  strangerProblem,
  type Problem,
  type RequestLimits,
} from '../engine/validate.ts';
import type { FactsRoom, Loaded, LoadedFacts } from '../facts/facts.ts';
import type { MaybePromise } from '../util/later.ts';
import type { Api, CheckCall } from './calls.ts';
import type { Credentials } from './credential.ts';
import { invalid, unavailable, type Failure } from './failure.ts';
import type { KeyLimits } from './rate-limit.ts';
import type { OpenCall, Recorder } from './record.ts';

/** Answers a call whose facts are loaded. */
type Conclude<C extends CheckCall, T> = (
  open: OpenCall<C>,
  loaded: LoadedFacts,
) => MaybePromise<T | Failure>;

export interface AnsweringParts {
  readonly facts: Pick<FactsRoom, 'resolve'>;
  readonly credentials: Credentials;
  readonly keyLimits: KeyLimits;
  readonly recorder: Recorder;
  readonly onError: (error: unknown) => void;
}

export class Answering {
  readonly #facts: Pick<FactsRoom, 'resolve'>;
  readonly #credentials: Credentials;
  readonly #keyLimits: KeyLimits;
  readonly #recorder: Recorder;
  readonly #onError: (error: unknown) => void;

  constructor({ facts, credentials, keyLimits, recorder, onError }: AnsweringParts) {
    this.#facts = facts;
    this.#credentials = credentials;
    this.#keyLimits = keyLimits;
    this.#recorder = recorder;
    this.#onError = onError;
  }

  /** Loads the facts of a well-formed call, at once if they are warm, and concludes from them. */
  answer<C extends CheckCall, T>(
    api: Api,
    call: C,
    waitMs: number,
    conclude: Conclude<C, T>,
  ): MaybePromise<T | Failure> {
    const open = { api, call, waitMs, startedAt: performance.now() };
    try {
      const answered =
        call.credential === undefined
          ? this.#answerNamed(open, conclude)
          : this.#answerProven(open, call.credential, conclude);
      return answered instanceof Promise
        ? answered.catch((error: unknown) => this.#failed(open, error))
        : answered;
    } catch (error) {
      return this.#failed(open, error);
    }
  }

  /** A call that names its subject or key itself. */
  #answerNamed<C extends CheckCall, T>(
    open: OpenCall<C>,
    conclude: Conclude<C, T>,
  ): MaybePromise<T | Failure> {
    const { call, waitMs } = open;
    const loaded = this.#facts.resolve(call.request, call.minRevision, waitMs, call.since);
    return loaded instanceof Promise
      ? loaded.then((came) => this.#answerLoaded(open, came, conclude))
      : this.#answerLoaded(open, loaded, conclude);
  }

  /** A call whose credential names them. */
  #answerProven<C extends CheckCall, T>(
    open: OpenCall<C>,
    credential: NonNullable<CheckCall['credential']>,
    conclude: Conclude<C, T>,
  ): MaybePromise<T | Failure> {
    const proven = this.#credentials.prove<C>(open.call, credential, open.waitMs);
    if (proven instanceof Promise)
      return proven.then(({ call, loaded }) =>
        this.#answerLoaded({ ...open, call }, loaded, conclude),
      );
    return this.#answerLoaded({ ...open, call: proven.call }, proven.loaded, conclude);
  }

  #answerLoaded<C extends CheckCall, T>(
    open: OpenCall<C>,
    loaded: Loaded,
    conclude: Conclude<C, T>,
  ): MaybePromise<T | Failure> {
    if (!('facts' in loaded)) {
      const failure = unavailable(loaded.unavailable, loaded.reason);
      return this.#recorder.fail(open, undefined, failure);
    }
    const { call } = open;
    const problem = strangerProblem(call.request, loaded.facts);
    if (problem !== undefined) return invalid(problem);
    const limited = this.#keyLimits.take(call, loaded);
    return limited === undefined
      ? conclude(open, loaded)
      : this.#recorder.fail(open, loaded, limited);
  }

  #failed(open: OpenCall, error: unknown): MaybePromise<Failure> {
    this.#onError(error);
    const message = 'a layer of the decision failed: see the log';
    return this.#recorder.fail(open, undefined, { failure: 'internal', message });
  }
}

/** What keeps a call from being a question. */
export function callProblem(call: CheckCall, limits: RequestLimits): Problem | undefined {
  return requestIdProblem('id', call.id) ?? requestProblem(namedRequest(call), limits);
}

/** The request as it is validated: a credential needs no subject beside it, because it names one. */
export function namedRequest({ request, credential }: CheckCall): Request {
  return credential !== undefined && request.subject === undefined
    ? { ...request, keyId: request.keyId ?? 'credential' }
    : request;
}
