/**
 * A revoke that was acknowledged and lost with its primary, on real servers. Promise: nobody who asks for its revision, by
 * number or by token, is answered from facts that do not contain it; operators are told (CONS-1).
 */
import { status, type ServiceError } from '@grpc/grpc-js';
import { beforeAll, describe, expect, it } from 'vitest';
import { manager, type Manager } from '../support/admin.ts';
import { startSentinel, until } from '../support/redis-server.ts';
import {
  startTestServer,
  type Answer,
  type TestClient,
  type TestServer,
} from '../support/server.ts';
import { endingWithAll, storeFor } from './support.ts';

const ending = endingWithAll();
const STATE = {
  tenant: 'acme',
  users: [
    { id: 'alice', superuser: true },
    { id: 'root', superuser: true },
  ],
};
const QUESTION = {
  tenant: 'acme',
  subject: { id: 'alice' },
  action: 'doc:read',
  resource: { type: 'doc', id: 'd' },
};

let seen: TestServer;
let late: TestServer;
let token: string;
let fresh: string;
/** What the revoke, and a check after it, were answered. */
let before: readonly Answer[];

/** Ok, or the code and the reason of the failure. */
const outcomeOf = async (work: Promise<Answer>): Promise<string> =>
  work.then(
    () => 'answered',
    (error: unknown) => {
      // Calls fail with this alone.
      const { code, metadata } = error as ServiceError;
      const details = String(metadata.get('grpc-status-details-bin')[0]);
      const reason = ['HISTORY_LOST', 'VERSION', 'BadRequest', 'UNAVAILABLE'].find((one) =>
        details.includes(one),
      );
      return `${status[code]} ${reason}`;
    },
  );
const LOST = 'UNAVAILABLE HISTORY_LOST';

beforeAll(async () => {
  const sentinel = ending.add(await startSentinel(), (all) => all.dispose());
  const overrides = { store: sentinel.url, facts: { heartbeat_ms: 100 } };
  const start = async (): Promise<TestServer> =>
    ending.add(await startTestServer(STATE, overrides), (one) => one.close());
  seen = await start();
  const root: Manager = manager(storeFor(ending, sentinel.url));
  const user = (id: string): Promise<Answer> => root.as('operator', 'CreateUser', { user: { id } });
  for (const id of ['a', 'b', 'c']) await user(id);
  const [primary, replica] = sentinel.servers;
  // The replica has all of this, and nothing of what comes.
  await until(async () => (await primary.command('WAIT', 1, 1_000)) === 1, 20_000);
  await replica.command('REPLICAOF', '127.0.0.1', 1);
  const revoke = await root.as('operator', 'UpdateUser', { id: 'alice', superuser: false });
  token = String(revoke['consistency_token']);
  before = [revoke, await seen.client.call('Check', { ...QUESTION, min_revision: 5 })];
  await primary.kill();
  await replica.command('REPLICAOF', 'NO', 'ONE');
  await until(async () => (await sentinel.primary()) === replica, 30_000);
  for (const id of ['d', 'e'])
    await until(async () => {
      // An attempt whose answer was lost may have been done: then it is there, and nothing else is.
      const done = await user(id).catch(() =>
        root.as('operator', 'UpdateUser', { id, createrole: false }).catch(() => undefined),
      );
      fresh = String(done?.['consistency_token']);
      return done !== undefined;
    }, 30_000);
  late = await start();
  await until(
    async () =>
      (await seen.client.call('Check', QUESTION).catch((): Answer => ({})))['revision'] === 6,
    30_000,
  );
}, 120_000);

