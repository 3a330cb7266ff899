/** Questions that are asked with a secret, on a real server: proven it is its key or its user, else it is nobody (COMB-1). */
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { Metadata, status, type ServiceError } from '@grpc/grpc-js';
import {
  exportJWK,
  exportSPKI,
  generateKeyPair,
  SignJWT,
  UnsecuredJWT,
  type CryptoKey,
} from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { settingsSchema } from '../../src/config/settings/settings-schema.ts';
import { mintKey, mintSession, parseToken } from '../../src/identity/token.ts';
import { startServer, type Running } from '../../src/server/compose.ts';
import { startRedis, until, type RedisServer } from '../support/redis-server.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';
import { clientOf } from '../support/proto.ts';
import { connectTo, type Answer, type TestClient } from '../support/server.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const TOKEN = 'operator-0123456789-0123456789';
const ISSUER = 'https://issuer.example';
const KID = 'k';

const STATE = {
  tenant: 'acme',
  users: [
    { id: 'alice', roles: ['readers'] },
    { id: 'bob' },
    { id: 'root', superuser: true },
    { id: 'sue', roles: ['readers'] },
  ],
  roles: [{ id: 'readers', permissions: ['kb:read'] }],
  policy_sets: [
    {
      name: 'reads',
      mode: 'enforce',
      rules: [{ id: 'r', effect: 'allow', actions: ['readonly'] }],
    },
  ],
};
const OTHER = { ...STATE, tenant: 'other' };

type Credential =
  | { readonly api_key: string }
  | { readonly bearer_token: string }
  | { readonly session_token: string };

interface Rig {
  readonly running: Running;
  readonly client: TestClient;
  readonly directory: string;
  admin(name: string, request?: object): Promise<Answer>;
  close(): Promise<void>;
}

async function start(overrides: Readonly<Record<string, unknown>> = {}): Promise<Rig> {
  const directory = temporaryDirectory();
  const settings = settingsSchema.parse({
    catalog: join(PACKAGE_ROOT, 'config/actions.yaml'),
    default_roles: join(PACKAGE_ROOT, 'config/roles.yaml'),
    migrations: join(PACKAGE_ROOT, 'config/migrations'),
    store: `embedded:${join(directory, 'store')}`,
    audit: {
      sinks: [{ type: 'file', path: join(directory, 'audit.jsonl') }],
      attributes: true,
    },
    log: { level: 'silent' },
    grpc: { address: '127.0.0.1:0' },
    http: { address: '127.0.0.1:0' },
    identity: { usage_interval_ms: 0 },
    ...overrides,
    // A busy machine is late: refusing calls for that is not what is tested here.
    limits: { max_lag_ms: 0, ...(overrides['limits'] ?? {}) },
  });
  const states = [STATE, OTHER].map((state) => {
    const file = join(directory, `${state.tenant}.yaml`);
    writeFileSync(file, stringify(state));
    return file;
  });
  const options = { settings, adminToken: TOKEN, packageRoot: PACKAGE_ROOT, version: 'test' };
  const running = await startServer({ ...options, states });
  const client = connectTo(running.addresses.grpc);
  const admin = adminOf(running.addresses.grpc);
  return {
    running,
    client,
    directory,
    admin: (name, request) => admin.call(name, request),
    async close() {
      admin.close();
      client.close();
      await running.close();
    },
  };
}

/** Calls of the operator. */
function adminOf(address: string): {
  call(name: string, request?: object): Promise<Answer>;
  close(): void;
} {
  const client = clientOf('AdminService', address);
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${TOKEN}`);
  const methods = client as unknown as Record<
    string,
    (
      request: object,
      metadata: Metadata,
      done: (error: ServiceError | null, answer: Answer) => void,
    ) => void
  >;
  return {
    call: (name, request = {}) =>
      new Promise((done, failed) => {
        methods[name]?.call(client, { tenant: 'acme', ...request }, metadata, (error, answer) =>
          error === null ? done(answer) : failed(error),
        );
      }),
    close: () => client.close(),
  };
}

interface Issuer {
  readonly url: string;
  readonly privateKey: CryptoKey;
  readonly publicKey: CryptoKey;
  sign(claims?: object, header?: object, by?: CryptoKey): Promise<string>;
  close(): void;
}

/** An issuer on loopback. */
async function openIssuer(): Promise<Issuer> {
  const { privateKey, publicKey } = await generateKeyPair('RS256', { extractable: true });
  const jwk = { ...(await exportJWK(publicKey)), kid: KID, alg: 'RS256' };
  const server: Server = createServer((_, response) =>
    response.end(JSON.stringify({ keys: [jwk] })),
  );
  await once(server.listen(0, '127.0.0.1'), 'listening');
  // A TCP server's address is an object.
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/jwks`,
    privateKey,
    publicKey,
    sign: (changes = {}, header = {}, by = privateKey) =>
      new SignJWT({ ...claims(), ...changes })
        .setProtectedHeader({ alg: 'RS256', kid: KID, ...header })
        .sign(by),
    close: () => void server.close(),
  };
}

