/** `postern replay`: recorded decisions are reproduced by unchanged facts, and exactly the others by changed ones. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { progressBar } from '../../src/cli/kit/progress.ts';
import type { Request } from '../../src/engine/model.ts';
import type { World } from '../oracle/oracle.ts';
import { toEngine } from '../oracle/translate.ts';
import { filterRequestArb, makeWorldArb, requestArb } from '../oracle/worlds.ts';
import fc from '../support/fast-check.ts';
import { postern } from '../support/process.ts';
import { startRedis } from '../support/redis-server.ts';
import { SEED } from '../support/seed.ts';
import { startTestServer, type TestClient } from '../support/server.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import {
  checkAll,
  checkEach,
  checkStream,
  fileLog,
  filterAll,
  serveWorld,
  type Answered,
  type FilterQuestion,
} from './world-server.ts';

/** Over all worlds; the long run has 100,000. */
const RECORDS = Number(process.env['POSTERN_REPLAY'] ?? 30_000);
const WORLDS = 3;
const DISTINCT = 1_500;

let differences = 0;

/** The part of the answer of `replay -o json` that is compared. */
interface Replayed {
  readonly decisions: number;
  readonly replayed: number;
  readonly unchanged: number;
  readonly not_replayable: number;
  readonly differences: Readonly<Record<string, number>>;
  readonly changes: readonly {
    readonly change: string;
    readonly key_id: string;
    readonly action: string;
    readonly layer: string;
    readonly before: { readonly reason: string };
    readonly after: { readonly reason: string };
    readonly requests: number;
    readonly objects: number;
    readonly examples: readonly string[];
  }[];
  readonly other_changes?: object;
  readonly causes: readonly {
    readonly cause: string;
    readonly of: string;
    readonly requests: number;
  }[];
}

async function replay(
  args: readonly string[],
): Promise<{ readonly code: number | null; readonly told: Replayed }> {
  const ran = await postern(['replay', '-o', 'json', ...args]);
  if (ran.stdout === '') throw new Error(ran.stderr);
  return { code: ran.code, told: JSON.parse(ran.stdout) as Replayed };
}

/** Other rules and base roles decide, and some grants are gone. */
function changed({ catalog, state }: World): World {
  return {
    catalog,
    state: {
      ...state,
      policy_sets: state.policy_sets?.map((set) => ({
        ...set,
        rules: set.rules.map((rule, at) =>
          at > 0 ? rule : { ...rule, effect: rule.effect === 'allow' ? 'deny' : 'allow' },
        ),
      })),
      keys: state.keys?.map((key) => ({
        ...key,
        role: key.role === 'default_deny' ? 'default_allow' : 'default_deny',
      })),
      grants: state.grants?.filter((_, at) => at % 2 === 0),
    },
  };
}