describe('a revision that was lost', () => {
  it('leaves facts that allow what it had revoked: this is what must not be told as newer', async () => {
    expect(before).toMatchObject([{ revision: 5 }, { revision: 5, allowed: false }]);
    for (const { client } of [seen, late])
      expect(await client.call('Check', QUESTION)).toMatchObject({ allowed: true, revision: 6 });
  });

  const asks: readonly (readonly [
    string,
    (client: TestClient, more: object) => Promise<Answer>,
  ])[] = [
    ['Check', (client, more) => client.call('Check', { ...QUESTION, ...more })],
    ['Explain', (client, more) => client.call('Explain', { ...QUESTION, ...more })],
    [
      'BatchCheck, default',
      (client, more) => client.call('BatchCheck', { ...more, checks: [QUESTION] }),
    ],
    [
      'BatchCheck, item',
      (client, more) => client.call('BatchCheck', { checks: [QUESTION, { ...QUESTION, ...more }] }),
    ],
    [
      'Filter',
      (client, { ...more }) => {
        const { resource, ...question } = QUESTION;
        return client.call('Filter', { ...question, objects: [resource], ...more });
      },
    ],
  ];

  it.each(asks)(
    '%s: its token is refused everywhere, its number where it was seen',
    async (_, ask) => {
      expect(await outcomeOf(ask(seen.client, { consistency_token: token }))).toBe(LOST);
      expect(await outcomeOf(ask(late.client, { consistency_token: token }))).toBe(LOST);
      expect(await outcomeOf(ask(seen.client, { min_revision: 5 }))).toBe(LOST);
      // The token of the newest revision, and numbers of both histories, are answered.
      for (const more of [{ consistency_token: fresh }, { min_revision: 4 }, { min_revision: 6 }])
        for (const { client } of [seen, late])
          expect(await outcomeOf(ask(client, more))).toBe('answered');
    },
  );

  it('CheckStream: is the answer of its message, and the others go on', async () => {
    const stream = seen.client.stream();
    const answers: Answer[] = [];
    stream.on('data', (answer: Answer) => answers.push(answer));
    stream.write({ ...QUESTION, id: 'lost', consistency_token: token });
    stream.write({ ...QUESTION, id: 'good', consistency_token: fresh });
    await until(async () => answers.length === 2, 10_000);
    stream.cancel();
    stream.on('error', () => {});
    expect(answers.find(({ id }) => id === 'lost')).toMatchObject({
      allowed: false,
      reason: 'REASON_HISTORY_LOST',
    });
    expect(answers.find(({ id }) => id === 'good')).toMatchObject({ allowed: true });
  });

  it('a token that was altered, or is of another tenant, is an error', async () => {
    const altered = (at: number): string =>
      `${token.slice(0, at)}${token[at] === 'A' ? 'B' : 'A'}${token.slice(at + 1)}`;
    const tokens = [
      ...Array.from({ length: token.length }, (_, at) => altered(at)),
      token.slice(0, -1),
      `${token}A`,
      `${token}=`,
      'x'.repeat(10_000),
      '5',
      '\u0000',
    ];
    for (const one of tokens)
      for (const method of ['Check', 'Explain'])
        expect(
          await outcomeOf(seen.client.call(method, { ...QUESTION, consistency_token: one })),
          one,
        ).toBe('INVALID_ARGUMENT BadRequest');
    const elsewhere = { ...QUESTION, tenant: 'other', consistency_token: fresh };
    expect(await outcomeOf(seen.client.call('Check', elsewhere))).toBe(
      'INVALID_ARGUMENT BadRequest',
    );
  });

  it('is told by /readyz and a metric', async () => {
    const get = async (path: string): Promise<string> =>
      (await fetch(`http://${seen.running.addresses.http}${path}`)).text();
    expect(JSON.parse(await get('/readyz'))).toMatchObject({
      ready: true,
      checks: { history: 'lost for 1 tenant(s): see the log' },
    });
    const metrics = await get('/metrics');
    expect(metrics).toMatch(/^postern_feed_history_lost_total 1$/m);
    expect(metrics).toMatch(/^postern_history_lost_tenants 1$/m);
    expect(metrics).toMatch(/reason="HISTORY_LOST"[^\n]*\} [1-9]/);
  });
});
