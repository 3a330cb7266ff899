/** Requests that are refused before they are questions: counted and recorded as the denies that they are. */
import type { CredentialProblem } from '../engine/credential-problem.ts';
import type { Request } from '../engine/model.ts';
import type { MaybePromise } from '../util/later.ts';
import type { Answered, Api, Refusal } from './calls.ts';
import { outcomeOf } from './denied.ts';
import { type Unavailable } from './failure.ts';
import { NO_FACTS, type Recorder } from './record.ts';

/** Characters of a text of a refused request that are recorded. */
const MAX_TEXT = 256;

export class Refuser {
  readonly #recorder: Recorder;
  readonly #onCredential: (problem: CredentialProblem, via: string) => void;

  constructor(recorder: Recorder, onCredential: (problem: CredentialProblem, via: string) => void) {
    this.#recorder = recorder;
    this.#onCredential = onCredential;
  }

  refuse(
    { id, reason, tenant = '', action, credentialProblem }: Refusal,
    api: Api,
    waitMs: number,
  ): MaybePromise<Answered | Unavailable> {
    if (credentialProblem !== undefined) this.#onCredential(credentialProblem, '');
    const call = {
      id: shortened(id),
      request: { ...NO_REQUEST, tenant: shortened(tenant), action: shortened(action) },
      credential: undefined,
      context: undefined,
      minRevision: 0,
      credentialProblem,
    };
    const open = { api, call, waitMs, startedAt: performance.now() };
    const outcome = outcomeOf(reason);
    const content = this.#recorder.content(call, undefined, outcome);
    return this.#recorder.record(open, NO_FACTS, outcome, content, (answered) => answered);
  }
}

const NO_REQUEST: Request = {
  tenant: '',
  subject: undefined,
  keyId: undefined,
  action: '',
  resource: { type: '', id: '', path: undefined, attributes: new Map(), sources: [] },
};

/** A text of a refused request may be of any length: of a long one, the beginning and the length are recorded. */
function shortened(text: string): string {
  const { length } = text;
  return length <= MAX_TEXT
    ? text
    : `${text.slice(0, MAX_TEXT).toWellFormed()}… (${length} characters)`;
}
