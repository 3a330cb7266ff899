/** ADM-10: what a tenant has and a state file does not list is refused, removed or left. */
import { beforeEach, describe, expect, it } from 'vitest';
import { stringify, parse } from 'yaml';
import { OPERATOR } from '../../src/admin/actor.ts';
import { Refused } from '../../src/admin/refused.ts';
import { openMemoryStore } from '../support/memory-store.ts';
import { bytesOf, manager, TENANT, type Manager } from '../support/admin.ts';

type State = Record<string, Record<string, unknown>[]> & { tenant: string };
type Entry = Record<string, unknown>;

const STATE = {
  tenant: TENANT,
  users: [
    { id: 'olga', roles: ['owner'] },
    {
      id: 'alice',
      type: 'agent',
      email: 'a@example.com',
      external_id: 'u-1',
      metadata: { team: 'eng' },
      superuser: true,
      roles: ['team'],
      workspaces: ['studio'],
      admin_of: ['role:team'],
    },
    { id: 'bob', suspended: true, createrole: true },
    { id: 'gone', deleted: true },
  ],
  roles: [
    {
      id: 'team',
      level: 5,
      description: 'a team',
      permissions: ['kb:read', 'kb:write'],
      creator: 'bob',
    },
    { id: 'crew', members: ['role:team', 'user:bob'] },
  ],
  workspaces: [{ id: 'studio', description: 'a studio', creator: 'bob', members: ['user:bob'] }],
  grants: [
    { principal: 'user:alice', path: 'work', actions: ['read', 'write'], grant_option: true },
    { principal: 'role:team', path: 'docs', actions: ['read'] },
  ],
  owners: [{ path: 'infra', owner: 'bob' }],
  policy_sets: [
    {
      name: 'reads',
      mode: 'enforce',
      rules: [
        { id: 'r', effect: 'allow', actions: ['readonly'] },
        { id: 'd', effect: 'deny', actions: ['user.delete'] },
      ],
    },
  ],
  keys: [
    {
      id: 'k',
      role: 'default_deny',
      mode: 'enforce',
      policy_sets: ['reads'],
      user: 'bob',
      expires_at: '2100-01-01T00:00:00Z',
      rate_limit: { requests: 5 },
    },
  ],
};

let room: Manager;

type Flags = { readonly prune: boolean; readonly keep: boolean };
const NEITHER: Flags = { prune: false, keep: false };
const PRUNE: Flags = { prune: true, keep: false };
const KEEP: Flags = { prune: false, keep: true };

interface Answer {
  readonly revision: number;
  readonly removals: readonly { kind: string; id: string; what: string }[];
  readonly needs_prune_or_keep: boolean;
}

const apply = async (state: unknown, flags: Flags, dryRun = false): Promise<Answer> => {
  const options = { dry_run: dryRun, idempotency_key: '', expected_revision: 0, request_id: '' };
  const answer = await room.admin.apply(
    OPERATOR,
    { tenant: TENANT, options, ...flags },
    bytesOf(stringify(state)),
  );
  return answer as Answer;
};
const exported = async (): Promise<State> => {
  const { text } = await room.admin.export(OPERATOR, { tenant: TENANT, format: 'yaml' });
  return parse(text) as State;
};
const without = (entries: Entry[] | undefined, id: string, ...fields: string[]): void => {
  const entry = entries?.find(
    (one) => one['id'] === id || one['name'] === id || one['path'] === id,
  );
  for (const field of fields) delete entry?.[field];
};
const drop = (entries: Entry[] | undefined, id: string): void => {
  const at = (entries ?? []).findIndex(
    (one) => one['id'] === id || one['path'] === id || one['name'] === id,
  );
  expect(at).toBeGreaterThanOrEqual(0);
  entries?.splice(at, 1);
};

beforeEach(async () => {
  room = manager(openMemoryStore());
  await apply(STATE, NEITHER);
});