function claims(): Readonly<Record<string, unknown>> {
  const now = Math.floor(Date.now() / 1_000);
  return { iss: ISSUER, aud: 'postern', sub: 'alice', tenant: 'acme', iat: now, exp: now + 600 };
}

/** What each way of asking says. */
type Said = Readonly<
  Record<(typeof WAYS)[number], { readonly reason: string; readonly detail?: string }>
>;
const WAYS = ['check', 'item', 'default', 'filter', 'explain', 'stream'] as const;

/** Asks the same by every way there is. */
async function askEach(client: TestClient, who: object, what: object = READ): Promise<Said> {
  const request = { tenant: 'acme', ...who, ...what };
  const { resource, ...filter } = { resource: {}, ...request };
  const brief = (answer: unknown): { reason: string; detail: string } => {
    const { reason, detail, allowed } = answer as Answer;
    expect(allowed).toBe(reason === 'REASON_ALLOWED');
    return { reason: String(reason), detail: String(detail) };
  };
  const [check, item, byDefault, filtered, explained, streamed] = await Promise.all([
    client.call('Check', request),
    client.call('BatchCheck', { checks: [request] }),
    client.call('BatchCheck', { ...request, checks: [{}] }),
    client.call('Filter', { ...filter, objects: [resource] }),
    client.call('Explain', request),
    stream(client, [request]),
  ]);
  const { action_allowed, reason, allowed_indexes = [] } = filtered;
  expect(action_allowed).toBe(reason === 'REASON_ALLOWED');
  const visible = (allowed_indexes as readonly number[]).length === 1;
  expect(visible).toBe(check['allowed']);
  return {
    check: brief(check),
    item: brief((item['results'] as unknown[])[0]),
    default: brief((byDefault['results'] as unknown[])[0]),
    filter: { reason: String(reason) },
    explain: brief(explained['check']),
    stream: brief(streamed[0]),
  };
}

async function stream(client: TestClient, requests: readonly object[]): Promise<Answer[]> {
  const call = client.stream();
  const answers: Answer[] = [];
  const ended = new Promise<void>((done, failed) => call.on('end', done).on('error', failed));
  call.on('data', (answer: Answer) => answers.push(answer));
  for (const request of requests) call.write(request);
  call.end();
  await ended;
  return answers;
}

const READ = { action: 'kb:read', resource: { type: 'kb', id: 'x' } };
const WRITE = { action: 'kb:write', resource: { type: 'kb', id: 'x' } };
const ALLOWED = { reason: 'REASON_ALLOWED' };
const NOBODY = {
  reason: 'REASON_KEY_INVALID',
  detail: 'the key or credential is unknown, or may not act for this subject',
};

/** What ways of asking say that is not expected; none: all say the same. Filter tells no detail. */
async function except(
  expected: { readonly reason: string; readonly detail?: string },
  { client }: Pick<Rig, 'client'>,
  who: object,
): Promise<object[]> {
  const said = await askEach(client, who);
  return WAYS.filter((way) => {
    const { reason, detail = expected.detail } = said[way];
    return reason !== expected.reason || (expected.detail ?? detail) !== detail;
  }).map((way) => ({ way, who, said: said[way] }));
}

const part = (answer: Answer, name: string): Answer => answer[name] as Answer;
const idOf = (answer: Answer, name: string): string => String(part(answer, name)['id']);
const apiKey = (answer: Answer): Credential => ({ api_key: String(answer['secret']) });
const session = (answer: Answer): Credential => ({ session_token: String(answer['token']) });
/** The same token as `Authorization: Bearer` would carry it. */
const asBearer = (one: Credential): Credential => ({
  bearer_token: Object.values(one)[0] as string,
});
const pause = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

let issuer: Issuer;
let rig: Rig;
let client: TestClient;
let made = 0;
beforeAll(async () => {
  issuer = await openIssuer();
  rig = await start({
    identity: {
      usage_interval_ms: 0,
      jwt: [
        {
          issuer: ISSUER,
          audience: 'postern',
          algorithms: ['RS256'],
          jwks_url: issuer.url,
          tenant_claim: 'tenant',
        },
      ],
    },
  });
  ({ client } = rig);
});
afterAll(async () => {
  await rig.close();
  issuer.close();
});