describe(`random worlds (seed ${SEED})`, () => {
  it.each(Array.from({ length: WORLDS }, (_, at) => SEED + at))(
    'world %i: unchanged facts give the same decisions, changed ones exactly those that a server gives',
    async (seed) => {
      const [world] = fc.sample(makeWorldArb({ oddRuleActions: false }), { numRuns: 1, seed });
      if (world === undefined) throw new Error('no world');
      const directory = temporaryDirectory();
      const checks = fc.sample(requestArb(world), { numRuns: DISTINCT, seed }).map(toEngine);
      const filters = fc
        .sample(filterRequestArb(world), { numRuns: DISTINCT / 10, seed })
        .map(({ objects, limit = 0, offset = 0, ...who }): FilterQuestion => ({
          request: toEngine(who),
          objects: objects.map((resource) => toEngine({ ...who, resource }).resource),
          limit,
          offset,
        }));
      const bare = checks.slice(0, DISTINCT / 10).map((request): Request => ({
        ...request,
        resource: { ...request.resource, attributes: new Map(), sources: [] },
      }));
      const few = checks.slice(0, DISTINCT / 20);

      const was = await serveWorld(join(directory, 'was'), world);
      const recorded: { readonly asked: number; readonly answer: Answered; readonly of: string }[] =
        [];
      const note = (of: string, answers: readonly Answered[]): void => {
        for (const [asked, answer] of answers.entries()) recorded.push({ asked, answer, of });
      };
      note('filter', await filterAll(was, filters));
      note('bare', await checkStream(was, bare));
      note('check', await checkEach(was, 'Check', few));
      note('check', await checkEach(was, 'Explain', few));
      while (recorded.length < RECORDS / WORLDS) note('check', await checkAll(was, checks));
      await was.server.close();

      const same = await replay(['--log', was.log, '--config', was.config]);
      expect(same.told).toMatchObject({
        decisions: recorded.length,
        replayed: recorded.length,
        unchanged: recorded.length,
        causes: [],
        changes: [],
      });
      expect(same.code).toBe(0);

      const now = await serveWorld(join(directory, 'now'), changed(world));
      const after: Readonly<Record<string, readonly Answered[]>> = {
        check: await checkAll(now, checks),
        bare: await checkStream(now, bare),
        // Whatever stood on other pages.
        filter: await filterAll(
          now,
          filters.map((question) => ({ ...question, limit: 0 })),
        ),
      };
      await now.server.close();
      const expected = recorded.flatMap(({ asked, answer, of }) => {
        const then = after[of]?.[asked];
        if (then === undefined) throw new Error(`no answer to ${of} ${asked}`);
        const question = of === 'filter' ? filters[asked] : undefined;
        const changes =
          answer.reason === then.reason
            ? objectChanges(answer.visible ?? [], then.visible ?? [], question)
            : [changeOf(answer.reason, then.reason)];
        return changes.map((change) => ({ change, id: answer.decisionId }));
      });

      const { told, code } = await replay(['--log', was.log, '--config', now.config]);
      const counts = Map.groupBy(expected, ({ change }) => change);
      for (const [change, requests] of Object.entries(told.differences))
        expect([change, requests]).toEqual([change, counts.get(change)?.length ?? 0]);
      const different = new Set(expected.map(({ id }) => id));
      expect(told).toMatchObject({
        decisions: recorded.length,
        not_replayable: 0,
        unchanged: recorded.length - different.size,
      });
      expect(code).toBe(different.size === 0 ? 0 : 1);
      const names = new Set(expected.map(({ change, id }) => `${change} ${id}`));
      for (const { change, examples } of told.changes)
        for (const id of examples) expect(names).toContain(`${change} ${id}`);
      differences += different.size;
    },
    300_000,
  );

  it('were changed', () => {
    expect(differences).toBeGreaterThan(0);
  });
});

const shop = {
  tenant: 'shop',
  users: [{ id: 'alice' }, { id: 'bob' }],
  roles: [{ id: 'readers', permissions: ['kb:read'], members: ['bob'] }],
  grants: [{ principal: 'alice', path: 'work', actions: ['read'] }],
  policy_sets: [
    {
      name: 'no-destruction',
      mode: 'enforce',
      rules: [{ id: 'no-delete', effect: 'deny', actions: ['user.delete'] }],
    },
    {
      name: 'own',
      mode: 'enforce',
      rules: [
        { id: 'search', effect: 'allow', actions: ['graph.search'], attributes: { owner: ['a'] } },
      ],
    },
  ],
  keys: [
    { id: 'backend', role: 'default_allow', mode: 'enforce', policy_sets: ['no-destruction'] },
    { id: 'agent', role: 'default_deny', mode: 'enforce', policy_sets: ['own'] },
    { id: 'bobs', role: 'default_allow', mode: 'enforce', user: 'bob' },
    {
      id: 'slow',
      role: 'default_allow',
      mode: 'enforce',
      rate_limit: { requests: 1, per_seconds: 86_400 },
    },
  ],
};

type Shop = typeof shop;

/** Asks what the tests below replay. */
async function askShop(client: TestClient): Promise<void> {
  const ask = (request: object, method = 'Check'): Promise<unknown> =>
    client.call(method, { tenant: 'shop', ...request }).catch((error: unknown) => error);
  const text = (value: string): object => ({ owner: { stringValue: value } });
  await ask({ subject: { id: 'alice' }, action: 'read', resource: { path: 'work.a' } });
  await ask({ subject: { id: 'bob' }, action: 'kb:read' });
  await ask({ subject: { id: 'alice' }, action: 'kb:read', resource: { attributes: text('a') } });
  await ask({ key_id: 'backend', action: 'user.delete' });
  // The two questions of this key have different times.
  await setTimeout(10);
  await ask({ key_id: 'backend', action: 'graph.search', resource: { attributes: text('a') } });
  await ask({ key_id: 'agent', action: 'user.delete', resource: { attributes: text('a') } });
  await ask({ key_id: 'agent', action: 'graph.search', resource: { attributes: text('a') } });
  const objects = ['a', 'b', 'a'].map((owner, at) => ({ id: `n${at}`, attributes: text(owner) }));
  await ask({ key_id: 'agent', action: 'graph.search', objects }, 'Filter');
  await ask({ key_id: 'bobs', action: 'kb:read' });
  await ask({ key_id: 'slow', action: 'graph.search' });
  await ask({ key_id: 'slow', action: 'graph.search' });
  await ask({ credential: { api_key: 'pstk.nonsense' }, action: 'graph.search' });
  await ask({ tenant: 'elsewhere', subject: { id: 'alice' }, action: 'kb:read' });
}

