/** A superuser or an owner revokes rows of several grantors: all of them, a named one's, or some actions (TREE-3, ADM-3). */
import { beforeEach, describe, expect, it } from 'vitest';
import { applyState } from '../../src/admin/state/apply-state.ts';
import { defaults, manager, TENANT, type Manager } from '../support/admin.ts';
import { openMemoryStore, type MemoryStore } from '../support/memory-store.ts';
import { dumpOf } from './cases.ts';

let store: MemoryStore;
let room: Manager;

/** dan holds `docs.a` by the operator, alice and bob, and `docs.b` by bob; carol holds `docs.a` by alice. */
beforeEach(async () => {
  store = openMemoryStore();
  room = manager(store);
  const row = (principal: string, path: string, actions: readonly string[], grantor?: string) => ({
    principal: `user:${principal}`,
    path,
    actions: actions as never,
    ...(grantor === undefined ? {} : { grantor }),
  });
  await applyState(
    store,
    {
      tenant: TENANT,
      users: [
        { id: 'root', superuser: true },
        ...['alice', 'bob', 'carol', 'dan', 'eve'].map((id) => ({ id })),
      ],
      grants: [
        { ...row('alice', 'docs', ['read', 'write', 'admin']), grant_option: true },
        { ...row('bob', 'docs', ['read', 'write', 'admin']), grant_option: true },
        row('dan', 'docs.a', ['read']),
      ],
    },
    defaults,
    'test',
  );
  const give = (who: string, to: string, path: string, actions: readonly string[]) =>
    room.as(who, 'CreateGrant', { principal: `user:${to}`, path, actions });
  await give('alice', 'dan', 'docs.a', ['read', 'write']);
  await give('bob', 'dan', 'docs.a', ['write']);
  await give('bob', 'dan', 'docs.b', ['read']);
  await give('alice', 'carol', 'docs.a', ['read']);
});

/** Rows as `docs.a read,write by alice`. */
const rowsOf = async (id: string): Promise<string[]> => {
  const { user } = await dumpOf(store);
  return (user.get(id)?.grants ?? [])
    .map(
      ({ path, actions, grantor }) =>
        `${path} ${actions.join(',')} by ${grantor.replace('user:', '') || 'operator'}`,
    )
    .sort();
};
const revoke = (who: string, fields: object): Promise<Record<string, unknown>> =>
  room.as(who, 'RevokeGrant', { principal: 'user:dan', path: 'docs.a', ...fields });
const B = 'docs.b read by bob';

it('the rows stand as they were given', async () => {
  expect(await rowsOf('dan')).toEqual([
    'docs.a read by operator',
    'docs.a read,write by alice',
    'docs.a write by bob',
    B,
  ]);
});

describe('a superuser', () => {
  it('takes the rows of all grantors on that path, and no other row', async () => {
    const { revoked, missing_actions: missing } = await revoke('root', { all_grantors: true });
    expect(await rowsOf('dan')).toEqual([B]);
    expect(await rowsOf('carol')).toEqual(['docs.a read by alice']);
    expect(revoked).toHaveLength(3);
    expect(missing).toEqual([]);
  });

  it('takes one action of all grantors, and tells which it did not find', async () => {
    const answer = await revoke('root', { all_grantors: true, actions: ['write', 'delete'] });
    expect(await rowsOf('dan')).toEqual(['docs.a read by alice', 'docs.a read by operator', B]);
    expect(answer['missing_actions']).toEqual(['delete']);
    // Rows of which nothing was taken are not told.
    expect(answer['revoked']).toHaveLength(2);
  });

  it.each([
    ['alice', ['docs.a read by operator', 'docs.a write by bob', B]],
    ['bob', ['docs.a read by operator', 'docs.a read,write by alice', B]],
    ['operator', ['docs.a read,write by alice', 'docs.a write by bob', B]],
  ])('takes what %s gave, by name', async (grantor, left) => {
    await revoke('root', { grantor });
    expect(await rowsOf('dan')).toEqual(left);
  });

  it('names whose rows there are when it gave none itself, and takes none', async () => {
    const before = await rowsOf('dan');
    const refused = await room.refused('root', 'RevokeGrant', {
      principal: 'user:dan',
      path: 'docs.a',
    });
    expect(refused.kind).toBe('not_found');
    for (const giver of ['operator', 'user:alice', 'user:bob'])
      expect(refused.message).toContain(`\`${giver}\``);
    expect(await rowsOf('dan')).toEqual(before);
  });

  it('that finds no row is refused', async () => {
    for (const request of [
      { all_grantors: true, path: 'docs.none' },
      { grantor: 'eve' },
      { all_grantors: true, actions: ['admin'] },
    ]) {
      const asked = { principal: 'user:dan', path: 'docs.a', ...request };
      expect((await room.refused('root', 'RevokeGrant', asked)).kind).toBe('not_found');
    }
  });
});

it('a stranger is told of nobody’s rows', async () => {
  const before = await rowsOf('dan');
  for (const request of [{}, { all_grantors: true }, { grantor: 'alice' }]) {
    const asked = { principal: 'user:dan', path: 'docs.a', ...request };
    expect((await room.refused('eve', 'RevokeGrant', asked)).kind).toBe('permission_denied');
  }
  expect(await rowsOf('dan')).toEqual(before);
});