/** A new key that reads; with its secret. */
function newKey(fields: object = {}, { tenant = 'acme', on = rig } = {}): Promise<Answer> {
  const key = { role: 'default_deny', mode: 'enforce', policy_sets: ['reads'] };
  return on.admin('CreateKey', { tenant, key: { id: `key-${++made}`, ...key, ...fields } });
}
const newSession = (user: string, ttl_seconds = 0): Promise<Answer> =>
  rig.admin('CreateSession', { user, ttl_seconds });

describe('a credential that is proven', () => {
  it('COMB-2: is its key alone: allowed and denied as by `key_id`', async () => {
    const key = await newKey();
    for (const credential of [apiKey(key), asBearer(apiKey(key))])
      for (const what of [READ, WRITE, { action: 'no.such' }, { action: 'user.get' }]) {
        const said = await askEach(client, { credential }, what);
        expect(said).toEqual(await askEach(client, { key_id: idOf(key, 'key') }, what));
      }
    expect(await except(ALLOWED, rig, { credential: apiKey(key) })).toEqual([]);
    const { check } = await askEach(client, { credential: apiKey(key) }, WRITE);
    expect(check.reason).toBe('REASON_ACTION_DENIED');
  });

  it('COMB-2: a key and a subject must both allow', async () => {
    const key = await newKey();
    const credential = apiKey(key);
    for (const id of ['alice', 'bob', 'root', 'stranger'])
      for (const what of [READ, WRITE])
        expect(await askEach(client, { credential, subject: { id } }, what)).toEqual(
          await askEach(client, { key_id: idOf(key, 'key'), subject: { id } }, what),
        );
    const { check } = await askEach(client, { credential, subject: { id: 'bob' } });
    expect(check.reason).toBe('REASON_NO_GRANT');
    // COMB-4: a superuser does not widen a key.
    const { check: wide } = await askEach(client, { credential, subject: { id: 'root' } }, WRITE);
    expect(wide.reason).toBe('REASON_ACTION_DENIED');
  });

  it('a key that is bound acts for its user, and for no other', async () => {
    const bound = await newKey({ user: 'alice' });
    const unable = await newKey({ user: 'bob' });
    expect(await except(ALLOWED, rig, { credential: apiKey(bound) })).toEqual([]);
    expect(
      await except(ALLOWED, rig, { credential: apiKey(bound), subject: { id: 'alice' } }),
    ).toEqual([]);
    expect(
      await except(NOBODY, rig, { credential: apiKey(bound), subject: { id: 'root' } }),
    ).toEqual([]);
    const { check } = await askEach(client, { credential: apiKey(unable) });
    expect(check.reason).toBe('REASON_NO_GRANT');
  });

  it('is its user: a session or a JWT, allowed and denied as by `subject`', async () => {
    for (const id of ['alice', 'bob', 'root']) {
      const token = session(await newSession(id));
      const jwt = { bearer_token: await issuer.sign({ sub: id }) };
      for (const credential of [token, asBearer(token), jwt])
        for (const what of [READ, WRITE]) {
          const expected = await askEach(client, { subject: { id } }, what);
          expect(await askEach(client, { credential }, what)).toEqual(expected);
          expect(await askEach(client, { credential, subject: { id } }, what)).toEqual(expected);
        }
    }
  });

  it('replaces the default of a batch whole, and is replaced by it', async () => {
    const key = await newKey();
    const alice = await newSession('alice');
    const { results } = await client.call('BatchCheck', {
      tenant: 'acme',
      credential: { api_key: 'pstk.nobody' },
      ...READ,
      checks: [
        {},
        { credential: apiKey(key) },
        { key_id: idOf(key, 'key') },
        { credential: session(alice) },
        { subject: { id: 'alice' } },
      ],
    });
    expect((results as Answer[]).map(({ reason }) => reason)).toEqual([
      'REASON_KEY_INVALID',
      'REASON_ALLOWED',
      'REASON_ALLOWED',
      'REASON_ALLOWED',
      'REASON_KEY_INVALID',
    ]);
  });
});

