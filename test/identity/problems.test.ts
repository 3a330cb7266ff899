/** Why a credential is invalid: one answer for callers, the cause for operators. Nobody is refused for want of keys. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client, credentials, status, type ServiceError } from '@grpc/grpc-js';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { openIdentity, type Credential } from '../../src/identity/identity.ts';
import { mintKey, mintSession } from '../../src/identity/token.ts';
import { key, user } from '../support/records.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { claims, keyServer, NOW, raw, sign, signer, verifier, type Signer } from './support.ts';

const now = (): number => NOW * 1_000;

let good: Signer;
let other: Signer;
let stranger: Signer;
beforeAll(async () => {
  [good, other, stranger] = [await signer('k'), await signer('k'), await signer('stranger')];
});

/** Of the decisions that were refused for their credential. */
function problemsIn(file: string): string[] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter(({ reason }) => reason === 'KEY_INVALID')
    .map(({ credential_problem: problem }) => String(problem))
    .toSorted();
}

describe('of a JWT', () => {
  const signed =
    (changes: object, by = (): Signer => good, header: object = {}) =>
    () =>
      sign(by(), { org: 'acme', ...changes }, { ...header });
  it.each([
    ['nothing', signed({}), undefined],
    ['an end that is over', signed({ exp: NOW - 60 }), 'expired'],
    ['an issue too long ago', signed({ iat: NOW - 4_000 }), 'expired'],
    ['a beginning that is to come', signed({ nbf: NOW + 600 }), 'not_yet_valid'],
    ['an issue that is to come', signed({ iat: NOW + 600 }), 'not_yet_valid'],
    ['another audience', signed({ aud: 'other' }), 'wrong_audience'],
    ['other audiences', signed({ aud: ['x', 'y'] }), 'wrong_audience'],
    ['no audience', signed({ aud: undefined }), 'claim_missing'],
    ['another issuer', signed({ iss: 'https://other/' }), 'wrong_issuer'],
    ['no end', signed({ exp: undefined }), 'claim_missing'],
    [
      'an end that is a text',
      () => raw({ alg: 'ES256', kid: 'k' }, claims({ exp: 'x' }), 'x'),
      'bad_signature',
    ],
    ['no subject', signed({ sub: undefined }), 'claim_missing'],
    ['a subject that is no id', signed({ sub: ' a' }), 'claim_wrong_type'],
    ['no tenant', signed({ org: undefined }), 'claim_missing'],
    ['a tenant that is a list', signed({ org: ['acme'] }), 'claim_wrong_type'],
    ['a tenant that is a number', signed({ org: 7 }), 'claim_wrong_type'],
    ['another key of that name', signed({}, () => other), 'bad_signature'],
    ['a key of another name', signed({}, () => stranger), 'unknown_key'],
    ['no signature', () => raw({ alg: 'none' }, claims()), 'wrong_algorithm'],
    ['one that anybody can make', () => raw({ alg: 'HS256' }, claims(), 'x'), 'wrong_algorithm'],
    ['another type', signed({}, () => good, { typ: 'logout+jwt' }), 'malformed'],
    ['a text', () => 'text', 'malformed'],
    ['no issuer', () => raw({ alg: 'ES256' }, { sub: 'a' }, 'x'), 'malformed'],
    ['a long text', () => 'x'.repeat(20_000), 'malformed'],
  ])('%s', async (_name, make, problem) => {
    const { url } = await keyServer(good);
    const fields = { tenant_claim: 'org', max_token_age_seconds: 3_600 };
    const jwt = await verifier({ jwks_url: url }, fields);
    expect(await jwt.problemOf(await make())).toBe(problem);
  });

  it('keys that were never read, or are too old, are no fault of it', async () => {
    const server = await keyServer();
    server.serve((_, response) => void response.writeHead(500).end());
    const jwt = await verifier({ jwks_url: server.url }, { required: true });
    const token = await sign(good, { exp: NOW + 200_000 });
    expect([await jwt.problemOf(token), jwt.hasKeys()]).toEqual(['keys_unavailable', false]);
    server.serve([good]);
    jwt.pass(1);
    expect([await jwt.userOf(token), jwt.hasKeys()]).toEqual(['alice', true]);
    server.serve((_, response) => void response.writeHead(500).end());
    jwt.pass(86_401);
    expect([await jwt.problemOf(token), jwt.hasKeys()]).toEqual(['keys_unavailable', false]);
  });
});

