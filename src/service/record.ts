/** Gives each answer its decision id, and counts and audits it: here, and nowhere else. */
import type { Redact } from '../audit/record/redact.ts';
import type { AuditLog } from '../audit/log.ts';
import { contentOf, eventOf, itemTexts, type FilteredObjects } from '../audit/record/event.ts';
import type { Sampling } from '../audit/record/sampling.ts';
import type { CredentialProblem } from '../engine/credential-problem.ts';
import type { FilterResult } from '../engine/filter.ts';
import { differs, type Facts, type Outcome } from '../engine/decision.ts';
import type { LoadedFacts } from '../facts/facts.ts';
import type { MaybePromise } from '../util/later.ts';
import { withoutTokens } from '../util/tokens.ts';
import type { Answered, Api, CheckCall } from './calls.ts';
import { outcomeOf } from './denied.ts';
import { reasonOf, unavailable, type Failure, type Unavailable } from './failure.ts';

/** What is counted of answers. */
export interface Counts {
  decision(api: Api, reason: Outcome['reason'], seconds: number): void;
  /** An answer was refused because its record was not kept in time. */
  notAudited(): void;
  /** Answers that full enforcement would change: newly denied, newly allowed. */
  shadow(denied: number, allowed: number): void;
  /** Objects that a Filter looked at. */
  filtered(visible: number, hidden: number): void;
}

export interface RecorderOptions {
  readonly metrics: Counts;
  readonly log: AuditLog;
  /** What records leave out; `undefined`: nothing. */
  readonly redact: Redact | undefined;
  /** Which allows are recorded; `undefined`: all. */
  readonly sampling: Sampling | undefined;
}

/** A call as the service answers it: `prove` adds why a credential is invalid. */
export type ProvenCall<C extends CheckCall = CheckCall> = C & {
  /** Why its credential proves nobody, for operators alone; absent: it does, or there is none. */
  readonly credentialProblem?: CredentialProblem | undefined;
};

/** A call that is being answered. */
export interface OpenCall<C extends CheckCall = CheckCall> {
  readonly api: Api;
  readonly call: ProvenCall<C>;
  readonly waitMs: number;
  /** On the clock of `performance.now()`, ms. */
  readonly startedAt: number;
}

export type ShadowedOutcome = Outcome & { readonly shadow?: Outcome | undefined };

/** The facts of an answer, by their revision and age. */
type Basis = Pick<LoadedFacts, 'revision' | 'ageMs'>;

/** Revision 0: no facts decided. */
export const NO_FACTS: Basis = { revision: 0, ageMs: 0 };

const NOT_AUDITED = unavailable('the audit log does not take the record of this decision: retry');

export class Recorder {
  readonly #metrics: Counts;
  readonly #log: AuditLog;
  readonly #redact: Redact | undefined;
  readonly #sampling: Sampling | undefined;
  readonly #itemTexts: ReturnType<typeof itemTexts>;
  readonly #clock = isoClock();

  constructor({ metrics, log, redact, sampling }: RecorderOptions) {
    this.#metrics = metrics;
    this.#log = log;
    this.#redact = redact;
    this.#itemTexts = itemTexts(redact);
    this.#sampling = sampling;
  }

  /** How records hold the objects of a Filter, one by one; `undefined`: not so, or nothing is recorded. */
  get itemTexts(): ReturnType<typeof itemTexts> {
    return this.#log.isOn ? this.#itemTexts : undefined;
  }