describe('a credential that is not proven is nobody, in the same words', () => {
  it('COMB-1: of another secret, another form, another kind', async () => {
    const key = await newKey();
    const other = await newKey();
    const token = String(key['secret']);
    const [head, tenant, id, secret] = token.split('.');
    const alice = String((await newSession('alice'))['token']);
    const foreign = mintKey('acme', idOf(key, 'key')).token;
    const jwt = await issuer.sign();
    const wrong: readonly (Credential | object)[] = [
      { api_key: '' },
      { session_token: '' },
      { bearer_token: '' },
      {},
      { api_key: foreign },
      { bearer_token: foreign },
      { api_key: mintKey('acme', 'no-such-key').token },
      { api_key: `${token}x` },
      { api_key: token.slice(0, -1) },
      { api_key: ` ${token}` },
      { api_key: token.toUpperCase() },
      { api_key: secret },
      { api_key: idOf(key, 'key') },
      { api_key: [head, tenant, id, String(other['secret']).split('.')[3]].join('.') },
      { api_key: [head, Buffer.from('other').toString('base64url'), id, secret].join('.') },
      { api_key: [head, tenant, id, parseToken(token)?.hash].join('.') },
      { api_key: ['psts', tenant, id, id, secret].join('.') },
      { api_key: `${token}.${secret}` },
      { api_key: 'x'.repeat(100_000) },
      { bearer_token: 'x.y.z' },
      { bearer_token: '.'.repeat(20_000) },
      { session_token: mintSession('acme', 'alice', 's-1').token },
      { session_token: mintSession('acme', 'stranger', 's-1').token },
      { session_token: alice.slice(0, -1) },
      // Good ones in the place of another kind.
      { session_token: token },
      { api_key: alice },
      { api_key: jwt },
      { session_token: jwt },
    ];
    for (const credential of wrong) {
      expect(await except(NOBODY, rig, { credential })).toEqual([]);
      expect(await except(NOBODY, rig, { credential, subject: { id: 'root' } })).toEqual([]);
    }
    // What was wrong was the credentials.
    expect(await except(ALLOWED, rig, { credential: apiKey(key) })).toEqual([]);
    expect(await except(ALLOWED, rig, { credential: { session_token: alice } })).toEqual([]);
  });

  it('COMB-1: of another tenant, and for a tenant that does not exist', async () => {
    const key = await newKey({}, { tenant: 'other' });
    const { token } = await rig.admin('CreateSession', { tenant: 'other', user: 'alice' });
    const jwt = await issuer.sign({ tenant: 'other' });
    for (const credential of [apiKey(key), { session_token: token }, { bearer_token: jwt }]) {
      expect(await except(ALLOWED, rig, { credential, tenant: 'other' })).toEqual([]);
      expect(await except(NOBODY, rig, { credential })).toEqual([]);
      expect(await except(NOBODY, rig, { credential, subject: { id: 'alice' } })).toEqual([]);
      expect(await except(NOBODY, rig, { credential, tenant: 'nowhere' })).toEqual([]);
    }
    const sameId = await newKey({ id: idOf(key, 'key') });
    expect(await except(NOBODY, rig, { credential: apiKey(key) })).toEqual([]);
    expect(await except(NOBODY, rig, { credential: apiKey(sameId), tenant: 'other' })).toEqual([]);
  });

  it('COMB-1: beside a subject that it is not', async () => {
    const token = await newSession('alice');
    const jwt = { bearer_token: await issuer.sign() };
    for (const credential of [session(token), jwt])
      for (const subject of [{ id: 'root' }, { type: 'role', id: 'alice' }, { id: 'Alice' }])
        expect(await except(NOBODY, rig, { credential, subject })).toEqual([]);
  });

  it('ADM-8: of a user that is deleted, also once there is another of that name', async () => {
    await rig.admin('CreateUser', { user: { id: 'dora', roles: ['readers'] } });
    const held = [session(await newSession('dora')), apiKey(await newKey({ user: 'dora' }))];
    for (const credential of held) expect(await except(ALLOWED, rig, { credential })).toEqual([]);
    const gone = await rig.admin('DeleteUser', { id: 'dora' });
    for (const credential of held)
      expect(await except(NOBODY, rig, { credential, min_revision: gone['revision'] })).toEqual([]);
    const back = await rig.admin('CreateUser', { user: { id: 'dora', roles: ['readers'] } });
    for (const credential of held)
      expect(await except(NOBODY, rig, { credential, min_revision: back['revision'] })).toEqual([]);
  });

  it('COMB-1: of a user that is suspended; a key and a JWT prove the user still, who may do nothing', async () => {
    const token = session(await newSession('sue'));
    const key = apiKey(await newKey({ user: 'sue' }));
    const jwt = { bearer_token: await issuer.sign({ sub: 'sue' }) };
    for (const credential of [token, key, jwt])
      expect(await except(ALLOWED, rig, { credential })).toEqual([]);
    const { revision } = await rig.admin('UpdateUser', { id: 'sue', suspended: true });
    expect(await except(NOBODY, rig, { credential: token, min_revision: revision })).toEqual([]);
    for (const credential of [key, jwt]) {
      const said = await askEach(client, { credential, min_revision: revision });
      for (const way of WAYS) expect(said[way].reason).toBe('REASON_SUBJECT_INACTIVE');
    }
    const lifted = await rig.admin('UpdateUser', { id: 'sue', suspended: false });
    expect(
      await except(ALLOWED, rig, { credential: token, min_revision: lifted['revision'] }),
    ).toEqual([]);
  });

  it('is INVALID_ARGUMENT beside a `key_id`, and where it is of two kinds', async () => {
    const key = await newKey();
    const both = { tenant: 'acme', ...READ, key_id: idOf(key, 'key'), credential: apiKey(key) };
    for (const [method, request] of [
      ['Check', both],
      ['Explain', both],
      ['Filter', { ...both, resource: undefined, objects: [] }],
    ] as const) {
      const error = await failure(client.call(method, request));
      expect(error.code).toBe(status.INVALID_ARGUMENT);
      expect(error.details).toContain('key_id: is given together with `credential`');
      expect(error.details).not.toContain(String(key['secret']));
    }
    const { results } = await client.call('BatchCheck', { checks: [both] });
    expect(results).toMatchObject([{ allowed: false, reason: 'REASON_INVALID_ARGUMENT' }]);
    expect(await stream(client, [both])).toMatchObject([
      { allowed: false, reason: 'REASON_INVALID_ARGUMENT' },
    ]);
    // Check.credential is field 5; of its kinds 1 and 3, and of one that is not known.
    const kind = (field: number, text: string): Buffer =>
      Buffer.concat([Buffer.from([field * 8 + 2, text.length]), Buffer.from(text)]);
    const check = (...kinds: readonly Buffer[]): Promise<Buffer> => {
      const body = Buffer.concat(kinds);
      return client.raw(
        '/postern.v1.AuthorizationService/Check',
        Buffer.concat([kind(2, 'acme'), kind(6, 'kb:read'), Buffer.from([42, body.length]), body]),
      );
    };
    expect((await failure(check(kind(1, 'a'), kind(3, 'b')))).code).toBe(status.INVALID_ARGUMENT);
    expect(String(await check(kind(9, 'future')))).toContain(NOBODY.detail);
  });
});

