/** An update stores what it is given, keeps what it is not given, and answers with what is stored (ADM-4, ADM-7, ABAC-7). */
import { beforeEach, describe, expect, it } from 'vitest';
import { applyState } from '../../src/admin/state/apply-state.ts';
import type { RoleRecord } from '../../src/engine/records.ts';
import { defaults, manager, TENANT, type Manager } from '../support/admin.ts';
import { openMemoryStore, type MemoryStore } from '../support/memory-store.ts';
import { dumpOf } from './cases.ts';

const EXPIRES = '2031-01-01T00:00:00.000Z';
const LIMIT = { requests: 10, per_seconds: 60 };

let store: MemoryStore;
let room: Manager;

beforeEach(async () => {
  store = openMemoryStore();
  room = manager(store, () => Date.UTC(2030, 0, 1));
  await applyState(
    store,
    {
      tenant: TENANT,
      users: [{ id: 'root', superuser: true }, { id: 'ben' }],
      roles: [
        {
          id: 'team',
          level: 20,
          description: 'builds',
          permissions: ['kb:read', 'kb:write'],
          roles: ['crew'],
          workspaces: ['w'],
        },
        { id: 'crew', level: 5, permissions: ['doc:read'] },
      ],
      workspaces: [{ id: 'w', description: 'den' }],
      grants: [{ principal: 'role:team', path: 'work', actions: ['read'] }],
      policy_sets: [
        {
          name: 'narrow',
          mode: 'enforce',
          rules: [
            { id: 'r', effect: 'allow', actions: ['graph.search'], attributes: { team: ['a'] } },
          ],
        },
        {
          name: 'broad',
          mode: 'enforce',
          rules: [{ id: 'r', effect: 'allow', actions: ['graph.search'] }],
        },
      ],
    },
    defaults,
    'test',
  );
});

const roleRecord = async (id = 'team'): Promise<RoleRecord | undefined> =>
  (await dumpOf(store)).role.get(id);

describe('UpdateRole', () => {
  const update = (fields: object): Promise<Record<string, unknown>> =>
    room.as('root', 'UpdateRole', { id: 'team', ...fields });

  it.each<readonly [string, object, Partial<RoleRecord>]>([
    ['a level', { level: 30 }, { level: 30 }],
    ['the lowest level', { level: 0 }, { level: 0 }],
    ['permissions', { permissions: { permissions: ['kb:read'] } }, { permissions: ['kb:read'] }],
    ['no permissions', { permissions: { permissions: [] } }, { permissions: [] }],
    ['a description', { description: 'rests' }, { description: 'rests' }],
    [
      'all of it at once',
      { level: 7, permissions: { permissions: ['doc:read'] }, description: 'x' },
      { level: 7, permissions: ['doc:read'], description: 'x' },
    ],
  ])('stores %s, and nothing else changes', async (_what, fields, stored) => {
    const before = await roleRecord();
    expect(before).toMatchObject({ level: 20, description: 'builds', roles: ['crew'] });
    expect(before?.grants).toHaveLength(1);
    const answer = await update(fields);
    expect(await roleRecord()).toEqual({ ...before, ...stored });
    // The answer is read from what is stored.
    expect(answer['role']).toMatchObject({ id: 'team', ...stored });
    expect(await room.as('root', 'GetRole', { id: 'team' })).toMatchObject({
      role: { id: 'team', ...stored },
    });
  });

  it('takes a description away by an empty one, and keeps the rest', async () => {
    const { description: _gone, ...rest } = (await roleRecord()) ?? expect.fail('no role');
    await update({ description: '' });
    expect(await roleRecord()).toEqual(rest);
  });

  it('that is given nothing changes nothing', async () => {
    const before = await roleRecord();
    await update({});
    await update({ permissions: null });
    expect(await roleRecord()).toEqual(before);
  });

  it('that is refused stores nothing', async () => {
    const before = await roleRecord();
    await room.refused('ben', 'UpdateRole', { id: 'team', level: 1 });
    await room.refused('root', 'UpdateRole', { id: 'team', level: -1 });
    expect(await roleRecord()).toEqual(before);
    expect((await room.refused('root', 'UpdateRole', { id: 'nobody', level: 1 })).kind).toBe(
      'not_found',
    );
  });
});

