/** What the service is asked and what it answers. Every transport translates to and from these types, and does nothing else. */
import type { Api } from '../audit/fields.ts';
import type { CredentialProblem } from '../engine/credential-problem.ts';
import type { Explanation } from '../engine/explanation.ts';
import type { FilterResult } from '../engine/filter.ts';
import type { Decision } from '../engine/decision.ts';
import type { Request, Resource } from '../engine/model.ts';
import type { FactsRoom } from '../facts/facts.ts';
import type { Claim, Credential, Unproven } from '../identity/identity.ts';
import type { MaybePromise } from '../util/later.ts';
import type { Failure, Unavailable } from './failure.ts';

export type { Api, Credential };

/** A credential that a transport has identified already: what it says of whoever has it. */
export interface Identified {
  readonly claim: Claim | Unproven;
}

export interface CheckCall {
  /** Correlation id of the caller; `''`: none. */
  readonly id: string;
  readonly request: Request;
  /** Names a key, a subject, or both, once it is proven (COMB-1). */
  readonly credential: Credential | Identified | undefined;
  readonly context: Readonly<Record<string, unknown>> | undefined;
  /** The oldest revision that may answer; 0: any. */
  readonly minRevision: number;
  /** A revision by its name: it must be in the history that answers (CONS-1). */
  readonly since?: Parameters<FactsRoom['resolve']>[3];
  /**
   * The transport keeps this call, and will ask it again: each call with the same `request` object differs in its `id`
   * alone. The service may remember its decision for as long as that object lives.
   */
  readonly isKept?: boolean;
  /** The answer is to name who asks: its `subject` and `keyId`. */
  readonly withAsker?: boolean;
}

export interface FilterCall extends CheckCall {
  /** One that could not be read is empty here, and in `invalid`. */
  readonly objects: readonly Resource[];
  /** Index → what is wrong with the object (FILT-5). */
  readonly invalid: ReadonlyMap<number, string>;
  /** Visible objects to return; 0: all (FILT-3). */
  readonly limit: number;
  /** Index of the first object to look at. */
  readonly offset: number;
}

export type BatchSemantic = 'EXECUTE_ALL' | 'DENY_ON_FIRST_DENY' | 'PERMIT_ON_FIRST_PERMIT';

/** A check of a batch that could not be read; it is answered in its place, as denied. */
export interface MalformedCheck {
  readonly id: string;
  /** What is wrong with it. */
  readonly error: string;
}

export interface BatchCall {
  readonly semantic: BatchSemantic;
  readonly checks: readonly (CheckCall | MalformedCheck)[];
}

export interface Answered {
  readonly decisionId: string;
  /** Of the facts that decided; 0: none did. */
  readonly revision: number;
  /** Of these facts, milliseconds. */
  readonly ageMs: number;
}

export interface CheckAnswer extends Answered {
  readonly id: string;
  readonly decision: Decision;
  /** Who asked in the end, `user:alice`, and by which key; set where the call has `withAsker`. */
  readonly subject?: string | undefined;
  readonly keyId?: string | undefined;
  /** Replaces the reason's own sentence. */
  readonly detail?: string | undefined;
}

export interface ExplainAnswer extends CheckAnswer {
  readonly explanation: Explanation;
  /** Why the credential proves nobody: for the operator alone. `undefined`: it does, or there is none. */
  readonly credentialProblem: CredentialProblem | undefined;
}

export interface FilterAnswer extends Answered {
  readonly result: FilterResult;
  /** Index → what is wrong with an object that is malformed; in the order of the objects (FILT-5). */
  readonly invalid: ReadonlyMap<number, string>;
}

/** A request that was refused before it became a question. */
export interface Refusal {
  /** Correlation id of the caller; `''`: none. */
  readonly id: string;
  readonly reason: 'INVALID_ARGUMENT' | 'UNKNOWN_ACTION' | 'KEY_INVALID' | 'RATE_LIMITED';
  /** Whose facts were asked, as far as it is known. */
  readonly tenant?: string | undefined;
  /** What was asked for, as far as it is known: `GET /v1/threads`. */
  readonly action: string;
  /** Why its credential proves nobody; `undefined`: that is not what was wrong. */
  readonly credentialProblem?: CredentialProblem | undefined;
}

/** `api` names the entry point in metrics and audit records; `waitMs` is how long the caller waits for an answer. */
export interface Service {
  /** Records a refusal as the deny that it is. */
  refuse(refusal: Refusal, api: Api, waitMs: number): MaybePromise<Answered | Unavailable>;
  check(call: CheckCall, api: Api, waitMs: number): MaybePromise<CheckAnswer | Failure>;
  /** The answers in order, up to where the semantic stops. A failure of the store fails the batch. */
  batch(call: BatchCall, waitMs: number): MaybePromise<readonly CheckAnswer[] | Failure>;
  filter(call: FilterCall, waitMs: number): MaybePromise<FilterAnswer | Failure>;
  explain(call: CheckCall, waitMs: number): MaybePromise<ExplainAnswer | Failure>;
}
