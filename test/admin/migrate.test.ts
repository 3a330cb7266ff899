/** Migrations of permissions: once a tenant, all or nothing, and never behind the back of a role's holders (RBAC-4). */
import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { applyState } from '../../src/admin/state/apply-state.ts';
import { exportState } from '../../src/admin/state/export-state.ts';
import { deriveAll } from '../../src/admin/links.ts';
import {
  migrateUp,
  migrationStatus,
  type Migrated,
} from '../../src/admin/migrations/migrations.ts';
import { openAdmin } from '../../src/admin/admin.ts';
import { OPERATOR } from '../../src/admin/actor.ts';
import type { Environment } from '../../src/admin/write.ts';
import { parseSource } from '../../src/config/document.ts';
import { parseMigration, type Migration } from '../../src/config/migration.ts';
import { settingsSchema } from '../../src/config/settings/settings-schema.ts';
import type { RoleRecord, TenantRecord } from '../../src/engine/records.ts';
import { mintKey, mintSession, newId } from '../../src/identity/token.ts';
import { openEmbeddedStore } from '../../src/store/embedded/store.ts';
import { openStore } from '../../src/store/registry.ts';
import { readAll, UnknownOutcomeError, type Store } from '../../src/store/store.ts';
import { bytesOf, catalog, defaults, manager, PRUNE, TENANT } from '../support/admin.ts';
import { openMemoryStore } from '../support/memory-store.ts';
import { startRedis, until, type RedisServer } from '../support/redis-server.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';
import { temporaryDirectory } from '../support/temporary.ts';

type Steps = readonly object[];

function migration(name: string, steps: Steps, description = 'a test'): Migration {
  return fromText(name, stringify({ migration: { description, steps } }));
}

function fromText(name: string, text: string): Migration {
  return parseMigration(parseSource(`migrations/${name}.yaml`, text));
}

function environment(store: Store, now: () => number = Date.now): Environment {
  const mint = { key: mintKey, session: mintSession, id: newId };
  return { store, catalog: () => catalog, defaults, now, mint };
}

const up = (
  store: Store,
  migrations: readonly Migration[],
  { dryRun = false, tenant = TENANT } = {},
): Promise<Migrated> => migrateUp(environment(store), migrations, tenant, { dryRun });

const refusalOf = async (promise: Promise<unknown>): Promise<string> => {
  const answer = await promise.then(
    () => 'it was done',
    (error: unknown) => error,
  );
  expect(answer).toMatchObject({ name: 'Refused', kind: 'failed_precondition' });
  return (answer as Error).message;
};

const roleOf = async (store: Store, id: string): Promise<RoleRecord | undefined> =>
  (await store.get(TENANT, [{ kind: 'role', id }])).values[0] as RoleRecord | undefined;

const tenantOf = async (store: Store, tenant = TENANT): Promise<TenantRecord | undefined> =>
  (await store.get(tenant, [{ kind: 'tenant', id: '' }])).values[0] as TenantRecord | undefined;

const operations = async (store: Store, tenant = TENANT): Promise<string[]> =>
  (await store.feed(tenant, 0, 1_000)).entries.map(({ event }) => event.operation);

/** A tenant with default roles, an owner, and two roles of its own, one in another. */
async function populated(store: Store = openMemoryStore()): Promise<Store> {
  const room = manager(store);
  await room.as('operator', 'CreateTenant', { owner: 'olga' });
  await room.as('operator', 'CreateUser', { user: { id: 'alice' } });
  const custom = { id: 'editors', level: 30, permissions: ['kb:delete', 'kb:read'] };
  await room.as('operator', 'CreateRole', { role: custom });
  await room.as('operator', 'CreateRole', { role: { id: 'cleaners', permissions: ['*:delete'] } });
  await room.as('operator', 'AddMember', { group: 'editors', member: 'role:cleaners' });
  await room.as('operator', 'AddMember', { group: 'cleaners', member: 'alice' });
  return store;
}

