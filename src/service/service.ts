/**
 * The one async room of the hot path: validate → load facts → decide → record. Every entry point translates to
 * and from these four calls and does nothing else. What fails, denies (COMB-5).
 */
import {
  contentOf,
  eventOf,
  itemText,
  type Api,
  type FilteredObjects,
} from '../audit/record/event.ts';
import type { Redact } from '../audit/fields.ts';
import type { AuditLog } from '../audit/log.ts';
import type { Sampling } from '../audit/record/sampling.ts';
import { actingSubject } from '../engine/abac.ts';
import type { CredentialProblem } from '../engine/credential-problem.ts';
import { decide } from '../engine/decide.ts';
import type { Decision, Facts, Outcome } from '../engine/decision.ts';
import { explainInSteps } from '../engine/explain.ts';
import type { Explanation } from '../engine/explanation.ts';
import { filterInSteps, type FilterResult } from '../engine/filter.ts';
import type { Reason, Request, Resource, Subject } from '../engine/model.ts';
import type { KeyRecord } from '../engine/records.ts';
import type { Stamp } from '../engine/subject.ts';
import {
  callerProblem,
  printable,
  requestIdProblem,
  requestProblem,
  resourceProblem,
  strangerProblem,
  type Problem,
  type RequestLimits,
} from '../engine/validate.ts';
import type { FactsRoom, Loaded, LoadedFacts, Unavailability } from '../facts/facts.ts';
import type { Claim, Credential, Identity, Unproven } from '../identity/identity.ts';
import type { RateLimits } from '../identity/rate.ts';
import type { Usage } from '../identity/usage.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { later, type MaybePromise } from '../util/later.ts';
import { inSlices, type SteppedWork } from '../util/slices.ts';
import { withoutTokens } from '../util/tokens.ts';

export type { Credential };

export interface CheckCall {
  /** Correlation id of the caller; `''`: none. */
  readonly id: string;
  readonly request: Request;
  /** Names a key, a subject, or both, once it is proven (COMB-1). */
  readonly credential: Credential | undefined;
  readonly context: Readonly<Record<string, unknown>> | undefined;
  /** 0: any. */
  readonly minRevision: number;
  /** A revision by its name: it must be in the history that answers (CONS-1). */
  readonly since?: Parameters<FactsRoom['resolve']>[3];
  /** Of a question that comes again: what was found for it before. */
  readonly known?: Known | undefined;
  /** Why its credential proves nobody; found here, and told to the operator alone. */
  readonly credentialProblem?: CredentialProblem | undefined;
}

/** Kept by whoever keeps the question, so that it ends with it. */
export interface Known {
  /** The question is well-formed. */
  valid: boolean;
  conclusion: Conclusion | undefined;
}

/**
 * A decision, and the facts that it holds for: as long as a question has the same, it has the same decision. They are
 * named by their stamps, so that facts which the caches have let go of are not kept here.
 */
interface Conclusion {
  readonly subject: Stamp | undefined;
  readonly key: Stamp | 'invalid' | undefined;
  readonly catalog: Facts['catalog'];
  readonly tenantExists: boolean;
  readonly decision: Decision;
  /** What an audit record tells of it; `''`: there is no audit. */
  readonly content: string;
}

export interface FilterCall extends CheckCall {
  /** One that could not be read is empty here, and in `invalid`. */
  readonly objects: readonly Resource[];
  /** Index → what is wrong with the object (FILT-5). */
  readonly invalid: ReadonlyMap<number, string>;
  readonly limit: number;
  readonly offset: number;
}

export type BatchSemantic = 'EXECUTE_ALL' | 'DENY_ON_FIRST_DENY' | 'PERMIT_ON_FIRST_PERMIT';

export interface BatchCall {
  readonly semantic: BatchSemantic;
  /** A malformed item is its error; it is answered in its place, as denied. */
  readonly checks: readonly (CheckCall | { readonly id: string; readonly error: string })[];
}

export interface Answered {
  readonly decisionId: string;
  readonly revision: number;
  readonly ageMs: number;
}