describe('a set of keys of which none can verify anything', () => {
  it.each([
    ['none', () => []],
    ['none of a kind', () => [{}]],
    ['a symmetric one', () => [{ kty: 'oct', k: 'c2VjcmV0' }]],
    ['one for encryption', () => [{ ...good.jwk, use: 'enc' }]],
    ['one of another algorithm', () => [{ ...good.jwk, alg: 'ES512' }]],
    ['one of an unknown kind', () => [{ kty: 'PQC', pub: 'AAAA' }]],
    ['a broken one', () => [{ ...good.jwk, x: 'AAAA' }]],
  ])('%s does not take the place of the last good one', async (_name, make) => {
    const server = await keyServer(good);
    const jwt = await verifier({ jwks_url: server.url });
    const keys: readonly object[] = make();
    server.serve((_, response) => void response.end(JSON.stringify({ keys })));
    jwt.pass(301);
    const token = await sign(good, { exp: NOW + 2_000 });
    expect(await jwt.userOf(token)).toBe('alice');
    await expect.poll(() => jwt.errors.length).toBe(1);
    expect(String(jwt.errors[0])).toMatch(
      /none of its \d+ keys can verify a signature|JSON Web Key Set malformed/,
    );
    // A whole verification, by the same keys.
    expect(await jwt.userOf(await sign(good, { exp: NOW + 2_000, jti: 'other' }))).toBe('alice');
  });
});

describe('of tokens of ours', () => {
  const minted = mintKey('acme', 'agent');
  const session = mintSession('acme', 'alice', 's1');
  const agent = key('agent', { secrets: [{ hash: minted.hash }] }).value;
  const alice = user('alice', {
    sessions: [{ id: 's1', hash: session.hash, createdAt: now(), expiresAt: now() + 1_000 }],
  }).value;
  const problem = (
    credential: Credential,
    evidence: { key?: typeof agent; user?: typeof alice },
    time = now(),
  ) => {
    const claim = openIdentity({ now: () => time }).identify(credential);
    if (claim instanceof Promise) return expect.fail('it comes later');
    return 'unproven' in claim
      ? claim.unproven
      : claim.problemOf({ key: evidence.key, user: evidence.user });
  };
  const apiKey = minted.token;
  const sessionToken = session.token;

  it.each([
    ['none', { apiKey }, {}, 'unknown'],
    ['of another name', { apiKey }, { key: { ...agent, id: 'x' } }, 'unknown'],
    ['revoked', { apiKey }, { key: { ...agent, revoked: true } }, 'revoked'],
    ['expired', { apiKey }, { key: { ...agent, expiresAt: now() } }, 'expired'],
    [
      'with another secret',
      { apiKey: mintKey('acme', 'agent').token },
      { key: agent },
      'wrong_secret',
    ],
    ['of another kind', { apiKey: sessionToken }, {}, 'malformed'],
    ['a text', { apiKey: 'secret' }, {}, 'malformed'],
    ['no session', { sessionToken }, { user: { ...alice, sessions: [] } }, 'unknown'],
    ['a suspended user', { sessionToken }, { user: { ...alice, suspended: true } }, 'inactive'],
    ['a JWT of nobody', { bearerToken: 'a.b.c' }, {}, 'wrong_issuer'],
  ] as const)('%s', (_name, credential, evidence, expected) => {
    expect(problem(credential, evidence)).toBe(expected);
  });

  it('an expired session', () => {
    expect(problem({ sessionToken }, { user: alice }, now() + 1_000)).toBe('expired');
  });
});