const GRANT = migration('0001-export', [
  { grant_permissions: { roles: ['admin', 'owner'], permissions: ['kb:export'] } },
]);
const AUDITOR = migration('0002-auditor', [
  { add_role: { id: 'auditor', level: 15, permissions: ['kb:read', 'audit:read'] } },
]);

describe('steps', () => {
  const after = async (...steps: Steps): Promise<{ store: Store; done: Migrated }> => {
    const store = await populated();
    const done = await up(store, [migration('0001-step', steps)]);
    // Nothing follows from permissions and levels; what followed before still does.
    const kinds = [
      'tenant',
      'user',
      'role',
      'workspace',
      'owner',
      'policy_set',
      'key',
      'tombstone',
    ] as const;
    const { records } = await readAll(store, TENANT, [...kinds, 'refs', 'name']);
    const { refs, name } = deriveAll(records);
    expect([new Map(records.refs), new Map(records.name)]).toEqual([refs, name]);
    return { store, done };
  };
  const stuck = async (...steps: Steps): Promise<string> => {
    const store = await populated();
    const before = await exportState(store, TENANT);
    const message = await refusalOf(up(store, [migration('0001-step', steps)]));
    expect(await exportState(store, TENANT)).toEqual(before);
    return message;
  };

  it('add_role adds a system role without members', async () => {
    const { store, done } = await after({
      add_role: {
        id: 'auditor',
        level: 15,
        permissions: ['kb:read', 'audit:read', 'kb:read'],
        description: 'Looks',
      },
    });
    expect(await roleOf(store, 'auditor')).toEqual({
      id: 'auditor',
      description: 'Looks',
      level: 15,
      permissions: ['audit:read', 'kb:read'],
      system: true,
      roles: [],
      workspaces: [],
      grants: [],
      closure: { roles: [], workspaces: [] },
    });
    expect(done.changes).toContainEqual({ change: 'create', kind: 'role', id: 'auditor' });
    expect(done.warnings).toEqual([]);
  });

  it('add_role with `system: false` adds one that tenants may edit', async () => {
    const { store } = await after({
      add_role: { id: 'draft', level: 5, permissions: [], system: false },
    });
    expect(await roleOf(store, 'draft')).toMatchObject({ system: false, level: 5 });
    await manager(store).as('operator', 'UpdateRole', { id: 'draft', level: 6 });
  });

  it('add_role takes over nothing of a tenant’s own', async () => {
    expect(await stuck({ add_role: { id: 'editors', level: 15, permissions: [] } })).toBe(
      'migration `0001-step`, steps[0].add_role: the tenant has a role `editors` of its own: move its members to another and delete it first (RBAC-4)',
    );
    expect(await stuck({ add_role: { id: 'alice', level: 15, permissions: [] } })).toContain(
      'the tenant has a user `alice`: users and roles share one name space',
    );
  });

  it('add_role leaves a system role as it is, and says so', async () => {
    const { store, done } = await after({ add_role: { id: 'guest', level: 1, permissions: [] } });
    expect(await roleOf(store, 'guest')).toMatchObject({ level: 10 });
    expect(done.warnings).toEqual([
      'migration `0001-step`, steps[0].add_role: `guest` is a system role already and stays as it is',
    ]);
  });

  it('grant_permissions adds to system roles, each once', async () => {
    const { store } = await after({
      grant_permissions: { roles: ['guest', 'owner'], permissions: ['kb:export', 'kb:read'] },
    });
    expect((await roleOf(store, 'guest'))?.permissions).toEqual([
      'conversation:read',
      'kb:export',
      'kb:read',
    ]);
    expect((await roleOf(store, 'owner'))?.permissions).toEqual(['*:*', 'kb:export', 'kb:read']);
  });

  it('revoke_permissions takes away, and what was not held is no error', async () => {
    const { store } = await after({
      revoke_permissions: { roles: ['guest'], permissions: ['conversation:read', 'kb:nothing'] },
    });
    expect((await roleOf(store, 'guest'))?.permissions).toEqual(['kb:read']);
  });

  it('revoke_permissions refuses to take away what a wildcard would still give', async () => {
    const held = { roles: ['owner'], permissions: ['kb:read'] };
    expect(await stuck({ revoke_permissions: held })).toContain(
      '`owner` would keep `kb:read` by `*:*`: revoke that, and grant what shall stay',
    );
    const { store } = await after(
      { grant_permissions: { roles: ['guest'], permissions: ['kb:*'] } },
      { revoke_permissions: { roles: ['guest'], permissions: ['kb:*', 'kb:read'] } },
    );
    expect((await roleOf(store, 'guest'))?.permissions).toEqual(['conversation:read']);
  });

  it('rename_permission reaches every role that holds it: system, custom, and by a wildcard', async () => {
    const { store, done } = await after({
      rename_permission: { from: 'kb:delete', to: 'kb:remove' },
    });
    const of = async (id: string): Promise<readonly string[] | undefined> =>
      (await roleOf(store, id))?.permissions;
    expect(await of('admin')).toEqual(
      expect.arrayContaining(['kb:remove', 'kb:write', 'postern:admin']),
    );
    expect(await of('admin')).not.toContain('kb:delete');
    expect(await of('editors')).toEqual(['kb:read', 'kb:remove']);
    // `*:delete` covered the old name and does not cover the new one; `*:*` covers both.
    expect(await of('cleaners')).toEqual(['*:delete', 'kb:remove']);
    expect(await of('owner')).toEqual(['*:*']);
    expect(await of('guest')).toEqual(['conversation:read', 'kb:read']);
    // Members and closures are as they were.
    expect(await roleOf(store, 'cleaners')).toMatchObject({
      roles: ['editors'],
      closure: { roles: ['editors'], workspaces: [] },
    });
    expect(done.changes.filter(({ kind }) => kind === 'role').map(({ id }) => id)).toEqual(
      expect.arrayContaining(['admin', 'editors', 'cleaners']),
    );
  });

  it('rename_permission tells of rules that name the old one as an action', async () => {
    const store = await populated();
    const state = (await exportState(store, TENANT))?.state;
    if (state === undefined) expect.fail('no state');
    const rules = [{ id: 'r', effect: 'deny' as const, actions: ['kb:delete'] }];
    const policySets = [{ name: 's', mode: 'enforce' as const, rules }];
    await applyState(store, { ...state, policy_sets: policySets }, defaults, 'test');
    const renaming = migration('0001-rename', [
      { rename_permission: { from: 'kb:delete', to: 'kb:remove' } },
    ]);
    expect((await up(store, [renaming])).warnings).toEqual([
      'migration `0001-rename`, steps[0].rename_permission: rule `r` of policy set `s` names the action `kb:delete`, and says nothing of `kb:remove`',
    ]);
  });

  it('set_level changes a system role, and never the owner role (ADM-5)', async () => {
    const { store } = await after({ set_level: { role: 'admin', level: 70 } });
    expect(await roleOf(store, 'admin')).toMatchObject({ level: 70, system: true });
    expect(await stuck({ set_level: { role: 'owner', level: 99 } })).toContain(
      'steps[0].set_level: `owner` is the owner role and keeps its level',
    );
    const refused = await manager(store).refused('operator', 'RemoveMember', {
      group: 'owner',
      member: 'olga',
    });
    expect(refused).toMatchObject({ rule: 'ADM-5' });
  });

  it('describe_role says what a role is for, or nothing', async () => {
    const { store } = await after(
      { describe_role: { role: 'admin', description: 'Runs it' } },
      { describe_role: { role: 'guest', description: '' } },
    );
    expect(await roleOf(store, 'admin')).toMatchObject({ description: 'Runs it' });
    expect(await roleOf(store, 'guest')).not.toHaveProperty('description');
  });

  it.each([
    ['grant_permissions', { roles: ['editors'], permissions: ['kb:x'] }],
    ['revoke_permissions', { roles: ['editors'], permissions: ['kb:read'] }],
    ['set_level', { role: 'editors', level: 1 }],
    ['describe_role', { role: 'editors', description: 'x' }],
  ])('%s leaves roles of the tenant’s own alone, and needs the role', async (verb, given) => {
    expect(await stuck({ [verb]: given })).toContain(
      `steps[0].${verb}: \`editors\` is a role of the tenant's own, and a migration changes system roles`,
    );
    const other = 'role' in given ? { ...given, role: 'none' } : { ...given, roles: ['none'] };
    expect(await stuck({ [verb]: other })).toContain(
      'there is no role `none`: add it by `add_role` before',
    );
  });

  it('go in the order of the file, and of the files', async () => {
    const store = await populated();
    const later = migration('0003-more', [
      { grant_permissions: { roles: ['auditor'], permissions: ['kb:export'] } },
      { rename_permission: { from: 'kb:export', to: 'kb:take' } },
    ]);
    expect((await up(store, [GRANT, AUDITOR, later])).applied).toEqual([
      '0001-export',
      '0002-auditor',
      '0003-more',
    ]);
    expect((await roleOf(store, 'auditor'))?.permissions).toEqual([
      'audit:read',
      'kb:read',
      'kb:take',
    ]);
    expect((await roleOf(store, 'owner'))?.permissions).toEqual(['*:*', 'kb:take']);
  });
});

