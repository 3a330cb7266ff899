/**
 * `envoy.service.auth.v3.Authorization` as a function from bytes to bytes: two translations around one service call.
 * What cannot be decided is an RPC error, or an error response, so that Envoy's own failure mode and its statistics are
 * true.
 */
import type { CredentialProblem } from '../../engine/credential-problem.ts';
import { REMOVED_HEADERS, type IdentitySource, type RoutesFile } from '../../config/routes.ts';
import { differs } from '../../engine/decision.ts';
import type { Reason, Request } from '../../engine/model.ts';
import { requestIdProblem } from '../../engine/validate.ts';
import { later, type MaybePromise } from '../../util/later.ts';
import type {
  CheckAnswer,
  Credential,
  Identified as IdentifiedCredential,
  Refusal as Refused,
  Service,
} from '../../service/calls.ts';
import { KEYS_UNAVAILABLE } from '../../service/credential.ts';
import { reasonOf, type Failure } from '../../service/failure.ts';
import type { Method } from '../grpc/methods.ts';
import { CODE, withReason } from '../grpc/status.ts';
import { isMalformed } from '../codec/problem.ts';
import { canonicalRequest, type Canonical } from './canonical.ts';
import {
  decodeQuestion,
  encodeAllowed,
  encodeDenied,
  encodeFailed,
  type Facts,
  type HttpQuestion,
} from './codec.ts';
import { cookiesOf, identityOf, isTrusted, type Identified } from './identity.ts';
import { removedHeaders } from './removed.ts';
import { compileRoutes, render, resourceOf, TemplateError, type Matched } from './routes.ts';

export interface ExtAuthzOptions {
  readonly service: Service;
  /** The routes in force; may be swapped at any time. */
  readonly routes: () => CompiledRoutes;
  /** What a credential says, before it is proven: a route may take its tenant from it. */
  readonly identify: (credential: Credential) => MaybePromise<IdentifiedCredential['claim']>;
}

/** Routes, ready to be asked. */
export interface CompiledRoutes {
  readonly file: RoutesFile;
  readonly table: ReturnType<typeof compileRoutes>;
}

export function compile(file: RoutesFile): CompiledRoutes {
  return { file, table: compileRoutes(file) };
}

export const CHECK_PATH = '/envoy.service.auth.v3.Authorization/Check';

export function extAuthzMethod(options: ExtAuthzOptions): Method {
  return (bytes, waitMs) => {
    const routes = options.routes();
    const read = questionIn(bytes);
    const question = 'question' in read ? read.question : undefined;
    const asking = { service: options.service, routes, question, waitMs };
    if (question === undefined)
      return refuse(asking, 'MISSING_ATTRIBUTES', 'problem' in read ? read.problem : undefined);
    const canonical = canonicalRequest(question);
    if ('problem' in canonical) return refuse(asking, 'AMBIGUOUS_REQUEST', canonical.problem);
    const matched = routes.table(canonical, question);
    if (matched === undefined) return refuse(asking, 'NO_ROUTE');
    if ('nearMiss' in matched)
      return refuse(
        asking,
        'AMBIGUOUS_REQUEST',
        `the path is that of the route \`${matched.nearMiss.match.path}\` but for case, blanks or compatibility forms`,
      );
    if (matched.route.whole_body === true && isPartial(question))
      return refuse(asking, 'PARTIAL_BODY');
    if (matched.route.public === true) return passed(routes, question, [], { public: true });
    const identity = identityOf(question, routes.file.identity ?? []);
    if (identity === undefined) return refuse(asking, 'NO_IDENTITY');
    if ('ambiguous' in identity) return refuse(asking, 'AMBIGUOUS_IDENTITY', identity.ambiguous);
    return decide({ ...asking, question, canonical, matched, identity }, options.identify);
  };
}

/** Envoy says so where the body was longer than what it keeps of it. */
function isPartial({ headers }: HttpQuestion): boolean {
  return headers.get('x-envoy-auth-partial-body')?.some((value) => value !== 'false') === true;
}

/** What a message that is none, or none of HTTP, is: no request that could pass. */
function questionIn(
  bytes: Buffer,
): { readonly question: HttpQuestion | undefined } | { readonly problem: string } {
  try {
    return { question: decodeQuestion(bytes) };
  } catch (error) {
    if (isMalformed(error)) return { problem: error.message };
    throw error;
  }
}

interface Asking {
  readonly service: Service;
  readonly routes: CompiledRoutes;
  /** `undefined`: what was sent is none. */
  readonly question: HttpQuestion | undefined;
  readonly waitMs: number;
}

interface Asked extends Asking {
  readonly question: HttpQuestion;
  readonly canonical: Canonical;
  readonly matched: Matched;
  readonly identity: Exclude<Identified, { readonly ambiguous: string }>;
}

function decide(asked: Asked, identify: ExtAuthzOptions['identify']): MaybePromise<Buffer> {
  const { service, identity, question, waitMs } = asked;
  const identified = 'credential' in identity ? identify(identity.credential) : undefined;
  return later(identified, (claim) => {
    const problem = claim !== undefined && 'unproven' in claim ? claim.unproven : undefined;
    if (problem === 'keys_unavailable') return failed(KEYS_UNAVAILABLE, asked);
    const tenant = claim !== undefined && 'tenant' in claim ? claim.tenant : undefined;
    const request = questionOf(asked, tenant);
    if ('refused' in request)
      return refuse(
        asked,
        request.refused,
        request.why,
        request.refused === 'KEY_INVALID' ? problem : undefined,
      );
    const call = {
      id: requestId(question),
      request,
      credential: claim === undefined ? undefined : { claim },
      context: undefined,
      minRevision: 0,
      withAsker: true,
    };
    return later(service.check(call, 'ext_authz', waitMs), (answer) =>
      answered(answer, request, asked),
    );
  });
}