async function failure(promise: Promise<unknown>): Promise<ServiceError> {
  return promise.then(
    () => expect.fail('it was answered'),
    (error: ServiceError) => error,
  );
}

describe('JWTs that others made', () => {
  it('COMB-1: prove nobody', async () => {
    const { privateKey: stranger, publicKey } = await generateKeyPair('RS256', {
      extractable: true,
    });
    const good = await issuer.sign();
    expect(await except(ALLOWED, rig, { credential: { bearer_token: good } })).toEqual([]);
    const now = Math.floor(Date.now() / 1_000);
    const [header = '', , signature = ''] = good.split('.');
    const root = Buffer.from(JSON.stringify({ ...claims(), sub: 'root' })).toString('base64url');
    const hmacHeader = Buffer.from(JSON.stringify({ alg: 'HS256', kid: KID })).toString(
      'base64url',
    );
    const input = `${hmacHeader}.${root}`;
    const hmac = createHmac('sha256', await exportSPKI(issuer.publicKey))
      .update(input)
      .digest('base64url');
    const forged = [
      new UnsecuredJWT({ ...claims() }).encode(),
      `${header}.${root}.${signature}`,
      `${header}.${root}.`,
      `${input}.${hmac}`,
      await issuer.sign({}, {}, stranger),
      await issuer.sign({}, { kid: '../../dev/null' }, stranger),
      await issuer.sign({}, { jwk: await exportJWK(publicKey) }, stranger),
      await issuer.sign({}, { jku: issuer.url, kid: 'other' }, stranger),
      await issuer.sign({ iss: 'https://evil.example' }),
      await issuer.sign({ aud: 'another' }),
      await issuer.sign({ aud: undefined }),
      await issuer.sign({ exp: now - 60 }),
      await issuer.sign({ exp: undefined }),
      await issuer.sign({ nbf: now + 600 }),
      await issuer.sign({ sub: '' }),
      await issuer.sign({ sub: ['root'] }),
      await issuer.sign({ tenant: '' }),
      await issuer.sign({ tenant: undefined }),
      await issuer.sign({}, { typ: 'logout+jwt' }),
      `${good}.`,
      good.slice(0, -2),
      `Bearer ${good}`,
    ];
    for (const token of forged) {
      expect(await except(NOBODY, rig, { credential: { bearer_token: token } })).toEqual([]);
      expect(
        await except(NOBODY, rig, {
          credential: { bearer_token: token },
          subject: { id: 'alice' },
        }),
      ).toEqual([]);
    }
    expect(await except(ALLOWED, rig, { credential: { bearer_token: good } })).toEqual([]);
  });
});

