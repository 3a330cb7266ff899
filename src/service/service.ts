/**
 * The one async room of the hot path: validate → load facts → decide → record. Every entry point translates to and from
 * these calls and does nothing else. What fails, denies (COMB-5).
 */
import type { RequestLimits } from '../engine/validate.ts';
import { Answering } from './answering.ts';
import { BatchChecker } from './batch.ts';
import type { Service } from './calls.ts';
import { Checker } from './check.ts';
import { Credentials, type CredentialOptions } from './credential.ts';
import { Explainer } from './explain.ts';
import { Filterer } from './filter.ts';
import { KeyLimits, type KeyLimitOptions } from './rate-limit.ts';
import { Recorder, type RecorderOptions } from './record.ts';
import { Refuser } from './refuse.ts';

export interface ServiceOptions extends RecorderOptions, CredentialOptions, KeyLimitOptions {
  readonly limits: RequestLimits;
  /** A layer has failed; the call was answered with a deny. */
  readonly onError: (error: unknown) => void;
}

export function createService(options: ServiceOptions): Service {
  const { facts, limits, onCredential, onError } = options;
  const recorder = new Recorder(options);
  const credentials = new Credentials(options);
  const keyLimits = new KeyLimits(options);
  const answering = new Answering({ facts, credentials, keyLimits, recorder, onError });
  const refuser = new Refuser(recorder, onCredential);
  const checker = new Checker(answering, recorder, limits);
  const batchChecker = new BatchChecker(checker, refuser, limits);
  const filterer = new Filterer(answering, recorder, limits);
  const explainer = new Explainer(answering, recorder, limits);
  return {
    refuse: (refusal, api, waitMs) => refuser.refuse(refusal, api, waitMs),
    check: (call, api, waitMs) => checker.check(call, api, waitMs),
    batch: (call, waitMs) => batchChecker.batch(call, waitMs),
    filter: (call, waitMs) => filterer.filter(call, waitMs),
    explain: (call, waitMs) => explainer.explain(call, waitMs),
  };
}