/** The question that the route makes of the request. */
function questionOf(
  { matched, question, canonical, identity }: Asked,
  credentialTenant: string | undefined,
): Request | { readonly refused: Refusal; readonly why: string } {
  const { route, captures } = matched;
  const values = { captures, question, canonical, credentialTenant };
  try {
    return {
      tenant: render(route.tenant ?? '{credential.tenant}', values),
      subject: 'subject' in identity ? identity.subject : undefined,
      keyId: undefined,
      action: render(route.action ?? '', values),
      resource: resourceOf(route, values),
    };
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error;
    // A credential that names no tenant is none of ours.
    const unknown = 'credential' in identity && credentialTenant === undefined;
    return { refused: unknown ? 'KEY_INVALID' : 'MISSING_VALUE', why: error.message };
  }
}

/**
 * What Envoy logs and the upstream gets. Envoy's own `id` is the number of its stream, which nobody else knows. A client may
 * have sent it: where it is no id of a request it is passed over, and refuses nobody.
 */
function requestId({ id, headers }: HttpQuestion): string {
  const [value = '', ...more] = headers.get('x-request-id') ?? [];
  const isId = (text: string): boolean => requestIdProblem('x-request-id', text) === undefined;
  if (value !== '' && more.length === 0 && isId(value)) return value;
  return isId(id) ? id : `(not recorded: ${id.length} characters)`;
}

function answered(
  answer: CheckAnswer | Failure,
  request: Request,
  asked: Asked,
): MaybePromise<Buffer> {
  if ('failure' in answer) return failed(answer, asked);
  const { decision } = answer;
  const facts = {
    decision_id: answer.decisionId,
    revision: String(answer.revision),
    reason: decision.reason,
    tenant: request.tenant,
    ...(answer.subject === undefined ? {} : { subject: answer.subject }),
    ...(answer.keyId === undefined ? {} : { key_id: answer.keyId }),
    ...(decision.shadow === undefined
      ? {}
      : {
          shadow_allowed: decision.shadow.reason === 'ALLOWED',
          shadow_differs: differs(decision, decision.shadow),
        }),
  };
  const { reason } = decision;
  if (!decision.allowed || reason !== 'ALLOWED')
    // No decision denies with the reason ALLOWED; one that did would be a fault, and be denied.
    return deny(reason === 'ALLOWED' ? 'INTERNAL' : reason, facts);
  const { routes, question } = asked;
  const names = identityHeaders(routes.file);
  const set = [
    [names.tenant, request.tenant],
    [names.decision, answer.decisionId],
    ...(answer.subject === undefined ? [] : [[names.subject, answer.subject] as const]),
    ...(answer.keyId === undefined ? [] : [[names.key, answer.keyId] as const]),
  ] as const;
  // Ids may hold any text, headers may not: those are percent-encoded.
  const safe = set.map(([name, value]) => [name, headerText(value)] as const);
  return passed(routes, question, safe, facts);
}

/**
 * The request goes on, without anything by which a client could say to the upstream who it is or what it asks for.
 * @param set headers that tell who asks
 */
function passed(
  { file }: CompiledRoutes,
  question: HttpQuestion,
  set: readonly (readonly [name: string, value: string])[],
  facts: Facts,
): Buffer {
  const kept = new Set(set.map(([name]) => name));
  const remove = new Set([
    ...Object.values(identityHeaders(file)),
    ...(file.remove_headers ?? REMOVED_HEADERS),
  ]);
  const forwarded = file.forward_credentials !== false;
  const headers = [...set];
  for (const source of file.identity ?? []) {
    const header = credentialHeader(source);
    if (header !== undefined && !forwarded) remove.add(header);
    if ('trusted_header' in source && !isTrusted(question, source))
      remove.add(source.trusted_header);
    if ('session_cookie' in source && !forwarded && !kept.has('cookie')) {
      kept.add('cookie');
      const others = cookiesOf(question).filter(({ name }) => !isSession(file, name));
      if (others.length === 0) remove.add('cookie');
      else headers.push(['cookie', others.map(({ text }) => text).join('; ')]);
    }
  }
  return encodeAllowed(headers, removedHeaders(question, remove, headers), facts);
}

function isSession({ identity = [] }: RoutesFile, cookie: string): boolean {
  return identity.some((source) => 'session_cookie' in source && source.session_cookie === cookie);
}

function credentialHeader(source: IdentitySource): string | undefined {
  if ('api_key' in source) return source.api_key;
  if ('bearer' in source) return source.bearer;
  return 'session' in source ? source.session : undefined;
}

/** A comma would make two values of one. */
function headerText(value: string): string {
  return /^[\x21-\x24\x26-\x2b\x2d-\x7e]*$/.test(value) ? value : encodeURIComponent(value);
}

interface Names {
  readonly subject: string;
  readonly tenant: string;
  readonly key: string;
  readonly decision: string;
}

function identityHeaders({ headers = {} }: RoutesFile): Names {
  return {
    subject: headers.subject ?? 'x-postern-subject',
    tenant: headers.tenant ?? 'x-postern-tenant',
    key: headers.key ?? 'x-postern-key',
    decision: headers.decision ?? 'x-postern-decision',
  };
}

// ── what Envoy answers for us ─────────────────────────────────────────────────────────────────────

type Refusal =
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
const RECORDED: Readonly<Record<Refusal, Refused['reason']>> = {
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
function refuse(
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

function deny(reason: keyof typeof STATUS, facts: Facts, retryAfterMs = 0): Buffer {
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
function failed(failure: Failure, asking: Asking): MaybePromise<Buffer> {
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
