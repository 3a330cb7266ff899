/** A tenant that is deleted denies from the first commit on, whatever becomes of the rest, and stays deleted (ADM-9). */
import { afterAll, beforeAll, beforeEach, afterEach, describe, expect, it } from 'vitest';
import { applyState } from '../../src/admin/state/apply-state.ts';
import { exportState } from '../../src/admin/state/export-state.ts';
import type { Refused } from '../../src/admin/refused.ts';
import type { StateFile } from '../../src/config/state.ts';
import type { Kind } from '../../src/engine/records.ts';
import { readSnapshot, writeSnapshot } from '../../src/facts/snapshot.ts';
import { openEmbeddedStore } from '../../src/store/embedded/store.ts';
import { KINDS } from '../../src/store/redis/keys.ts';
import { openRedisStore, REDIS_DEFAULTS } from '../../src/store/redis/store.ts';
import { readAll, StoreError, type Store } from '../../src/store/store.ts';
import { bytesOf, defaults, manager, PRUNE, TENANT } from '../support/admin.ts';
import { OPERATOR } from '../../src/admin/actor.ts';
import { ask, type Question } from '../support/asking.ts';
import { openRoom, type TestRoom } from '../support/records.ts';
import { startRedis, type RedisServer } from '../support/redis-server.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const USERS = 1_200;
const STATE: StateFile = {
  tenant: TENANT,
  users: Array.from({ length: USERS }, (_, index) => ({
    id: `u${index}`,
    superuser: index === 0,
    roles: ['readers'],
  })),
  roles: [{ id: 'readers', permissions: ['doc:read'] }],
  workspaces: [{ id: 'hall' }],
  grants: [{ principal: 'u1', path: 'a', actions: ['read'] }],
  owners: [{ path: 'b', owner: 'u2' }],
  policy_sets: [{ policy_set: { name: 'p', mode: 'enforce', rules: [] } }],
  keys: [{ id: 'k', role: 'default_allow', mode: 'enforce', user: 'u3' }],
};
const DELETE = { confirm: TENANT };
const QUESTIONS: readonly Question[] = [
  { user: 'u0' },
  { user: 'u1' },
  { user: 'u3', key: 'k' },
  { subject: { type: 'role', id: 'readers' } },
  { user: 'nobody' },
].map((question) => ({ tenant: TENANT, ...question }) as Question);

let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.dispose());

/** What is stored of the tenant, by kind. */
async function stored(store: Store): Promise<Partial<Record<Kind, number>>> {
  const { records } = await readAll(store, TENANT, KINDS);
  return Object.fromEntries(
    KINDS.map((kind) => [kind, records[kind].size] as const).filter(([, size]) => size > 0),
  );
}

/** A store that loses its connection after so many commits. */
function dyingAfter(store: Store, commits: number): Store {
  let left = commits;
  return {
    ...store,
    commit: (commit) =>
      left-- > 0 ? store.commit(commit) : Promise.reject(new StoreError('it was killed')),
  };
}