  /** The part of an audit record that the question and the outcome make; `''`: there is no audit. */
  content(
    call: ProvenCall,
    facts: Facts | undefined,
    outcome: ShadowedOutcome,
    objects?: FilteredObjects,
  ): string {
    if (!this.#log.isOn) return '';
    const { request, context, credentialProblem } = call;
    return contentOf({
      request,
      // A key that acts for its user is recorded with that user.
      subject: facts?.subject?.subject ?? request.subject,
      context,
      credentialProblem,
      outcome,
      shadow: outcome.shadow,
      mode: typeof facts?.key === 'object' ? facts.key.record.mode : undefined,
      objects,
      redact: this.#redact,
    });
  }

  /**
   * Records an outcome. It is answered when its record may be relied on as far as the sinks promise; where that takes
   * too long, it is refused (quality, faults).
   * @param content of the audit record, as `content` has made it
   * @param isSampled whether an allow may be left out of the audit log
   */
  record<T>(
    open: OpenCall,
    basis: Basis,
    outcome: ShadowedOutcome,
    content: string,
    answer: (answered: Answered) => T,
    isSampled = true,
  ): MaybePromise<T | Unavailable> {
    const log = this.#log;
    if (!log.isOpen()) return this.#recordLater(open, basis, outcome, content, answer, isSampled);
    const { api, call } = open;
    const decisionId = log.nextId();
    const seconds = (performance.now() - open.startedAt) / 1000;
    this.#metrics.decision(api, outcome.reason, seconds);
    const isChanged = this.#countShadow(outcome);
    const { revision, ageMs } = basis;
    const answered = { decisionId, revision, ageMs };
    const sampleRate =
      this.#sampling === undefined || outcome.reason !== 'ALLOWED' || isChanged || !isSampled
        ? 1
        : this.#sampling(api, call.request.action);
    if (!log.isOn || (sampleRate < 1 && Math.random() >= sampleRate)) return answer(answered);
    const { instance } = log;
    const id = withoutTokens(call.id);
    const requestId = this.#redact === undefined ? id : this.#redact.requestId(id);
    const durationUs = Math.round(seconds * 1e6);
    const time = this.#clock();
    const event = { decisionId, instance, time, requestId, api, revision, durationUs, sampleRate };
    const kept = log.write((seq, salt) => eventOf({ ...event, seq, salt }) + content);
    return kept === undefined
      ? answer(answered)
      : kept.then((isKept) => (isKept ? answer(answered) : this.#notAudited()));
  }

  /** Records a failure as the deny that it is. @param loaded the facts, if they were loaded before it failed */
  fail(open: OpenCall, loaded: LoadedFacts | undefined, failure: Failure): MaybePromise<Failure> {
    const outcome = outcomeOf(reasonOf(failure));
    const content = this.content(open.call, loaded?.facts, outcome);
    return this.record(open, loaded ?? NO_FACTS, outcome, content, () => failure);
  }

  /** Waits until the log takes records again, for as long as the call waits. */
  async #recordLater<T>(
    open: OpenCall,
    basis: Basis,
    outcome: ShadowedOutcome,
    content: string,
    answer: (answered: Answered) => T,
    isSampled: boolean,
  ): Promise<T | Unavailable> {
    const left = (): number => open.waitMs - (performance.now() - open.startedAt);
    while (!this.#log.isOpen())
      if (left() <= 0 || !(await this.#log.whenOpen(left()))) {
        const seconds = (performance.now() - open.startedAt) / 1000;
        this.#metrics.decision(open.api, 'UNAVAILABLE', seconds);
        return this.#notAudited();
      }
    return this.record(open, basis, outcome, content, answer, isSampled);
  }

  /** Counts the objects that a Filter looked at. */
  countFilter({ visible, examined, shadowHidden, shadowShown }: FilterResult): void {
    this.#metrics.filtered(visible.length, examined - visible.length);
    this.#metrics.shadow(shadowHidden.length, shadowShown.length);
  }

  #notAudited(): Unavailable {
    this.#metrics.notAudited();
    return NOT_AUDITED;
  }

  /** @returns whether full enforcement would change the answer (ABAC-8) */
  #countShadow(outcome: ShadowedOutcome): boolean {
    if (!differs(outcome, outcome.shadow)) return false;
    const allowed = outcome.reason === 'ALLOWED';
    this.#metrics.shadow(allowed ? 1 : 0, allowed ? 0 : 1);
    return true;
  }
}

/** The time as ISO 8601; the text is made once a millisecond. */
function isoClock(): () => string {
  let at = 0;
  let text = '';
  return () => {
    const now = Date.now();
    if (now !== at) text = new Date(now).toISOString();
    at = now;
    return text;
  };
}