/** A removal, by what it tells, and how a file that was exported comes to make it. */
const REMOVALS: readonly (readonly [string, (state: State) => void])[] = [
  [
    'user `alice`',
    (s) => {
      drop(s['users'], 'alice');
      drop(s['grants'], 'work');
    },
  ],
  [
    'role `crew`',
    (s) => {
      drop(s['roles'], 'crew');
      without(s['roles'], 'team', 'roles');
      without(s['users'], 'bob', 'roles');
    },
  ],
  [
    'workspace `studio`',
    (s) => {
      drop(s['workspaces'], 'studio');
      without(s['users'], 'alice', 'workspaces');
      without(s['users'], 'bob', 'workspaces');
    },
  ],
  ['owner `infra`', (s) => drop(s['owners'], 'infra')],
  ['key `k`', (s) => drop(s['keys'], 'k')],
  [
    'policy_set `reads`',
    (s) => {
      drop(s['policy_sets'], 'reads');
      without(s['keys'], 'k', 'policy_sets');
    },
  ],
  ['membership in role `team`', (s) => without(s['users'], 'alice', 'roles', 'admin_of')],
  ['membership in workspace `studio`', (s) => without(s['users'], 'bob', 'workspaces')],
  ['membership in role `crew`', (s) => without(s['roles'], 'team', 'roles')],
  [
    'permission `kb:write`',
    (s) => {
      const team = s['roles']?.find(({ id }) => id === 'team');
      if (team) team['permissions'] = ['kb:read'];
    },
  ],
  ['permission `kb:read`', (s) => without(s['roles'], 'team', 'permissions')],
  ['admin option of `role:team`', (s) => without(s['users'], 'alice', 'admin_of')],
  ["grant of read on 'docs'", (s) => drop(s['grants'], 'docs')],
  [
    "grant of write on 'work'",
    (s) => {
      const row = s['grants']?.find(({ path }) => path === 'work');
      if (row) row['actions'] = ['read'];
    },
  ],
  ['attached policy set `reads`', (s) => without(s['keys'], 'k', 'policy_sets')],
  [
    'rule `d`',
    (s) => {
      const [set] = s['policy_sets'] ?? [];
      if (set) set['rules'] = (set['rules'] as Entry[]).slice(0, -1);
    },
  ],
  ...(['email', 'external_id', 'metadata', 'superuser', 'type'] as const).map(
    (field) => [`\`${field}\``, (s: State) => without(s['users'], 'alice', field)] as const,
  ),
  ...(['suspended', 'createrole'] as const).map(
    (field) => [`\`${field}\``, (s: State) => without(s['users'], 'bob', field)] as const,
  ),
  ...(['level', 'description', 'creator'] as const).map(
    (field) => [`\`${field}\``, (s: State) => without(s['roles'], 'team', field)] as const,
  ),
  ...(['description', 'creator'] as const).map(
    (field) => [`\`${field}\``, (s: State) => without(s['workspaces'], 'studio', field)] as const,
  ),
  ...(['user', 'expires_at', 'rate_limit'] as const).map(
    (field) => [`\`${field}\``, (s: State) => without(s['keys'], 'k', field)] as const,
  ),
];

const edited =
  (section: string, id: string, values: Entry) =>
  (state: State): void => {
    const entry = state[section]?.find((one) => one['id'] === id || one['path'] === id);
    Object.assign(entry ?? {}, values);
  };

/** What a value that the file states takes the place of. */
const REPLACED: readonly (readonly [string, (state: State) => void])[] = [
  ['owner `bob`', edited('owners', 'infra', { owner: 'user:alice' })],
  ['base role default_deny', edited('keys', 'k', { role: 'default_allow' })],
  ['`user`', edited('keys', 'k', { user: 'alice' })],
  ['`mode` enforce', edited('keys', 'k', { mode: 'off' })],
  ['for good', edited('keys', 'k', { revoked: true })],
  ['`superuser`', edited('users', 'alice', { superuser: false })],
  ['`createrole`', edited('users', 'bob', { createrole: false })],
  ['`email`', edited('users', 'alice', { email: 'b@example.com' })],
  ['`external_id`', edited('users', 'alice', { external_id: 'u-2' })],
  ['`level`', edited('roles', 'team', { level: 1 })],
  ['`creator`', edited('roles', 'team', { creator: 'alice' })],
  ['`description`', edited('roles', 'team', { description: '' })],
  [
    '`mode` enforce',
    ({ policy_sets: sets }) => {
      const [set] = sets ?? [];
      if (set) set['mode'] = 'report_only';
    },
  ],
  [
    'effect deny of rule `d`',
    ({ policy_sets: sets }) => {
      const rules = (sets?.[0]?.['rules'] as Entry[]) ?? [];
      const rule = rules.find(({ id }) => id === 'd');
      if (rule) rule['effect'] = 'allow';
    },
  ],
];

/** What a tenant is that a file states whole. */
const pruned = async (file: State): Promise<State> => {
  await apply(file, PRUNE);
  return exported();
};

