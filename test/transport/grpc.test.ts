/** The gRPC API on a real server over real HTTP/2: answers, errors, limits, streams, health, drain. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { EventEmitter } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import http2 from 'node:http2';
import {
  credentials,
  loadPackageDefinition,
  status,
  type Client,
  type ClientDuplexStream,
  type ServiceError,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import fc from '../support/fast-check.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';
import { connectTo, startTestServer, type Answer, type TestServer } from '../support/server.ts';

const SERVICE = '/postern.v1.AuthorizationService';
const DEMO = join(PACKAGE_ROOT, 'config/demo.yaml');

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer(DEMO, {
    grpc: { reflection: true },
    limits: { checks_per_batch: 50, objects_per_filter: 100 },
  });
});
afterAll(() => server.close());

const call = (method: string, request: object, deadlineMs?: number): Promise<Answer> =>
  server.client.call(method, request, deadlineMs);
const refused = async (
  method: string,
  request: object,
  deadlineMs?: number,
): Promise<ServiceError> =>
  call(method, request, deadlineMs).then(
    () => expect.fail('it was answered'),
    (error: ServiceError) => error,
  );

const alice = { tenant: 'demo', subject: { id: 'alice' } };
const read = { ...alice, action: 'read', resource: { path: 'work.projects.api' } };

describe('Check', () => {
  it('allows, with everything an answer carries', async () => {
    const answer = await call('Check', { ...read, id: 'r-1' });
    expect(answer).toMatchObject({
      id: 'r-1',
      allowed: true,
      reason: 'REASON_ALLOWED',
      revision: 1,
      shadow: null,
    });
    expect(answer['decision_id']).toMatch(/^[0-9a-f]{12}-[0-9a-z]+$/);
    expect(answer['detail']).toBe('a grant or ownership covers the path');
    expect(answer['age_ms']).toBeLessThan(5_000);
  });

  it.each([
    [{ ...alice, action: 'delete', resource: { path: 'work.projects' } }, 'REASON_NO_GRANT'],
    [{ ...alice, action: 'graph.serach' }, 'REASON_UNKNOWN_ACTION'],
    [{ tenant: 'demo', subject: { id: 'mallory' }, action: 'kb:read' }, 'REASON_SUBJECT_INACTIVE'],
    [{ tenant: 'nowhere', subject: { id: 'alice' }, action: 'kb:read' }, 'REASON_TENANT_MISMATCH'],
    [{ tenant: 'demo', key_id: 'nobody', action: 'graph.search' }, 'REASON_KEY_INVALID'],
    [{ tenant: 'demo', key_id: 'acme-agent', action: 'graph.add' }, 'REASON_ACTION_DENIED'],
    [{ tenant: 'demo', key_id: 'acme-agent', action: 'graph.search' }, 'REASON_OBJECT_HIDDEN'],
    [
      { ...alice, credential: { api_key: 'not-accepted' }, action: 'kb:read' },
      'REASON_KEY_INVALID',
    ],
    [{ tenant: 'demo', credential: { api_key: 'x' }, action: 'kb:read' }, 'REASON_KEY_INVALID'],
  ])('denies %j: %s, as an answer and not as an error', async (request, reason) => {
    expect(await call('Check', request)).toMatchObject({ allowed: false, reason });
  });

  it('ABAC-8: carries the shadow outcome where it could differ', async () => {
    const request = { tenant: 'demo', key_id: 'backend', action: 'user.delete' };
    expect(await call('Check', request)).toMatchObject({
      allowed: true,
      shadow: { allowed: false, differs: true },
    });
  });

  it.each([
    [{}, 'subject: is missing, and so is `key_id`: name at least one of them'],
    [{ ...read, tenant: '' }, 'tenant: is empty'],
    [{ ...read, action: '' }, 'action: is empty'],
    [{ ...read, action: 'a:b:c' }, 'action: `a:b:c` is not `resource:verb`'],
    [{ ...read, subject: { id: ' alice' } }, 'subject.id: ` alice` has white space at an end'],
    [{ ...read, subject: { id: 'al\u0000ice' } }, 'holds a control character'],
    [{ ...read, subject: { id: 'x'.repeat(257) } }, 'has 257 bytes: at most 256 are allowed'],
    [{ ...read, subject: { id: 'e\u0301' } }, 'is not in Unicode normal form C'],
    [{ ...read, subject: { type: 'group', id: 'x' } }, 'subject.type: `group` is not one of'],
    [{ ...read, resource: { path: 'a..b' } }, 'resource.path: `a..b` has an empty label'],
    [{ ...read, resource: { path: 'a.*' } }, 'resource.path: `a.*` has a label with other'],
    [{ ...read, resource: { path: 'a\n' } }, 'resource.path: `a\\n` has a label with other'],
    [{ ...read, resource: { type: 'a:b' } }, 'resource.type: `a:b` holds a `:`'],
    [{ ...read, key_id: 'k', credential: { api_key: 's' } }, 'key_id: is given together with'],
  ])(
    'refuses %j with INVALID_ARGUMENT that names field, value and remedy',
    async (request, text) => {
      const error = await refused('Check', request);
      expect(error.code).toBe(status.INVALID_ARGUMENT);
      expect(error.details).toContain(text);
      const [details] = error.metadata.get('grpc-status-details-bin');
      expect(String(details)).toContain('google.rpc.BadRequest');
    },
  );

  it('CONS-1: min_revision that is not reached is UNAVAILABLE, before the deadline', async () => {
    expect(await call('Check', { ...read, min_revision: 1 })).toMatchObject({ allowed: true });
    const startedAt = performance.now();
    const error = await refused('Check', { ...read, min_revision: 99 }, 500);
    expect(error.code).toBe(status.UNAVAILABLE);
    expect(error.details).toContain('revision 99 was asked for, this instance has 1');
    expect(performance.now() - startedAt).toBeLessThan(500);
  });

  it('refuses a message over its size, and one that would inflate', async () => {
    const error = await refused('Check', { ...read, id: 'x'.repeat(5_000_000) });
    expect(error.code).toBe(status.RESOURCE_EXHAUSTED);
    const bomb = gzipSync(Buffer.alloc(20_000_000));
    const frame = Buffer.concat([Buffer.from([1, 0, 0, 0, 0]), bomb]);
    frame.writeUInt32BE(bomb.length, 1);
    expect(await rawHttp2(`${SERVICE}/Check`, frame, { 'grpc-encoding': 'gzip' })).toBe(
      String(status.UNIMPLEMENTED),
    );
    expect(await call('Check', read)).toMatchObject({ allowed: true });
  });
});

describe('BatchCheck', () => {
  const checks = [
    { id: 'a', resource: { path: 'work.projects' } },
    { id: 'b', action: 'delete', resource: { path: 'work.projects' } },
    { id: 'c', subject: { id: 'bob' }, action: 'write', resource: { path: 'work.backend.db' } },
    { id: 'd', resource: { path: '..' } },
    { id: 'e', tenant: 'nowhere' },
    { id: 'f', key_id: 'acme-agent' },
  ];
  const batch = { ...read, checks };

  it('answers each in order, defaults overridden by whole field, an invalid item denied', async () => {
    const { results } = await call('BatchCheck', batch);
    expect((results as Answer[]).map(({ id, reason }) => [id, reason])).toEqual([
      ['a', 'REASON_ALLOWED'],
      ['b', 'REASON_NO_GRANT'],
      ['c', 'REASON_ALLOWED'],
      ['d', 'REASON_INVALID_ARGUMENT'],
      ['e', 'REASON_TENANT_MISMATCH'],
      // `read` on no type is readonly: the action is permitted, the object is hidden.
      ['f', 'REASON_OBJECT_HIDDEN'],
    ]);
    expect((results as Answer[])[3]?.['detail']).toContain('resource.path');
  });

  it('stops where its semantic says', async () => {
    const ids = async (semantic: string): Promise<unknown[]> =>
      ((await call('BatchCheck', { ...batch, semantic }))['results'] as Answer[]).map(
        ({ id }) => id,
      );
    expect(await ids('BATCH_SEMANTIC_DENY_ON_FIRST_DENY')).toEqual(['a', 'b']);
    expect(await ids('BATCH_SEMANTIC_PERMIT_ON_FIRST_PERMIT')).toEqual(['a']);
    expect(await ids('BATCH_SEMANTIC_EXECUTE_ALL')).toHaveLength(6);
  });

  it('equals Check one by one', async () => {
    const { results } = await call('BatchCheck', batch);
    for (const [index, check] of checks.entries()) {
      if (check.id === 'd') continue;
      const { reason } = await call('Check', { ...read, ...check });
      expect((results as Answer[])[index]?.['reason']).toBe(reason);
    }
  });

  it('names the limit that a batch is over', async () => {
    const error = await refused('BatchCheck', {
      ...read,
      checks: Array.from({ length: 51 }, () => ({})),
    });
    expect(error.code).toBe(status.INVALID_ARGUMENT);
    expect(error.details).toContain('more than 50 checks');
  });

  it('fails as a whole where facts are unavailable', async () => {
    const error = await refused('BatchCheck', { ...batch, min_revision: 99 }, 300);
    expect(error.code).toBe(status.UNAVAILABLE);
  });
});

describe('Filter', () => {
  const objects = [
    { id: 'o1', attributes: { tenant: { stringValue: 'acme' } } },
    { id: 'o2', attributes: { tenant: { stringValue: 'globex' } } },
    {
      id: 'o3',
      attributes: { tenant: { listValue: { values: [{ stringValue: 'acme' }] } } },
    },
    {
      id: 'o4',
      sources: [
        { attributes: { tenant: { stringValue: 'acme' } } },
        { attributes: { tenant: { stringValue: 'globex' } } },
      ],
    },
  ];
  const request = { tenant: 'demo', key_id: 'acme-agent', action: 'graph.search', objects };

  it('returns the visible ones, as ids and indexes', async () => {
    expect(await call('Filter', request)).toMatchObject({
      action_allowed: true,
      reason: 'REASON_ALLOWED',
      allowed_ids: ['o1', 'o3'],
      allowed_indexes: [0, 2],
      complete: true,
      next_offset: 0,
      revision: 1,
    });
  });

  it('FILT-3: pages over visible objects', async () => {
    const first = await call('Filter', { ...request, limit: 1, indexes_only: true });
    expect(first).toMatchObject({
      allowed_ids: [],
      allowed_indexes: [0],
      complete: false,
      next_offset: 2,
    });
    const second = await call('Filter', { ...request, limit: 1, offset: first['next_offset'] });
    expect(second).toMatchObject({ allowed_ids: ['o3'], complete: true, next_offset: 0 });
  });

  it('FILT-2: tells a denied action from an empty set', async () => {
    expect(await call('Filter', { ...request, action: 'graph.add' })).toMatchObject({
      action_allowed: false,
      reason: 'REASON_ACTION_DENIED',
      allowed_ids: [],
    });
    expect(await call('Filter', { ...request, objects: [objects[1]] })).toMatchObject({
      action_allowed: true,
      allowed_ids: [],
    });
    expect(await call('Filter', { ...request, objects: [] })).toMatchObject({
      action_allowed: true,
      complete: true,
    });
  });

  it('names the limit of objects', async () => {
    const many = await refused('Filter', {
      ...request,
      objects: Array.from({ length: 101 }, () => ({})),
    });
    expect(many.details).toContain('more than 100 objects');
  });
});

describe('Explain', () => {
  it('names the fact that allows, with the membership chain', async () => {
    const { check, layers } = await call('Explain', read);
    expect(check).toMatchObject({ allowed: true });
    const tree = (layers as Answer[]).find(({ name }) => name === 'tree');
    expect(tree).toMatchObject({ verdict: 'VERDICT_ALLOW' });
    expect(tree?.['facts']).toContainEqual({
      kind: 'grant',
      text: "role team has read on ''",
      chain: ['user:alice', 'role:team'],
    });
  });

  it('says what was missing', async () => {
    const request = { ...alice, action: 'delete', resource: { path: 'work.backend' } };
    const { missing, missing_complete } = await call('Explain', request);
    expect(missing).toContainEqual({
      kind: 'grant',
      text: "a grant of delete on 'work.backend' to user:alice",
    });
    expect(missing_complete).toBe(true);
  });
});

describe('CheckStream', () => {
  it('answers 2,000 messages, matched by id, errors in their place', async () => {
    const stream = server.client.stream();
    const answers = new Map<unknown, Answer>();
    stream.on('data', (answer: Answer) => answers.set(answer['id'], answer));
    const ended = new Promise((done, failed) => stream.on('end', done).on('error', failed));
    for (let i = 0; i < 2_000; i++)
      stream.write(
        i % 100 === 50
          ? { ...read, id: String(i), resource: { path: '..' } }
          : { ...read, id: String(i), subject: { id: i % 2 === 0 ? 'alice' : `stranger-${i}` } },
      );
    stream.end();
    await ended;
    expect(answers.size).toBe(2_000);
    for (const [id, { reason }] of answers) {
      const i = Number(id);
      expect(reason).toBe(
        i % 100 === 50
          ? 'REASON_INVALID_ARGUMENT'
          : i % 2 === 0
            ? 'REASON_ALLOWED'
            : 'REASON_NO_GRANT',
      );
    }
  });

  it('answers what can be answered while one message waits for its revision', async () => {
    const stream = server.client.stream();
    const reasons: unknown[] = [];
    stream.on('data', ({ id, reason }: Answer) => reasons.push([id, reason]));
    const ended = new Promise((done, failed) => stream.on('end', done).on('error', failed));
    stream.write({ ...read, id: 'later', min_revision: 99 });
    stream.write({ ...read, id: 'now' });
    stream.end();
    await ended;
    expect(reasons).toEqual([
      ['now', 'REASON_ALLOWED'],
      ['later', 'REASON_UNAVAILABLE'],
    ]);
  });

  it('lets a peer that does not read wait, without piling up answers', async () => {
    const stream = server.client.stream();
    stream.pause();
    const before = process.memoryUsage.rss();
    let sent = 0;
    await new Promise<void>((done) => {
      const push = (): void => {
        while (sent < 50_000)
          if ((sent++, !stream.write({ ...read, id: String(sent) }))) {
            const stuck = setTimeout(done, 1_000);
            stream.once('drain', () => {
              clearTimeout(stuck);
              push();
            });
            return;
          }
        done();
      };
      push();
    });
    expect(sent).toBeLessThan(50_000);
    expect(process.memoryUsage.rss() - before).toBeLessThan(200 * 1024 * 1024);
    stream.on('error', () => {});
    stream.cancel();
    expect(await call('Check', read)).toMatchObject({ allowed: true });
  });
});

describe('robustness', () => {
  it('answers random bytes on every method with INVALID_ARGUMENT or a deny, never with an allow', async () => {
    for (const method of ['Check', 'BatchCheck', 'Filter', 'Explain'])
      await fc.assert(
        fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (bytes) => {
          try {
            const answer = await server.client.raw(`${SERVICE}/${method}`, Buffer.from(bytes));
            // Only an empty batch is no error: it asks nothing.
            expect(answer.length).toBe(0);
          } catch (error) {
            expect((error as ServiceError).code).toBe(status.INVALID_ARGUMENT);
          }
        }),
        { numRuns: 200 },
      );
    expect(await call('Check', read)).toMatchObject({ allowed: true });
  });

  it('knows no other method', async () => {
    const error = await server.client
      .raw(`${SERVICE}/Nope`, Buffer.alloc(0))
      .catch((e: unknown) => e);
    expect((error as ServiceError).code).toBe(status.UNIMPLEMENTED);
  });

  it('bounds the streams of one connection', async () => {
    const session = http2.connect(`http://${server.running.addresses.grpc}`);
    const limit = await new Promise<number | undefined>((done) =>
      session.once('remoteSettings', ({ maxConcurrentStreams }) => done(maxConcurrentStreams)),
    );
    session.close();
    expect(limit).toBe(256);
  });
});

describe('calls that are over', () => {
  const streams: EventEmitter[] = [];
  const note = (message: unknown): void =>
    void streams.push((message as { readonly stream: EventEmitter }).stream);
  beforeAll(() => subscribe('http2.server.stream.close', note));
  afterAll(() => unsubscribe('http2.server.stream.close', note));

  it('are let go of, however they end: answered, refused, cancelled, or cut with their connection', async () => {
    await call('Check', read);
    await refused('Check', { ...alice, action: 'kb:' });
    const client = connectTo(server.running.addresses.grpc);
    const cancelled = client.stream();
    cancelled.on('error', () => {});
    await new Promise<void>((answered) => {
      cancelled.once('data', () => answered());
      cancelled.write(read);
    });
    cancelled.cancel();
    const session = http2.connect(`http://${server.running.addresses.grpc}`);
    const cut = session.request({
      ':method': 'POST',
      ':path': `${SERVICE}/CheckStream`,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    cut.on('error', () => {});
    await new Promise<void>((connected) => session.once('connect', () => connected()));
    await new Promise<void>((pong) => session.ping(() => pong()));
    session.destroy();
    client.close();
    await expect
      .poll(() => streams.map((stream) => stream.eventNames().length))
      .toEqual([0, 0, 0, 0]);
  });
});

describe('standard services', () => {
  interface HealthClient extends Client {
    Check(request: object, done: (error: unknown, answer: Answer) => void): void;
  }
  const healthOf = (address: string): HealthClient => {
    const definition = loadSync('health/v1/health.proto', {
      includeDirs: [join(PACKAGE_ROOT, 'node_modules/grpc-health-check/proto')],
      enums: String,
    });
    const { grpc } = loadPackageDefinition(definition) as unknown as {
      grpc: { health: { v1: { Health: new (...args: unknown[]) => HealthClient } } };
    };
    return new grpc.health.v1.Health(address, credentials.createInsecure());
  };

  it('serves health', async () => {
    const health = healthOf(server.running.addresses.grpc);
    const statusOf = (service: string): Promise<unknown> =>
      new Promise((done) =>
        health.Check({ service }, (_error, answer) => done(answer?.['status'])),
      );
    expect(await statusOf('')).toBe('SERVING');
    expect(await statusOf('postern.v1.AuthorizationService')).toBe('SERVING');
    expect(await statusOf('other')).toBeUndefined();
    health.close();
  });

  it('serves reflection where it is on', async () => {
    const definition = loadSync('reflection.proto', {
      includeDirs: [
        join(PACKAGE_ROOT, 'node_modules/@grpc/reflection/build/proto/grpc/reflection/v1'),
      ],
    });
    const { grpc } = loadPackageDefinition(definition) as unknown as {
      grpc: { reflection: { v1: { ServerReflection: new (...args: unknown[]) => Client } } };
    };
    const client = new grpc.reflection.v1.ServerReflection(
      server.running.addresses.grpc,
      credentials.createInsecure(),
    ) as Client & {
      ServerReflectionInfo(): ClientDuplexStream<object, Answer>;
    };
    const stream = client.ServerReflectionInfo();
    const answer = new Promise<Answer>((done, failed) =>
      stream.on('data', done).on('error', failed),
    );
    stream.write({ listServices: '*' });
    expect(JSON.stringify(await answer)).toContain('postern.v1.AuthorizationService');
    stream.end();
    client.close();
  });
});

describe('closing', () => {
  it('answers the calls in flight, then no more; the audit file has every decision', async () => {
    const own = await startTestServer(DEMO);
    const calls = Array.from({ length: 200 }, () => own.client.call('Check', read));
    const waiting = own.client
      .call('Check', { ...read, min_revision: 99 }, 2_000)
      .catch((e: unknown) => e);
    await Promise.race(calls);
    const closing = own.running.close();
    expect((await Promise.all(calls)).every(({ allowed }) => allowed)).toBe(true);
    expect(((await waiting) as ServiceError).code).toBe(status.UNAVAILABLE);
    await closing;
    const late = connectTo(own.running.addresses.grpc);
    const error = (await late.call('Check', read, 500).catch((e: unknown) => e)) as ServiceError;
    expect([status.UNAVAILABLE, status.DEADLINE_EXCEEDED]).toContain(error.code);
    late.close();
    const records = readFileSync(join(own.directory, 'audit.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { type: string; seq: number });
    expect(records.map(({ seq }) => seq)).toEqual(records.map((_, i) => i + 1));
    expect(records.filter(({ type }) => type === 'decision')).toHaveLength(201);
    await own.close();
  });
});

/** One raw request; resolves with the `grpc-status` trailer. */
function rawHttp2(path: string, body: Buffer, headers: object): Promise<string> {
  const session = http2.connect(`http://${server.running.addresses.grpc}`);
  return new Promise((done, failed) => {
    const stream = session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...headers,
    });
    const finish = (fields: http2.IncomingHttpHeaders): void => {
      const found = fields['grpc-status'];
      if (found === undefined) return;
      session.destroy();
      done(String(found));
    };
    stream.on('response', finish).on('trailers', finish).on('error', failed);
    stream.resume();
    stream.end(body);
  });
}