describe('once a tenant', () => {
  it('is one commit with its record, told in the change feed; again it is nothing', async () => {
    const store = await populated();
    const { revision } = (await store.get(TENANT, [])).head ?? { revision: 0 };
    const first = await migrateUp(
      environment(store, () => 1_234),
      [GRANT, AUDITOR],
      TENANT,
      {
        dryRun: false,
      },
    );
    expect(first).toMatchObject({ revision: revision + 1, applied: [GRANT.name, AUDITOR.name] });
    expect((await tenantOf(store))?.migrations).toEqual([
      { name: '0001-export', digest: GRANT.digest, at: 1_234 },
      { name: '0002-auditor', digest: AUDITOR.digest, at: 1_234 },
    ]);
    const { entries } = await store.feed(TENANT, revision, 10);
    expect(entries.map(({ event }) => event)).toEqual([
      { actor: 'operator', operation: 'migration.up' },
    ]);
    expect(await up(store, [GRANT, AUDITOR])).toEqual({
      revision: revision + 1,
      consistency_token: expect.stringMatching(/./),
      applied: [],
      changes: [],
      facts: [],
      fact_counts: [],
      facts_left_out: 0,
      warnings: [],
    });
  });

  it('a later one is applied alone', async () => {
    const store = await populated();
    await up(store, [GRANT]);
    expect((await up(store, [GRANT, AUDITOR])).applied).toEqual(['0002-auditor']);
    expect((await tenantOf(store))?.migrations?.map(({ name }) => name)).toEqual([
      '0001-export',
      '0002-auditor',
    ]);
  });

  it('of several pending ones none is applied where one cannot be', async () => {
    const store = await populated();
    const before = await exportState(store, TENANT);
    const bad = migration('0002-bad', [{ set_level: { role: 'nobody', level: 1 } }]);
    expect(await refusalOf(up(store, [GRANT, bad]))).toContain('migration `0002-bad`, steps[0]');
    expect(await exportState(store, TENANT)).toEqual(before);
    expect((await tenantOf(store))?.migrations).toBeUndefined();
  });

  it('a dry run says the same and changes nothing', async () => {
    const store = await populated();
    const before = await store.get(TENANT, []);
    const planned = await up(store, [GRANT], { dryRun: true });
    expect(await store.get(TENANT, [])).toEqual(before);
    const done = await up(store, [GRANT]);
    const { consistency_token } = planned;
    expect(planned).toEqual({ ...done, revision: done.revision - 1, consistency_token });
    expect(consistency_token).not.toBe(done.consistency_token);
  });

  it('after a lost answer it is done again, and once', async () => {
    const store = await populated();
    let lost = 0;
    const losing: Store = {
      ...store,
      async commit(commit) {
        await store.commit(commit);
        lost++;
        throw new UnknownOutcomeError('the connection was cut');
      },
    };
    await expect(up(losing, [GRANT])).rejects.toBeInstanceOf(UnknownOutcomeError);
    expect(await up(losing, [GRANT])).toMatchObject({ applied: [] });
    expect(lost).toBe(1);
    expect((await tenantOf(store))?.migrations).toHaveLength(1);
  });

  it('there is no such tenant', async () => {
    const store = openMemoryStore();
    await expect(up(store, [GRANT], { tenant: 'nope' })).rejects.toMatchObject({
      kind: 'not_found',
    });
    await expect(migrationStatus(store, [GRANT], 'nope')).rejects.toMatchObject({
      kind: 'not_found',
    });
  });
});

