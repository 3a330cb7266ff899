/** Explain tells the operator why a credential is invalid, and nobody else. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { CREDENTIAL_PROBLEMS } from '../../src/engine/credential-problem.ts';
import { digest } from '../../src/identity/callers.ts';
import { mintKey, mintSession } from '../../src/identity/token.ts';
import { keyServer, raw, sign, signer, type Signer } from '../identity/support.ts';
import { openService, type Service } from '../../src/cli/kit/client.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';
import { startTestServer, type Answer, type TestServer } from '../support/server.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const TOKEN = 'operator-0123456789-0123456789';
const STATE = {
  tenant: 'acme',
  users: [{ id: 'alice' }, { id: 'bob' }, { id: 'sue' }],
  policy_sets: [
    {
      name: 'reads',
      mode: 'enforce',
      rules: [{ id: 'r', effect: 'allow', actions: ['readonly'] }],
    },
  ],
};
const NOBODY = 'the key or credential is unknown, or may not act for this subject';

const seconds = (): number => Math.floor(Date.now() / 1_000);

let good: Signer;
let stranger: Signer;
let other: Signer;
let server: TestServer;
let service: Service;

/** @param keys of the issuer: its `jwks_file` or `jwks_url` */
function start(keys: object, grpc: object = {}, adminToken: string | undefined = TOKEN) {
  const trusted = { issuer: 'https://issuer.example', audience: 'postern', algorithms: ['ES256'] };
  const jwt = [{ ...trusted, tenant_claim: 'org', ...keys }];
  return startTestServer(STATE, { identity: { jwt, usage_interval_ms: 0 }, grpc }, adminToken);
}

let issuer: { readonly jwks_file: string };
beforeAll(async () => {
  [good, other, stranger] = [await signer('k'), await signer('k'), await signer('stranger')];
  issuer = { jwks_file: join(temporaryDirectory(), 'keys.json') };
  writeFileSync(issuer.jwks_file, JSON.stringify({ keys: [good.jwk] }));
  server = await start(issuer);
  const { grpc: address } = server.running.addresses;
  service = openService('AdminService', { address, packageRoot: PACKAGE_ROOT });
});
afterAll(async () => {
  service.close();
  await server.close();
});

/** A call of the operator. */
function admin(method: string, request: object): Promise<Answer> {
  const headers = { authorization: `Bearer ${TOKEN}` };
  return service.call<Answer>(method, { tenant: 'acme', ...request }, headers, 10_000);
}

function explain(
  credential: object,
  authorization: string | undefined,
  {
    subject,
    on = server,
  }: { readonly subject?: object | undefined; readonly on?: TestServer } = {},
): Promise<Answer> {
  const request = {
    tenant: 'acme',
    credential,
    action: 'kb:read',
    ...(subject === undefined ? {} : { subject }),
  };
  const headers = authorization === undefined ? {} : { authorization };
  return on.client.call('Explain', request, 10_000, headers);
}

/** What an answer tells, without what differs from one to the next. */
function told(answer: Answer): Answer {
  const check = answer['check'] as Answer;
  return { ...answer, check: { ...check, decision_id: '', age_ms: 0, revision: 0 } };
}

function layer(answer: Answer): Answer | undefined {
  return (answer['layers'] as readonly Answer[]).find(({ name }) => name === 'credential');
}

/** Who is no operator, however near: its `authorization`. */
const OTHERS: readonly (string | undefined)[] = [
  undefined,
  '',
  TOKEN,
  'Bearer',
  'Bearer ',
  `Basic ${TOKEN}`,
  'Bearer wrong',
  `Bearer ${TOKEN}x`,
  `Bearer ${TOKEN.slice(0, -1)}`,
  `Bearer ${TOKEN.toUpperCase()}`,
  `Bearer ${TOKEN} ${TOKEN}`,
  `Bearer ${TOKEN},${TOKEN}`,
  `Bearer ${digest(TOKEN)}`,
  `Bearer ${'x'.repeat(4_000)}`,
];

let made = 0;
async function newKey(fields: object = {}): Promise<{ id: string; api_key: string }> {
  const id = `key-${++made}`;
  const key = { id, role: 'default_deny', mode: 'enforce', policy_sets: ['reads'], ...fields };
  const { secret } = await admin('CreateKey', { key });
  return { id, api_key: String(secret) };
}

