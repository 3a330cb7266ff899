/** AdminService on a real server over real HTTP/2: who may call, what is refused and how, streams, secrets, repeats. */
import { createServer, type Server } from 'node:http';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect as connectTcp, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import {
  Client,
  credentials,
  Metadata,
  status,
  type ClientReadableStream,
  type ServiceError,
} from '@grpc/grpc-js';
import type { MessageTypeDefinition } from '@grpc/proto-loader';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { settingsSchema } from '../../src/config/settings/settings-schema.ts';
import { parseToken } from '../../src/identity/token.ts';
import { fromStruct, toStruct } from '../../src/util/proto-value.ts';
import { startServer, type Running } from '../../src/server/compose.ts';
import { Reader } from '../../src/transport/codec/wire.ts';
import fc from '../support/fast-check.ts';
import { serve } from '../support/process.ts';
import { until } from '../support/redis-server.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';
import { definitionOf } from '../support/proto.ts';
import { startTestServer, type Answer } from '../support/server.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { ended } from '../support/upload.ts';
import { writeFileSync } from 'node:fs';

const SERVICE = 'postern.v1.AdminService';
const TOKEN = 'operator-0123456789-0123456789';
const OPERATOR: Headers = { authorization: `Bearer ${TOKEN}` };

/** What is sent beside a message. */
type Headers = Readonly<Record<string, string>>;

interface Method {
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  readonly requestType: MessageTypeDefinition<object, object>;
  readonly requestSerialize: (message: object) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => Answer;
}

const definition = definitionOf('AdminService');
/** Every method of the contract, by its name. */
const METHODS = definition[SERVICE] as unknown as Readonly<Record<string, Method>>;
const NAMES = Object.keys(METHODS);

/** What became of a call: `code` is OK for a stream that had to be cancelled. */
interface Outcome {
  readonly code: number;
  readonly details: string;
  /** Reason of the ErrorInfo, or the kind of another detail. */
  readonly reason: string;
  readonly answers: readonly Answer[];
}

interface AdminClient {
  /** Resolves with the first answer, rejects with what `refused` returns. */
  call(name: string, request?: object, headers?: Headers): Promise<Answer>;
  refused(name: string, request?: object, headers?: Headers): Promise<Outcome>;
  /** Whatever becomes of it: messages of a request stream one by one; bytes as they are. */
  send(name: string, messages: readonly (object | Buffer)[], headers: Headers): Promise<Outcome>;
  watch(request: object, headers?: Headers): Watch;
  apply(text: string | Buffer, options?: object, headers?: Headers): Promise<Answer>;
  export(format: string, headers?: Headers): Promise<string>;
  close(): void;
}

interface Watch {
  readonly changes: Answer[];
  readonly ended: Promise<Outcome>;
  cancel(): void;
}

/** How long a stream without an end is read. */
const STREAM_MS = 100;

function connect(address: string): AdminClient {
  const client = new Client(address, credentials.createInsecure(), {
    'grpc.max_receive_message_length': -1,
    'grpc.max_send_message_length': -1,
  });
  const metadataOf = (headers: Headers): Metadata => {
    const metadata = new Metadata();
    for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
    return metadata;
  };
  const methodOf = (name: string): Method =>
    METHODS[name] ?? expect.fail(`there is no method ${name}`);
  const serializerOf =
    ({ requestSerialize }: Method) =>
    (message: object | Buffer): Buffer =>
      Buffer.isBuffer(message) ? message : requestSerialize(message);
  const failed = (error: ServiceError, answers: readonly Answer[] = []): Outcome => ({
    code: error.code,
    details: error.details,
    reason: reasonOf(error),
    answers,
  });
  const read = (
    stream: ClientReadableStream<Answer>,
    answers: Answer[],
    onAnswer: () => void = () => {},
  ): Promise<Outcome> =>
    new Promise((done) => {
      stream.on('data', (answer: Answer) => {
        answers.push(answer);
        onAnswer();
      });
      stream.on('error', (error) => {
        const known = error as ServiceError;
        const cancelled = known.code === status.CANCELLED;
        done(cancelled ? { code: 0, details: '', reason: '', answers } : failed(known, answers));
      });
      stream.on('end', () => done({ code: 0, details: '', reason: '', answers }));
    });
  const send: AdminClient['send'] = (name, messages, headers) => {
    const method = methodOf(name);
    const { path, requestStream, responseStream, responseDeserialize } = method;
    const metadata = metadataOf(headers);
    const options = { deadline: Date.now() + 20_000 };
    const serialize = serializerOf(method);
    const [first = {}] = messages;
    if (responseStream) {
      const stream = client.makeServerStreamRequest(
        path,
        serialize,
        responseDeserialize,
        first,
        metadata,
        options,
      );
      const timer =
        name === 'WatchChanges' ? setTimeout(() => stream.cancel(), STREAM_MS) : undefined;
      return read(stream, []).finally(() => clearTimeout(timer));
    }
    return new Promise((done) => {
      const reply = (error: ServiceError | null, answer?: Answer): void =>
        done(
          error === null
            ? { code: 0, details: '', reason: '', answers: answer === undefined ? [] : [answer] }
            : failed(error),
        );
      if (!requestStream) {
        client.makeUnaryRequest(
          path,
          serialize,
          responseDeserialize,
          first,
          metadata,
          options,
          reply,
        );
        return;
      }
      const stream = client.makeClientStreamRequest(
        path,
        serialize,
        responseDeserialize,
        metadata,
        options,
        reply,
      );
      stream.on('error', () => {});
      for (const message of messages) stream.write(message);
      stream.end();
    });
  };
  const must = async (name: string, messages: readonly object[], headers: Headers) => {
    const outcome = await send(name, messages, headers);
    if (outcome.code !== 0) throw new Error(`${name}: ${outcome.code} ${outcome.details}`);
    return outcome.answers;
  };
  const call: AdminClient['call'] = async (name, request = {}, headers = OPERATOR) => {
    const [answer] = await must(name, [{ tenant: 'acme', ...request }], headers);
    return answer ?? expect.fail(`${name} had no answer`);
  };
  return {
    call,
    send,
    async refused(name, request = {}, headers = OPERATOR) {
      const outcome = await send(name, [{ tenant: 'acme', ...request }], headers);
      expect(outcome.code, `${name} was answered`).not.toBe(0);
      return outcome;
    },
    watch(request, headers = OPERATOR) {
      const method = methodOf('WatchChanges');
      const stream = client.makeServerStreamRequest(
        method.path,
        serializerOf(method),
        method.responseDeserialize,
        { tenant: 'acme', ...request },
        metadataOf(headers),
      );
      const changes: Answer[] = [];
      return { changes, ended: read(stream, changes), cancel: () => stream.cancel() };
    },
    async apply(text, options = {}, headers = OPERATOR) {
      const chunk = Buffer.from(text);
      const pieces = [{ tenant: 'acme', options, prune: true, chunk }];
      const [answer] = await must('Apply', ended(pieces), headers);
      return answer ?? expect.fail('Apply had no answer');
    },
    async export(format, headers = OPERATOR) {
      const pieces = await must('Export', [{ tenant: 'acme', format }], headers);
      return Buffer.concat(pieces.map(({ chunk }) => chunk as Buffer)).toString();
    },
    close: () => client.close(),
  };
}

/** The reason in a `google.rpc.ErrorInfo`; of another detail its type. */
function reasonOf(error: ServiceError): string {
  const [bytes] = error.metadata.get('grpc-status-details-bin');
  if (!Buffer.isBuffer(bytes)) return '';
  const reader = new Reader(bytes);
  const at = (field: number): boolean => reader.field === field;
  /** Of `google.rpc.Status` the details, of which the type comes first, of an ErrorInfo the reason. */
  const found = { type: '', reason: '' };
  const within = (read: () => void): void => {
    const outer = reader.enter('details');
    while (reader.next()) read();
    reader.leave(outer);
  };
  const info = (): void => {
    if (at(1)) found.reason = reader.string('reason');
    else reader.skip();
  };
  const detail = (): void => {
    if (at(1)) found.type = reader.string('type').split('/').pop() ?? '';
    else if (found.type === 'google.rpc.ErrorInfo') within(info);
    else reader.skip();
  };
  while (reader.next())
    if (at(3)) within(detail);
    else reader.skip();
  return found.reason === '' ? found.type : found.reason;
}

