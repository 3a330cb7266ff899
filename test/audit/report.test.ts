/** `postern policy-set report`: what a set on trial would change, and whether it is safe to enforce it. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { yamlText } from '../../src/config/yaml-text.ts';
import type { Line } from '../../src/audit/logs/names.ts';
import { reportOn } from '../../src/audit/reports/policy-rollout.ts';
import { DENIED, openRecorder } from '../support/audit-records.ts';
import { postern, serve, type Ran, type Serving } from '../support/process.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';
import { startTestServer, type TestClient } from '../support/server.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { fileLog } from './world-server.ts';

interface Group {
  readonly change: string;
  readonly key_id: string;
  readonly action: string;
  readonly rule: string;
  readonly requests: number;
  readonly objects: number;
  readonly first_seen: string;
  readonly last_seen: string;
  readonly examples: readonly string[];
}

/** The answer of `policy-set report -o json`. */
interface Report {
  readonly verdict: string;
  readonly keys_from: string;
  readonly decisions: number;
  readonly took_part?: { readonly requests: number };
  readonly outdated: number;
  readonly would_change?: { readonly requests: number };
  readonly newly_denied: number;
  readonly newly_allowed: number;
  readonly groups: readonly Group[];
  readonly attributes: readonly { attribute: string; values: string; requests: number }[];
  readonly unknown: readonly { other_set: string; requests: number }[];
}