describe('what a state file does not list', () => {
  it('is nothing where the file is what was exported, and applies without a flag', async () => {
    const before = await exported();
    expect(await apply(before, NEITHER)).toMatchObject({ revision: 1, removals: [] });
  });

  it('is all that the tenant has, where the file names only the tenant: refused with a list', async () => {
    const before = await exported();
    const refused = await apply({ tenant: TENANT }, NEITHER).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(Refused);
    expect(refused).toMatchObject({ kind: 'failed_precondition', rule: 'ADM-10' });
    expect(String(refused)).toContain('user `alice`');
    expect(await exported()).toEqual(before);
    expect(await apply({ tenant: TENANT }, KEEP)).toMatchObject({ revision: 1, removals: [] });
    expect(await exported()).toEqual(before);
  });

  it.each(REMOVALS)(
    '%s: refused and told, left with keep, removed with prune',
    async (what, edit) => {
      const before = await exported();
      const file = structuredClone(before);
      edit(file);
      expect(file).not.toEqual(before);
      const refused = await apply(file, NEITHER).catch((error: unknown) => error);
      expect(refused).toBeInstanceOf(Refused);
      expect(String(refused)).toContain(what);
      expect(await exported()).toEqual(before);
      const dry = await apply(file, NEITHER, true);
      expect(dry).toMatchObject({ revision: 1, needs_prune_or_keep: true });
      expect(dry.removals.length).toBeGreaterThan(0);
      expect(await apply(file, KEEP)).toMatchObject({ revision: 1, removals: [] });
      expect(await exported()).toEqual(before);
      const pruned = await apply(file, PRUNE);
      expect(pruned).toMatchObject({
        revision: 2,
        removals: dry.removals,
        needs_prune_or_keep: false,
      });
      expect(await exported()).not.toEqual(before);
    },
  );

  it.each(REPLACED)(
    '%s, by another value: refused and told, stated with keep as with prune',
    async (what, edit) => {
      const file = await exported();
      edit(file);
      const refused = await apply(file, NEITHER).catch((error: unknown) => error);
      expect(refused).toBeInstanceOf(Refused);
      expect(String(refused)).toContain(what);
      const kept = await apply(file, KEEP);
      expect(kept).toMatchObject({ revision: 2 });
      expect(kept.removals.map((one) => one.what).join()).toContain(what);
      const after = await exported();
      expect(after).toEqual(await pruned(file));
    },
  );

  it('is not what the file states and can take back, nor what it adds', async () => {
    const file = await exported();
    edited('users', 'bob', { suspended: false, type: 'agent', metadata: { team: 'new' } })(file);
    edited('users', 'alice', { suspended: true, metadata: { team: 'art', more: [1] } })(file);
    edited('roles', 'team', { level: 6, description: 'the team' })(file);
    edited('keys', 'k', { expires_at: '2090-01-01T00:00:00Z', rate_limit: { requests: 1 } })(file);
    file['users']?.push({ id: 'zoe', roles: ['team'] });
    expect(await apply(file, NEITHER)).toMatchObject({ revision: 2, removals: [] });
  });

  it('is each key of metadata, at any depth, and each item of its lists', async () => {
    const metadata = { a: { b: 1, c: ['x', 'y'], d: false }, e: 'f', __proto__x: 1 };
    const file = await exported();
    edited('users', 'bob', { metadata })(file);
    await apply(file, NEITHER);
    for (const [what, less] of [
      ['`metadata`', {}],
      ['`metadata.a`', { e: 'f', __proto__x: 1 }],
      ['`metadata.a`', { ...metadata, a: {} }],
      ['`metadata.a.b`', { ...metadata, a: { c: ['x', 'y'], d: false } }],
      ['`metadata.a.c` 1 item(s)', { ...metadata, a: { ...metadata.a, c: ['x'] } }],
      ['`metadata.a.c`', { ...metadata, a: { ...metadata.a, c: [] } }],
      ['`metadata.a.d`', { ...metadata, a: { b: 1, c: ['x', 'y'] } }],
      ['`metadata.__proto__x`', { a: metadata.a, e: 'f' }],
    ] as const) {
      edited('users', 'bob', { metadata: less })(file);
      const dry = await apply(file, NEITHER, true);
      expect(dry.removals).toContainEqual({ kind: 'user', id: 'bob', what });
      expect(await apply(file, KEEP)).toMatchObject({ revision: 2, removals: [] });
    }
    for (const [what, emptied] of [
      ['`metadata.e`', { ...metadata, e: '' }],
      ['`metadata.a.b`', { ...metadata, a: { ...metadata.a, b: null } }],
      ['`metadata.a`', { ...metadata, a: 5 }],
    ] as const) {
      edited('users', 'bob', { metadata: emptied })(file);
      expect((await apply(file, NEITHER, true)).removals).toContainEqual({
        kind: 'user',
        id: 'bob',
        what,
      });
    }
  });

  it('is what is left out of a rule', async () => {
    const file = await exported();
    const rule = {
      id: 'n',
      description: 'of acme',
      effect: 'allow',
      actions: ['user.get', 'graph.search'],
      attributes: { tenant: ['acme'], kind: ['a', 'b'] },
    };
    const [set] = file['policy_sets'] ?? [];
    const rules = (set?.['rules'] as Entry[]) ?? [];
    rules.push(rule);
    expect(await apply(file, NEITHER)).toMatchObject({ revision: 2, removals: [] });
    const before = await exported();
    for (const [what, less] of [
      ['action `graph.search` of rule `n`', { ...rule, actions: ['user.get'] }],
      ['attribute `kind` of rule `n`', { ...rule, attributes: { tenant: ['acme'] } }],
      ['attribute `tenant` of rule `n`', { id: 'n', effect: 'allow', actions: rule.actions }],
      ['`description` of rule `n`', { ...rule, description: '' }],
    ] as const) {
      rules[rules.length - 1] = less;
      expect((await apply(file, NEITHER, true)).removals.map((one) => one.what)).toContain(what);
      // An empty description is stated: there is nothing to leave.
      if (!('description' in less) || less.description !== '') {
        expect(await apply(file, KEEP)).toMatchObject({ revision: 2, removals: [] });
        expect(await exported()).toEqual(before);
      }
    }
    // The values of an attribute are one set (ABAC-3): another one is a change, with `keep`, too.
    rules[rules.length - 1] = { ...rule, attributes: { tenant: ['other'] } };
    await apply(file, KEEP);
    expect(JSON.stringify(await exported())).toContain('{"tenant":["other"],"kind":["a","b"]}');
  });

  it('keep: a file of a part may refer to what it does not list, and adds to it', async () => {
    const part = {
      tenant: TENANT,
      users: [
        { id: 'zoe', workspaces: ['studio'] },
        { id: 'bob', suspended: false },
      ],
      roles: [{ id: 'team', permissions: ['kb:list'], members: ['zoe'] }],
      grants: [{ principal: 'team', path: 'docs', actions: ['write'] }],
      policy_sets: [
        { name: 'reads', mode: 'off', rules: [{ id: 'r', effect: 'deny', actions: ['readonly'] }] },
      ],
    };
    await apply(part, KEEP);
    const state = await exported();
    expect(state['users']).toContainEqual({ id: 'zoe', roles: ['team'], workspaces: ['studio'] });
    expect(state['users']).toContainEqual(expect.objectContaining({ id: 'bob', createrole: true }));
    expect(JSON.stringify(state['users'])).not.toContain('suspended');
    expect(state['roles']).toContainEqual(
      expect.objectContaining({
        id: 'team',
        level: 5,
        permissions: ['kb:list', 'kb:read', 'kb:write'],
      }),
    );
    expect(state['grants']).toContainEqual({
      principal: 'role:team',
      path: 'docs',
      actions: ['read', 'write'],
    });
    expect(state['policy_sets']).toMatchObject([
      {
        mode: 'off',
        rules: [
          { id: 'r', effect: 'deny' },
          { id: 'd', effect: 'deny' },
        ],
      },
    ]);
    expect(await apply(part, KEEP)).toMatchObject({ revision: 2 });
  });

  it('keep: a user that the file deletes goes with all it holds (ADM-8)', async () => {
    const part = { tenant: TENANT, users: [{ id: 'bob', deleted: true }] };
    const refused = await apply(part, NEITHER).catch((error: unknown) => error);
    expect(String(refused)).toContain('user `bob`');
    expect((await apply(part, KEEP)).removals).toEqual(
      expect.arrayContaining([{ kind: 'user', id: 'bob', what: '' }]),
    );
    const state = await exported();
    expect(state['users']).toContainEqual({ id: 'bob', deleted: true });
    expect(JSON.stringify([state['owners'], state['keys'], state['roles']])).not.toContain('bob');
  });

  it('both flags at once are refused', async () => {
    const both = await apply(STATE, { prune: true, keep: true }).catch((error: unknown) => error);
    expect(both).toMatchObject({ kind: 'invalid_argument', field: 'keep' });
  });
});