describe('the log of a shop', () => {
  const directory = temporaryDirectory();
  const log = join(directory, 'audit.jsonl');
  const bare = join(directory, 'bare.jsonl');
  beforeAll(async () => {
    for (const [path, attributes] of [
      [log, true],
      [bare, false],
    ] as const) {
      const server = await startTestServer(shop, { audit: { ...fileLog(path), attributes } });
      await askShop(server.client);
      await server.close();
    }
  });

  /** A state file of the shop as it is after some changes. */
  const stateOf = (name: string, changes: Partial<Shop> | object = {}): string => {
    const file = join(directory, `${name}.yaml`);
    writeFileSync(file, stringify({ ...shop, ...changes }));
    return file;
  };
  const setFile = (name: string, set: object): string => {
    const file = join(directory, `${name}.yaml`);
    writeFileSync(file, stringify({ policy_set: set }));
    return file;
  };
  const candidate = (): string =>
    stateOf('candidate', {
      grants: [],
      policy_sets: shop.policy_sets.map((set) =>
        set.name === 'own'
          ? {
              ...set,
              rules: set.rules.map((rule) => ({ ...rule, attributes: { owner: ['b'] } })),
            }
          : { ...set, rules: [] },
      ),
    });

  it('by the same facts: no difference, and every cause of what is not replayed', async () => {
    const { code, told } = await replay(['--log', log, '--state', stateOf('same')]);
    expect(told).toMatchObject({ decisions: 13, replayed: 10, unchanged: 10, not_replayable: 3 });
    expect(told.causes.map(({ cause, of, requests }) => [cause, of, requests])).toEqual([
      ['no_decision', 'RATE_LIMITED', 1],
      ['credential', '', 1],
      ['no_facts', 'elsewhere', 1],
    ]);
    expect(code).toBe(0);
  });

  it('by other facts: what changes, by which rule of which layer', async () => {
    const { code, told } = await replay(['--log', log, '--state', candidate()]);
    const shown = told.changes.map(({ change, key_id, action, layer, before, after, objects }) => ({
      change,
      who: `${key_id} ${action}`,
      layer,
      before,
      after,
      objects,
    }));
    const allowed = { reason: 'ALLOWED', policy: ['own/search'] };
    expect(shown).toHaveLength(5);
    expect(shown).toEqual(
      expect.arrayContaining([
        {
          change: 'allow_to_deny',
          who: ' read',
          layer: 'access',
          before: { reason: 'ALLOWED', policy: [] },
          after: { reason: 'NO_GRANT', policy: [] },
          objects: 0,
        },
        {
          change: 'deny_to_allow',
          who: 'backend user.delete',
          layer: 'abac_action',
          before: { reason: 'ACTION_DENIED', policy: ['no-destruction/no-delete'] },
          after: { reason: 'ALLOWED', policy: ['default_allow'] },
          objects: 0,
        },
        {
          change: 'allow_to_deny',
          who: 'agent graph.search',
          layer: 'abac_object',
          before: allowed,
          after: { reason: 'OBJECT_HIDDEN', policy: ['own/search', 'default_deny'] },
          objects: 0,
        },
        {
          change: 'filter_hidden',
          who: 'agent graph.search',
          layer: 'abac_object',
          before: { reason: 'ALLOWED', policy: [] },
          after: { reason: 'OBJECT_HIDDEN', policy: ['own/search', 'default_deny'] },
          objects: 2,
        },
        {
          change: 'filter_shown',
          who: 'agent graph.search',
          layer: 'abac_object',
          before: { reason: 'HIDDEN', policy: [] },
          after: allowed,
          objects: 1,
        },
      ]),
    );
    expect(told.differences).toEqual({
      allow_to_deny: 2,
      deny_to_allow: 1,
      filter_hidden: 1,
      filter_shown: 1,
      reason: 0,
    });
    expect(code).toBe(1);
  });

  it('the table, the JUnit report, and what ends with exit code 1', async () => {
    const junit = join(directory, 'junit.xml');
    const args = ['replay', '--log', log, '--state', candidate(), '--junit', junit];
    const any = await postern(args);
    expect(any.code).toBe(1);
    expect(any.stdout).toMatch(
      /^deny → allow +1 +backend +user\.delete +ACTION_DENIED no-destruction\/no-delete +ALLOWED default_allow +abac_action +\w+-\w+$/m,
    );
    expect(any.stdout).toMatch(/^13 decisions: 10 replayed, 3 not; 6 unchanged, 4 different \(/m);
    expect(readFileSync(junit, 'utf8')).toContain(
      '<testsuites tests="9" failures="5" errors="0" skipped="3">',
    );
    const only = stateOf('no-grants', { grants: [] });
    const run = async (failOn: string): Promise<number | null> =>
      (await postern(['replay', '--log', log, '--state', only, '--fail-on', failOn])).code;
    expect([await run('any'), await run('allow-to-deny'), await run('deny-to-allow')]).toEqual([
      1, 1, 0,
    ]);
  });

  it('without inputs: what does not depend on them, and nothing else', async () => {
    const { told } = await replay(['--log', bare, '--state', candidate()]);
    // user.delete of both keys, alice's and bob's, the key that acts for bob, the first of the slow key.
    expect(told).toMatchObject({ decisions: 13, replayed: 7, independent: 2, not_replayable: 6 });
    expect(told.causes.map(({ cause, of, requests }) => [cause, of, requests])).toEqual([
      ['withheld_input', 'resource.attributes', 2],
      ['withheld_input', 'objects', 1],
      ['no_decision', 'RATE_LIMITED', 1],
      ['credential', '', 1],
      ['no_facts', 'elsewhere', 1],
    ]);
    expect(told.differences).toMatchObject({
      allow_to_deny: 1,
      deny_to_allow: 1,
      filter_hidden: 0,
    });
  });

  it('a key that acts for somebody else now, one that is revoked, one that has expired', async () => {
    const keys = shop.keys.map((key) => {
      if (key.id === 'bobs') return { ...key, user: 'alice' };
      return key.id === 'agent' ? { ...key, revoked: true } : key;
    });
    const { told } = await replay(['--log', log, '--state', stateOf('keys', { keys })]);
    expect(told.causes).toContainEqual(
      expect.objectContaining({ cause: 'key_of_another_user', of: 'bobs', requests: 1 }),
    );
    const of = (change: string): readonly object[] =>
      told.changes.filter((one) => one.change === change);
    // Two that were allowed, the Filter among them, and one that was denied.
    expect(of('allow_to_deny')).toMatchObject([
      { key_id: 'agent', after: { reason: 'KEY_INVALID' }, layer: 'credential' },
      { key_id: 'agent', after: { reason: 'KEY_INVALID' }, layer: 'credential' },
    ]);
    expect(of('reason')).toMatchObject([{ key_id: 'agent', before: { reason: 'ACTION_DENIED' } }]);
    const records = readFileSync(log, 'utf8');
    const asked = records.matchAll(/"time":"([^"]+)"[^\n]*"key_id":"backend"/g);
    // Between its two questions.
    const [first = '', second = ''] = [...asked].map(([, time]) => time);
    expect(first < second).toBe(true);
    const expiring = shop.keys.map((key) => ({ ...key, expires_at: second }));
    const { told: later } = await replay([
      '--log',
      log,
      '--state',
      stateOf('expiring', { keys: expiring }),
    ]);
    expect(later.changes.filter(({ key_id }) => key_id === 'backend')).toMatchObject([
      { action: 'graph.search', after: { reason: 'KEY_INVALID' }, requests: 1 },
    ]);
  });

  it('a set on trial, in the place of one or on keys beside it', async () => {
    const strict = setFile('strict', {
      name: 'strict',
      mode: 'enforce',
      rules: [{ id: 'no-search', effect: 'deny', actions: ['graph.search'] }],
    });
    const same = stateOf('same');
    const args = ['--log', log, '--state', same, '--policy-set', strict];
    const { told } = await replay([...args, '--attach', 'backend', '--attach', 'agent']);
    expect(told.differences).toMatchObject({ allow_to_deny: 3, deny_to_allow: 0 });
    expect(told.changes).toMatchObject([
      { after: { policy: ['strict/no-search'] }, layer: 'abac_action' },
      { after: { policy: ['strict/no-search'] }, layer: 'abac_action' },
      { after: { policy: ['strict/no-search'] }, layer: 'abac_action', objects: 3 },
    ]);
    const replaced = setFile('replaced', {
      name: 'no-destruction',
      mode: 'report_only',
      rules: [],
    });
    const ran = await postern(['replay', '--log', log, '--state', same, '--policy-set', replaced]);
    expect(ran.stderr).toContain('policy set no-destruction is report_only');
    expect(ran.stdout).toContain('deny → allow');
  });

  it.each([
    [['--policy-set', 'SET'], '`strict` is attached to no key of tenant `shop`'],
    [['--attach', 'backend'], '--attach: it needs --policy-set FILE'],
    [['--policy-set', 'SET', '--attach', 'nobody'], 'tenant `shop` has no key `nobody`'],
    [['--state', 'STATE'], 'is the second of tenant `shop`'],
    [['--log', 'nowhere.jsonl'], '`nowhere.jsonl`: there is no such file'],
    [['--policy-set', 'BROKEN'], 'unknown action'],
    [['--tenant', 'nobody'], 'no decision was found'],
    [['--from', '2999-01-01T00:00:00Z'], 'no decision was found'],
    [['--from', 'monday'], '--from: `monday` is not an RFC 3339 time'],
  ])('%j is refused with exit code 2', async (args, message) => {
    const files: Readonly<Record<string, string>> = {
      STATE: stateOf('same'),
      SET: setFile('strict', { name: 'strict', mode: 'enforce', rules: [] }),
      BROKEN: setFile('broken', {
        name: 'broken',
        mode: 'enforce',
        rules: [{ id: 'r', effect: 'deny', actions: ['graph.serch'] }],
      }),
    };
    const given = args.map((arg) => files[arg] ?? arg);
    const ran = await postern(['replay', '--log', log, '--state', stateOf('same'), ...given]);
    expect(ran.stderr).toContain(message);
    expect(ran.code).toBe(2);
  });

  it('of a Redis that has no such stream is refused, and does not hang', async () => {
    const redis = await startRedis();
    for (const args of [
      ['replay', '--log', redis.url, '--state', stateOf('same')],
      ['policy-set', 'report', 'own', '--redis', redis.url, '--tenant', 'shop'],
    ]) {
      const ran = await postern(args);
      expect(ran.stderr).toContain('--stream: there is no stream `postern:audit`');
      expect(ran.code).toBe(2);
    }
    await redis.dispose();
  });

  it('reads what was rotated out, once; counts what is no record, or was erased', async () => {
    const lines = readFileSync(log, 'utf8').trimEnd().split('\n');
    const other = join(directory, 'rotated.jsonl');
    const rotated = join(directory, 'rotated-20300101T000000000Z.jsonl');
    writeFileSync(rotated, `${lines.slice(0, 6).join('\n')}\n`);
    const erase = ['audit', 'erase', '--subject', 'bob', '--tenant', 'shop', '--file', rotated];
    expect(await postern(erase)).toMatchObject({ code: 0 });
    const rest = [...lines.slice(6), 'rubbish', '{"v":2,"type":"decision"}', '{"v":1,"ty'];
    writeFileSync(other, rest.join('\n'));
    const args = ['--log', other, '--log', rotated, '--state', stateOf('same'), '-o', 'json'];
    const ran = await postern(['replay', ...args]);
    const told = JSON.parse(ran.stdout) as Replayed;
    expect(told).toMatchObject({ decisions: 13, unchanged: 9, unreadable: { lines: 3 } });
    expect(told.causes).toContainEqual(expect.objectContaining({ cause: 'erased', requests: 1 }));
    expect(ran.stderr).toContain(
      `3 line(s) are not records, the first: ${other}:${rest.length - 2}: `,
    );
  });
});

