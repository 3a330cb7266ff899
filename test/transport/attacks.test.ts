/** Messages made to hurt: each is refused by a limit that is named, quickly, and hurts no other call. */
import { status, type ServiceError } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Writer } from '../../src/transport/codec/wire.ts';
import { startTestServer, type Answer, type TestServer } from '../support/server.ts';

const CHECK = '/postern.v1.AuthorizationService/Check';
const read = { tenant: 'acme', subject: { id: 'deep' }, action: 'read', resource: { path: 'a' } };

/** A chain of nested roles, each with a permission of its own. */
const ROLES = 400;

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer(
    {
      tenant: 'acme',
      users: [{ id: 'deep', roles: ['r0'] }],
      roles: Array.from({ length: ROLES }, (_, n) => ({
        id: `r${n}`,
        permissions: [`p${n}:read`],
        ...(n + 1 < ROLES ? { roles: [`r${n + 1}`] } : {}),
      })),
    },
    { limits: { waiting_calls: 20, max_wait_ms: 1_000 } },
  );
});
afterAll(() => server.close());

const failure = (promise: Promise<unknown>): Promise<ServiceError> =>
  promise.then(
    () => expect.fail('it was answered'),
    (error: ServiceError) => error,
  );

async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  const startedAt = performance.now();
  const value = await work;
  expect(performance.now() - startedAt).toBeLessThan(ms);
  return value;
}

describe('limits while reading', () => {
  it('context of 20,000 entries', async () => {
    const context = Object.fromEntries(
      Array.from({ length: 20_000 }, (_, n) => [`k${n}`, { boolValue: true }]),
    );
    const error = await within(1_000, failure(server.client.call('Check', { ...read, context })));
    expect(error.code).toBe(status.INVALID_ARGUMENT);
    expect(error.details).toContain('context: more than 64 entries');
  });

  it('one entry of context with 20,000 values', async () => {
    const values = Array.from({ length: 20_000 }, () => ({ boolValue: true }));
    const context = { a: { listValue: { values } } };
    const error = await failure(server.client.call('Check', { ...read, context }));
    expect(error.details).toContain('context: an entry has more than 1024 values');
  });

  it('100,000 sources', async () => {
    const sources = Array.from({ length: 100_000 }, () => ({}));
    const error = await within(
      1_000,
      failure(server.client.call('Check', { ...read, resource: { sources } })),
    );
    expect(error.details).toContain('resource.sources: more than 256 sources');
  });
});

describe('what callers send comes back short and harmless', () => {
  it.each([
    [
      'a key of 60,000 characters',
      { resource: { attributes: { ['k'.repeat(60_000)]: { nullValue: 0 } } } },
    ],
    ['a subject type of 60,000 characters', { subject: { type: 'x'.repeat(60_000), id: 'a' } }],
    ['an action of 60,000 characters', { action: 'x'.repeat(60_000) }],
  ])('%s breaks no other call of the connection', async (_name, part) => {
    const others = Array.from({ length: 20 }, () => server.client.call('Check', read));
    const error = await failure(server.client.call('Check', { ...read, ...part }));
    expect(error.code).toBe(status.INVALID_ARGUMENT);
    expect(error.details.length).toBeLessThan(1_100);
    for (const answer of await Promise.all(others))
      expect(answer['reason']).toBe('REASON_NO_GRANT');
  });

  it('a control character of a key is not repeated as it is', async () => {
    const resource = { attributes: { 'a\u009b31m\u001b': { nullValue: 0 } } };
    const error = await failure(server.client.call('Check', { ...read, resource }));
    // eslint-disable-next-line no-control-regex -- they are what must not be there
    expect(error.details).not.toMatch(/[\u0000-\u001f\u007f-\u009f]/);
  });
});

describe('CheckStream', () => {
  it('answers a malformed message by its id', async () => {
    const stream = server.client.stream();
    const answers: Answer[] = [];
    stream.on('data', (answer: Answer) => answers.push(answer));
    const ended = new Promise((done, failed) => stream.on('end', done).on('error', failed));
    stream.write({ ...read, id: 'R-7', resource: { attributes: { a: { nullValue: 0 } } } });
    stream.end();
    await ended;
    expect(answers).toMatchObject([{ id: 'R-7', reason: 'REASON_INVALID_ARGUMENT' }]);
  });
});

describe('min_revision', () => {
  it('waiting calls are bounded, and the limit is named', async () => {
    const waiting = Array.from({ length: 60 }, () =>
      failure(server.client.call('Check', { ...read, min_revision: 1_000 })),
    );
    const errors = await Promise.all(waiting);
    expect(errors.every(({ code }) => code === status.UNAVAILABLE)).toBe(true);
    const refused = errors.filter(({ details }) => details.includes('limits.waiting_calls'));
    expect(refused).toHaveLength(40);
    expect(await server.client.call('Check', read)).toMatchObject({ reason: 'REASON_NO_GRANT' });
  });
});

describe('Explain', () => {
  it(`of a closure of ${ROLES} nested roles holds nobody up`, async () => {
    const request = { ...read, action: 'p399:write', resource: {} };
    const answer = await within(2_000, server.client.call('Explain', request));
    expect(answer['check']).toMatchObject({ reason: 'REASON_NO_GRANT' });
    expect(answer['missing']).toContainEqual({ kind: 'permission', text: 'p399:write on role r0' });
    const allowed = await server.client.call('Explain', { ...request, action: 'p399:read' });
    const rbac = (allowed['layers'] as Answer[]).find(({ name }) => name === 'rbac');
    const [fact] = (rbac?.['facts'] ?? []) as { chain: string[] }[];
    expect(fact?.chain).toHaveLength(ROLES + 1);
    expect(fact?.chain.slice(0, 3)).toEqual(['user:deep', 'role:r0', 'role:r1']);
  });
});

describe('health', () => {
  it('refuses bytes that are no message', async () => {
    const writer = new Writer();
    writer.uint(1, 7);
    const error = await failure(server.client.raw('/grpc.health.v1.Health/Check', writer.finish()));
    expect(error.code).toBe(status.INVALID_ARGUMENT);
    expect(await server.client.raw(CHECK, Buffer.from([0x0a, 0xff])).catch(() => 'refused')).toBe(
      'refused',
    );
  });
});