const STATE = {
  tenant: 'acme',
  users: [
    { id: 'olivia', roles: ['owner'] },
    { id: 'adam', roles: ['admin'] },
    { id: 'alice' },
    { id: 'bob' },
    { id: 'rita', createrole: true },
    { id: 'root', superuser: true },
    { id: 'sus', suspended: true, superuser: true },
  ],
  roles: [
    { id: 'team', members: ['alice', 'bob'] },
    { id: 'crew', members: ['team'] },
  ],
  workspaces: [{ id: 'studio' }],
  grants: [
    { principal: 'team', path: '', actions: ['read'] },
    { principal: 'alice', path: 'work', actions: ['read', 'write'], grant_option: true },
  ],
  owners: [{ path: 'infra', owner: 'bob' }],
  policy_sets: [
    {
      name: 'reads',
      mode: 'enforce',
      rules: [{ id: 'r', effect: 'allow', actions: ['readonly'] }],
    },
    {
      name: 'manages',
      mode: 'enforce',
      rules: [{ id: 'm', effect: 'allow', actions: ['postern:admin', 'postern:read', 'readonly'] }],
    },
  ],
  keys: [{ id: 'plain', role: 'default_deny', mode: 'enforce', policy_sets: ['reads'] }],
};

interface Rig {
  readonly running: Running;
  readonly admin: AdminClient;
  readonly directory: string;
  /** Closes it and starts it again on the same store. */
  restart(): Promise<Rig>;
  close(): Promise<void>;
}

async function start(
  overrides: Readonly<Record<string, unknown>> = {},
  directory = temporaryDirectory(),
  state: object = STATE,
): Promise<Rig> {
  const settings = settingsSchema.parse({
    catalog: join(PACKAGE_ROOT, 'config/actions.yaml'),
    default_roles: join(PACKAGE_ROOT, 'config/roles.yaml'),
    migrations: join(PACKAGE_ROOT, 'config/migrations'),
    store: `embedded:${join(directory, 'store')}`,
    audit: { sinks: [{ type: 'file', path: join(directory, 'audit.jsonl') }] },
    log: { level: 'silent' },
    grpc: { address: '127.0.0.1:0' },
    http: { address: '127.0.0.1:0' },
    // A commit that no call asked for would move revisions.
    identity: { usage_interval_ms: 0 },
    ...overrides,
    // A busy machine is late: refusing calls for that is not what is tested here.
    limits: { max_lag_ms: 0, ...(overrides['limits'] ?? {}) },
  });
  const stateFile = join(directory, 'state.yaml');
  writeFileSync(stateFile, stringify(state));
  const options = { settings, adminToken: TOKEN, packageRoot: PACKAGE_ROOT, version: 'test' };
  const running = await startServer({ ...options, states: [stateFile] });
  const admin = connect(running.addresses.grpc);
  const close = async (): Promise<void> => {
    admin.close();
    await running.close();
  };
  return {
    running,
    admin,
    directory,
    close,
    async restart() {
      await close();
      return start(overrides, directory, state);
    },
  };
}