describe('the end of a credential', () => {
  it('CONS-4: a revocation is in force on the next question of the same server', async () => {
    for (let n = 0; n < 10; n++) {
      const key = await newKey();
      const credential = apiKey(key);
      const token = await newSession('alice');
      const question = { tenant: 'acme', ...READ };
      expect(await client.call('Check', { ...question, credential })).toMatchObject(ALLOWED);
      await rig.admin('RevokeKey', { id: idOf(key, 'key') });
      expect(await client.call('Check', { ...question, credential })).toMatchObject(NOBODY);
      expect(await client.call('Check', { ...question, key_id: idOf(key, 'key') })).toMatchObject(
        NOBODY,
      );
      const ask = { ...question, credential: session(token) };
      expect(await client.call('Check', ask)).toMatchObject(ALLOWED);
      await rig.admin('RevokeSession', { user: 'alice', id: idOf(token, 'session') });
      expect(await client.call('Check', ask)).toMatchObject(NOBODY);
    }
    const key = await newKey();
    const { revision } = await rig.admin('RevokeKey', { id: idOf(key, 'key') });
    expect(await except(NOBODY, rig, { credential: apiKey(key), min_revision: revision })).toEqual(
      [],
    );
    expect(await except(NOBODY, rig, { key_id: idOf(key, 'key'), min_revision: revision })).toEqual(
      [],
    );
  });

  it('a secret that is rotated out is good for the overlap, and not a moment without one', async () => {
    const key = await newKey();
    const id = idOf(key, 'key');
    const next = await rig.admin('RotateKey', { id });
    expect(await except(NOBODY, rig, { credential: apiKey(key) })).toEqual([]);
    expect(await except(ALLOWED, rig, { credential: apiKey(next) })).toEqual([]);
    const last = await rig.admin('RotateKey', { id, overlap_seconds: 2 });
    const rotatedAt = performance.now();
    for (const one of [next, last])
      expect(await except(ALLOWED, rig, { credential: apiKey(one) })).toEqual([]);
    expect(await except(NOBODY, rig, { credential: apiKey(key) })).toEqual([]);
    await pause(2_050 - (performance.now() - rotatedAt));
    // Nothing was committed meanwhile, and what proves it is cached.
    expect(await except(NOBODY, rig, { credential: apiKey(next) })).toEqual([]);
    expect(await except(ALLOWED, rig, { credential: apiKey(last) })).toEqual([]);
  });

  it('keys, sessions and JWTs expire while they are cached', async () => {
    // Whole seconds, as a JWT tells them; its issuer's clock may be 30 s off.
    const until = Math.floor(Date.now() / 1_000) + 3;
    const expires_at = new Date(until * 1_000).toISOString();
    const key = await newKey({ expires_at });
    const token = await newSession('alice', 2);
    const old = { bearer_token: await issuer.sign({ exp: until - 30 }) };
    const who = [
      { credential: apiKey(key) },
      { key_id: idOf(key, 'key') },
      { credential: session(token) },
      { credential: old },
    ];
    for (const one of who) expect(await except(ALLOWED, rig, one)).toEqual([]);
    await pause(until * 1_000 + 50 - Date.now());
    for (const one of who) expect(await except(NOBODY, rig, one)).toEqual([]);
    const renewed = await rig.admin('UpdateKey', { id: idOf(key, 'key'), expires_at: '' });
    expect(
      await except(ALLOWED, rig, { credential: apiKey(key), min_revision: renewed['revision'] }),
    ).toEqual([]);
  });

  describe('on another server of the same store', () => {
    let redis: RedisServer;
    let one: Rig;
    let other: Rig;
    beforeAll(async () => {
      redis = await startRedis();
      one = await start({ store: redis.url });
      other = await start({ store: redis.url });
    });
    afterAll(async () => {
      await other.close();
      await one.close();
      await redis.dispose();
    });

    it('CONS-4: a revocation is in force within the delay of the feed, and at once where its revision is asked for', async () => {
      for (let n = 0; n < 5; n++) {
        const key = await newKey({}, { on: one });
        const question = { tenant: 'acme', credential: apiKey(key), ...READ };
        const known = { ...question, min_revision: key['revision'] };
        for (const { client } of [one, other])
          expect(await client.call('Check', known)).toMatchObject(ALLOWED);
        const { revision } = await one.admin('RevokeKey', { id: idOf(key, 'key') });
        const revokedAt = performance.now();
        if (n % 2 === 0)
          expect(
            await other.client.call('Check', { ...question, min_revision: revision }),
          ).toMatchObject(NOBODY);
        else
          await until(
            async () => (await other.client.call('Check', question))['allowed'] === false,
            1_000,
            1,
          );
        expect(performance.now() - revokedAt).toBeLessThan(1_000);
        expect(await except(NOBODY, other, question)).toEqual([]);
      }
    });
  });
});