async function newSession(user: string, ttl_seconds = 0): Promise<{ session_token: string }> {
  const { token } = await admin('CreateSession', { user, ttl_seconds });
  return { session_token: String(token) };
}

const soon = (): string => new Date(Date.now() + 1_000).toISOString();

/** A JWT that is good but for what is changed. */
async function jwt(
  changes: object = {},
  by = good,
  header: Readonly<Record<string, unknown>> = {},
): Promise<{ bearer_token: string }> {
  const now = seconds();
  const claims = { org: 'acme', iat: now, exp: now + 600, ...changes };
  return { bearer_token: await sign(by, claims, header) };
}

/** A credential, and the subject beside it. */
type Made = readonly [credential: object, subject?: object];

/** What is wrong → credentials with that, each by another way. */
const BAD: Readonly<Record<string, Readonly<Record<string, () => Promise<Made>>>>> = {
  malformed: {
    'a text': async () => [{ bearer_token: 'text' }],
    nothing: async () => [{ api_key: '' }],
    'another kind': async () => [{ api_key: (await newSession('alice')).session_token }],
    'another type of JWT': async () => [await jwt({}, good, { typ: 'logout+jwt' })],
  },
  unknown: {
    'a key': async () => [{ api_key: mintKey('acme', 'nobody').token }],
    'a session': async () => [{ session_token: mintSession('acme', 'alice', 's').token }],
    'a session of nobody': async () => [{ session_token: mintSession('acme', 'x', 's').token }],
  },
  wrong_secret: {
    'of a key': async () => [{ api_key: mintKey('acme', (await newKey()).id).token }],
    'that was rotated away': async () => {
      const { id, api_key } = await newKey();
      await admin('RotateKey', { id });
      return [{ api_key }];
    },
  },
  revoked: {
    'a key': async () => {
      const { id, api_key } = await newKey();
      await admin('RevokeKey', { id });
      return [{ api_key }];
    },
  },
  expired: {
    'a key': async () => [{ api_key: (await newKey({ expires_at: soon() })).api_key }],
    'a session': async () => [await newSession('alice', 1)],
    'a JWT': async () => [await jwt({ exp: seconds() - 60 })],
  },
  not_yet_valid: { 'a JWT': async () => [await jwt({ nbf: seconds() + 600 })] },
  wrong_issuer: { 'a JWT': async () => [await jwt({ iss: 'https://other/' })] },
  wrong_audience: { 'a JWT': async () => [await jwt({ aud: ['x', 'y'] })] },
  wrong_algorithm: {
    'no signature': async () => [
      { bearer_token: raw({ alg: 'none' }, { iss: 'https://issuer.example' }) },
    ],
  },
  unknown_key: { 'a JWT': async () => [await jwt({}, stranger)] },
  bad_signature: { 'a JWT': async () => [await jwt({}, other)] },
  claim_missing: {
    'no tenant': async () => [await jwt({ org: undefined })],
    'no subject': async () => [await jwt({ sub: undefined })],
    'no end': async () => [await jwt({ exp: undefined })],
  },
  claim_wrong_type: { 'a tenant': async () => [await jwt({ org: ['acme'] })] },
  wrong_tenant: {
    'a key': async () => [{ api_key: mintKey('other', 'k').token }],
    'a JWT': async () => [await jwt({ org: 'other' })],
  },
  wrong_subject: {
    'a session': async () => [await newSession('alice'), { id: 'bob' }],
    'a JWT': async () => [await jwt(), { id: 'bob' }],
    'a key of another user': async () => {
      const { api_key } = await newKey({ user: 'alice' });
      return [{ api_key }, { id: 'bob' }];
    },
  },
  inactive: {
    'a session': async () => {
      const session = await newSession('sue');
      await admin('UpdateUser', { id: 'sue', suspended: true });
      return [session];
    },
  },
};