/** An issuer on loopback, and tokens that it signs. */
async function issuer(): Promise<{
  readonly url: string;
  sign(claims?: object): Promise<string>;
  close(): void;
}> {
  const { privateKey, publicKey } = await generateKeyPair('ES256');
  const jwk = { ...(await exportJWK(publicKey)), kid: 'k', alg: 'ES256' };
  const server: Server = createServer((_, response) =>
    response.end(JSON.stringify({ keys: [jwk] })),
  );
  await once(server.listen(0, '127.0.0.1'), 'listening');
  // A TCP server's address is an object.
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/jwks`,
    sign: (claims = {}) =>
      new SignJWT({ sub: 'root', tenant: 'acme', ...claims })
        .setProtectedHeader({ alg: 'ES256', kid: 'k' })
        .setIssuer('https://issuer.example')
        .setAudience('postern')
        .setIssuedAt()
        .setExpirationTime('10m')
        .sign(privateKey),
    close: () => void server.close(),
  };
}

const bearer = (token: unknown): Headers => ({ authorization: `Bearer ${String(token)}` });
const as = (actor: string): Headers => ({ ...OPERATOR, 'postern-actor': actor });
const revisionOf = async (admin: AdminClient): Promise<number> =>
  Number((await admin.call('GetTenant'))['revision']);
/** A field of an answer that is a message. */
const part = (answer: Answer, name: string): Answer => answer[name] as Answer;

let rig: Rig;
let admin: AdminClient;
let tokens: Awaited<ReturnType<typeof issuer>>;
beforeAll(async () => {
  tokens = await issuer();
  rig = await start({
    identity: {
      usage_interval_ms: 0,
      jwt: [
        {
          issuer: 'https://issuer.example',
          audience: 'postern',
          algorithms: ['ES256'],
          jwks_url: tokens.url,
          tenant_claim: 'tenant',
        },
      ],
    },
    admin: { max_state_bytes: 200_000 },
  });
  ({ admin } = rig);
  await admin.call('CreateTenant', { tenant: 'other', owner: 'root' });
});
afterAll(async () => {
  await rig.close();
  tokens.close();
});

describe('where it is not enabled', () => {
  it('every method is UNIMPLEMENTED', async () => {
    const plain = await startTestServer(STATE);
    const client = connect(plain.running.addresses.grpc);
    for (const name of NAMES)
      expect((await client.send(name, [{ tenant: 'acme' }], OPERATOR)).code, name).toBe(
        status.UNIMPLEMENTED,
      );
    client.close();
    await plain.close();
  });

  it('`admin.enabled` alone serves it, and there is no operator then', async () => {
    const plain = await startTestServer(STATE, { admin: { enabled: true } });
    const client = connect(plain.running.addresses.grpc);
    for (const headers of [OPERATOR, {}, bearer('undefined'), bearer('')])
      expect(await client.refused('GetTenant', {}, headers)).toMatchObject({
        code: status.UNAUTHENTICATED,
      });
    client.close();
    await plain.close();
  });
});

/** What a refusal of somebody's own making may be. */
const REFUSALS = [
  status.INVALID_ARGUMENT,
  status.NOT_FOUND,
  status.ALREADY_EXISTS,
  status.PERMISSION_DENIED,
  status.FAILED_PRECONDITION,
  status.ABORTED,
  status.UNAUTHENTICATED,
] as const;

describe('every method', () => {
  it('is one of the contract', () => {
    expect(NAMES.length).toBe(54);
  });

  it.each(NAMES)('%s answers an empty request clearly', async (name) => {
    const before = await revisionOf(admin);
    const { code, details, answers } = await admin.send(name, [{}], OPERATOR);
    expect([0, status.INVALID_ARGUMENT, status.NOT_FOUND], `${code} ${details}`).toContain(code);
    if (code !== 0) expect(details).toMatch(/is empty|is missing|there is no tenant|is not a map/);
    for (const answer of answers) expect(answer).toHaveProperty('revision');
    expect(await revisionOf(admin)).toBe(before);
  });

  it.each(NAMES)('%s answers a request of the tenant alone clearly, in a dry run', async (name) => {
    const request = { tenant: 'acme', options: { dry_run: true } };
    const { code, details, answers } = await admin.send(name, [request], OPERATOR);
    expect([0, ...REFUSALS], `${code} ${details}`).toContain(code);
    expect(code).not.toBe(status.UNAUTHENTICATED);
    for (const answer of answers) expect(answer).toHaveProperty('revision');
  });

  it.each(NAMES)('%s is closed to whoever proves nothing, in the same words', async (name) => {
    const before = await revisionOf(admin);
    const told = new Set<string>();
    for (const headers of [
      {},
      { authorization: '' },
      { authorization: TOKEN },
      { authorization: `Basic ${TOKEN}` },
      bearer(`${TOKEN}x`),
      bearer(TOKEN.slice(0, -1)),
      bearer(`${TOKEN} x`),
      bearer('pstk.YWNtZQ.cGxhaW4.AAAA'),
      { 'postern-actor': 'operator' },
    ]) {
      const { code, details, reason } = await admin.refused(name, {}, headers);
      expect(code).toBe(status.UNAUTHENTICATED);
      told.add(`${reason} ${details}`);
    }
    expect([...told]).toEqual([
      'UNAUTHENTICATED the credential is missing, unknown, expired, revoked or of another tenant: send `authorization: Bearer TOKEN`',
    ]);
    expect(await revisionOf(admin)).toBe(before);
  });

  it('carries the revision of its tenant: of the commit, or that it was read at', async () => {
    const before = await revisionOf(admin);
    const created = await admin.call('CreateUser', { user: { id: 'rev' } });
    expect(created['revision']).toBe(before + 1);
    for (const [name, request] of [
      ['GetUser', { id: 'rev' }],
      ['ListUsers', {}],
      ['GetRole', { id: 'owner' }],
      ['ListRoles', {}],
      ['GetWorkspace', { id: 'studio' }],
      ['ListWorkspaces', {}],
      ['ListMembers', { group: 'team' }],
      ['ListGrants', {}],
      ['CheckGrant', { principal: 'alice', path: 'work', action: 'read' }],
      ['GetOwner', { path: 'infra' }],
      ['ListOwners', {}],
      ['GetPolicySet', { name: 'reads' }],
      ['ListPolicySets', {}],
      ['ValidatePolicySet', { document: '{}' }],
      ['GetKey', { id: 'plain' }],
      ['ListKeys', {}],
      ['ListSessions', { user: 'alice' }],
      ['ListChanges', {}],
      ['Export', {}],
    ] as const)
      expect(await admin.call(name, request), name).toMatchObject({ revision: before + 1 });
    expect(await admin.call('DeleteUser', { id: 'rev' })).toMatchObject({ revision: before + 2 });
  });
});

/** Strings that mean something here, and some that hurt elsewhere. */
const text = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.constantFrom(
      ...wordsOf(STATE),
      'acme',
      'other',
      'user:alice',
      'role:team',
      'workspace:studio',
      'operator',
    ),
  },
  {
    weight: 3,
    arbitrary: fc.constantFrom(
      '',
      '__proto__',
      'constructor',
      'toString',
      '*',
      'a..b',
      '.a',
      'work.projects.api',
      ' alice',
      'ALICE',
      '\0',
      'a\nb',
      'é'.normalize('NFD'),
      'x'.repeat(257),
      'x'.repeat(3_000),
      'a.'.repeat(70) + 'a',
      '{}',
      '[',
      'policy_set: { name: reads, mode: enforce, rules: [] }',
      '&a [*a]',
      '2030-01-01T00:00:00Z',
      '1970-01-01T00:00:00Z',
      'user:',
      'role:',
      'enforce',
      'default_allow',
      'read',
      'json',
      '*:*',
      'kb:read',
    ),
  },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 20 }) },
);

function wordsOf(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(wordsOf) : [];
}

const number = fc.oneof(
  fc.nat({ max: 200 }),
  fc.constantFrom(0, 1, 2 ** 31, 2 ** 32 - 1, Number.MAX_SAFE_INTEGER),
);

/** Messages of a type of the contract: fields given or left out, nested to a depth. */
function messages(type: MessageTypeDefinition<object, object>, depth = 3): fc.Arbitrary<object> {
  const { field } = type.type as {
    readonly field: readonly {
      readonly name: string;
      readonly type: string;
      readonly label: string;
      readonly typeName: string;
    }[];
  };
  const fields = field.map(({ name, type: kind, label, typeName }) => {
    const one = valueOf(kind, typeName, depth);
    const value = label === 'LABEL_REPEATED' ? fc.array(one, { maxLength: 3 }) : one;
    // Most often the tenant that there is, or nothing would be looked at.
    const weighed =
      name === 'tenant' ? fc.oneof({ weight: 9, arbitrary: fc.constant('acme') }, value) : value;
    return [name, weighed] as const;
  });
  return fc.record(Object.fromEntries(fields), {
    requiredKeys: ['tenant'].filter((name) => fields.some(([one]) => one === name)),
  });
}

function valueOf(kind: string, typeName: string, depth: number): fc.Arbitrary<unknown> {
  if (kind === 'TYPE_STRING') return text;
  if (kind === 'TYPE_BOOL') return fc.boolean();
  if (kind === 'TYPE_BYTES')
    return fc.uint8Array({ maxLength: 50 }).map((bytes) => Buffer.from(bytes));
  if (kind !== 'TYPE_MESSAGE') return number;
  if (typeName.endsWith('Struct'))
    return fc
      .dictionary(text, fc.jsonValue({ maxDepth: 3 }), { maxKeys: 4 })
      .map((json) => toStruct(json));
  const nested = definition[`postern.v1.${typeName}`];
  if (depth === 0 || nested === undefined || !('type' in nested)) return fc.constant({});
  const message = messages(nested as MessageTypeDefinition<object, object>, depth - 1);
  // Without an id one is made: that has a test of its own.
  return typeName === 'Key' ? message.map((key) => ({ ...key, id: 'k' })) : message;
}

describe('robustness', () => {
  it('random bytes on every method: a refusal, never INTERNAL, and nothing is changed', async () => {
    const before = await revisionOf(admin);
    for (const name of NAMES)
      await fc.assert(
        fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 200 }), async (bytes) => {
          const { code, details } = await admin.send(name, [Buffer.from(bytes)], OPERATOR);
          expect([0, ...REFUSALS], `${name}: ${code} ${details}`).toContain(code);
        }),
        { numRuns: 15, endOnFailure: true },
      );
    for (const name of NAMES)
      expect(await admin.send(name, [Buffer.from([0xff])], OPERATOR), name).toMatchObject({
        code: status.INVALID_ARGUMENT,
        reason: 'google.rpc.BadRequest',
        details: 'the message cannot be read: send one of this method, with texts in UTF-8',
      });
    expect(await revisionOf(admin)).toBe(before);
  });

  it('a text that is no UTF-8 is refused: two ids never become one (ID-1)', async () => {
    const own = await start();
    const create = METHODS['CreateUser'] ?? expect.fail('there is no CreateUser');
    const message = (text: string): Buffer =>
      create.requestSerialize({
        tenant: 'acme',
        user: { id: 'aXXX', metadata: toStruct({ text }) },
      });
    const placed = (bytes: Buffer, ...wrong: readonly number[]): Buffer => {
      const at = bytes.indexOf('XXX');
      return Buffer.concat([bytes.subarray(0, at), Buffer.from(wrong), bytes.subarray(at + 3)]);
    };
    for (const wrong of [
      [0xff, 0x58, 0x58],
      [0xed, 0xa0, 0x80],
      [0xc0, 0x80, 0x58],
      [0xe2, 0x82, 0x58],
    ])
      for (const text of ['', '\ufffd'])
        expect(
          await own.admin.send('CreateUser', [placed(message(text), ...wrong)], OPERATOR),
        ).toMatchObject({
          code: status.INVALID_ARGUMENT,
          details: expect.stringContaining('with texts in UTF-8') as string,
        });
    // The character itself is one like others.
    expect(
      await own.admin.send('CreateUser', [placed(message('\ufffd'), 0xef, 0xbf, 0xbd)], OPERATOR),
    ).toMatchObject({ code: status.OK });
    await own.close();
  });

  it.each([
    ['tenant', { tenant: 'other' }],
    ['prune', { prune: true }],
    ['keep', { keep: true }],
    ['options', { options: { dry_run: true } }],
  ])(
    'a later message of Apply that says another %s is refused, and nothing is applied',
    async (field, later) => {
      const before = await revisionOf(admin);
      const chunk = Buffer.from('tenant: acme\n');
      const pieces = [
        { tenant: 'acme', chunk },
        { ...later, chunk: Buffer.from('# more\n') },
      ];
      expect(await admin.send('Apply', ended(pieces), OPERATOR)).toMatchObject({
        code: status.INVALID_ARGUMENT,
        details: expect.stringContaining(`${field}: `) as string,
      });
      expect(await revisionOf(admin)).toBe(before);
    },
  );

  it('random messages on every method, by several actors: never INTERNAL, and a refusal changes nothing', async () => {
    const own = await start();
    const codes = new Map<number, number>();
    const actors = fc.oneof(
      { weight: 3, arbitrary: fc.constant(OPERATOR) },
      fc.constantFrom(as('alice'), as('adam'), as('rita'), as('user:root'), as('ghost'), {}),
    );
    let revision = await revisionOf(own.admin);
    for (const name of NAMES) {
      const method = METHODS[name] ?? expect.fail(name);
      await fc.assert(
        fc.asyncProperty(messages(method.requestType), actors, async (drawn, headers) => {
          // The tenant that all others are asked of is to stay.
          const message = name === 'DeleteTenant' ? { ...drawn, confirm: 'another' } : drawn;
          const { code, details, answers } = await own.admin.send(name, [message], headers);
          codes.set(code, (codes.get(code) ?? 0) + 1);
          expect([0, ...REFUSALS], `${name}: ${code} ${details}`).toContain(code);
          expect(details.length).toBeLessThanOrEqual(1_000);
          for (const answer of answers) expect(answer).toHaveProperty('revision');
          const now = await revisionOf(own.admin);
          if (code !== 0) expect(now, `${name} was refused: ${details}`).toBe(revision);
          revision = now;
        }),
        { numRuns: name === 'WatchChanges' ? 10 : 25, endOnFailure: true },
      );
    }
    // Both were met, or nothing was shown.
    expect(codes.get(0)).toBeGreaterThan(50);
    expect(codes.get(status.INVALID_ARGUMENT)).toBeGreaterThan(50);
    expect(codes.get(status.NOT_FOUND)).toBeGreaterThan(25);
    await own.close();
  });

  it('metadata that is nested deep is refused or kept, and whoever has it can be looked at', async () => {
    for (const depth of [10, 100, 1_000, 5_000, 100_000]) {
      const id = `deep${depth}`;
      const { code, details } = await admin.send('CreateUser', [deepUser(id, depth)], OPERATOR);
      expect([0, status.INVALID_ARGUMENT], `${depth}: ${code} ${details}`).toContain(code);
      if (code !== 0) continue;
      expect(await admin.send('GetUser', [{ tenant: 'acme', id }], OPERATOR)).toMatchObject({
        code: 0,
      });
      expect(await admin.send('Export', [{ tenant: 'acme' }], OPERATOR)).toMatchObject({ code: 0 });
      await admin.call('DeleteUser', { id });
    }
  });

  it('metadata with numbers that JSON has not is refused', async () => {
    for (const numberValue of [NaN, Infinity, -Infinity]) {
      const metadata = { fields: { n: { numberValue } } };
      const user = { id: 'nan', metadata };
      expect(await admin.refused('CreateUser', { user }), String(numberValue)).toMatchObject({
        code: status.INVALID_ARGUMENT,
      });
      expect(await admin.refused('UpdateUser', { id: 'alice', metadata })).toMatchObject({
        code: status.INVALID_ARGUMENT,
      });
    }
  });
});

/** CreateUser with metadata of so many lists within each other, as bytes: no encoder goes that deep. */
function deepUser(id: string, depth: number): Buffer {
  const field = (tag: number, body: Buffer): Buffer =>
    Buffer.concat([Buffer.from([tag]), varint(body.length), body]);
  const heads: Buffer[] = [];
  let size = 0;
  const wrap = (tag: number): void => {
    const head = Buffer.concat([Buffer.from([tag]), varint(size)]);
    size += head.length;
    heads.push(head);
  };
  // Value.list_value = 6, ListValue.values = 1; innermost first.
  for (let at = 0; at < depth; at++) {
    wrap(0x0a);
    wrap(0x32);
  }
  const value = Buffer.concat(heads.toReversed());
  const entry = Buffer.concat([field(0x0a, Buffer.from('k')), field(0x12, value)]);
  const user = Buffer.concat([field(0x0a, Buffer.from(id)), field(0x2a, field(0x0a, entry))]);
  return Buffer.concat([field(0x0a, Buffer.from('acme')), field(0x1a, user)]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  return Buffer.from([...bytes, rest]);
}

describe('the actor', () => {
  it('is the operator by its token, or whom the operator names, with that one’s authority', async () => {
    for (const headers of [OPERATOR, as('operator'), { authorization: `bearer ${TOKEN}` }])
      expect(await admin.send('ListTenants', [{}], headers)).toMatchObject({ code: 0 });
    for (const actor of ['alice', 'user:alice'])
      expect(await admin.refused('CreateUser', { user: { id: 'x' } }, as(actor))).toMatchObject({
        code: status.PERMISSION_DENIED,
        reason: 'ADM-4',
      });
    await admin.call(
      'CreateGrant',
      { principal: 'bob', path: 'work.x', actions: ['read'] },
      as('alice'),
    );
    const grants = await admin.call('ListGrants', { principal: 'user:bob', path: 'work.x' });
    expect(grants['grants']).toContainEqual(
      expect.objectContaining({ path: 'work.x', grantor: 'user:alice' }),
    );
    await admin.call('RevokeGrant', { principal: 'bob', path: 'work.x' }, as('alice'));
    for (const actor of ['ghost', 'sus', 'role:team', 'user:', 'user:user:alice', 'Alice'])
      expect((await admin.refused('GetTenant', {}, as(actor))).code, actor).toBe(
        actor === 'user:' ? status.INVALID_ARGUMENT : status.UNAUTHENTICATED,
      );
  });

  it('is the user of a session token, and nobody once the session or the user is gone', async () => {
    await admin.call('CreateUser', { user: { id: 'sam', superuser: true } });
    const made = await admin.call('CreateSession', { user: 'sam' });
    const sam = bearer(made['token']);
    expect(await admin.call('GetUser', { id: 'alice' }, sam)).toMatchObject({
      user: { id: 'alice' },
    });
    expect(
      await admin.call('GetTenant', {}, { ...sam, 'postern-actor': 'user:sam' }),
    ).toBeDefined();
    for (const actor of ['user:root', 'operator', 'alice'])
      expect(
        await admin.refused('GetTenant', {}, { ...sam, 'postern-actor': actor }),
      ).toMatchObject({ code: status.PERMISSION_DENIED, reason: 'ADM-1' });
    expect((await admin.refused('GetTenant', { tenant: 'other' }, sam)).code).toBe(
      status.UNAUTHENTICATED,
    );
    await admin.call('UpdateUser', { id: 'sam', suspended: true });
    expect((await admin.refused('GetTenant', {}, sam)).code).toBe(status.UNAUTHENTICATED);
    await admin.call('UpdateUser', { id: 'sam', suspended: false });
    await admin.call('RevokeSession', { user: 'sam', id: part(made, 'session')['id'] });
    expect((await admin.refused('GetTenant', {}, sam)).code).toBe(status.UNAUTHENTICATED);
    const again = bearer((await admin.call('CreateSession', { user: 'sam' }))['token']);
    await admin.call('DeleteUser', { id: 'sam' });
    await admin.call('CreateUser', { user: { id: 'sam', superuser: true } });
    expect((await admin.refused('GetTenant', {}, again)).code).toBe(status.UNAUTHENTICATED);
    await admin.call('DeleteUser', { id: 'sam' });
  });

  it('ADM-1: is the user of a key that is bound to one, within the policies of the key', async () => {
    const key = { role: 'default_deny', mode: 'enforce', user: 'root' };
    const reads = await admin.call('CreateKey', {
      key: { ...key, id: 'by-reads', policy_sets: ['reads'] },
    });
    const manages = await admin.call('CreateKey', {
      key: { ...key, id: 'by-manages', policy_sets: ['manages'] },
    });
    const free = await admin.call('CreateKey', {
      key: { id: 'by-nobody', role: 'default_allow', mode: 'enforce' },
    });
    const by = ({ secret }: Answer): Headers => bearer(secret);
    expect(await admin.call('GetUser', { id: 'alice' }, by(manages))).toBeDefined();
    const user = { id: 'by-key' };
    expect(await admin.call('CreateUser', { user }, by(manages))).toMatchObject({ user });
    await admin.call('DeleteUser', user);
    for (const [name, request, headers] of [
      ['CreateUser', { user }, by(reads)],
      ['GetUser', { id: 'alice' }, by(free)],
      ['PutPolicySet', { document: 'policy_set: { name: p, mode: off, rules: [] }' }, by(manages)],
      ['CreateKey', { key }, by(manages)],
      ['UpdateKey', { id: 'plain', mode: 'off' }, by(manages)],
      ['RevokeKey', { id: 'plain' }, by(manages)],
      ['AttachPolicySet', { id: 'plain', policy_set: 'manages' }, by(manages)],
      ['DetachPolicySet', { id: 'plain', policy_set: 'reads' }, by(manages)],
      ['RotateKey', { id: 'plain' }, by(manages)],
      ['CreateSession', { user: 'root' }, by(manages)],
      ['Export', {}, by(manages)],
    ] as const)
      expect(await admin.refused(name, request, headers), name).toMatchObject({
        code: status.PERMISSION_DENIED,
        reason: 'ADM-1',
      });
    expect(
      await admin.send(
        'Apply',
        ended([{ tenant: 'acme', chunk: Buffer.from(stringify(STATE)) }]),
        by(manages),
      ),
    ).toMatchObject({ code: status.PERMISSION_DENIED });
    // Of no tenant: what proves a user proves nothing there.
    expect(await admin.send('ListTenants', [{}], by(manages))).toMatchObject({
      code: status.UNAUTHENTICATED,
    });
    await admin.call('RevokeKey', { id: part(manages, 'key')['id'] });
    expect((await admin.refused('GetTenant', {}, by(manages))).code).toBe(status.UNAUTHENTICATED);
  });

  it('is whom a JWT proves in its tenant', async () => {
    const root = bearer(await tokens.sign());
    expect(await admin.call('GetUser', { id: 'alice' }, root)).toBeDefined();
    const alice = bearer(await tokens.sign({ sub: 'alice' }));
    expect(await admin.refused('GetUser', { id: 'bob' }, alice)).toMatchObject({
      code: status.PERMISSION_DENIED,
      reason: 'ADM-1',
    });
    for (const claims of [{ tenant: 'other' }, { sub: 'ghost' }, { sub: 'sus' }, { tenant: '' }])
      expect(
        (await admin.refused('GetTenant', {}, bearer(await tokens.sign(claims)))).code,
        JSON.stringify(claims),
      ).toBe(status.UNAUTHENTICATED);
    expect((await admin.refused('GetTenant', { tenant: 'other' }, root)).code).toBe(
      status.UNAUTHENTICATED,
    );
  });

  it('is nobody where a header is given twice', async () => {
    const request = METHODS['GetTenant']?.requestSerialize({ tenant: 'acme' }) ?? Buffer.alloc(0);
    const ask = (...headers: readonly (readonly [string, string])[]): Promise<Buffer> =>
      rawCall(rig.running.addresses.grpc, `/${SERVICE}/GetTenant`, request, headers);
    const good = ['authorization', `Bearer ${TOKEN}`] as const;
    const bad = ['authorization', 'Bearer nobody-nobody-nobody'] as const;
    // What a tenant's name stands in is an answer.
    expect(String(await ask(good))).toContain('acme');
    expect(String(await ask(bad, good))).not.toContain('acme');
    expect(
      String(await ask(good, ['postern-actor', 'alice'], ['postern-actor', 'root'])),
    ).not.toContain('acme');
    expect(String(await ask(good, ['postern-actor', 'alice, root']))).not.toContain('acme');
    expect(String(await ask(['authorization', `Bearer nobody, Bearer ${TOKEN}`]))).not.toContain(
      'acme',
    );
  });
});

/** One call with headers that no client would send; resolves with all bytes that come back in half a second. */
async function rawCall(
  address: string,
  path: string,
  message: Buffer,
  headers: readonly (readonly [string, string])[],
): Promise<Buffer> {
  const frame = (type: number, flags: number, body: Buffer, stream = 1): Buffer => {
    const head = Buffer.alloc(9);
    head.writeUIntBE(body.length, 0, 3);
    head.writeUInt8(type, 3);
    head.writeUInt8(flags, 4);
    head.writeUInt32BE(stream, 5);
    return Buffer.concat([head, body]);
  };
  const literal = (name: string, value: string): Buffer =>
    Buffer.concat([
      Buffer.from([0, name.length]),
      Buffer.from(name),
      Buffer.from([value.length]),
      Buffer.from(value),
    ]);
  const [host = '', port = ''] = address.split(':');
  const socket = connectTcp(Number(port), host);
  await once(socket, 'connect');
  const pseudo = [':method', 'POST', ':scheme', 'http', ':path', path, ':authority', address];
  const plain = ['content-type', 'application/grpc', 'te', 'trailers'];
  const fields: Buffer[] = [];
  const all = [...pseudo, ...plain, ...headers.flat()];
  for (let at = 0; at < all.length; at += 2) fields.push(literal(all[at] ?? '', all[at + 1] ?? ''));
  const prefix = Buffer.from([0, 0, 0, 0, message.length]);
  const got: Buffer[] = [];
  socket.on('data', (bytes: Buffer) => got.push(bytes));
  socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  socket.write(frame(4, 0, Buffer.alloc(0), 0));
  socket.write(frame(1, 4, Buffer.concat(fields)));
  socket.write(frame(0, 1, Buffer.concat([prefix, message])));
  await new Promise((done) => setTimeout(done, 300));
  socket.destroy();
  return Buffer.concat(got);
}

describe('refusals', () => {
  it.each([
    [
      'ADM-1',
      'alice',
      'PutPolicySet',
      {
        document:
          'policy_set: { name: p, mode: off, rules: [{id: a, effect: allow, actions: [readonly]}] }',
      },
    ],
    ['ADM-1', 'alice', 'CreateKey', { key: { role: 'default_deny', mode: 'off' } }],
    ['ADM-1', 'root', 'CreateTenant', {}],
    ['ADM-1', 'root', 'ListTenants', {}],
    ['ADM-1', 'alice', 'ListUsers', {}],
    ['ADM-1', 'alice', 'Export', {}],
    ['ADM-1', 'alice', 'WatchChanges', {}],
    ['ADM-2', 'bob', 'CreateGrant', { principal: 'alice', path: 'work', actions: ['read'] }],
    ['ADM-2', 'bob', 'SetOwner', { path: 'work', owner: 'bob' }],
    ['ADM-3', 'bob', 'RevokeGrant', { principal: 'alice', path: 'work' }],
    ['ADM-4', 'alice', 'CreateUser', { user: { id: 'x' } }],
    ['ADM-4', 'rita', 'CreateUser', { user: { id: 'x', superuser: true } }],
    ['ADM-4', 'rita', 'AddMember', { group: 'role:team', member: 'user:bob' }],
    ['ADM-5', 'adam', 'AddMember', { group: 'role:owner', member: 'user:bob' }],
    ['ADM-5', 'adam', 'AddMember', { group: 'role:team', member: 'user:adam' }],
    ['ADM-5', 'adam', 'DeleteUser', { id: 'olivia' }],
    ['ADM-5', 'adam', 'Apply', { chunk: Buffer.from(stringify(STATE)) }],
  ])(
    '%s: %s may not %s: PERMISSION_DENIED, its reason the rule',
    async (rule, actor, name, request) => {
      const before = await revisionOf(admin);
      const { code, reason, details } = await admin.refused(name, request, as(actor));
      expect({ code, reason }, details).toEqual({ code: status.PERMISSION_DENIED, reason: rule });
      expect(details).toContain(`(${rule})`);
      expect(details).toMatch(/: .+ could \(ADM/);
      expect(await revisionOf(admin)).toBe(before);
    },
  );

  it('ADM-5, ADM-6, RBAC-4, ID-2: what the facts forbid, whoever asks', async () => {
    for (const [rule, name, request] of [
      ['ADM-5', 'DeleteUser', { id: 'olivia' }],
      ['ADM-5', 'RemoveMember', { group: 'role:owner', member: 'olivia' }],
      ['ADM-6', 'AddMember', { group: 'role:team', member: 'role:crew' }],
      ['RBAC-4', 'DeleteRole', { id: 'owner' }],
      ['RBAC-4', 'DeleteRole', { id: 'team' }],
    ] as const)
      expect(await admin.refused(name, request), name).toMatchObject({
        code: status.FAILED_PRECONDITION,
        reason: rule,
      });
    expect(await admin.refused('CreateUser', { user: { id: 'ALICE' } })).toMatchObject({
      code: status.ALREADY_EXISTS,
      reason: 'ID-2',
    });
  });

  it('ADM-7: each is in the audit file with its actor, its rule and its request', async () => {
    await admin.refused(
      'CreateUser',
      { user: { id: 'x' }, options: { request_id: 'audited-1' } },
      as('alice'),
    );
    await admin.refused('GetTenant', {}, bearer('nobody-nobody-nobody'));
    const records = await auditUntil(rig.directory, (one) => one['request_id'] === 'audited-1');
    expect(records.find((one) => one['request_id'] === 'audited-1')).toMatchObject({
      type: 'management',
      actor: 'user:alice',
      operation: 'user.create',
      allowed: false,
      reason: 'PERMISSION_DENIED',
      rule: 'ADM-4',
    });
    const long = { user: { id: 'x' }, options: { request_id: 'i'.repeat(1_000_000) } };
    const unbounded = await admin.refused('CreateUser', long);
    expect(unbounded).toMatchObject({ code: status.INVALID_ARGUMENT });
    expect(unbounded.details).toContain('options.request_id');
    expect(readFileSync(join(rig.directory, 'audit.jsonl'), 'utf8')).not.toContain('iiiiiiii');
    const refused = (await auditUntil(rig.directory, ({ type }) => type === 'authentication')).find(
      ({ type }) => type === 'authentication',
    );
    expect(refused).toMatchObject({ allowed: false, reason: 'UNAUTHENTICATED' });
  });
});

async function auditUntil(
  directory: string,
  seen: (record: Answer) => boolean,
): Promise<readonly Answer[]> {
  const read = (): Answer[] =>
    readFileSync(join(directory, 'audit.jsonl'), 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Answer);
  await until(() => read().some(seen));
  return read();
}

describe('Apply and Export', () => {
  it('a state that is refused for its credential is one record', async () => {
    const count = (records: readonly Answer[]): number =>
      records.filter(({ type }) => type === 'authentication').length;
    /** All records so far: until one that is asked for comes. */
    const records = async (marker: string): Promise<readonly Answer[]> => {
      const options = { request_id: marker };
      await admin.refused('CreateUser', { user: { id: 'x' }, options }, as('alice'));
      return auditUntil(rig.directory, (one) => one['request_id'] === marker);
    };
    const before = count(await records('before-it'));
    const pieces = [
      { tenant: 'acme', chunk: Buffer.from('tenant: ') },
      { tenant: 'acme', chunk: Buffer.from('acme') },
    ];
    const { code } = await admin.send('Apply', pieces, bearer('nobody-nobody-nobody'));
    expect(code).toBe(status.UNAUTHENTICATED);
    expect(count(await records('after-it'))).toBe(before + 1);
  });

  it('a state that is applied as it was exported changes nothing, in both formats', async () => {
    await admin.call('UpdateUser', {
      id: 'alice',
      metadata: toStruct({ n: [1, { deep: null }], ['__proto__']: { x: true }, é: 'ß' }),
    });
    await admin.call('CreateKey', {
      key: {
        id: 'kept',
        role: 'default_deny',
        mode: 'enforce',
        user: 'alice',
        expires_at: '2040-01-01T00:00:00Z',
        rate_limit: { requests: 5, per_seconds: 10 },
      },
    });
    const before = await revisionOf(admin);
    for (const format of ['', 'yaml', 'json']) {
      const state = await admin.export(format);
      const applied = await admin.apply(state);
      expect(applied, format).toMatchObject({ revision: before, result: { changes: [] } });
    }
    expect(await admin.refused('Export', { format: 'xml' })).toMatchObject({
      code: status.INVALID_ARGUMENT,
    });
    await admin.call('RevokeKey', { id: 'kept' });
  });

  it('one message or many, split anywhere, also inside a character, say the same', async () => {
    const own = await start();
    const state = {
      ...STATE,
      roles: [...STATE.roles, { id: 'zoë-漢字-🦊', description: '🦊'.repeat(9) }],
    };
    const bytes = Buffer.from(stringify(state));
    for (const size of [bytes.length, 1, 3, 7, 1_000]) {
      const pieces: { chunk: Buffer }[] = [];
      for (let at = 0; at < bytes.length; at += size)
        pieces.push({
          // The first message says whose it is; the others need not.
          ...(at === 0 ? { tenant: 'acme', prune: true } : {}),
          chunk: bytes.subarray(at, at + size),
        });
      pieces.push({ chunk: Buffer.alloc(0) });
      const { code, answers, details } = await own.admin.send('Apply', ended(pieces), OPERATOR);
      expect(code, details).toBe(0);
      expect(part(answers[0] ?? {}, 'result')['changes']).toHaveLength(
        size === bytes.length ? 1 : 0,
      );
    }
    expect(await own.admin.call('GetRole', { id: 'zoë-漢字-🦊' })).toBeDefined();
    await own.close();
  });

  it('what is no UTF-8, no YAML, no state or another tenant’s is INVALID_ARGUMENT', async () => {
    const before = await revisionOf(admin);
    for (const [chunk, told] of [
      [Buffer.from([0x74, 0xff, 0xfe]), 'chunk: is not UTF-8'],
      [
        Buffer.concat([Buffer.from('tenant: acme # '), Buffer.from('漢').subarray(0, 2)]),
        'chunk: is not UTF-8',
      ],
      [Buffer.from('a: [b'), 'chunk:'],
      [Buffer.alloc(0), 'chunk:'],
      [Buffer.from('tenant: acme\nnonsense: 1\n'), 'nonsense'],
      [Buffer.from('tenant: other\n'), 'the state is of tenant `other`'],
      [Buffer.from('tenant: acme\nusers: [{ id: a, roles: [ghost] }]\n'), 'ghost'],
      [
        Buffer.from(
          'tenant: acme\nkeys: [{ id: a, role: default_deny, mode: off, secrets: [x] }]\n',
        ),
        'secrets',
      ],
    ] as const) {
      const pieces = ended([{ tenant: 'acme', chunk }]);
      const { code, details } = await admin.send('Apply', pieces, OPERATOR);
      expect({ code, details }).toMatchObject({ code: status.INVALID_ARGUMENT });
      expect(details).toContain(told);
    }
    expect((await admin.send('Apply', [], OPERATOR)).code).toBe(status.INVALID_ARGUMENT);
    expect(await revisionOf(admin)).toBe(before);
  });

  it('too large a state is RESOURCE_EXHAUSTED and names the setting, in one message and in many', async () => {
    const before = await revisionOf(admin);
    const piece = { tenant: 'acme', chunk: Buffer.alloc(50_000, '#') };
    for (const pieces of [
      [{ ...piece, chunk: Buffer.alloc(200_001, '#') }],
      Array.from({ length: 40 }, () => piece),
    ]) {
      const { code, details, reason } = await admin.send('Apply', pieces, OPERATOR);
      expect({ code, reason }).toEqual({ code: status.RESOURCE_EXHAUSTED, reason: 'LIMIT' });
      expect(details).toContain('admin.max_state_bytes');
    }
    expect(await revisionOf(admin)).toBe(before);
  });

  it('who proves nothing is refused at the first message, before the state is here', async () => {
    const { path, requestSerialize } = METHODS['Apply'] ?? expect.fail('no Apply');
    const client = new Client(rig.running.addresses.grpc, credentials.createInsecure());
    const code = await new Promise<number>((done) => {
      const stream = client.makeClientStreamRequest(
        path,
        requestSerialize,
        (bytes) => bytes,
        new Metadata(),
        { deadline: Date.now() + 5_000 },
        (error) => done(error?.code ?? 0),
      );
      stream.on('error', () => {});
      // Never ended.
      stream.write({ tenant: 'acme', chunk: Buffer.alloc(10) });
    });
    expect(code).toBe(status.UNAUTHENTICATED);
    client.close();
  });

  it('a dry run tells the changes and makes none; an expected revision that has passed is ABORTED', async () => {
    const before = await revisionOf(admin);
    const state = parse(await admin.export('yaml')) as { users: object[] };
    const more = stringify({ ...state, users: [...state.users, { id: 'dry' }] });
    expect(await admin.apply(more, { dry_run: true })).toMatchObject({
      revision: before,
      result: { dry_run: true, changes: [{ change: 'create', kind: 'user', id: 'dry' }] },
    });
    expect(await revisionOf(admin)).toBe(before);
    expect(
      await admin.send(
        'Apply',
        ended([
          { tenant: 'acme', options: { expected_revision: before - 1 }, chunk: Buffer.from(more) },
        ]),
        OPERATOR,
      ),
    ).toMatchObject({ code: status.ABORTED });
  });
});

describe('how a write is done', () => {
  it('CONS-5: the same idempotency key does it once, also after a restart; for something else it is refused', async () => {
    let own = await start();
    const options = { idempotency_key: 'once' };
    const user = { id: 'once' };
    const done = await own.admin.call('CreateUser', { user, options });
    expect(done).toMatchObject({ result: { repeated: false }, user });
    const again = { revision: done['revision'], result: { repeated: true, changes: [] } };
    const key = { id: 'k-once', role: 'default_deny', mode: 'enforce' };
    const minted = await own.admin.call('CreateKey', { key, options: { idempotency_key: 'k' } });
    expect(minted['secret']).toMatch(/^pstk\./);
    own = await own.restart();
    expect(await own.admin.call('CreateUser', { user, options })).toMatchObject(again);
    // A secret is shown once.
    const repeated = await own.admin.call('CreateKey', { key, options: { idempotency_key: 'k' } });
    expect(repeated).toMatchObject({ secret: '', result: { repeated: true } });
    expect(await own.admin.refused('CreateUser', { user: { id: 'twice' }, options })).toMatchObject(
      { code: status.INVALID_ARGUMENT, reason: 'IDEMPOTENCY_KEY' },
    );
    expect((await own.admin.refused('GetUser', { id: 'twice' })).code).toBe(status.NOT_FOUND);
    await own.admin.call('DeleteUser', { id: 'once' });
    expect(await own.admin.call('CreateUser', { user, options })).toMatchObject(again);
    expect((await own.admin.refused('GetUser', { id: 'once' })).code).toBe(status.NOT_FOUND);
    const text = await own.admin.export('json');
    const applied = await own.admin.apply(text, { idempotency_key: 'apply' });
    expect(applied).toMatchObject({ result: { repeated: false } });
    expect(await own.admin.apply(text, { idempotency_key: 'apply' })).toMatchObject({
      revision: applied['revision'],
      result: { repeated: true },
    });
    await own.close();
  });

  it('a dry run changes nothing and needs the same authority; an expected revision must be the present one', async () => {
    const before = await revisionOf(admin);
    const user = { id: 'dry' };
    const dry = { user, options: { dry_run: true } };
    expect(await admin.call('CreateUser', dry)).toMatchObject({
      revision: before,
      result: { dry_run: true, changes: [{ change: 'create', kind: 'user', id: 'dry' }] },
      user,
    });
    expect((await admin.refused('CreateUser', dry, as('alice'))).code).toBe(
      status.PERMISSION_DENIED,
    );
    expect(await revisionOf(admin)).toBe(before);
    for (const expected_revision of [before - 1, before + 1, Number.MAX_SAFE_INTEGER])
      expect(
        await admin.refused('CreateUser', { user, options: { expected_revision } }),
      ).toMatchObject({ code: status.ABORTED, reason: 'ABORTED' });
    expect(
      await admin.call('CreateUser', { user, options: { expected_revision: before } }),
    ).toMatchObject({ revision: before + 1 });
    await admin.call('DeleteUser', user);
  });
});

describe('what comes back as it went in', () => {
  it('ID-3: metadata of every JSON shape, `__proto__` and its like included', async () => {
    const metadata = JSON.parse(
      '{"s":"x","n":-1.5,"t":true,"f":false,"z":null,"l":[1,"a",null,[2,[]],{"k":{}}],"o":{"p":{"q":[{}]}},"__proto__":{"__proto__":"v","admin":true},"constructor":"c","":"empty","é":"ß🦊"}',
    ) as object;
    await admin.call('CreateUser', { user: { id: 'meta', metadata: toStruct(metadata) } });
    const read = async (): Promise<string> => {
      const { user } = await admin.call('GetUser', { id: 'meta' });
      return canonical(fromStruct((user as { metadata: unknown }).metadata));
    };
    expect(await read()).toBe(canonical(metadata));
    // Left out it stays; given it is replaced whole.
    await admin.call('UpdateUser', { id: 'meta', email: 'm@example.com' });
    expect(await read()).toBe(canonical(metadata));
    await admin.call('UpdateUser', { id: 'meta', metadata: toStruct({ only: 1 }) });
    expect(await read()).toBe('{"only":1}');
    await admin.call('UpdateUser', { id: 'meta', metadata: { fields: {} } });
    expect(await read()).toBe('{}');
    await admin.call('DeleteUser', { id: 'meta' });
  });

  it('metadata of a batch, and items that are refused in their place', async () => {
    const users = [
      { id: 'b1', metadata: toStruct({ a: [1] }) },
      { id: 'alice' },
      { id: ' bad' },
      { id: 'b2' },
    ];
    const { items } = await admin.call('BatchCreateUsers', { users });
    expect(items).toMatchObject([
      { user: { id: 'b1' }, error: '' },
      { user: null, error: expect.stringContaining('exists already') as string },
      { user: null, error: expect.stringContaining('white space') as string },
      { user: { id: 'b2' }, error: '' },
    ]);
    const [first] = items as readonly [{ user: { metadata: unknown } }];
    expect(fromStruct(first.user.metadata)).toEqual({ a: [1] });
    for (const id of ['b1', 'b2']) await admin.call('DeleteUser', { id });
  });

  it('ABAC-3: the attributes of a policy set, their types and odd names', async () => {
    const attributes = JSON.parse(
      '{"tenant":["acme",5,"5",true,"true",1.5],"__proto__":["x"],"constructor":[false],"é":["ß"]}',
    ) as Record<string, unknown>;
    const rules = [
      { id: 'with', effect: 'allow', actions: ['readonly'], attributes },
      { id: 'without', effect: 'deny', actions: ['user.delete'] },
    ];
    const document = JSON.stringify({ policy_set: { name: 'odd', mode: 'enforce', rules } });
    const put = await admin.call('PutPolicySet', { document });
    const got = await admin.call('GetPolicySet', { name: 'odd' });
    const listed = (await admin.call('ListPolicySets'))['policy_sets'] as readonly Answer[];
    for (const set of [
      put['policy_set'],
      got['policy_set'],
      listed.find(({ name }) => name === 'odd'),
    ]) {
      const [first, second] = (set as { rules: readonly { attributes: object }[] }).rules;
      const values = Object.entries(first?.attributes ?? {}).map(([key, list]) => [
        key,
        (list as { values: readonly object[] }).values.map(
          (value) => Object.values(value)[0] as unknown,
        ),
      ]);
      expect(canonical(Object.fromEntries(values))).toBe(canonical(attributes));
      expect(second?.attributes).toEqual({});
    }
    await admin.call('DeletePolicySet', { name: 'odd' });
  });

  it('lists page by page give what one page gives, and tampered tokens give nothing', async () => {
    const users = Array.from({ length: 57 }, (_, n) => ({
      id: `page-${String(n).padStart(2, '0')}`,
    }));
    await admin.call('BatchCreateUsers', { users });
    const whole = (await admin.call('ListUsers', { page_size: 1_000 }))[
      'users'
    ] as readonly Answer[];
    const paged: Answer[] = [];
    let token = '';
    do {
      const page = await admin.call('ListUsers', { page_size: 10, page_token: token });
      paged.push(...(page['users'] as Answer[]));
      expect((page['users'] as Answer[]).length).toBeLessThanOrEqual(10);
      token = String(page['next_page_token']);
      if (paged.length === 10)
        for (const [name, request] of [
          ['ListUsers', { page_token: `${token}x` }],
          ['ListUsers', { page_token: token.slice(1) }],
          ['ListUsers', { page_token: token, include_deleted: true }],
          ['ListUsers', { tenant: 'other', page_token: token }],
          ['ListRoles', { page_token: token }],
          ['ListUsers', { page_token: 'nonsense' }],
          ['ListUsers', { page_token: Buffer.from('[1,2,3,4]').toString('base64url') }],
          ['ListUsers', { page_size: 1_001 }],
        ] as const)
          expect(await admin.refused(name, request), JSON.stringify(request)).toMatchObject({
            code: status.INVALID_ARGUMENT,
          });
    } while (token !== '');
    expect(paged).toEqual(whole);
    for (const { id } of users) await admin.call('DeleteUser', { id });
  });
});

/** JSON with its keys in order. `__proto__` is a key. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const pairs = Object.entries(value)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, one]: [string, unknown]) => `${JSON.stringify(key)}:${canonical(one)}`);
  return `{${pairs.join(',')}}`;
}

describe('WatchChanges', () => {
  it('tells the commits of others as they come, from a revision on, and ends when it is cancelled', async () => {
    const before = await revisionOf(admin);
    const other = connect(rig.running.addresses.grpc);
    const now = admin.watch({});
    const past = admin.watch({ after: before - 1 });
    await until(() => past.changes.length === 1);
    await other.call('CreateUser', { user: { id: 'seen' } }, as('root'));
    await other.call('DeleteUser', { id: 'seen' });
    await until(() => now.changes.length === 2 && past.changes.length === 3);
    expect(now.changes).toMatchObject([
      {
        revision: before + 1,
        gap: false,
        change: {
          actor: 'user:root',
          operation: 'user.create',
          records: [{ kind: 'user', id: 'seen' }],
          too_many: false,
        },
      },
      { revision: before + 2, change: { actor: 'operator', operation: 'user.delete' } },
    ]);
    now.cancel();
    expect((await now.ended).code).toBe(0);
    await other.call('CreateUser', { user: { id: 'unseen' } });
    await until(() => past.changes.length === 4);
    await other.call('DeleteUser', { id: 'unseen' });
    expect(now.changes).toHaveLength(2);
    past.cancel();
    const { changes, complete } = await admin.call('ListChanges', { after: before });
    expect(complete).toBe(true);
    expect(changes).toHaveLength(4);
    other.close();
  });

  it('tells a hundred watchers the same, and none of another tenant', async () => {
    const watches = Array.from({ length: 100 }, () => admin.watch({}));
    const foreign = admin.watch({ tenant: 'other' });
    // All of them watch.
    await new Promise((done) => setTimeout(done, 500));
    for (let n = 0; n < 5; n++) await admin.call('CreateWorkspace', { workspace: { id: `w${n}` } });
    await until(() => watches.every(({ changes }) => changes.length === 5));
    const told = watches.map(({ changes }) => changes.map(({ revision }) => revision));
    expect(new Set(told.map((one) => JSON.stringify(one))).size).toBe(1);
    expect(foreign.changes).toEqual([]);
    for (const one of [...watches, foreign]) one.cancel();
    await Promise.all(watches.map(({ ended }) => ended));
    for (let n = 0; n < 5; n++) await admin.call('DeleteWorkspace', { id: `w${n}` });
  });

  it('ends once its actor has lost its authority, or the credential that proved it', async () => {
    const own = await start();
    const call = own.admin.call.bind(own.admin);
    const key = {
      id: 'watch',
      role: 'default_deny',
      mode: 'enforce',
      policy_sets: ['manages'],
      user: 'root',
    };
    const session = await call('CreateSession', { user: 'root' });
    const minted = await call('CreateKey', { key });
    await call('CreateUser', { user: { id: 'gone', superuser: true } });
    const doomed = await call('CreateSession', { user: 'gone' });
    await call('CreateUser', { user: { id: 'brief', superuser: true } });
    const brief = await call('CreateSession', { user: 'brief', ttl_seconds: 2 });
    const kept = await call('CreateSession', { user: 'root' });
    const watch = (headers: Headers): Watch => own.admin.watch({}, headers);
    const watches = {
      'a revoked session': watch(bearer(session['token'])),
      'a revoked key': watch(bearer(minted['secret'])),
      'a deleted user': watch(bearer(doomed['token'])),
      'a session that expires': watch(bearer(brief['token'])),
      'an administrator no more': watch(as('adam')),
    };
    const good = watch(bearer(kept['token']));
    await new Promise((done) => setTimeout(done, 500));
    await call('RevokeSession', { user: 'root', id: part(session, 'session')['id'] });
    await call('RevokeKey', { id: part(minted, 'key')['id'] });
    await call('DeleteUser', { id: 'gone' });
    await call('RemoveMember', { group: 'role:admin', member: 'user:adam' });
    const late = new Promise<string>((done) => setTimeout(() => done('is still open'), 12_000));
    for (const [what, { ended }] of Object.entries(watches)) {
      const end = await Promise.race([ended, late]);
      expect(end, what).toMatchObject({
        code: what.startsWith('an admin') ? status.PERMISSION_DENIED : status.UNAUTHENTICATED,
      });
    }
    await call('CreateUser', { user: { id: 'after' } });
    await until(() =>
      good.changes.some(({ change }) => (change as Answer)['operation'] === 'user.create'),
    );
    good.cancel();
    await own.close();
  });

  it('does not keep the server from closing', async () => {
    const own = await start({ shutdown: { grace_ms: 500 } });
    const watch = own.admin.watch({});
    await new Promise((done) => setTimeout(done, 200));
    const startedAt = performance.now();
    await own.running.close();
    expect(performance.now() - startedAt).toBeLessThan(5_000);
    expect((await watch.ended).code).not.toBe(undefined);
    own.admin.close();
  });
});

describe('a key', () => {
  it('that is given no id gets one of its own', async () => {
    // In a process of its own: an operation that never ends would end nothing here.
    const serving = await serve(['--state', join(PACKAGE_ROOT, 'config/demo.yaml')], {
      environment: { POSTERN_ADMIN_TOKEN: TOKEN },
    });
    const client = connect(serving.grpc);
    const key = { role: 'default_deny', mode: 'enforce' };
    const create = (): Promise<Outcome> =>
      client.send('CreateKey', [{ tenant: 'demo', key }], OPERATOR);
    const first = await create();
    const second = first.code === 0 ? await create() : first;
    client.close();
    await serving.dispose();
    const ids = [first, second].map(({ code, details, answers: [answer] }) => {
      expect(code, details).toBe(0);
      return String(part(answer ?? {}, 'key')['id']);
    });
    expect(ids.every((id) => /^k-[0-9a-f]{16}$/.test(id))).toBe(true);
    expect(new Set(ids).size).toBe(2);
  });
});

describe('secrets', () => {
  it('are in the one answer that shows them, and nowhere else', async () => {
    const serving = await serve(['--state', join(PACKAGE_ROOT, 'config/demo.yaml')], {
      settings: [
        `catalog: ${PACKAGE_ROOT}/config/actions.yaml`,
        `default_roles: ${PACKAGE_ROOT}/config/roles.yaml`,
        'store: embedded:store',
        'grpc: { address: 127.0.0.1:0 }',
        'http: { address: 127.0.0.1:0 }',
        'audit: { sinks: [{ type: file, path: audit.jsonl }], attributes: true }',
        'log: { level: debug }',
        'identity: { usage_interval_ms: 200 }',
      ].join('\n'),
      environment: { POSTERN_ADMIN_TOKEN: TOKEN },
    });
    let stdout = '';
    serving.child.stdout?.on('data', (bytes: Buffer) => (stdout += bytes.toString()));
    const client = connect(serving.grpc);
    const answers: unknown[] = [];
    const tell = async (
      name: string,
      request: object = {},
      headers = OPERATOR,
    ): Promise<Answer> => {
      const {
        answers: told,
        details,
        code,
      } = await client.send(name, [{ tenant: 'demo', ...request }], headers);
      const [answer = {}] = told;
      // What an answer shows on purpose is taken out; the rest of it must be clean.
      const { secret: _secret, token: _token, ...rest } = answer;
      answers.push(rest, details, ...told.slice(1));
      if (name === 'Export') answers.push(...told.map(({ chunk }) => String(chunk)));
      if (code === 0) return answer;
      return { failed: details };
    };
    const key = { id: 'k', role: 'default_allow', mode: 'enforce', user: 'root' };
    const minted: string[] = [];
    minted.push(String((await tell('CreateKey', { key }))['secret']));
    minted.push(String((await tell('RotateKey', { id: 'k', overlap_seconds: 60 }))['secret']));
    minted.push(String((await tell('CreateSession', { user: 'root' }))['token']));
    minted.push(String((await tell('CreateSession', { user: 'alice' }))['token']));
    for (const token of minted) expect(token).toMatch(/^pst[ks]\./);
    // Each is used, rightly and wrongly.
    for (const token of minted) {
      await tell('GetUser', { id: 'alice' }, bearer(token));
      await tell('GetTenant', { tenant: 'nowhere' }, bearer(token));
      await tell('GetTenant', {}, bearer(`${token}x`));
      await tell('CreateUser', { user: { id: 'z' } }, bearer(token));
    }
    await tell('GetTenant', {}, bearer(`${TOKEN}x`));
    for (const [name, request] of [
      ['GetKey', { id: 'k' }],
      ['ListKeys', {}],
      ['GetUser', { id: 'root' }],
      ['ListUsers', {}],
      ['ListSessions', { user: 'root' }],
      ['ListChanges', {}],
      ['Export', { format: 'json' }],
      ['Export', { format: 'yaml' }],
      ['UpdateKey', { id: 'k', description: 'd' }],
      ['UpdateUser', { id: 'root', email: 'r@example.com' }],
      ['CreateKey', { key }],
      ['RevokeSession', { user: 'root' }],
      ['RevokeKey', { id: 'k' }],
      ['DeleteUser', { id: 'alice' }],
    ] as const)
      await tell(name, request);
    const hashes = minted.map((token) => parseToken(token)?.hash ?? expect.fail('no token'));
    const secrets = [...minted.map((token) => token.split('.').pop() ?? ''), ...hashes, TOKEN];
    client.close();
    const metrics = await (await fetch(`http://${serving.http}/metrics`)).text();
    await serving.stop();
    const audit = serving.audit();
    expect(audit).toContain('"operation":"key.rotate"');
    const places = {
      stdout,
      audit,
      metrics,
      stderr: serving.stderr(),
      answers: JSON.stringify(answers),
    };
    for (const [place, all] of Object.entries(places))
      for (const secret of secrets) {
        expect(secret.length).toBeGreaterThan(20);
        const forms = [
          secret,
          Buffer.from(secret, 'base64url').toString('hex'),
          Buffer.from(secret, 'base64url').toString('base64'),
        ];
        for (const form of forms) expect(all.includes(form), `${place} holds a secret`).toBe(false);
      }
    await serving.dispose();
  });
});
