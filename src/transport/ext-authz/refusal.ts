/** Requests that do not go on: statuses, what Envoy answers to the client for us, and what is recorded. */
import type { CredentialProblem } from '../../engine/credential-problem.ts';
import type { Reason } from '../../engine/model.ts';
import { requestIdProblem } from '../../engine/validate.ts';
import type { Refusal as RecordedRefusal, Service } from '../../service/calls.ts';
import { reasonOf, type Failure } from '../../service/failure.ts';
import { later, type MaybePromise } from '../../util/later.ts';
import { CODE, withReason } from '../grpc/status.ts';
import { encodeDenied, encodeFailed, type Facts, type HttpQuestion } from './codec.ts';
import type { CompiledRoutes } from './routes.ts';

/** A request of Envoy that is being answered. */
export interface Asking {
  readonly service: Service;
  readonly routes: CompiledRoutes;
  /** `undefined`: what was sent is none. */
  readonly question: HttpQuestion | undefined;
  readonly waitMs: number;
}

/** Why a request is refused before there is a decision. */
export type Refusal =
  | 'MISSING_ATTRIBUTES'
  | 'AMBIGUOUS_REQUEST'
  | 'AMBIGUOUS_IDENTITY'
  | 'NO_ROUTE'
  | 'NO_IDENTITY'
  | 'MISSING_VALUE'
  | 'PARTIAL_BODY'
  | 'INVALID_ARGUMENT'
  | 'KEY_INVALID'
  | 'RATE_LIMITED';

const STATUS: Readonly<Record<Refusal | Exclude<Reason, 'ALLOWED'>, Status>> = {
  MISSING_ATTRIBUTES: 400,
  AMBIGUOUS_REQUEST: 400,
  AMBIGUOUS_IDENTITY: 400,
  MISSING_VALUE: 400,
  INVALID_ARGUMENT: 400,
  NO_IDENTITY: 401,
  KEY_INVALID: 401,
  // The same as for an object that does not exist (COMB-6).
  OBJECT_HIDDEN: 404,
  PARTIAL_BODY: 413,
  RATE_LIMITED: 429,
  NO_ROUTE: 403,
  ACTION_DENIED: 403,
  NO_GRANT: 403,
  UNKNOWN_ACTION: 403,
  SUBJECT_INACTIVE: 403,
  TENANT_MISMATCH: 403,
  STALE: 403,
  UNAVAILABLE: 403,
  HISTORY_LOST: 403,
  VERSION: 403,
  INTERNAL: 403,
};

const TITLES = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  413: 'Content Too Large',
  429: 'Too Many Requests',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
} as const;
type Status = keyof typeof TITLES;

/** What audit and metrics call a refusal before there was a decision. */
const RECORDED: Readonly<Record<Refusal, RecordedRefusal['reason']>> = {
  MISSING_ATTRIBUTES: 'INVALID_ARGUMENT',
  AMBIGUOUS_REQUEST: 'INVALID_ARGUMENT',
  AMBIGUOUS_IDENTITY: 'INVALID_ARGUMENT',
  MISSING_VALUE: 'INVALID_ARGUMENT',
  PARTIAL_BODY: 'INVALID_ARGUMENT',
  INVALID_ARGUMENT: 'INVALID_ARGUMENT',
  NO_ROUTE: 'UNKNOWN_ACTION',
  NO_IDENTITY: 'KEY_INVALID',
  KEY_INVALID: 'KEY_INVALID',
  RATE_LIMITED: 'INVALID_ARGUMENT',
};

/** Characters of what was asked for that a record of a refusal holds: anybody can be refused. */
const MAX_RECORDED = 512;

/** A refusal before there was a decision. Its cause goes to audit and to Envoy's metadata, not to the client. */
export function refuse(
  asking: Asking,
  reason: Refusal,
  why = '',
  credentialProblem?: CredentialProblem,
): MaybePromise<Buffer> {
  const { service, question, waitMs } = asking;
  const { method = '', path = '' } = question ?? {};
  const id = question === undefined ? '' : requestId(question);
  // Without the query: it may hold secrets.
  const action = `${method} ${path.split('?', 1)[0] ?? ''}`.trim().slice(0, MAX_RECORDED);
  const refusal = { id, reason: RECORDED[reason], action, credentialProblem };
  return later(service.refuse(refusal, 'ext_authz', waitMs), (answered) => {
    if ('failure' in answered) return failed(answered, asking);
    const detail = why === '' ? {} : { detail: why };
    return deny(reason, { reason, decision_id: answered.decisionId, ...detail });
  });
}

export function deny(reason: keyof typeof STATUS, facts: Facts, retryAfterMs = 0): Buffer {
  const status = STATUS[reason];
  const headers = [PROBLEM_JSON];
  if (status === 401) headers.push(['www-authenticate', 'Bearer realm="postern"']);
  if (retryAfterMs > 0) headers.push(['retry-after', String(Math.ceil(retryAfterMs / 1_000))]);
  const code = status === 401 ? CODE.UNAUTHENTICATED : CODE.PERMISSION_DENIED;
  return encodeDenied(code, status, headers, problem(status, facts), facts);
}

const PROBLEM_JSON: readonly [string, string] = ['content-type', 'application/problem+json'];

/** What the client is told (RFC 9457). */
function problem(status: Status, { decision_id: decision }: Facts): string {
  return JSON.stringify({
    type: 'about:blank',
    title: TITLES[status],
    status,
    // A hidden object must look like one that does not exist: nothing that varies.
    ...(typeof decision === 'string' && status !== 404 ? { decision_id: decision } : {}),
  });
}

/** @throws RpcError unless the file says otherwise. Envoy's `failure_mode_allow` says what becomes of the request */
export function failed(failure: Failure, asking: Asking): MaybePromise<Buffer> {
  switch (failure.failure) {
    case 'invalid':
      return refuse(asking, 'INVALID_ARGUMENT', failure.problem.problem);
    case 'limited':
      return deny('RATE_LIMITED', { reason: 'RATE_LIMITED' }, failure.retryAfterMs);
    case 'unavailable':
      return outage(CODE.UNAVAILABLE, 503, failure, asking);
    case 'internal':
      return outage(CODE.INTERNAL, 500, failure, asking);
  }
}

/** @throws RpcError unless the file says otherwise */
function outage(
  code: number,
  status: Status,
  failure: Extract<Failure, { readonly message: string }>,
  { routes }: Asking,
): Buffer {
  const { message } = failure;
  const reason = reasonOf(failure);
  // The only one that Envoy asks another Postern about, and that one of any version counts as an error.
  if (routes.file.failures !== 'error_response') throw withReason(code, reason, message);
  const facts = { reason, detail: message };
  return encodeFailed(code, status, [PROBLEM_JSON], problem(status, facts), facts);
}

/**
 * What Envoy logs and the upstream gets. Envoy's own `id` is the number of its stream, which nobody else knows. A client may
 * have sent it: where it is no id of a request it is passed over, and refuses nobody.
 */
export function requestId({ id, headers }: HttpQuestion): string {
  const [value = '', ...more] = headers.get('x-request-id') ?? [];
  const isId = (text: string): boolean => requestIdProblem('x-request-id', text) === undefined;
  if (value !== '' && more.length === 0 && isId(value)) return value;
  return isId(id) ? id : `(not recorded: ${id.length} characters)`;
}