describe('what is on disk and what was applied', () => {
  const statesOf = async (store: Store, migrations: readonly Migration[]): Promise<string[]> =>
    (await migrationStatus(store, migrations, TENANT)).migrations.map(
      ({ name, state }) => `${name} ${state}`,
    );
  /** Refused, with nothing changed. */
  const refused = async (store: Store, migrations: readonly Migration[]): Promise<string> => {
    const before = await store.get(TENANT, []);
    const message = await refusalOf(up(store, migrations));
    expect(await refusalOf(up(store, migrations, { dryRun: true }))).toBe(message);
    expect(await store.get(TENANT, [])).toEqual(before);
    return message;
  };

  it('pending, then applied', async () => {
    const store = await populated();
    expect(await statesOf(store, [GRANT, AUDITOR])).toEqual([
      '0001-export pending',
      '0002-auditor pending',
    ]);
    await up(store, [GRANT]);
    expect(await statesOf(store, [GRANT, AUDITOR])).toEqual([
      '0001-export applied',
      '0002-auditor pending',
    ]);
  });

  it('edited', async () => {
    const store = await populated();
    await up(store, [GRANT]);
    const edited = migration(GRANT.name, [
      { grant_permissions: { roles: ['admin', 'owner'], permissions: ['kb:exports'] } },
    ]);
    expect(await statesOf(store, [edited, AUDITOR])).toEqual([
      '0001-export edited',
      '0002-auditor pending',
    ]);
    expect(await refused(store, [edited, AUDITOR])).toBe(
      'migration `0001-export` was edited after it was applied: restore it, and write a new one',
    );
  });

  it('comments, layout, the order of a list and the description are no edit', async () => {
    const store = await populated();
    await up(store, [GRANT]);
    const same = fromText(
      GRANT.name,
      `# why we did it\nmigration:\n  steps:\n    - grant_permissions:\n        permissions: ["kb:export", 'kb:export']\n        roles: [owner, admin] # both\n  description: other words\n`,
    );
    expect(await statesOf(store, [same])).toEqual(['0001-export applied']);
    expect(await up(store, [same])).toMatchObject({ applied: [] });
  });

  it('what a step leaves out is what it would say', () => {
    const role = { id: 'auditor', level: 15, permissions: ['audit:read', 'kb:read'] };
    const full = migration('0002-auditor', [{ add_role: { ...role, system: true } }]);
    const own = migration('0002-auditor', [{ add_role: { ...role, system: false } }]);
    expect(full.digest).toBe(AUDITOR.digest);
    expect(own.digest).not.toBe(AUDITOR.digest);
    // Kept in stores for good: a change of it would tell all that was applied to be edited.
    expect(GRANT.digest).toBe('aac575d79ee8caadea36f940bb8370e4ef1e987607c5f1aa3e419403519344f9');
  });

  it('missing', async () => {
    const store = await populated();
    await up(store, [GRANT, AUDITOR]);
    expect(await statesOf(store, [AUDITOR])).toEqual([
      '0001-export missing',
      '0002-auditor applied',
    ]);
    expect(await refused(store, [AUDITOR])).toBe(
      'migration `0001-export` was applied and its file is missing: restore it',
    );
  });

  it('out of order', async () => {
    const store = await populated();
    await up(store, [AUDITOR]);
    expect(await statesOf(store, [GRANT, AUDITOR])).toEqual([
      '0001-export out_of_order',
      '0002-auditor applied',
    ]);
    expect(await refused(store, [GRANT, AUDITOR])).toBe(
      'migration `0001-export` is not applied and comes before `0002-auditor`, which is: give it a number after that',
    );
  });
});