describe('rate limits', () => {
  const limit = { requests: 3, per_seconds: 2 };
  const question = (key: Answer): object => ({ tenant: 'acme', credential: apiKey(key), ...READ });

  it('a call over the limit is RESOURCE_EXHAUSTED and tells when to come again; then it is answered', async () => {
    const key = await newKey({ rate_limit: limit });
    const free = await newKey();
    const startedAt = performance.now();
    for (let n = 0; n < 3; n++)
      expect(await client.call('Check', question(key))).toMatchObject(ALLOWED);
    for (const [method, request] of [
      ['Check', question(key)],
      ['Check', { tenant: 'acme', key_id: idOf(key, 'key'), ...READ }],
      ['Explain', question(key)],
      ['Filter', { ...question(key), resource: undefined, objects: [{ id: 'x' }] }],
    ] as const) {
      const error = await failure(client.call(method, request));
      expect(error.code, method).toBe(status.RESOURCE_EXHAUSTED);
      expect(error.details).toMatch(/rate limit: retry after \d+ ms$/);
      const [details] = error.metadata.get('grpc-status-details-bin');
      expect(String(details)).toContain('google.rpc.RetryInfo');
      const wait = Number(/after (\d+) ms/.exec(error.details)?.[1]);
      expect(wait).toBeLessThanOrEqual(2_000);
      expect(wait).toBeGreaterThan(2_000 - (performance.now() - startedAt) - 10);
    }
    // No other key and no other tenant waits for it, and whoever has no secret spends nothing.
    expect(await client.call('Check', question(free))).toMatchObject(ALLOWED);
    const twin = await newKey({ id: idOf(key, 'key'), rate_limit: limit }, { tenant: 'other' });
    expect(await client.call('Check', { ...question(twin), tenant: 'other' })).toMatchObject(
      ALLOWED,
    );
    await pause(2_010 - (performance.now() - startedAt));
    const foreign = { api_key: mintKey('acme', idOf(key, 'key')).token };
    for (let n = 0; n < 10; n++)
      expect(await client.call('Check', { ...question(key), credential: foreign })).toMatchObject(
        NOBODY,
      );
    for (let n = 0; n < 3; n++)
      expect(await client.call('Check', question(key))).toMatchObject(ALLOWED);
    expect((await failure(client.call('Check', question(key)))).code).toBe(
      status.RESOURCE_EXHAUSTED,
    );
  });

  it('in a batch or a stream it is an item that is refused, and the others are answered', async () => {
    const key = await newKey({ rate_limit: limit });
    const other = await newKey();
    const checks = [...Array.from({ length: 5 }, () => question(key)), question(other)];
    const reasons = (answers: unknown): unknown[] =>
      (answers as Answer[]).map(({ reason }) => reason);
    const expected = [
      ...Array.from({ length: 3 }, () => 'REASON_ALLOWED'),
      'REASON_RATE_LIMITED',
      'REASON_RATE_LIMITED',
      'REASON_ALLOWED',
    ];
    expect(reasons((await client.call('BatchCheck', { checks }))['results'])).toEqual(expected);
    const fresh = await newKey({ rate_limit: limit });
    const answers = await stream(
      client,
      [...Array.from({ length: 5 }, () => question(fresh)), question(other)].map((one, n) => ({
        ...one,
        id: String(n),
      })),
    );
    const inOrder = answers.toSorted((a, b) => Number(a['id']) - Number(b['id']));
    expect(reasons(inOrder)).toEqual(expected);
    expect(inOrder[3]).toMatchObject({
      allowed: false,
      detail: expect.stringMatching(/retry after/) as string,
    });
  });

  it('a Filter costs its objects, one at least', async () => {
    const key = await newKey({ rate_limit: { requests: 10, per_seconds: 3_600 } });
    const filter = (count: number): Promise<Answer> =>
      client.call('Filter', {
        tenant: 'acme',
        credential: apiKey(key),
        action: READ.action,
        objects: Array.from({ length: count }, (_, n) => ({ id: `o${n}` })),
      });
    const tooLarge = await failure(filter(11));
    expect(tooLarge.code).toBe(status.RESOURCE_EXHAUSTED);
    expect(tooLarge.details).toContain('count as 11 requests, and the rate limit of the key is 10');
    expect(await filter(7)).toMatchObject({ reason: 'REASON_ALLOWED' });
    expect((await failure(filter(4))).code).toBe(status.RESOURCE_EXHAUSTED);
    expect(await filter(0)).toMatchObject({ reason: 'REASON_ALLOWED' });
    expect(await filter(2)).toMatchObject({ reason: 'REASON_ALLOWED' });
    expect((await failure(filter(0))).code).toBe(status.RESOURCE_EXHAUSTED);
  });

  it('a limit that is changed or taken away counts at once', async () => {
    const key = await newKey({ rate_limit: { requests: 1, per_seconds: 3_600 } });
    const ask = (min: Answer): Promise<Answer> =>
      client.call('Check', { ...question(key), min_revision: min['revision'] });
    expect(await ask(key)).toMatchObject(ALLOWED);
    expect((await failure(ask(key))).code).toBe(status.RESOURCE_EXHAUSTED);
    const id = idOf(key, 'key');
    const more = await rig.admin('UpdateKey', {
      id,
      rate_limit: { requests: 2, per_seconds: 3_600 },
    });
    expect(await ask(more)).toMatchObject(ALLOWED);
    expect((await failure(ask(more))).code).toBe(status.RESOURCE_EXHAUSTED);
    const none = await rig.admin('UpdateKey', { id, rate_limit: { requests: 0 } });
    for (let n = 0; n < 5; n++) expect(await ask(none)).toMatchObject(ALLOWED);
  });
});