describe('the operator is told why', () => {
  it('every problem that a decision can have is here', () => {
    // The keys of an issuer that are away are no deny (below), and a decision needs no credential.
    const rest = ['keys_unavailable', 'missing'];
    expect([...Object.keys(BAD), ...rest].toSorted()).toEqual([...CREDENTIAL_PROBLEMS].toSorted());
  });

  it.each(
    Object.entries(BAD).flatMap(([problem, ways]) =>
      Object.entries(ways).map(([way, make]) => [problem, way, make] as const),
    ),
  )('%s: %s, and nobody else is', async (problem, _way, make) => {
    const [credential, subject] = await make();
    const ask = (authorization?: string): Promise<Answer> =>
      explain(credential, authorization, { subject });
    await expect
      .poll(async () => (await ask(`Bearer ${TOKEN}`))['credential_problem'], { timeout: 5_000 })
      .toBe(problem);
    const answer = await ask(`bearer ${TOKEN}`);
    expect(answer['check']).toMatchObject({ reason: 'REASON_KEY_INVALID', detail: NOBODY });
    expect(layer(answer)).toMatchObject({
      verdict: 'VERDICT_DENY',
      summary: expect.stringContaining(`the credential proves nobody (${problem}): `) as string,
    });
    const plain = await ask();
    expect(plain).toMatchObject({ credential_problem: '', check: { detail: NOBODY } });
    expect(layer(plain)?.['summary']).toMatch(/is not a key of this tenant/);
    for (const authorization of [`Bearer ${TOKEN}x`, 'Bearer wrong'])
      expect(told(await ask(authorization))).toEqual(told(plain));
  });

  it('one that proves somebody has none, and is answered alike', async () => {
    const { api_key } = await newKey();
    for (const credential of [{ api_key }, await newSession('alice'), await jwt()]) {
      const answer = await explain(credential, `Bearer ${TOKEN}`);
      expect(answer['credential_problem']).toBe('');
      expect(told(answer)).toEqual(told(await explain(credential, undefined)));
    }
  });

  it('keys of an issuer that are away are UNAVAILABLE for everybody', async () => {
    const away = await keyServer();
    away.serve((_, response) => void response.writeHead(503).end());
    const on = await start({ jwks_url: away.url });
    onTestFinished(() => on.close());
    for (const authorization of [undefined, `Bearer ${TOKEN}`])
      await expect(explain(await jwt(), authorization, { on })).rejects.toMatchObject({
        code: status.UNAVAILABLE,
        details: expect.stringContaining('keys of the issuer') as string,
      });
  });
});

describe('others are answered alike, whatever is wrong', () => {
  it('an operator token that is wrong is no oracle', async () => {
    const bad = [
      { bearer_token: 'text' },
      { api_key: mintKey('other', 'k').token },
      await jwt({ exp: 1 }),
      await jwt({ aud: 'x' }),
      await jwt({ org: 'other' }),
    ];
    const answers = new Set<string>();
    for (const credential of bad)
      for (const authorization of OTHERS)
        answers.add(JSON.stringify(told(await explain(credential, authorization))));
    expect([...answers]).toHaveLength(1);
  });

  it('where there is no operator, no token is one', async () => {
    const on = await startTestServer(STATE);
    onTestFinished(() => on.close());
    for (const authorization of [undefined, `Bearer ${TOKEN}`, 'Bearer undefined', 'Bearer '])
      expect(await explain({ bearer_token: 'text' }, authorization, { on })).toMatchObject({
        credential_problem: '',
        check: { reason: 'REASON_KEY_INVALID' },
      });
  });
});

describe('where callers must be known', () => {
  it('the operator may call Explain and nothing else, a known caller is told no more than before', async () => {
    const caller = 'caller-0123456789-0123456789';
    const callers = [{ name: 'app', token_sha256: digest(caller) }];
    const on = await start(issuer, { callers });
    onTestFinished(() => on.close());
    const credential = await jwt({ exp: 1 });
    expect(await explain(credential, `Bearer ${TOKEN}`, { on })).toMatchObject({
      credential_problem: 'expired',
    });
    const known = await explain(credential, `Bearer ${caller}`, { on });
    expect(known).toMatchObject({ credential_problem: '', check: { detail: NOBODY } });
    for (const authorization of OTHERS)
      await expect(explain(credential, authorization, { on }), authorization).rejects.toMatchObject(
        { code: status.UNAUTHENTICATED },
      );
    const request = { tenant: 'acme', credential, action: 'kb:read' };
    for (const method of ['Check', 'BatchCheck', 'Filter'])
      await expect(
        on.client.call(method, method === 'BatchCheck' ? { checks: [request] } : request, 10_000, {
          authorization: `Bearer ${TOKEN}`,
        }),
      ).rejects.toMatchObject({ code: status.UNAUTHENTICATED });
  });
});
