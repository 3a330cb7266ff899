/** A request that goes on: the headers that say who asks, in the place of all by which a client could say so itself. */
import { REMOVED_HEADERS, type IdentitySource, type RoutesFile } from '../../config/routes.ts';
import type { CheckAnswer } from '../../service/calls.ts';
import { encodeAllowed, type Facts, type HttpQuestion } from './codec.ts';
import { cookiesOf, isTrusted } from './identity.ts';
import { removedHeaders } from './removed.ts';
import type { CompiledRoutes } from './routes.ts';

/** Headers of an allowed request, by which the upstream learns who asks and what was decided. */
export function askerHeaders(
  file: RoutesFile,
  tenant: string,
  { decisionId, subject, keyId }: CheckAnswer,
): readonly (readonly [name: string, value: string])[] {
  const names = identityHeaders(file);
  const set = [
    [names.tenant, tenant],
    [names.decision, decisionId],
    ...(subject === undefined ? [] : [[names.subject, subject] as const]),
    ...(keyId === undefined ? [] : [[names.key, keyId] as const]),
  ] as const;
  // Ids may hold any text, headers may not: those are percent-encoded.
  return set.map(([name, value]) => [name, headerText(value)] as const);
}

/**
 * The request goes on, without anything by which a client could say to the upstream who it is or what it asks for.
 * @param set headers that tell who asks
 */
export function passed(
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
  const left: string[] = [];
  for (const source of file.identity ?? []) {
    const header = credentialHeader(source);
    if (header !== undefined && forwarded) left.push(header);
    if (header !== undefined && !forwarded) remove.add(header);
    if ('trusted_header' in source && isTrusted(question, source)) left.push(source.trusted_header);
    else if ('trusted_header' in source) remove.add(source.trusted_header);
    if ('session_cookie' in source && !forwarded && !kept.has('cookie')) {
      kept.add('cookie');
      const others = cookiesOf(question).filter(({ name }) => !isSession(file, name));
      if (others.length === 0) remove.add('cookie');
      else headers.push(['cookie', others.map(({ text }) => text).join('; ')]);
    }
  }
  return encodeAllowed(headers, removedHeaders(question, remove, headers, left), facts);
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