export interface CheckAnswer extends Answered {
  readonly id: string;
  readonly decision: Decision;
  /** Who asked in the end, `user:alice`, and by which key; set where a credential was proven. */
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

/** No answer; the transports have a code for each kind. */
export type Failure =
  /** A key has asked more often than its rate limit allows. */
  | { readonly failure: 'limited'; readonly message: string; readonly retryAfterMs: number }
  | { readonly failure: 'invalid'; readonly problem: Problem }
  | {
      readonly failure: 'unavailable';
      readonly message: string;
      readonly reason: Unavailability;
    }
  | { readonly failure: 'internal'; readonly message: string };

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

export interface Service {
  /** Records a refusal as the deny that it is. */
  refuse(refusal: Refusal, api: Api, waitMs: number): MaybePromise<Answered | Failure>;
  check(call: CheckCall, api: Api, waitMs: number): MaybePromise<CheckAnswer | Failure>;
  /** The answers in order, up to where the semantic stops. A failure of the store fails the batch. */
  batch(call: BatchCall, waitMs: number): MaybePromise<readonly CheckAnswer[] | Failure>;
  filter(call: FilterCall, waitMs: number): MaybePromise<FilterAnswer | Failure>;
  explain(call: CheckCall, waitMs: number): MaybePromise<ExplainAnswer | Failure>;
}

export interface ServiceOptions {
  readonly facts: Pick<FactsRoom, 'resolve'>;
  readonly metrics: Pick<Metrics, 'decision' | 'notAudited' | 'shadow' | 'filtered'>;
  readonly log: AuditLog;
  /** What records leave out; `undefined`: nothing. */
  readonly redact: Redact | undefined;
  /** Which allows are recorded; `undefined`: all. */
  readonly sampling: Sampling | undefined;
  readonly limits: RequestLimits;
  readonly identity: Identity;
  readonly rateLimits: RateLimits;
  /** Requests that an object of a Filter counts as in a rate limit. */
  readonly filterObjectCost: number;
  /** When keys are used. */
  readonly usage: Pick<Usage, 'used'>;
  /** A credential proves nobody. @param via what it names, such as `key k1`; `''`: nothing that may be told */
  readonly onCredential: (problem: CredentialProblem, via: string) => void;
  readonly onError: (error: unknown) => void;
}

/** A call that is being answered. */
interface Taken<C extends CheckCall = CheckCall> {
  readonly api: Api;
  readonly call: C;
  readonly waitMs: number;
  readonly startedAt: number;
  /** No sampling leaves it out. */
  readonly always?: boolean;
}

/** Characters of a text that are told of a refused request. */
const MAX_TOLD = 256;

/** What no sink keeps is not answered. */
const NOT_AUDITED: Failure = {
  failure: 'unavailable',
  message: 'the audit log does not take the record of this decision: retry',
  reason: 'UNAVAILABLE',
};

export function createService(options: ServiceOptions): Service {
  const { facts, metrics, log, redact, sampling } = options;
  const { instance } = log;
  const clock = isoClock();

  /** What the audit record of an outcome tells. */
  const content = (
    call: CheckCall,
    facts: Facts | undefined,
    outcome: Outcome & { readonly shadow?: Outcome | undefined },
    objects?: FilteredObjects,
  ): string =>
    log.isOn
      ? contentOf({
          request: call.request,
          // A key that acts for its user is recorded with that user.
          subject: facts?.subject?.subject ?? call.request.subject,
          context: call.context,
          credentialProblem: call.credentialProblem,
          outcome,
          shadow: outcome.shadow,
          mode: typeof facts?.key === 'object' ? facts.key.record.mode : undefined,
          objects,
          redact,
        })
      : '';

  /**
   * Gives a decision its id, and tells audit and metrics of it: once, here. It is answered when its record may be
   * relied on as far as the sinks promise; where that takes too long, it is refused (quality, faults).
   */
  const record = <T>(
    taken: Taken,
    loaded: Loaded,
    outcome: Outcome & { readonly shadow?: Outcome | undefined },
    told: string,
    answer: (answered: Answered) => T,
  ): MaybePromise<T | Failure> => {
    if (!log.isOpen()) return recordLater(taken, loaded, outcome, told, answer);
    const { api, call, startedAt } = taken;
    const decisionId = log.nextId();
    const seconds = (performance.now() - startedAt) / 1000;
    metrics.decision(api, outcome.reason, seconds);
    const differs = tellShadow(outcome);
    const { revision, ageMs } = 'facts' in loaded ? loaded : NEVER_LOADED;
    const answered = { decisionId, revision, ageMs };
    const sampleRate =
      sampling === undefined || outcome.reason !== 'ALLOWED' || differs || taken.always === true
        ? 1
        : sampling(api, call.request.action);
    if (!log.isOn || (sampleRate < 1 && Math.random() >= sampleRate)) return answer(answered);
    const id = withoutTokens(call.id);
    const requestId = redact === undefined ? id : redact.requestId(id);
    const durationUs = Math.round(seconds * 1e6);
    const time = clock();
    const about = { decisionId, instance, time, requestId, api, revision, durationUs, sampleRate };
    const kept = log.write((seq, salt) => eventOf({ ...about, seq, salt }) + told);
    return kept === undefined
      ? answer(answered)
      : kept.then((is) => (is ? answer(answered) : notAudited()));
  };

  const recordLater = async <T>(
    taken: Taken,
    loaded: Loaded,
    outcome: Outcome & { readonly shadow?: Outcome | undefined },
    told: string,
    answer: (answered: Answered) => T,
  ): Promise<T | Failure> => {
    const left = (): number => taken.waitMs - (performance.now() - taken.startedAt);
    while (!log.isOpen())
      if (left() <= 0 || !(await log.whenOpen(left()))) {
        metrics.decision(taken.api, 'UNAVAILABLE', (performance.now() - taken.startedAt) / 1000);
        return notAudited();
      }
    return record(taken, loaded, outcome, told, answer);
  };

  const notAudited = (): Failure => {
    metrics.notAudited();
    return NOT_AUDITED;
  };

  /** @returns whether full enforcement would change the answer */
  const tellShadow = ({
    reason,
    shadow,
  }: Outcome & { readonly shadow?: Outcome | undefined }): boolean => {
    const allowed = reason === 'ALLOWED';
    const differs = shadow !== undefined && (shadow.reason === 'ALLOWED') !== allowed;
    if (differs) metrics.shadow(allowed ? 1 : 0, allowed ? 0 : 1);
    return differs;
  };

  /** Loads facts and answers with them; a failure is recorded as the deny that it is. */
  const answer = <C extends CheckCall, T>(
    api: Api,
    call: C,
    waitMs: number,
    conclusion: (taken: Taken<C>, loaded: LoadedFacts) => MaybePromise<T | Failure>,
  ): MaybePromise<T | Failure> => {
    const taken = { api, call, waitMs, startedAt: performance.now() };
    try {
      const { credential } = call;
      if (credential === undefined) {
        const loaded = facts.resolve(call.request, call.minRevision, waitMs, call.since);
        return caught(
          taken,
          loaded instanceof Promise
            ? loaded.then((came) => told(taken, conclusion, came))
            : told(taken, conclusion, loaded),
        );
      }
      const answered = later(options.identity.identify(credential), (claim) =>
        prove(call, claim, waitMs, (asked, loaded) =>
          told({ ...taken, call: asked }, conclusion, loaded),
        ),
      );
      return caught(taken, answered);
    } catch (error) {
      return failed(taken, error);
    }
  };

  /** What fails later on fails as what fails at once. */
  const caught = <T>(
    taken: Taken,
    answered: MaybePromise<T | Failure>,
  ): MaybePromise<T | Failure> =>
    answered instanceof Promise
      ? answered.catch((error: unknown) => failed(taken, error))
      : answered;

  /** The answer of a call whose facts are here, or are known not to come. */
  const told = <C extends CheckCall, T>(
    taken: Taken<C>,
    conclusion: (taken: Taken<C>, loaded: LoadedFacts) => MaybePromise<T | Failure>,
    loaded: Loaded,
  ): MaybePromise<T | Failure> => {
    if (!('facts' in loaded)) return notLoaded(taken, loaded);
    const problem = strangerProblem(taken.call.request, loaded.facts);
    if (problem !== undefined) return invalid(problem);
    const retryAfterMs = limited(taken.call, loaded);
    return retryAfterMs === undefined
      ? conclusion(taken, loaded)
      : overLimit(taken, loaded, retryAfterMs);
  };

  /** COMB-1: whoever a credential names asks, if the records prove it; all that is wrong with one looks alike. */
  const prove = <C extends CheckCall, T>(
    call: C,
    claim: Claim | Unproven,
    waitMs: number,
    answer: (asked: C, loaded: Loaded) => MaybePromise<T>,
  ): MaybePromise<T> => {
    const { request, minRevision, since } = call;
    const { tenant, subject } = request;
    const problem = unprovenBy(claim, tenant, subject);
    const own = problem === undefined && !('unproven' in claim) ? claim : undefined;
    const who = { tenant, subject: own?.subject ?? subject, keyId: own?.keyId };
    const asked = { ...call, request: { ...request, ...who }, credentialProblem: problem };
    if (problem === 'keys_unavailable') {
      options.onCredential(problem, '');
      return answer(asked, NO_KEYS);
    }
    return later(facts.resolve(who, minRevision, waitMs, since), (loaded) => {
      if (!('facts' in loaded)) return answer(asked, loaded);
      const { key, subject: known } = loaded.facts;
      const evidence = {
        key: typeof key === 'object' ? key.record : undefined,
        user: known?.record,
      };
      if (own?.proves(evidence) === true) return answer(asked, loaded);
      const stored = { ...evidence, key: evidence.key ?? loaded.invalidKey };
      const credentialProblem =
        problem ?? own?.problemOf(stored) ?? unusableFor(asked.request, loaded.invalidKey);
      options.onCredential(credentialProblem, own?.via ?? '');
      return answer(
        { ...asked, credentialProblem },
        { ...loaded, facts: { ...loaded.facts, key: 'invalid' } },
      );
    });
  };

  /** What keeps a key from asking now: the time until it may again, ms. */
  const limited = (call: CheckCall, { facts: known }: LoadedFacts): number | undefined => {
    const { request } = call;
    const { key } = known;
    if (typeof key !== 'object') return undefined;
    const { id, rateLimit } = key.record;
    options.usage.used(request.tenant, id);
    if (rateLimit === undefined) return undefined;
    const taken = options.rateLimits.take(request.tenant, id, rateLimit, costOf(call));
    return taken.ok ? undefined : taken.retryAfterMs;
  };

  /** A Filter costs its objects: else it would be a way to ask a thousand questions for one. */
  const costOf = (call: CheckCall & { readonly objects?: readonly Resource[] }): number =>
    call.objects === undefined
      ? 1
      : Math.max(1, Math.ceil(call.objects.length * options.filterObjectCost));

  const overLimit = (
    taken: Taken,
    loaded: LoadedFacts,
    retryAfterMs: number,
  ): MaybePromise<Failure> => {
    const outcome = refusal('RATE_LIMITED');
    const { key } = loaded.facts;
    const most = typeof key === 'object' ? (key.record.rateLimit?.requests ?? 0) : 0;
    const cost = costOf(taken.call);
    const message =
      cost > most
        ? `the objects count as ${cost} requests, and the rate limit of the key is ${most} in a window: send fewer objects at once`
        : `the key has asked more often than its rate limit allows: retry after ${Math.ceil(retryAfterMs)} ms`;
    const told = content(taken.call, loaded.facts, outcome);
    return record(taken, loaded, outcome, told, () => ({
      failure: 'limited',
      message,
      retryAfterMs,
    }));
  };

  const notLoaded = (taken: Taken, loaded: Exclude<Loaded, LoadedFacts>): MaybePromise<Failure> => {
    const { unavailable: message, reason } = loaded;
    const outcome = refusal(reason);
    const told = content(taken.call, undefined, outcome);
    return record(taken, loaded, outcome, told, () => ({
      failure: 'unavailable',
      message,
      reason,
    }));
  };

  const failed = (taken: Taken, error: unknown): MaybePromise<Failure> => {
    options.onError(error);
    const outcome = refusal('INTERNAL');
    const message = 'a layer of the decision failed: see the log';
    const told = content(taken.call, undefined, outcome);
    return record(taken, NOTHING_LOADED, outcome, told, () => ({ failure: 'internal', message }));
  };

  const checkOne = (
    call: CheckCall,
    api: Api,
    waitMs: number,
  ): MaybePromise<CheckAnswer | Failure> => {
    const { known } = call;
    // It is another each time.
    const idProblem = requestIdProblem('id', call.id);
    if (idProblem !== undefined) return invalid(idProblem);
    if (known?.valid !== true) {
      const problem = check(call, options.limits);
      if (problem !== undefined) return invalid(problem);
      if (known !== undefined) known.valid = true;
    }
    return answer(api, call, waitMs, decided);
  };

  const decided = (taken: Taken, loaded: LoadedFacts): MaybePromise<CheckAnswer | Failure> => {
    const { call, api } = taken;
    const { decision, content: told } = conclude(call, loaded.facts);
    return record(taken, loaded, decision, told, ({ decisionId, revision, ageMs }) => {
      const answer = { id: call.id, decision, decisionId, revision, ageMs };
      return api === 'ext_authz' ? { ...answer, ...whoAsked(loaded.facts) } : answer;
    });
  };

  /** `decide` is pure: of the same question and the same facts, the last decision is the decision. */
  const conclude = (call: CheckCall, facts: Facts): Conclusion => {
    const { known } = call;
    const last = known?.conclusion;
    if (last !== undefined && holdsFor(last, facts)) return last;
    const decision = decide(call.request, facts);
    const { catalog, tenantExists } = facts;
    const conclusion = {
      subject: facts.subject?.stamp,
      key: stampOf(facts.key),
      catalog,
      tenantExists,
      decision,
      content: content(call, facts, decision),
    };
    if (known !== undefined) known.conclusion = conclusion;
    return conclusion;
  };

  /** Answers the items of a batch; what is wrong with an item alone is its own denied answer. */
  const checkingItems = (waitMs: number, deadline: number): AskItem => {
    // Items that leave their resource out share the default: it is looked at once.
    let valid: Resource | undefined;
    return (item) => {
      if ('error' in item) return malformed(item, item.error, waitMs);
      const isShared = item.request.resource === valid;
      const problem = isShared
        ? (requestIdProblem('id', item.id) ?? callerProblem(named(item)))
        : check(item, options.limits);
      if (problem !== undefined) return malformed(item, problemText(problem), waitMs);
      valid = item.request.resource;
      const left = Math.min(waitMs, Math.max(0, deadline - performance.now()));
      return later(answer('batch_check', item, left, decided), (answered) => {
        if (!('failure' in answered)) return answered;
        if (answered.failure === 'invalid')
          return malformed(item, problemText(answered.problem), waitMs);
        return answered.failure === 'limited'
          ? denied(item.id, answered.message, 'RATE_LIMITED')
          : answered;
      });
    };
  };

  /** An item that is no question is denied, and recorded as that. */
  const malformed = (
    { id, request }: { readonly id: string; readonly request?: Request },
    detail: string,
    waitMs: number,
  ): MaybePromise<CheckAnswer | Failure> => {
    const { tenant = '', action = '' } = request ?? {};
    const refused = { id, reason: 'INVALID_ARGUMENT', tenant, action } as const;
    return later(refuse(refused, 'batch_check', waitMs), (answered) =>
      'failure' in answered ? answered : { ...denied(id, detail), ...answered },
    );
  };

  const refuse = (
    { id, reason, tenant = '', action, credentialProblem }: Refusal,
    api: Api,
    waitMs: number,
  ): MaybePromise<Answered | Failure> => {
    const told = { tenant: shortened(tenant), action: shortened(action) };
    const request = { ...NO_REQUEST, ...told };
    const call = { ...NO_CALL, id: shortened(id), request, credentialProblem };
    if (credentialProblem !== undefined) options.onCredential(credentialProblem, '');
    const taken = { api, call, waitMs, startedAt: performance.now() };
    const outcome = refusal(reason);
    const part = content(call, undefined, outcome);
    return record(taken, NOTHING_LOADED, outcome, part, (answered) => answered);
  };

  const filtered = (
    taken: Taken<FilterCall>,
    loaded: LoadedFacts,
    { result, invalid: malformedObjects, itemsText }: Filtered,
  ): MaybePromise<FilterAnswer | Failure> => {
    const outcome = refusal(result.reason);
    const { visible, examined } = result;
    const shadowHidden = result.shadowHidden.length;
    const shadowShown = result.shadowShown.length;
    const { objects: items, offset, limit } = taken.call;
    metrics.filtered(visible.length, examined - visible.length);
    metrics.shadow(shadowHidden, shadowShown);
    const told = content(taken.call, loaded.facts, outcome, {
      items,
      offset,
      limit,
      visible,
      shadowHidden,
      shadowShown,
      invalid: [...malformedObjects.keys()],
      itemsText,
    });
    // What is hidden is denied, and so is what is malformed.
    const always =
      visible.length < examined || shadowHidden + shadowShown + malformedObjects.size > 0;
    return record({ ...taken, always }, loaded, outcome, told, (answered) => ({
      result,
      invalid: malformedObjects,
      ...answered,
    }));
  };

  /** A call whose time was over before it was answered; recorded as the deny that it is. */
  const tooLate = (taken: Taken, loaded: LoadedFacts, what: string): MaybePromise<Failure> => {
    const outcome = refusal('UNAVAILABLE');
    const told = content(taken.call, loaded.facts, outcome);
    const message = `the time of the call was over before ${what}: send less at once, or allow more time`;
    return record(taken, loaded, outcome, told, () => ({
      failure: 'unavailable',
      message,
      reason: 'UNAVAILABLE',
    }));
  };

  return {
    refuse,

    check: checkOne,

    batch({ checks, semantic }, waitMs): MaybePromise<readonly CheckAnswer[] | Failure> {
      const deadline = performance.now() + waitMs;
      const ask = checkingItems(waitMs, deadline);
      const work =
        semantic === 'EXECUTE_ALL' ? together(checks, ask) : inOrder(checks, semantic, ask);
      return inSlices(work, deadline);
    },

    filter(call, waitMs): MaybePromise<FilterAnswer | Failure> {
      const problem = requestIdProblem('id', call.id) ?? callerProblem(named(call));
      if (problem !== undefined) return invalid(problem);
      return answer('filter', call, waitMs, (taken, loaded) => {
        const { action } = call.request;
        const work = filterValid(
          { ...call, action },
          loaded.facts,
          options.limits,
          log.isOn && redact === undefined,
        );
        return later(inSlices(work, taken.startedAt + waitMs), (found) =>
          found === undefined
            ? tooLate(taken, loaded, 'all objects were looked at')
            : filtered(taken, loaded, found),
        );
      });
    },

    explain(call, waitMs): MaybePromise<ExplainAnswer | Failure> {
      const problem = check(call, options.limits);
      if (problem !== undefined) return invalid(problem);
      return answer('explain', call, waitMs, (taken, loaded) => {
        const { request } = taken.call;
        const work = explainInSteps(request, loaded.facts, loaded.directory);
        return later(inSlices(work, taken.startedAt + waitMs), (explanation) => {
          const { decision } = explanation;
          const told = content(taken.call, loaded.facts, decision);
          return record(taken, loaded, decision, told, (answered) => ({
            id: call.id,
            decision,
            explanation,
            credentialProblem: taken.call.credentialProblem,
            ...answered,
          }));
        });
      });
    },
  };
}

/** For the upstream, which is told who asks. */
function whoAsked({ subject, key }: Facts): Pick<CheckAnswer, 'subject' | 'keyId'> {
  return {
    subject: subject && `${subject.subject.type}:${subject.subject.id}`,
    keyId: typeof key === 'object' ? key.record.id : undefined,
  };
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

type AskItem = (item: BatchCall['checks'][number]) => MaybePromise<CheckAnswer | Failure>;

/** Evaluates all items; those that wait for facts wait together. */
function* together(
  checks: BatchCall['checks'],
  ask: AskItem,
): SteppedWork<readonly CheckAnswer[] | Failure> {
  const asked: MaybePromise<CheckAnswer | Failure>[] = [];
  let isWaiting = false;
  for (const item of checks) {
    const answered = ask(item);
    isWaiting ||= answered instanceof Promise;
    asked.push(answered);
    if (yield) return BATCH_TOO_LATE;
  }
  let answers: readonly (CheckAnswer | Failure)[] = asked.filter(isReady);
  if (isWaiting)
    yield Promise.all(asked.map((one) => Promise.resolve(one))).then((all) => {
      answers = all;
    });
  return allOrFailure(answers);
}

function isReady<T extends object>(answer: MaybePromise<T>): answer is T {
  return !(answer instanceof Promise);
}

function allOrFailure(
  answers: readonly (CheckAnswer | Failure)[],
): readonly CheckAnswer[] | Failure {
  const good: CheckAnswer[] = [];
  for (const answered of answers)
    if ('failure' in answered) return answered;
    else good.push(answered);
  return good;
}

/** Evaluates one item after the other until the semantic is satisfied. */
function* inOrder(
  checks: BatchCall['checks'],
  semantic: BatchSemantic,
  ask: AskItem,
): SteppedWork<readonly CheckAnswer[] | Failure> {
  const stopOn = semantic === 'PERMIT_ON_FIRST_PERMIT';
  const answers: CheckAnswer[] = [];
  for (const item of checks) {
    const asked = ask(item);
    const came: { answer: CheckAnswer | Failure } = { answer: BATCH_TOO_LATE };
    if (asked instanceof Promise)
      yield asked.then((answer) => {
        came.answer = answer;
      });
    else came.answer = asked;
    const { answer: answered } = came;
    if ('failure' in answered) return answered;
    answers.push(answered);
    if (answered.decision.allowed === stopOn) break;
    if (yield) return BATCH_TOO_LATE;
  }
  return answers;
}

const BATCH_TOO_LATE: Failure = {
  failure: 'unavailable',
  message:
    'the time of the call was over before all checks were decided: send fewer at once, or allow more time',
  reason: 'UNAVAILABLE',
};

/** Objects that are looked at between two steps. */
const STEP_OBJECTS = 64;

interface Filtered {
  readonly result: FilterResult;
  readonly invalid: ReadonlyMap<number, string>;
  /** All objects as the audit record tells them; `undefined`: it does not, or was not asked to. */
  readonly itemsText: string | undefined;
}

/**
 * FILT-5: looks at each object before any is decided.
 * @returns `undefined`: time was over first
 */
function* filterValid(
  call: FilterCall & { readonly action: string },
  facts: Facts,
  limits: RequestLimits,
  isTold: boolean,
): SteppedWork<Filtered | undefined> {
  let found: Map<number, string> | undefined;
  for (let index = 0; index < call.objects.length; index++) {
    if (index % STEP_OBJECTS === STEP_OBJECTS - 1 && (yield)) return undefined;
    const object = call.objects[index];
    const problem = object && resourceProblem(object, index, limits);
    if (problem !== undefined) (found ??= new Map()).set(index, problemText(problem));
  }
  const invalid =
    found === undefined
      ? call.invalid
      : new Map([...call.invalid, ...found].sort(([a], [b]) => a - b));
  const deciding = filterInSteps({ ...call, invalid }, facts);
  for (;;) {
    const { done, value } = deciding.next(false);
    if (done === true) {
      const itemsText = isTold ? yield* textOf(call.objects, invalid) : undefined;
      return { result: value, invalid, itemsText };
    }
    if (yield) return undefined;
  }
}

/** The objects as the audit record tells them. It is written whatever the time: the decision is made. */
function* textOf(
  objects: readonly Resource[],
  invalid: ReadonlyMap<number, string>,
): SteppedWork<string> {
  const texts: string[] = [];
  let length = 0;
  for (const [index, object] of objects.entries()) {
    const text = invalid.has(index) ? '{}' : itemText(object);
    texts.push(text);
    length += text.length;
    if (length < STEP_CHARS) continue;
    length = 0;
    yield;
  }
  return texts.join(',');
}

/** Characters of a record that are made between two steps. */
const STEP_CHARS = 65_536;

/** A text of a request that is refused may be of any length: of a long one, the beginning is told, and the length. */
function shortened(text: string): string {
  const { length } = text;
  return length <= MAX_TOLD
    ? text
    : `${text.slice(0, MAX_TOLD).toWellFormed()}… (${length} characters)`;
}

function denied(id: string, detail: string, reason: Reason = 'INVALID_ARGUMENT'): CheckAnswer {
  const decision: Decision = {
    ...refusal(reason),
    allowed: false,
    by: undefined,
    shadow: undefined,
  };
  return { id, decision, detail, decisionId: '', revision: 0, ageMs: 0 };
}

/** `resource.path: `a..b` has an empty label: …` */
export function problemText(problem: Problem): string {
  return `${problem.field}: ${valueText(problem)}`;
}

/** The same without the field, for where it is named beside it. */
export function valueText({ value, problem }: Problem): string {
  return value === '' ? problem : `\`${printable(value)}\` ${problem}`;
}

const NO_REQUEST: Request = {
  tenant: '',
  subject: undefined,
  keyId: undefined,
  action: '',
  resource: { type: '', id: '', path: undefined, attributes: new Map(), sources: [] },
};
const NO_CALL: Omit<CheckCall, 'id' | 'request'> = {
  credential: undefined,
  context: undefined,
  minRevision: 0,
};
const NOTHING_LOADED: Loaded = { unavailable: '', reason: 'UNAVAILABLE' };
/** Revision 0: no facts decided. */
const NEVER_LOADED = { revision: 0, ageMs: 0 };

/** Facts are compiled anew whenever a record behind them changes: the same object is the same facts. */
function holdsFor(last: Conclusion, facts: Facts): boolean {
  return (
    last.subject === facts.subject?.stamp &&
    last.key === stampOf(facts.key) &&
    last.catalog === facts.catalog &&
    last.tenantExists === facts.tenantExists
  );
}

function stampOf(key: Facts['key']): Conclusion['key'] {
  return typeof key === 'object' ? key.stamp : key;
}

function invalid(problem: Problem): Failure {
  return { failure: 'invalid', problem };
}

function refusal(reason: Reason): Outcome {
  return { reason, actionRule: undefined, objectRule: undefined };
}

/** A credential needs no subject beside it; it is what names one. */
function check(call: CheckCall, limits: RequestLimits): Problem | undefined {
  return requestIdProblem('id', call.id) ?? requestProblem(named(call), limits);
}

function named({ request, credential }: CheckCall): Request {
  return credential !== undefined && request.subject === undefined
    ? { ...request, keyId: request.keyId ?? 'credential' }
    : request;
}

/** Nobody can tell whom the token proves. */
const NO_KEYS: Loaded = {
  unavailable: 'the keys of the issuer of this token cannot be had now: retry',
  reason: 'UNAVAILABLE',
};

/** Why a credential proves nobody for this question, whatever is stored; `undefined`: the records say. */
function unprovenBy(
  claim: Claim | Unproven,
  tenant: string,
  subject: Subject | undefined,
): CredentialProblem | undefined {
  if ('unproven' in claim) return claim.unproven;
  if (claim.tenant !== tenant) return 'wrong_tenant';
  return agrees(claim.subject, subject) ? undefined : 'wrong_subject';
}

/** Why a key whose secret was right may not be used: it is another user's, or a policy set of it is lost. */
function unusableFor(
  { subject }: Request,
  key: KeyRecord | undefined,
): Extract<CredentialProblem, 'wrong_subject' | 'unknown'> {
  return key !== undefined && actingSubject(key, subject) === 'mismatch'
    ? 'wrong_subject'
    : 'unknown';
}

/** A credential of one subject asks for no other. */
function agrees(proven: Subject | undefined, named: Subject | undefined): boolean {
  return (
    proven === undefined ||
    named === undefined ||
    (proven.type === named.type && proven.id === named.id)
  );
}
