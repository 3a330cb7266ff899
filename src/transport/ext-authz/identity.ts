/** Who a request says it is: by a credential, a verified certificate or metadata, never by a plain header. */
import type { IdentitySource } from '../../config/routes.ts';
import type { Subject } from '../../engine/model.ts';
import { bearerOf } from '../../util/bearer.ts';
import type { Credential } from '../../service/calls.ts';
import type { HttpQuestion } from './codec.ts';
import { metadataAt } from './routes.ts';

export type Identified =
  | { readonly credential: Credential }
  | { readonly subject: Subject }
  /** It says who it is in a way that can be read twice. */
  | { readonly ambiguous: string };

/** Name of the context extension by which Envoy's configuration marks a listener. */
const LISTENER = 'postern_listener';

/** The first identity that is there; `undefined`: none is. */
export function identityOf(
  question: HttpQuestion,
  sources: readonly IdentitySource[],
): Identified | undefined {
  for (const source of sources) {
    const found = identityFrom(question, source);
    if (found !== undefined) return found;
  }
  return undefined;
}

function identityFrom(question: HttpQuestion, source: IdentitySource): Identified | undefined {
  if ('api_key' in source) return fromHeader(question, source.api_key, (apiKey) => ({ apiKey }));
  if ('session' in source)
    return fromHeader(question, source.session, (sessionToken) => ({ sessionToken }));
  if ('bearer' in source) return bearer(question, source.bearer);
  if ('session_cookie' in source) return cookie(question, source.session_cookie);
  if ('mtls' in source) return user(certificateUser(question, source.mtls.prefix));
  if ('metadata' in source) {
    const { filter, claim } = source.metadata;
    return user(metadataAt(question.metadata, [filter, ...claim]));
  }
  if ('route_metadata' in source) {
    const { namespace, claim } = source.route_metadata;
    return user(metadataAt(question.routeMetadata, [namespace, ...claim]));
  }
  if (!isTrusted(question, source)) return undefined;
  const value = single(question, source.trusted_header);
  return typeof value === 'object' ? value : user(value);
}

/** Whether the listener that a request came by may say who asks. */
export function isTrusted(
  { context }: HttpQuestion,
  { listeners }: Extract<IdentitySource, { readonly trusted_header: string }>,
): boolean {
  const listener = context.get(LISTENER);
  return listener !== undefined && listeners.includes(listener);
}

function user(id: string | undefined): Identified | undefined {
  return id === undefined ? undefined : { subject: { type: 'user', id } };
}

function certificateUser({ principal }: HttpQuestion, prefix: string): string | undefined {
  const id = principal.startsWith(prefix) ? principal.slice(prefix.length) : '';
  return id === '' ? undefined : id;
}

/** The one value of a header; several, or one that Envoy joined of several, are ambiguous. */
function single(
  { headers }: HttpQuestion,
  name: string,
): string | { readonly ambiguous: string } | undefined {
  const values = headers.get(name);
  if (values === undefined) return undefined;
  const [value = ''] = values;
  return values.length > 1 || value.includes(',')
    ? { ambiguous: `the header ${name} is given more than once` }
    : value;
}

function fromHeader(
  question: HttpQuestion,
  header: string,
  credential: (text: string) => Credential,
): Identified | undefined {
  const value = single(question, header);
  if (value === undefined) return undefined;
  return typeof value === 'object' ? value : { credential: credential(value) };
}

/** Another scheme of `authorization` is another's: no identity for us. */
function bearer(question: HttpQuestion, header: string): Identified | undefined {
  const value = single(question, header);
  if (value === undefined || typeof value === 'object') return value;
  const token = bearerOf(value);
  return token === undefined ? undefined : { credential: { bearerToken: token } };
}

function cookie(question: HttpQuestion, name: string): Identified | undefined {
  const only = cookiesOf(question).find((one) => one.name === name);
  // Envoy joins two lines of cookies by a comma: one may stand behind it that the upstream will see.
  const mayBe = (question.headers.get('cookie') ?? [])
    .flatMap((line) => line.split(/[;,]/))
    .filter((part) => nameOf(part) === name);
  if (mayBe.length === 0) return undefined;
  if (only === undefined || mayBe.length > 1)
    return { ambiguous: `the cookie ${name} is given more than once, or behind a comma` };
  return { credential: { sessionToken: only.value } };
}

/** Blanks around the name of a cookie are nothing to most servers. */
function nameOf(cookie: string): string {
  const equals = cookie.indexOf('=');
  return (equals < 0 ? cookie : cookie.slice(0, equals)).trim();
}

export interface Cookie {
  readonly name: string;
  readonly value: string;
  /** As it was sent. */
  readonly text: string;
}

export function cookiesOf({ headers }: HttpQuestion): readonly Cookie[] {
  return (headers.get('cookie') ?? [])
    .flatMap((line) => line.split(';'))
    .map((part) => {
      const text = part.trim();
      const equals = text.indexOf('=');
      return { name: nameOf(text), value: equals < 0 ? '' : text.slice(equals + 1).trim(), text };
    })
    .filter(({ text }) => text !== '');
}