describe('new tenants', () => {
  const baseline = [GRANT, AUDITOR];
  const names = async (store: Store): Promise<string[] | undefined> =>
    (await tenantOf(store))?.migrations?.map(({ name }) => name);

  it('of the API have what the default roles include', async () => {
    const store = openMemoryStore();
    const admin = openAdmin({ ...environment(store, () => 77), baseline, record: () => {} });
    const request = { tenant: TENANT, owner: 'olga' };
    await admin.call('CreateTenant', OPERATOR, request);
    expect((await tenantOf(store))?.migrations).toEqual(
      baseline.map(({ name, digest }) => ({ name, digest, at: 77 })),
    );
    expect(await up(store, baseline)).toMatchObject({ applied: [], revision: 1 });
    expect(await admin.call('GetTenant', OPERATOR, { tenant: TENANT })).toMatchObject({
      info: { migrations: ['0001-export', '0002-auditor'] },
    });
  });

  it('of a state that the API applies too', async () => {
    const store = openMemoryStore();
    const admin = openAdmin({ ...environment(store), baseline, record: () => {} });
    await admin.apply(OPERATOR, { tenant: TENANT, ...PRUNE }, bytesOf(`tenant: ${TENANT}`));
    expect(await names(store)).toEqual(['0001-export', '0002-auditor']);
  });

  it('of a state file too, and applying it again keeps what was applied', async () => {
    const store = openMemoryStore();
    const state = { tenant: TENANT, users: [{ id: 'alice', roles: ['owner'] }] };
    const apply = (of: readonly Migration[]): ReturnType<typeof applyState> =>
      applyState(store, state, defaults, 'test', { baseline: of });
    await apply([GRANT]);
    expect(await names(store)).toEqual(['0001-export']);
    expect(await up(store, baseline)).toMatchObject({ applied: ['0002-auditor'] });
    const again = await apply([
      ...baseline,
      migration('0003-x', [{ set_level: { role: 'guest', level: 9 } }]),
    ]);
    expect(again.plan.changes).toEqual([]);
    expect(await names(store)).toEqual(['0001-export', '0002-auditor']);
  });

  it('that are restored with system roles of their own have all of them pending', async () => {
    const before = await exportState(await populated(), TENANT);
    if (before === undefined) expect.fail('no state');
    const store = openMemoryStore();
    await applyState(store, before.state, defaults, 'test', { baseline });
    expect(await names(store)).toBeUndefined();
    await up(store, baseline);
    // The same from a state that has them: nothing is done twice.
    const after = await exportState(store, TENANT);
    if (after === undefined) expect.fail('no state');
    const restored = openMemoryStore();
    await applyState(restored, after.state, defaults, 'test', { baseline });
    await up(restored, baseline);
    expect((await exportState(restored, TENANT))?.state).toEqual(after.state);
  });
});

