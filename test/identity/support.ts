/** An issuer on loopback with real keys, and tokens as it and others would sign them. */
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  exportJWK,
  generateKeyPair,
  SignJWT,
  type CryptoKey,
  type JWK,
  type JWTPayload,
} from 'jose';
import { onTestFinished } from 'vitest';
import type { CredentialProblem } from '../../src/engine/credential-problem.ts';
import { openJwt, type Issuer, type JwtVerifier } from '../../src/identity/jwt.ts';

const ISSUER = 'https://issuer.example';
const AUDIENCE = 'postern';
/** Now, in seconds. */
export const NOW = 1_800_000_000;

export interface Signer {
  readonly alg: string;
  readonly kid: string;
  readonly privateKey: CryptoKey;
  readonly publicKey: CryptoKey;
  readonly jwk: JWK;
}

export async function signer(kid: string, alg = 'ES256'): Promise<Signer> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  return { alg, kid, privateKey, publicKey, jwk: { ...(await exportJWK(publicKey)), kid } };
}

/** Claims that are good; `undefined` takes one out. */
export function claims(changes: Readonly<Record<string, unknown>> = {}): JWTPayload {
  const good = { iss: ISSUER, aud: AUDIENCE, sub: 'alice', iat: NOW, exp: NOW + 600 };
  return { ...good, ...changes };
}

export async function sign(
  by: Signer,
  changes: Readonly<Record<string, unknown>> = {},
  header: Readonly<Record<string, unknown>> = {},
): Promise<string> {
  const { alg, kid, privateKey } = by;
  return new SignJWT(claims(changes)).setProtectedHeader({ alg, kid, ...header }).sign(privateKey);
}

/** A token put together by hand. */
export function raw(header: unknown, payload: unknown, signature: string | Buffer = ''): string {
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${part(header)}.${part(payload)}.${Buffer.from(signature).toString('base64url')}`;
}

export interface KeyServer {
  readonly url: string;
  /** Paths that were asked for. */
  readonly asked: string[];
  /** Answers with these keys from now on, or as the listener does. */
  serve(what: readonly Signer[] | RequestListener): void;
}

/** An HTTP server of keys, until the test is over. */
export async function keyServer(...signers: readonly Signer[]): Promise<KeyServer> {
  const asked: string[] = [];
  let listener: RequestListener;
  const serve = (what: readonly Signer[] | RequestListener): void => {
    listener =
      typeof what === 'function'
        ? what
        : (_, response) => response.end(JSON.stringify({ keys: what.map(({ jwk }) => jwk) }));
  };
  serve(signers);
  const server = createServer((request, response) => {
    asked.push(request.url ?? '');
    listener(request, response);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  // A TCP server's address is an object.
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/jwks`, asked, serve };
}

export interface TestVerifier extends JwtVerifier {
  /** Moves the clock, seconds. */
  pass(seconds: number): void;
  readonly errors: unknown[];
  /** Reads of the keys that are over: whether there were any to take. */
  readonly reads: boolean[];
  /** The id of whom a token proves, or `undefined`. */
  userOf(token: string): Promise<string | undefined>;
  /** Why a token proves nobody. */
  problemOf(token: string): Promise<CredentialProblem | undefined>;
}

/** A verifier with one issuer and a clock that stands, its keys read once. */
export async function verifier(
  keys: { readonly jwks_url: string } | { readonly jwks_file: string },
  fields: Partial<Issuer> = {},
): Promise<TestVerifier> {
  let time = NOW * 1_000;
  const errors: unknown[] = [];
  const reads: boolean[] = [];
  const issuer: Issuer = {
    issuer: ISSUER,
    audience: AUDIENCE,
    algorithms: ['RS256', 'ES256'],
    ...(fields.tenant_claim === undefined ? { tenant: 'acme' } : {}),
    ...keys,
    ...fields,
  };
  const jwt = openJwt({
    issuers: [issuer],
    now: () => time,
    onError: (error) => void errors.push(error),
    onRead: (ok) => void reads.push(ok),
  });
  onTestFinished(() => jwt.close());
  await jwt.ready();
  return Object.assign(jwt, {
    errors,
    reads,
    pass: (seconds: number) => void (time += seconds * 1_000),
    userOf: async (token: string) => {
      const claim = await jwt.verify(token);
      return 'subject' in claim ? claim.subject.id : undefined;
    },
    problemOf: async (token: string) => {
      const claim = await jwt.verify(token);
      return 'unproven' in claim ? claim.unproven : undefined;
    },
  });
}
