/** Policy sets that are large, deep or many are read off the thread of decisions, for those who may (ADM-1, ADM-11). */
import { join } from 'node:path';
import { writeFileSync } from 'node:fs';
import { Client, credentials, Metadata, status, type ServiceError } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { serve, type Serving } from '../support/process.ts';
import { methodsOf } from '../support/proto.ts';
import { connectTo, type TestClient } from '../support/server.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const TOKEN = 'operator-0123456789-0123456789';
const STATE = { tenant: 'acme', users: [{ id: 'root', superuser: true }, { id: 'alice' }] };

interface Outcome {
  readonly code: number;
  readonly details: string;
  readonly answer: Readonly<Record<string, unknown>>;
  readonly ms: number;
}

const rules = (count: number): string =>
  Array.from(
    { length: count },
    (_unused, index) => `    - { id: r${index}, effect: allow, actions: [graph.search] }\n`,
  ).join('');
const documentOf = (count: number): string =>
  `policy_set:\n  name: p\n  mode: off\n  rules:\n${rules(count)}`;

describe('a policy set that is large', () => {
  let server: Serving;
  let client: Client;
  let decisions: TestClient;
  const methods = methodsOf('AdminService');

  const call = (name: string, request: object, actor = 'root'): Promise<Outcome> =>
    new Promise((done) => {
      const method = methods[name] ?? expect.fail(`no ${name}`);
      const metadata = new Metadata();
      metadata.set('authorization', `Bearer ${TOKEN}`);
      metadata.set('postern-actor', `user:${actor}`);
      const start = performance.now();
      client.makeUnaryRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        { tenant: 'acme', ...request },
        metadata,
        { deadline: Date.now() + 60_000 },
        (error: ServiceError | null, answer) =>
          done({
            code: error?.code ?? 0,
            details: error?.details ?? '',
            answer: answer ?? {},
            ms: performance.now() - start,
          }),
      );
    });

  /** The longest that a Check waits while a call runs, ms. */
  const longestWait = async (running: Promise<unknown>): Promise<number> => {
    const state = { isOver: false };
    let longest = 0;
    void running.finally(() => (state.isOver = true));
    while (!state.isOver) {
      const start = performance.now();
      await decisions.call('Check', {
        tenant: 'acme',
        subject: { id: 'alice' },
        action: 'graph.search',
      });
      longest = Math.max(longest, performance.now() - start);
    }
    return longest;
  };

  beforeAll(async () => {
    const state = join(temporaryDirectory(), 'state.yaml');
    writeFileSync(state, stringify(STATE));
    server = await serve(['--state', state], { environment: { POSTERN_ADMIN_TOKEN: TOKEN } });
    client = new Client(server.grpc, credentials.createInsecure());
    decisions = connectTo(server.grpc, { own: true });
    await call('ValidatePolicySet', { document: documentOf(100) });
  });
  afterAll(async () => {
    client.close();
    decisions.close();
    await server.dispose();
  });

  it('ADM-1: is validated only for those who could put it, before any of it is read', async () => {
    for (const document of [documentOf(30_000), '['.repeat(1_000_000), '', 'policy_set: {}']) {
      const refused = await call('ValidatePolicySet', { document }, 'alice');
      expect(refused).toMatchObject({ code: status.PERMISSION_DENIED });
      expect(refused.details).toContain('(ADM-1)');
    }
  });

  it.each([
    ['60,000 rules', documentOf(60_000), 'admin.policy_sets.max_bytes'],
    ['20,000 rules', documentOf(20_000), 'admin.policy_sets.max_rules'],
    ['a million brackets', '['.repeat(1_000_000), 'admin.policy_sets.max_depth'],
    ['lists in lists', `${'- '.repeat(500)}a`, 'admin.policy_sets.max_depth'],
    [
      'aliases',
      `policy_set: { name: &a p, mode: off, rules: [${'*a, '.repeat(2_000)}] }`,
      'admin.policy_sets.max_aliases',
    ],
  ])(
    'ADM-11: %s hold nobody and are refused by the name of the setting',
    async (_name, document, setting) => {
      for (const name of ['ValidatePolicySet', 'PutPolicySet']) {
        const running = call(name, { document });
        // The machine may be busy; the parser would hold it for many seconds.
        expect(await longestWait(running)).toBeLessThan(600);
        const { code, details, answer } = await running;
        expect(code === 0 ? JSON.stringify(answer['problems']) : details, name).toContain(setting);
        expect(code).toBe(name === 'PutPolicySet' ? status.INVALID_ARGUMENT : 0);
      }
    },
  );

  it('ADM-11: 2,000 plain rules are put, attached and put again, and nobody waits for it', async () => {
    const document = documentOf(2_000);
    const put = call('PutPolicySet', { document });
    expect(await longestWait(put)).toBeLessThan(600);
    expect(await put).toMatchObject({ code: 0 });
    const key = { id: 'k', role: 'default_deny', mode: 'enforce', policy_sets: ['p'] };
    expect(await call('CreateKey', { key })).toMatchObject({ code: 0 });
    const again = call('PutPolicySet', { document: documentOf(1_999) });
    expect(await longestWait(again)).toBeLessThan(600);
    expect((await again).code).toBe(0);
    // Quadratic, it took most of a minute.
    expect((await again).ms).toBeLessThan(5_000);
  });

  it('ADM-11: a crowd of them is answered or told to come again', async () => {
    const document = documentOf(1_000);
    const crowd = Promise.all(
      Array.from({ length: 40 }, () => call('ValidatePolicySet', { document })),
    );
    expect(await longestWait(crowd)).toBeLessThan(1_500);
    const codes = (await crowd).map(({ code }) => code);
    expect(new Set(codes)).toEqual(new Set([0, status.UNAVAILABLE]));
  }, 120_000);
});