describe.each([
  ['embedded', (at: string) => openEmbeddedStore(at)],
  ['redis', () => openRedisStore({ ...REDIS_DEFAULTS, address: redis.url, onProblem: () => {} })],
] as const)('a tenant on the %s store', (_name, open) => {
  let directory: string;
  let store: Store;
  let room: TestRoom;
  beforeEach(async () => {
    directory = temporaryDirectory();
    await redis.command('FLUSHALL');
    store = open(directory);
    await applyState(store, STATE, defaults, 'test');
    await manager(store).as('u0', 'CreateSession', { user: 'user:u1', ttl_seconds: 0 });
    room = openRoom(store);
  });
  afterEach(async () => {
    room.close();
    await store.close();
  });

  /** Everything denies as for a tenant that was never there. */
  const expectNothing = async (facts: TestRoom): Promise<void> => {
    // The feed comes in a moment.
    await expect.poll(() => ask(facts, { tenant: TENANT, user: 'u0' })).toMatch(/^TENANT_MISMATCH/);
    for (const question of QUESTIONS)
      expect(await ask(facts, question), JSON.stringify(question)).toBe(
        await ask(facts, { ...question, tenant: 'nowhere' }),
      );
  };
  const warm = async (): Promise<void> => {
    expect(await ask(room, { tenant: TENANT, user: 'u1' })).toMatch(/^ALLOWED@/);
    expect(await ask(room, { tenant: TENANT, user: 'u0' })).toMatch(/^ALLOWED@/);
  };

  it('is removed but for its own record, with counts in the answer and the log', async () => {
    await warm();
    const before = await stored(store);
    const { as, events } = manager(store, () => Date.UTC(2030, 0, 1));
    const answer = await as('operator', 'DeleteTenant', DELETE);
    const { tenant: _own, ...rest } = before;
    const removed = answer['removed'] as { kind: Kind; count: number }[];
    expect(Object.fromEntries(removed.map(({ kind, count }) => [kind, count]))).toEqual(rest);
    expect(rest.user).toBe(USERS);
    expect(await stored(store)).toEqual({ tenant: 1 });
    const { head, values } = await store.get(TENANT, [{ kind: 'tenant', id: '' }]);
    expect(answer['revision']).toBe(head?.revision);
    expect(values).toEqual([
      { id: TENANT, deleted: true, deletedBy: 'operator', deletedAt: Date.UTC(2030, 0, 1) },
    ]);
    expect(events.map(({ operation, refused }) => [operation, refused])).toEqual([
      ['tenant.delete', undefined],
      ['tenant.remove_records', undefined],
    ]);
    expect(Object.fromEntries(events[1]?.removed ?? [])).toEqual(rest);
    await expectNothing(room);
    const cold = openRoom(store);
    await expectNothing(cold);
    cold.close();
  });

  it('denies from the first commit on, where the rest was never done, and is then finished', async () => {
    await warm();
    const before = await stored(store);
    const dying = manager(dyingAfter(store, 1));
    await expect(dying.as('operator', 'DeleteTenant', DELETE)).rejects.toThrow('it was killed');
    expect(dying.events.map(({ operation, refused }) => [operation, refused?.kind])).toEqual([
      ['tenant.delete', undefined],
      ['tenant.remove_records', 'failed'],
    ]);
    expect(await stored(store)).toEqual(before);
    await expectNothing(room);
    room.close();
    await store.close();

    store = open(directory);
    room = openRoom(store);
    await room.warmUp();
    await expectNothing(room);
    const { as, refused } = manager(store);
    // Nobody of it manages anything, its superuser neither.
    for (const [who, call, request] of [
      ['u0', 'CreateUser', { user: { id: 'x' } }],
      ['u0', 'GetTenant', {}],
      ['u0', 'ListChanges', {}],
      ['operator', 'CreateUser', { user: { id: 'x' } }],
      ['operator', 'GetTenant', {}],
      ['operator', 'GetUser', { id: 'u1' }],
      ['operator', 'ListUsers', {}],
      ['operator', 'CreateTenant', { owner: 'olga' }],
    ] as const) {
      const refusal = await refused(who, call, request);
      expect(`${call}: ${refusal.kind}`).toBe(`${call}: failed_precondition`);
      expect(refusal.message).toContain(`tenant \`${TENANT}\` was deleted by \`operator\``);
    }
    expect((await refused('u0', 'DeleteTenant', DELETE)).kind).toBe('permission_denied');

    // Cut off again in its middle, and done again.
    await expect(
      manager(dyingAfter(store, 2)).as('operator', 'DeleteTenant', DELETE),
    ).rejects.toThrow('it was killed');
    const { user = 0 } = await stored(store);
    expect(user).toBeGreaterThan(0);
    const { removed } = await as('operator', 'DeleteTenant', DELETE);
    expect(removed).toContainEqual({ kind: 'user', count: user });
    expect(await stored(store)).toEqual({ tenant: 1 });
    const { head } = await store.get(TENANT, []);
    expect(await as('operator', 'DeleteTenant', DELETE)).toMatchObject({
      revision: head?.revision,
      removed: [],
    });
    await expectNothing(room);
  });

  it('cannot be made again, by no way', async () => {
    await manager(store).as('operator', 'DeleteTenant', DELETE);
    const { admin, as, refused } = manager(store);
    const before = await store.get(TENANT, []);
    expect((await refused('operator', 'CreateTenant', {})).kind).toBe('failed_precondition');
    // As `serve --state` and `apply` without a server do it.
    for (const unlisted of ['prune', 'keep', 'refuse'] as const)
      await expect(applyState(store, STATE, defaults, 'test', { unlisted })).rejects.toMatchObject({
        kind: 'failed_precondition',
        rule: 'ADM-9',
      } satisfies Partial<Refused>);
    await expect(
      admin.apply(
        OPERATOR,
        { tenant: TENANT, ...PRUNE },
        bytesOf(JSON.stringify({ tenant: TENANT })),
      ),
    ).rejects.toMatchObject({ kind: 'failed_precondition', rule: 'ADM-9' });
    expect(await exportState(store, TENANT)).toBeUndefined();
    await expect(admin.export(OPERATOR, { tenant: TENANT, format: '' })).rejects.toThrow(
      /was deleted/,
    );
    expect((await store.get(TENANT, [])).head).toEqual(before.head);
    expect(await as('operator', 'ListTenants')).toMatchObject({
      tenants: [{ name: TENANT, deleted: true }],
    });
    const { changes } = await as('operator', 'ListChanges');
    expect((changes as { operation: string }[]).map(({ operation }) => operation)).toContain(
      'tenant.delete',
    );
  });

  it('is not deleted by a dry run, which counts, or where the revision is another', async () => {
    const before = await stored(store);
    const { as, refused } = manager(store);
    const plain = { idempotency_key: '', request_id: '', expected_revision: 0, dry_run: false };
    const { removed } = await as('operator', 'DeleteTenant', {
      ...DELETE,
      options: { ...plain, dry_run: true },
    });
    expect(removed).toContainEqual({ kind: 'user', count: USERS });
    expect(
      (
        await refused('operator', 'DeleteTenant', {
          ...DELETE,
          options: { ...plain, expected_revision: 1 },
        })
      ).kind,
    ).toBe('aborted');
    expect(await stored(store)).toEqual(before);
    await warm();
    expect((await refused('operator', 'DeleteTenant', { tenant: 'no', confirm: 'no' })).kind).toBe(
      'not_found',
    );
  });

  it('is not revived by a snapshot of before', async () => {
    await warm();
    const file = `${directory}/facts.snapshot`;
    await writeSnapshot(file, 'one', room.snapshot());
    await expect(
      manager(dyingAfter(store, 1)).as('operator', 'DeleteTenant', DELETE),
    ).rejects.toThrow('it was killed');
    const restarted = openRoom(store, { heartbeatMs: 20 });
    restarted.restore(readSnapshot(file, 'one') ?? []);
    expect(restarted.snapshot()).toHaveLength(1);
    await expectNothing(restarted);
    expect(restarted.lost).toEqual([]);
    expect(restarted.resyncCauses).toEqual([`${TENANT}: deleted`]);
    expect(restarted.snapshot()).toEqual([]);
    restarted.close();
  });
});