describe('a server whose issuer cannot be reached', () => {
  const start = async (issuer: object): Promise<TestServer> => {
    const server = await startTestServer(
      { tenant: 'acme', users: [{ id: 'alice' }] },
      {
        identity: {
          jwt: [
            {
              issuer: 'https://issuer.example',
              audience: 'postern',
              algorithms: ['ES256'],
              tenant: 'acme',
              cooldown_seconds: 1,
              refresh_seconds: 1,
              ...issuer,
            },
          ],
        },
      },
    );
    onTestFinished(() => server.close());
    return server;
  };
  const ask = (server: TestServer, bearer_token: string): Promise<unknown> =>
    server.client.call('Check', {
      tenant: 'acme',
      credential: { bearer_token },
      action: 'kb:read',
    });
  const current = (changes = {}): Promise<string> => {
    const at = Math.floor(Date.now() / 1_000);
    return sign(good, { iat: at, exp: at + 600, ...changes });
  };
  const readyz = async ({ running }: TestServer): Promise<readonly [number, unknown]> => {
    const response = await fetch(`http://${running.addresses.http}/readyz`);
    return [response.status, await response.json()];
  };

  const HEALTH = '/grpc.health.v1.Health/';
  const clientOf = ({ running }: TestServer): Client => {
    const client = new Client(running.addresses.grpc, credentials.createInsecure());
    onTestFinished(() => client.close());
    return client;
  };
  const bytes = (message: Buffer): Buffer => message;
  /** A message of one field, a number. */
  const word = (message: Buffer): string => (message[1] === 1 ? 'SERVING' : 'NOT_SERVING');
  const healthOf = (server: TestServer): Promise<string> =>
    new Promise((done, failed) => {
      clientOf(server).makeUnaryRequest(
        `${HEALTH}Check`,
        bytes,
        bytes,
        Buffer.alloc(0),
        (error, answer) => {
          if (error !== null || answer === undefined) failed(error ?? new Error('no answer'));
          else done(word(answer));
        },
      );
    });
  const watchHealth = (server: TestServer): string[] => {
    const heard: string[] = [];
    const stream = clientOf(server).makeServerStreamRequest(
      `${HEALTH}Watch`,
      bytes,
      bytes,
      Buffer.alloc(0),
    );
    stream.on('data', (message: Buffer) => heard.push(word(message)));
    stream.on('error', () => {});
    onTestFinished(() => stream.cancel());
    return heard;
  };

  it('says UNAVAILABLE of its tokens, not that they are bad; and is not ready where it needs them', async () => {
    const issuer = await keyServer();
    issuer.serve((_, response) => void response.writeHead(503).end());
    const optional = await start({ jwks_url: issuer.url });
    expect(await readyz(optional)).toMatchObject([200, { ready: true }]);
    const server = await start({ jwks_url: issuer.url, required: true });
    expect(await readyz(server)).toMatchObject([503, { checks: { issuer_keys: false } }]);
    // Probes of gRPC are told the same, and who watches hears of it.
    expect(await healthOf(optional)).toBe('SERVING');
    expect(await healthOf(server)).toBe('NOT_SERVING');
    const watched = watchHealth(server);
    const { http } = server.running.addresses;
    const metrics = await (await fetch(`http://${http}/metrics`)).text();
    expect(metrics).toMatch(/^postern_jwks_reads_total\{result="failed"\} [1-9]/m);
    expect(metrics).toMatch(/^postern_jwks_reads_total\{result="ok"\} 0$/m);
    const token = await current();
    const refused = await ask(server, token).catch((error: unknown) => error as ServiceError);
    expect(refused).toMatchObject({
      code: status.UNAVAILABLE,
      details: expect.stringContaining('keys of the issuer') as string,
    });
    // A bad one is bad whatever the issuer says.
    expect(await ask(server, 'text')).toMatchObject({ reason: 'REASON_KEY_INVALID' });
    issuer.serve([good]);
    await expect
      .poll(() => ask(server, token).catch(() => ({})))
      .toMatchObject({ reason: 'REASON_NO_GRANT' });
    await expect.poll(() => readyz(server)).toMatchObject([200, { checks: { issuer_keys: true } }]);
    expect(await healthOf(server)).toBe('SERVING');
    await expect.poll(() => watched, { timeout: 10_000 }).toEqual(['NOT_SERVING', 'SERVING']);
  });

  it('one answer for callers, and the cause in the records', async () => {
    const issuer = await keyServer(good);
    const server = await start({ jwks_url: issuer.url });
    const bad = [
      await current({ aud: 'x' }),
      await current({ exp: 1 }),
      'text',
      mintKey('acme', 'k').token,
      mintKey('other', 'k').token,
    ];
    const answers = await Promise.all(bad.map((token) => ask(server, token)));
    const seen = new Set(
      answers.map((answer) =>
        JSON.stringify({ ...(answer as object), decision_id: '', age_ms: 0 }),
      ),
    );
    expect([...seen]).toHaveLength(1);
    const file = join(server.directory, 'audit.jsonl');
    await expect
      .poll(() => problemsIn(file))
      .toEqual(['expired', 'malformed', 'unknown', 'wrong_audience', 'wrong_tenant']);
  });
});
