/** Check: one question, one decision. */
import { decide } from '../engine/decide.ts';
import type { Facts } from '../engine/decision.ts';
import { requestIdProblem, requestProblem, type RequestLimits } from '../engine/validate.ts';
import type { LoadedFacts } from '../facts/facts.ts';
import type { MaybePromise } from '../util/later.ts';
import { namedRequest, type Answering } from './answering.ts';
import type { Answered, Api, CheckAnswer, CheckCall } from './calls.ts';
import { invalid, type Failure } from './failure.ts';
import { DecisionMemo, type Conclusion } from './memo.ts';
import type { OpenCall, ProvenCall, Recorder } from './record.ts';

export class Checker {
  readonly #answering: Answering;
  readonly #recorder: Recorder;
  readonly #limits: RequestLimits;
  readonly #memo = new DecisionMemo();

  constructor(answering: Answering, recorder: Recorder, limits: RequestLimits) {
    this.#answering = answering;
    this.#recorder = recorder;
    this.#limits = limits;
  }

  check(call: CheckCall, api: Api, waitMs: number): MaybePromise<CheckAnswer | Failure> {
    // A kept call has another id each time.
    const idProblem = requestIdProblem('id', call.id);
    if (idProblem !== undefined) return invalid(idProblem);
    if (!this.#memo.isValid(call)) {
      const problem = requestProblem(namedRequest(call), this.#limits);
      if (problem !== undefined) return invalid(problem);
      this.#memo.setValid(call);
    }
    return this.checkValid(call, api, waitMs);
  }

  /** The same for a call that was validated before. */
  checkValid(call: CheckCall, api: Api, waitMs: number): MaybePromise<CheckAnswer | Failure> {
    return this.#answering.answer(api, call, waitMs, this.#decided);
  }

  readonly #decided = (
    open: OpenCall,
    loaded: LoadedFacts,
  ): MaybePromise<CheckAnswer | Failure> => {
    const { call } = open;
    const { decision, content } = this.#memo.conclude(call, loaded.facts, this.#draw);
    return this.#recorder.record(
      open,
      loaded,
      decision,
      content,
      ({ decisionId, revision, ageMs }: Answered) => {
        const answer = { id: call.id, decision, decisionId, revision, ageMs };
        return call.withAsker === true ? { ...answer, ...askerIn(loaded.facts) } : answer;
      },
    );
  };

  readonly #draw = (call: ProvenCall, facts: Facts): Conclusion => {
    const decision = decide(call.request, facts);
    return { decision, content: this.#recorder.content(call, facts, decision) };
  };
}

/** Who asks: the subject that a key acts for, and the key. */
function askerIn({ subject, key }: Facts): Pick<CheckAnswer, 'subject' | 'keyId'> {
  return {
    subject: subject && `${subject.subject.type}:${subject.subject.id}`,
    keyId: typeof key === 'object' ? key.record.id : undefined,
  };
}