describe('at once', () => {
  let redis: RedisServer;
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis.dispose());

  const directory = temporaryDirectory();
  const open = (address: string): Promise<Store> => {
    const settings = settingsSchema.parse({}).redis;
    return openStore({ address, readTimeoutMs: 5_000, redis: settings, onProblem: () => {} });
  };

  it.each([
    ['embedded store', () => `embedded:${directory}`],
    ['Redis', () => redis.url],
  ])('each is applied once on the %s, amid commits of others', async (_name, address) => {
    const stores = await Promise.all([open(address()), open(address())]);
    const [store] = stores;
    await populated(store);
    const room = manager(store);
    const runs = stores.flatMap((one) => [0, 1, 2].map(() => up(one, [GRANT, AUDITOR])));
    const others = Array.from({ length: 10 }, (_, at) =>
      room.as('operator', 'CreateUser', { user: { id: `u${at}` } }),
    );
    const done = await Promise.all(runs);
    await Promise.all(others);
    expect(done.filter(({ applied }) => applied.length > 0)).toHaveLength(1);
    const told = await operations(store);
    expect(told.filter((operation) => operation === 'migration.up')).toHaveLength(1);
    expect(told.filter((operation) => operation === 'user.create')).toHaveLength(11);
    expect((await tenantOf(store))?.migrations).toHaveLength(2);
    await Promise.all(stores.map((one) => one.close()));
  });

  it('a proof: without the expected revision it would be done twice', async () => {
    const store = await populated();
    let planned = 0;
    const careless: Store = {
      ...store,
      async commit(commit) {
        planned++;
        // Both have planned before one of them commits.
        await until(() => planned >= 2);
        const { head } = await store.get(commit.tenant, []);
        return store.commit({ ...commit, expected: head?.revision ?? 0, nonce: head?.nonce });
      },
    };
    await Promise.all([up(careless, [GRANT]), up(careless, [GRANT])]);
    const told = await operations(store);
    expect(told.filter((operation) => operation === 'migration.up')).toHaveLength(2);
  });
});