describe('UpdateWorkspace', () => {
  it('stores a description, keeps it where none is given, and takes it away by an empty one', async () => {
    const stored = async (): Promise<unknown> => (await dumpOf(store)).workspace.get('w');
    const before = await stored();
    await room.as('root', 'UpdateWorkspace', { id: 'w', description: 'nest' });
    expect(await stored()).toEqual({ ...(before as object), description: 'nest' });
    await room.as('root', 'UpdateWorkspace', { id: 'w' });
    expect(await stored()).toMatchObject({ description: 'nest' });
    await room.as('root', 'UpdateWorkspace', { id: 'w', description: '' });
    expect(await stored()).not.toHaveProperty('description');
  });
});

describe('UpdateKey', () => {
  beforeEach(async () => {
    const key = {
      id: 'k',
      description: 'agent',
      role: 'default_deny',
      mode: 'enforce',
      policy_sets: ['broad', 'narrow'],
      expires_at: EXPIRES,
      rate_limit: LIMIT,
    };
    await room.as('root', 'CreateKey', { key });
  });
  const stored = async (): Promise<unknown> => (await dumpOf(store)).key.get('k');
  const update = (fields: object): Promise<Record<string, unknown>> =>
    room.as('root', 'UpdateKey', { id: 'k', ...fields });
  const warnings = (answer: Record<string, unknown>): readonly string[] =>
    (answer['result'] as { warnings: readonly string[] }).warnings;

  it.each<readonly [string, object, object]>([
    ['a base role', { role: 'default_allow' }, { role: 'default_allow' }],
    ['a mode', { mode: 'report_only' }, { mode: 'report_only' }],
    ['a description', { description: 'x' }, { description: 'x' }],
    ['an end', { expires_at: '2032-01-01T00:00:00.000Z' }, { expiresAt: Date.UTC(2032, 0, 1) }],
    [
      'a rate limit',
      { rate_limit: { requests: 3, per_seconds: 0 } },
      { rateLimit: { requests: 3, seconds: 1 } },
    ],
    ['nothing', {}, {}],
  ])('stores %s, and nothing else changes', async (_what, fields, changed) => {
    const before = await stored();
    expect(before).toMatchObject({
      role: 'default_deny',
      mode: 'enforce',
      description: 'agent',
      expiresAt: Date.UTC(2031, 0, 1),
      rateLimit: { requests: 10, seconds: 60 },
    });
    await update(fields);
    expect(await stored()).toEqual({ ...(before as object), ...changed });
  });

  it('ABAC-7: a change of the base role tells what it opens, and what the new role makes of the rules', async () => {
    const told = warnings(await update({ role: 'default_allow' }));
    expect(told[0]).toMatch(/^key `k` may then do more than before: /);
    expect(told.slice(1)).toEqual([
      expect.stringContaining('restricts nothing for graph.search'),
      expect.stringContaining('its base role default_allow shows every object'),
    ]);
    // Told because the role changes, and not for any other change.
    expect(warnings(await update({ description: 'other' }))).toEqual([]);
    expect(warnings(await update({ role: 'default_allow' }))).toEqual([]);
  });

  it('ABAC-7: back to default_deny nothing is opened, and what the sets nullify is told again', async () => {
    await update({ role: 'default_allow' });
    const told = warnings(await update({ role: 'default_deny' }));
    expect(told).toEqual([expect.stringContaining('restricts nothing for graph.search')]);
  });

  it('ABAC-7: a change of the mode tells what it opens, and only that', async () => {
    expect(warnings(await update({ mode: 'report_only' }))).toEqual([]);
    expect(warnings(await update({ mode: 'enforce' }))).toEqual([
      expect.stringMatching(/^key `k` may then do more than before: graph\.search$/),
    ]);
    expect(warnings(await update({ mode: 'enforce' }))).toEqual([]);
  });
});