async function report(
  set: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<{ readonly code: number | null; readonly told: Report }> {
  const ran = await postern(['policy-set', 'report', set, '-o', 'json', ...args], environment);
  if (ran.stdout === '') throw new Error(ran.stderr);
  return { code: ran.code, told: JSON.parse(ran.stdout) as Report };
}

describe('from author to enforcement, on a running server', () => {
  const TOKEN = 'operator-token-of-this-test-0123456789';
  const directory = temporaryDirectory();
  let server: Serving;
  let log: string;
  beforeAll(async () => {
    server = await serve([], {
      settings: yamlText({
        catalog: join(PACKAGE_ROOT, 'config/actions.yaml'),
        default_roles: join(PACKAGE_ROOT, 'config/roles.yaml'),
        store: 'embedded:store',
        grpc: { address: '127.0.0.1:0' },
        http: { address: '127.0.0.1:0' },
        audit: fileLog('audit.jsonl'),
      }),
      environment: { POSTERN_ADMIN_TOKEN: TOKEN },
    });
    log = join(server.directory, 'audit.jsonl');
    await ok('tenant', 'create', 'shop', '--owner', 'olivia');
    await ok('key', 'create', 'backend', '--role', 'default_allow', '--mode', 'enforce');
  });
  afterAll(() => server.dispose());

  const environment = (): Readonly<Record<string, string>> => ({
    ...server.environment,
    POSTERN_TOKEN: TOKEN,
    POSTERN_TENANT: 'shop',
  });
  const run = (...args: readonly string[]): Promise<Ran> => postern(args, environment());
  const ok = async (...args: readonly string[]): Promise<string> => {
    const ran = await run(...args);
    expect(`${args.join(' ')}: ${ran.code} ${ran.stderr}`).toMatch(/: 0 /);
    return ran.stdout;
  };
  /** Asks, and waits until the answer is recorded. @returns the exit code */
  const ask = async (action: string, ...args: readonly string[]): Promise<number | null> => {
    const records = (): number =>
      readFileSync(log, 'utf8')
        .split('\n')
        .filter((line) => !line.includes('"type":"seal"')).length;
    const before = records();
    const { code } = await run('check', '-', action, '--key', 'backend', ...args);
    await expect.poll(records).toBe(before + 1);
    return code;
  };
  const write = (mode: string, actions: readonly string[]): string => {
    const file = join(directory, 'no-destruction.yaml');
    const rules = [{ id: 'no-delete', effect: 'deny', actions }];
    const set = { name: 'no-destruction', mode, rules };
    writeFileSync(file, yamlText({ policy_set: set }));
    return file;
  };
  const reported = (): ReturnType<typeof report> =>
    report('no-destruction', ['--file', log], environment());

  it('a set that no key carries is not on trial', async () => {
    await ok('policy-set', 'create', '-f', write('report_only', ['user.delete', 'thread.delete']));
    const ran = await run('policy-set', 'report', 'no-destruction', '--file', log);
    expect(ran.code).toBe(2);
    expect(ran.stderr).toContain('`no-destruction` is on trial with no key of `shop`');
  });

  it('without decisions there is not enough to tell', async () => {
    await ok('key', 'attach', 'backend', 'no-destruction');
    const { code, told } = await reported();
    expect(told).toMatchObject({ verdict: 'not_enough_evidence', keys_from: 'server' });
    expect(code).toBe(2);
  });

  it('tells what it would deny, to whom, of what', async () => {
    expect(await ask('user.delete')).toBe(0);
    expect(await ask('user.get')).toBe(0);
    expect(await ask('thread.delete', '--attr', 'team=web')).toBe(0);
    const { code, told } = await reported();
    expect(told).toMatchObject({
      verdict: 'would_change',
      took_part: { requests: 3 },
      would_change: { requests: 2 },
      newly_denied: 2,
      newly_allowed: 0,
      attributes: [{ change: 'newly_denied', attribute: 'team', values: '["web"]', requests: 1 }],
    });
    const rule = 'no-destruction/no-delete';
    expect(told.groups).toMatchObject([
      { change: 'newly_denied', key_id: 'backend', action: 'user.delete', rule, requests: 1 },
      { change: 'newly_denied', key_id: 'backend', action: 'thread.delete', rule, requests: 1 },
    ]);
    expect(code).toBe(1);
    const table = await run('policy-set', 'report', 'no-destruction', '--file', log);
    expect(table.stdout).toMatch(
      /^newly denied +backend +user\.delete +no-destruction\/no-delete +1 /m,
    );
    expect(table.stdout).toMatch(
      /^not safe to enforce no-destruction: 2 of 3 decisions, .* would change$/m,
    );
  });

  it('decisions from before the set was changed prove nothing of it', async () => {
    await ok('policy-set', 'update', '-f', write('report_only', ['user.delete']));
    const { code, told } = await reported();
    expect(told).toMatchObject({ verdict: 'not_enough_evidence', outdated: 3 });
    expect(code).toBe(2);
  });

  it('is safe once nothing would change, and then enforces what it said', async () => {
    expect(await ask('thread.delete')).toBe(0);
    const { code, told } = await reported();
    expect(told).toMatchObject({ verdict: 'safe', took_part: { requests: 1 }, groups: [] });
    expect(code).toBe(0);
    await ok('policy-set', 'update', '-f', write('enforce', ['user.delete']));
    expect(await ask('thread.delete')).toBe(0);
    expect(await ask('user.delete')).toBe(1);
  });

  it.each([
    [['nope', '--file', 'LOG'], 'policy set `nope`'],
    // The settings name the log.
    [['no-destruction'], 'policy set `no-destruction` is on trial with no key of `shop`'],
    [
      ['no-destruction', '--config', 'config/postern.yaml'],
      'has no audit sink that can be read: give --file FILE or --redis URL',
    ],
    [['no-destruction', '--file', 'nowhere.jsonl'], '`nowhere.jsonl`: there is no such file'],
  ])('%j is refused with exit code 2', async (args, message) => {
    const ran = await run(
      'policy-set',
      'report',
      ...args.map((arg) => (arg === 'LOG' ? log : arg)),
    );
    expect(ran.stderr).toContain(message);
    expect(ran.code).toBe(2);
  });
});

describe('several sets on trial', () => {
  const directory = temporaryDirectory();
  const log = join(directory, 'audit.jsonl');
  const state = join(directory, 'state.yaml');
  const rule = (
    id: string,
    effect: string,
    actions: readonly string[],
    attributes?: object,
  ): object => ({
    id,
    effect,
    actions,
    ...(attributes === undefined ? {} : { attributes }),
  });
  const shop = {
    tenant: 'shop',
    policy_sets: [
      { name: 'first', mode: 'report_only', rules: [rule('no', 'deny', ['user.delete'])] },
      {
        name: 'second',
        mode: 'report_only',
        rules: [
          rule('no', 'deny', ['user.delete', 'thread.delete']),
          rule('own', 'allow', ['graph.search'], { owner: ['a'] }),
        ],
      },
      {
        name: 'hiding',
        mode: 'report_only',
        rules: [rule('b', 'deny', ['graph.search'], { owner: ['b'] })],
      },
      { name: 'in-force', mode: 'enforce', rules: [] },
    ],
    keys: [
      { id: 'open', role: 'default_allow', mode: 'enforce', policy_sets: ['first', 'second'] },
      { id: 'shut', role: 'default_deny', mode: 'enforce', policy_sets: ['second'] },
      { id: 'hider', role: 'default_allow', mode: 'enforce', policy_sets: ['hiding'] },
      { id: 'firm', role: 'default_allow', mode: 'enforce', policy_sets: ['in-force'] },
    ],
  };
  beforeAll(async () => {
    writeFileSync(state, yamlText(shop));
    const server = await startTestServer(shop, { audit: fileLog(log) });
    await askShop(server.client);
    await server.close();
  });

  const text = (value: string): object => ({ owner: { stringValue: value } });
  async function askShop(client: TestClient): Promise<void> {
    const ask = (request: object, method = 'Check'): Promise<unknown> =>
      client.call(method, { tenant: 'shop', ...request });
    await ask({ key_id: 'open', action: 'user.delete' });
    await ask({ key_id: 'open', action: 'thread.delete' });
    await ask({ key_id: 'open', action: 'user.get' });
    for (const owner of ['a', 'b'])
      await ask({ key_id: 'shut', action: 'graph.search', resource: { attributes: text(owner) } });
    const objects = ['a', 'b', 'b'].map((owner, at) => ({ id: `n${at}`, attributes: text(owner) }));
    await ask({ key_id: 'hider', action: 'graph.search', objects }, 'Filter');
    await ask({ key_id: 'firm', action: 'user.get' });
  }

  it("tells of what is the set's own, and what another decided first", async () => {
    const { code, told } = await report('second', ['--file', log, '--state', state]);
    expect(told).toMatchObject({
      keys_from: 'state',
      decisions: 7,
      took_part: { requests: 5 },
      newly_denied: 1,
      newly_allowed: 1,
      unknown: [{ other_set: 'first', requests: 1 }],
    });
    expect(told.groups).toMatchObject([
      { change: 'newly_denied', key_id: 'open', action: 'thread.delete', rule: 'second/no' },
      { change: 'newly_allowed', key_id: 'shut', action: 'graph.search', rule: 'second/own' },
    ]);
    expect(code).toBe(1);
  });

  it('knows by the log alone the keys on which a rule of it has decided', async () => {
    const { code, told } = await report('second', ['--file', log, '--tenant', 'shop']);
    expect(told).toMatchObject({ keys_from: 'log', newly_denied: 1, newly_allowed: 1 });
    expect(code).toBe(1);
    const first = await report('first', ['--file', log, '--tenant', 'shop']);
    expect(first.told.groups).toMatchObject([{ key_id: 'open', rule: 'first/no', requests: 1 }]);
  });

  it('counts the objects that a Filter would hide', async () => {
    const { code, told } = await report('hiding', ['--file', log, '--state', state]);
    expect(told.groups).toMatchObject([
      { change: 'newly_denied', key_id: 'hider', action: 'graph.search', requests: 1, objects: 2 },
    ]);
    expect(code).toBe(1);
  });

  it('looks at a window of time', async () => {
    const window = ['--from', '2999-01-01T00:00:00Z'];
    const { code, told } = await report('second', ['--file', log, '--state', state, ...window]);
    expect(told).toMatchObject({ decisions: 0, verdict: 'not_enough_evidence' });
    expect(code).toBe(2);
  });

  it('says nothing of a set that is in force', async () => {
    const ran = await postern([
      'policy-set',
      'report',
      'in-force',
      '--file',
      log,
      '--state',
      state,
    ]);
    expect(ran.code).toBe(2);
    expect(ran.stderr).toContain('nor both in force');
  });
});

it('passes over what was decided before a change, also where a restore has set revisions back', async () => {
  const recorder = openRecorder();
  const at = (second: number): Date => new Date(Date.UTC(2026, 0, 1, 0, 0, second));
  const decided = (second: number): string =>
    recorder.decision({ tenant: 't', keyId: 'k', time: at(second), shadow: DENIED });
  const changed = (kind: string, id: string, after: object): string =>
    recorder.management({
      tenant: 't',
      // That of decisions is 7.
      revision: 3,
      time: at(2),
      changes: [{ kind, id, before: undefined, after: { id, ...after } }],
    });
  async function reported(change: string): ReturnType<typeof reportOn> {
    async function* lines(): AsyncGenerator<Line> {
      for (const text of [decided(1), change, decided(3)])
        yield { text, where: 'test', whole: true };
    }
    const carriers = new Map([['k', { alone: { enforce: true, report_only: true } }]]);
    return reportOn({ set: 'set', selection: { tenant: 't' }, carriers, onTrial: true }, lines);
  }
  for (const change of [
    changed('policy_set', 'set', { mode: 'report_only' }),
    changed('key', 'k', { policySets: ['set'] }),
  ])
    expect(await reported(change)).toMatchObject({ outdated: 1, took_part: { requests: 1 } });
  const other = changed('key', 'other', { policySets: ['set'] });
  expect(await reported(other)).toMatchObject({ outdated: 0, took_part: { requests: 2 } });
});

it('keeps its memory however many keys, actions and attributes there are, and tells what it did not list', async () => {
  async function* lines(): AsyncGenerator<Line> {
    for (let at = 0; at < 2_000; at++) {
      const record = {
        v: 1,
        type: 'decision',
        time: new Date(at).toISOString(),
        decision_id: `i-${at}`,
        api: 'check',
        tenant: 't',
        revision: 1,
        key_id: 'k',
        action: `a:${at}`,
        resource: { attributes: { n: [at] } },
        allowed: true,
        reason: 'ALLOWED',
        shadow: { allowed: false, differs: true },
        shadow_policy: ['set/rule'],
        policy: ['default_allow'],
        mode: 'report_only',
      };
      yield { text: JSON.stringify(record), where: `test:${at}`, whole: true };
    }
  }
  const selection = { tenant: 't' };
  const told = await reportOn({ set: 'set', selection, carriers: undefined, onTrial: true }, lines);
  expect(told.groups).toHaveLength(500);
  expect(told.attributes).toHaveLength(200);
  expect(told).toMatchObject({
    newly_denied: 2_000,
    other_groups: { requests: 1_500, first_seen: '1970-01-01T00:00:00.500Z' },
    other_attributes: { requests: 1_800, last_seen: '1970-01-01T00:00:01.999Z' },
  });
  expect(told.would_change?.examples).toEqual(['i-0', 'i-1', 'i-2', 'i-3', 'i-4']);
});