it('draws a bar on a terminal, and nothing elsewhere', () => {
  const draw = (isTTY: boolean): string => {
    let text = '';
    const bar = progressBar(2_560, 'records', { isTTY, write: (piece) => (text += piece) });
    const until = performance.now() + 250;
    while (performance.now() < until) bar.step(1);
    bar.end();
    return text;
  };
  expect(draw(false)).toBe('');
  const drawn = draw(true);
  expect(drawn.startsWith('\r█')).toBe(true);
  expect(drawn).toMatch(/ 100 % {2}\d+ records, \d+\/s/);
  expect(drawn.endsWith('\r\u001b[K')).toBe(true);
});

function changeOf(before: string, after: string): string {
  if (before === 'ALLOWED') return 'allow_to_deny';
  return after === 'ALLOWED' ? 'deny_to_allow' : 'reason';
}

/** What a Filter hides and shows, as far as its page went. */
function objectChanges(
  before: readonly number[],
  after: readonly number[],
  question: FilterQuestion | undefined,
): string[] {
  if (question === undefined) return [];
  const { limit, objects } = question;
  const last = limit > 0 && before.length === limit ? (before.at(-1) ?? 0) : objects.length - 1;
  const page = after.filter((index) => index <= last);
  return [
    ...(before.some((index) => !page.includes(index)) ? ['filter_hidden'] : []),
    ...(page.some((index) => !before.includes(index)) ? ['filter_shown'] : []),
  ];
}
