/** Explain: Check, with the evidence of each layer and what is missing, in slices (ADM-11). */
import { explainInSteps } from '../engine/explain.ts';
import type { RequestLimits } from '../engine/validate.ts';
import { later, type MaybePromise } from '../util/later.ts';
import { inSlices } from '../util/slices.ts';
import { callProblem, type Answering } from './answering.ts';
import type { CheckCall, ExplainAnswer } from './calls.ts';
import { invalid, type Failure } from './failure.ts';
import type { Recorder } from './record.ts';

export class Explainer {
  readonly #answering: Answering;
  readonly #recorder: Recorder;
  readonly #limits: RequestLimits;

  constructor(answering: Answering, recorder: Recorder, limits: RequestLimits) {
    this.#answering = answering;
    this.#recorder = recorder;
    this.#limits = limits;
  }

  explain(call: CheckCall, waitMs: number): MaybePromise<ExplainAnswer | Failure> {
    const problem = callProblem(call, this.#limits);
    if (problem !== undefined) return invalid(problem);
    return this.#answering.answer('explain', call, waitMs, (open, loaded) => {
      const { request, credentialProblem } = open.call;
      const work = explainInSteps(request, loaded.facts, loaded.directory);
      return later(inSlices(work, open.startedAt + waitMs), (explanation) => {
        const { decision } = explanation;
        const content = this.#recorder.content(open.call, loaded.facts, decision);
        return this.#recorder.record(open, loaded, decision, content, (answered) => ({
          id: call.id,
          decision,
          explanation,
          credentialProblem,
          ...answered,
        }));
      });
    });
  }
}