describe('what is written down', () => {
  it('the last use of a key, after the interval, also of one that is named', async () => {
    const own = await start({ identity: { usage_interval_ms: 200 } });
    const [used, named, idle] = [
      await newKey({}, { on: own }),
      await newKey({}, { on: own }),
      await newKey({}, { on: own }),
    ];
    const before = Date.now();
    await own.client.call('Check', { tenant: 'acme', credential: apiKey(used), ...READ });
    await own.client.call('Check', { tenant: 'acme', key_id: idOf(named, 'key'), ...READ });
    // Who has no secret does not use it.
    const foreign = { api_key: mintKey('acme', idOf(idle, 'key')).token };
    await own.client.call('Check', { tenant: 'acme', credential: foreign, ...READ });
    const lastUsed = async (key: Answer): Promise<number> => {
      const answer = await own.admin('GetKey', { id: idOf(key, 'key') });
      return Date.parse(String(part(answer, 'key')['last_used_at']));
    };
    for (const key of [used, named]) {
      await until(async () => (await lastUsed(key)) >= before - 1);
      expect(await lastUsed(key)).toBeLessThanOrEqual(Date.now());
    }
    expect(await lastUsed(idle)).toBeNaN();
    await own.close();
  });

  it('who asked, by every way, and no secret', async () => {
    const own = await start();
    const key = await newKey({ user: 'alice' }, { on: own });
    const token = await own.admin('CreateSession', { user: 'alice' });
    const wrong = mintKey('acme', idOf(key, 'key')).token;
    const context = { note: { stringValue: 'seen' } };
    await askEach(own.client, { credential: apiKey(key), context });
    await askEach(own.client, { credential: session(token) });
    await askEach(own.client, { credential: { api_key: wrong } });
    await askEach(own.client, {
      credential: { bearer_token: 'nobody-s-token' },
      subject: { id: 'bob' },
    });
    await own.close();
    const text = readFileSync(join(own.directory, 'audit.jsonl'), 'utf8');
    const records = text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Answer)
      .filter(({ type }) => type === 'decision');
    const apis = ['batch_check', 'batch_check', 'check', 'check_stream', 'explain', 'filter'];
    const apisOf = (which: (record: Answer) => boolean): unknown[] =>
      records
        .filter(which)
        .map(({ api }) => String(api))
        .sort();
    const id = idOf(key, 'key');
    expect(
      apisOf(
        (one) => one['key_id'] === id && one['allowed'] === true && one['subject'] === 'user:alice',
      ),
    ).toEqual(apis);
    expect(apisOf((one) => one['key_id'] === undefined && one['subject'] === 'user:alice')).toEqual(
      apis,
    );
    expect(apisOf((one) => one['reason'] === 'KEY_INVALID' && one['key_id'] === id)).toEqual(apis);
    expect(
      apisOf((one) => one['reason'] === 'KEY_INVALID' && one['subject'] === 'user:bob'),
    ).toEqual(apis);
    expect(records).toHaveLength(24);
    for (const all of [String(key['secret']), String(token['token']), wrong, 'nobody-s-token']) {
      const secret = all.split('.').pop() ?? '';
      expect(text).not.toContain(secret);
      expect(text).not.toContain(parseToken(all)?.hash ?? secret);
    }
  });
});
