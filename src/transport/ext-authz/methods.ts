/**
 * `envoy.service.auth.v3.Authorization` as a function from bytes to bytes: two translations around one service call.
 * What cannot be decided is an RPC error, or an error response, so that Envoy's own failure mode and its statistics are
 * true.
 */
import { differs } from '../../engine/decision.ts';
import type { Request } from '../../engine/model.ts';
import type {
  CheckAnswer,
  Credential,
  Identified as IdentifiedCredential,
  Service,
} from '../../service/calls.ts';
import { KEYS_UNAVAILABLE } from '../../service/credential.ts';
import type { Failure } from '../../service/failure.ts';
import { later, type MaybePromise } from '../../util/later.ts';
import { isMalformed } from '../codec/problem.ts';
import type { Method } from '../grpc/methods.ts';
import { canonicalRequest, type Canonical } from './canonical.ts';
import { decodeQuestion, type HttpQuestion } from './codec.ts';
import { identityOf, type Identified } from './identity.ts';
import { deny, failed, refuse, requestId, type Asking, type Refusal } from './refusal.ts';
import { render, resourceOf, TemplateError, type CompiledRoutes, type Matched } from './routes.ts';
import { askerHeaders, passed } from './upstream.ts';

export { compile, type CompiledRoutes } from './routes.ts';

export interface ExtAuthzOptions {
  readonly service: Service;
  /** The routes in force; may be swapped at any time. */
  readonly routes: () => CompiledRoutes;
  /** What a credential says, before it is proven: a route may take its tenant from it. */
  readonly identify: (credential: Credential) => MaybePromise<IdentifiedCredential['claim']>;
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
  const set = askerHeaders(routes.file, request.tenant, answer);
  return passed(routes, question, set, facts);
}