describe('SIGKILL', () => {
  const TENANTS = 120;

  it('leaves each tenant as it was or as it shall be, and the next run does the rest', async () => {
    const directory = temporaryDirectory();
    const config = join(directory, 'postern.yaml');
    const files = ['catalog: actions.yaml', 'default_roles: roles.yaml'].map((line) =>
      line.replace(': ', `: ${PACKAGE_ROOT}/config/`),
    );
    writeFileSync(config, [...files, 'store: embedded:store'].join('\n'));
    mkdirSync(join(directory, 'migrations'));
    const grant = { roles: ['admin'], permissions: ['kb:export'] };
    const level = { role: 'guest', level: 11 };
    for (const [name, step] of [
      ['0001-export', { grant_permissions: grant }],
      ['0002-guests', { set_level: level }],
    ] as const)
      writeFileSync(
        join(directory, `migrations/${name}.yaml`),
        stringify({ migration: { description: 'x', steps: [step] } }),
      );
    const store = openEmbeddedStore(join(directory, 'store'));
    const tenants = Array.from({ length: TENANTS }, (_, at) => `t${String(at).padStart(3, '0')}`);
    await Promise.all(
      tenants.map((tenant) => manager(store).as('operator', 'CreateTenant', { tenant })),
    );

    /** How many tenants have been migrated; each is whole. */
    const migrated = async (): Promise<number> => {
      let count = 0;
      for (const tenant of tenants) {
        const { head, records } = await readAll(store, tenant, ['tenant', 'role']);
        const done = (records.tenant.get('')?.migrations ?? []).length;
        expect([0, 2]).toContain(done);
        expect(head?.revision).toBe(done === 0 ? 1 : 2);
        expect(records.role.get('admin')?.permissions.includes('kb:export')).toBe(done > 0);
        expect(records.role.get('guest')?.level).toBe(done > 0 ? 11 : 10);
        if (done > 0) count++;
      }
      return count;
    };
    const run = (): { kill: () => void; ended: Promise<number | null> } => {
      const args = [join(PACKAGE_ROOT, 'dist/postern.js'), 'migrate', 'up', '--config', config];
      const child = spawn(process.execPath, args, { stdio: 'ignore' });
      const ended = new Promise<number | null>((over) => child.on('exit', (code) => over(code)));
      return { kill: () => void child.kill('SIGKILL'), ended };
    };
    const inTheMiddle: number[] = [];
    for (const from of [1, 40]) {
      const { kill, ended } = run();
      const watched = tenants[from] ?? '';
      for (const deadline = Date.now() + 20_000; Date.now() < deadline;) {
        if ((await tenantOf(store, watched))?.migrations !== undefined) break;
        await new Promise((done) => setTimeout(done, 1));
      }
      kill();
      expect(await ended).toBeNull();
      inTheMiddle.push(await migrated());
    }
    // It was killed amid its work, or this would prove nothing.
    expect(inTheMiddle[0]).toBeGreaterThan(0);
    expect(inTheMiddle[1]).toBeGreaterThan(inTheMiddle[0] ?? 0);
    expect(inTheMiddle[1]).toBeLessThan(TENANTS);
    expect(await run().ended).toBe(0);
    expect(await migrated()).toBe(TENANTS);
    for (const tenant of tenants)
      expect(await operations(store, tenant)).toEqual(['tenant.create', 'migration.up']);
    await store.close();
  });
});
