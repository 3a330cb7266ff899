/** Grant rows add up (TREE-3), and an ownership lives as long as the right that it was set by (ADM-2, ADM-3). */
import { beforeEach, describe, expect, it } from 'vitest';
import { OPERATOR } from '../../src/admin/actor.ts';
import { applyState } from '../../src/admin/state/apply-state.ts';
import { exportState } from '../../src/admin/state/export-state.ts';
import type { StateFile } from '../../src/config/state.ts';
import { optionsOf } from '../../src/admin/tree/rows.ts';
import { decodeRecord, encodeRecord } from '../../src/store/redis/compact-record.ts';
import { defaults, manager, TENANT, type Manager } from '../support/admin.ts';
import { openMemoryStore, type MemoryStore } from '../support/memory-store.ts';
import { put, user } from '../support/records.ts';
import { dumpOf } from './cases.ts';

const FIVE = ['read', 'write', 'create', 'delete', 'admin'] as const;

interface Rest {
  readonly actions: readonly string[];
  readonly by: string;
  readonly grant?: { readonly principal: string };
  readonly role?: string;
  readonly permission?: string;
}

interface Answer {
  readonly result: {
    readonly revoked_grants: readonly { principal: string; path: string; actions: string[] }[];
    readonly revoked_owners: readonly { path: string; owner: string; grantor: string }[];
  };
  readonly taken_actions: readonly string[];
  readonly taken_options: readonly string[];
  readonly missing_actions: readonly string[];
  readonly remaining: readonly Rest[];
  readonly revoked: readonly { grantor: string; actions: readonly string[] }[];
}

let store: MemoryStore;
let room: Manager;
/** bob holds all five on `proj`, and crew all five on the root; alice owns `home`, by the operator. */
beforeEach(async () => {
  store = openMemoryStore();
  room = manager(store);
  await applyState(
    store,
    {
      tenant: TENANT,
      users: [
        { id: 'root', superuser: true },
        ...['alice', 'bob', 'carol', 'dan', 'eve'].map((id) => ({ id })),
      ],
      roles: [{ id: 'crew' }, { id: 'readers', permissions: ['kb:read'] }],
      workspaces: [{ id: 'w1' }],
      grants: [
        { principal: 'user:bob', path: 'proj', actions: [...FIVE] },
        { principal: 'role:crew', path: '', actions: [...FIVE] },
      ],
      owners: [{ path: 'home', owner: 'alice' }],
    },
    defaults,
    'test',
  );
});

const does = async (who: string, call: string, request: object): Promise<Answer> =>
  (await room.as(who, call, request)) as unknown as Answer;
const grant = (
  who: string,
  to: string,
  path: string,
  actions: readonly string[],
  more: object = {},
): Promise<Answer> => does(who, 'CreateGrant', { principal: to, path, actions, ...more });
const revoke = (who: string, from: string, path: string, more: object = {}): Promise<Answer> =>
  does(who, 'RevokeGrant', { principal: from, path, ...more });
const own = (who: string, path: string, owner: string): Promise<Answer> =>
  does(who, 'SetOwner', { path, owner: `user:${owner}` });
const may = async (who: string, action: string, path: string): Promise<unknown> =>
  (await room.as('operator', 'CheckGrant', { principal: `user:${who}`, path, action }))['allowed'];
const fallen = ({ result }: Answer): string[] => [
  ...result.revoked_owners.map(({ path, owner, grantor }) => `'${path}' of ${owner} by ${grantor}`),
  ...result.revoked_grants.map(
    ({ principal, path, actions }) => `${principal} '${path}' ${actions.join(',')}`,
  ),
];
const rowsOf = async (id: string): Promise<string[]> =>
  ((await dumpOf(store)).user.get(id)?.grants ?? []).map(
    (row) =>
      `${row.path} ${row.actions.map((one) => `${one}${optionsOf(row).includes(one) ? '*' : ''}`).join(',')} by ${row.grantor}`,
  );

describe('ownership by a right that ends (ADM-2, ADM-3)', () => {
  it.each([
    ['below a grant', 'bob', 'proj.sub', 'bob'],
    ['at a grant', 'bob', 'proj', 'bob'],
    ['of what it owns', 'alice', 'home', 'alice'],
    ['below what it owns', 'alice', 'home.x', 'alice'],
  ])('nobody makes itself an owner %s', async (_name, who, path, owner) => {
    const { kind, rule } = await room.refused(who, 'SetOwner', { path, owner: `user:${owner}` });
    expect([kind, rule]).toEqual(['permission_denied', 'ADM-2']);
  });

  it('nor by a group on the root', async () => {
    await room.as('root', 'AddMember', { group: 'role:crew', member: 'user:dan' });
    const asked = { path: '', owner: 'user:dan' };
    expect((await room.refused('dan', 'SetOwner', asked)).rule).toBe('ADM-2');
  });

  it('superusers and the operator may, and a superuser owns by being one', async () => {
    await own('root', 'mine', 'root');
    await room.as('operator', 'CreateUser', { user: { id: 'chief', superuser: true } });
    const asked = { id: 'root', superuser: false };
    expect(fallen(await does('chief', 'UpdateUser', asked))).toEqual([
      "'mine' of user:root by user:root",
    ]);
    expect(await may('root', 'read', 'mine')).toBe(false);
  });

  it('falls with the grant, with all that was given by it, and the answer and the log list it', async () => {
    await own('bob', 'proj.sub', 'carol');
    await own('carol', 'proj.sub.deep', 'dan');
    await grant('dan', 'user:eve', 'proj.sub.deep.er', ['read']);
    const dry = await revoke('operator', 'user:bob', 'proj', { options: { dry_run: true } });
    expect(fallen(dry)).toHaveLength(3);
    room.events.length = 0;
    expect(fallen(await revoke('operator', 'user:bob', 'proj'))).toEqual([
      "'proj.sub' of user:carol by user:bob",
      "'proj.sub.deep' of user:dan by user:carol",
      "user:eve 'proj.sub.deep.er' read",
    ]);
    for (const who of ['bob', 'carol', 'dan'])
      for (const action of FIVE) expect(await may(who, action, 'proj.sub.deep.er')).toBe(false);
    const dump = await dumpOf(store);
    expect([...dump.owner.keys()]).toEqual(['home']);
    expect(dump.user.get('carol')?.owns).toEqual([]);
    expect([...dump.refs.values()].flatMap(({ appointed = [] }) => appointed)).toEqual([]);
    const gone = room.events[0]?.differences.filter(({ kind }) => kind === 'owner');
    expect(gone?.map(({ id, after }) => [id, after])).toEqual([
      ['proj.sub', undefined],
      ['proj.sub.deep', undefined],
    ]);
  });

  it.each(FIVE)('falls with %s alone: an owner has all five', async (action) => {
    await own('bob', 'proj.sub', 'carol');
    const answer = await revoke('operator', 'user:bob', 'proj', { actions: [action] });
    expect(fallen(answer)).toEqual(["'proj.sub' of user:carol by user:bob"]);
  });

  it('falls with the membership, on the root too', async () => {
    const asked = { group: 'role:crew', member: 'user:dan' };
    await room.as('root', 'AddMember', asked);
    await own('dan', '', 'carol');
    await own('dan', 'x.y', 'eve');
    expect(fallen(await does('root', 'RemoveMember', asked))).toEqual([
      "'' of user:carol by user:dan",
      "'x.y' of user:eve by user:dan",
    ]);
    expect(await may('carol', 'delete', 'anything')).toBe(false);
  });

  it("falls with the group's own grant, and with a membership of the group", async () => {
    await room.as('root', 'AddMember', { group: 'workspace:w1', member: 'role:readers' });
    await room.as('root', 'AddMember', { group: 'role:readers', member: 'user:dan' });
    await grant('operator', 'workspace:w1', 'team', FIVE);
    await own('dan', 'team.a', 'carol');
    const leaving = { group: 'workspace:w1', member: 'role:readers' };
    const dry = await does('root', 'RemoveMember', { ...leaving, options: { dry_run: true } });
    expect(fallen(dry)).toEqual(["'team.a' of user:carol by user:dan"]);
    const answer = await revoke('operator', 'workspace:w1', 'team', { actions: ['create'] });
    expect(fallen(answer)).toEqual(["'team.a' of user:carol by user:dan"]);
  });

  it('falls with its grantor, or goes to the heir who could set it', async () => {
    await own('bob', 'proj.sub', 'carol');
    await own('bob', 'proj.other', 'dan');
    await grant('operator', 'user:eve', 'proj.sub', FIVE);
    const asked = { id: 'bob', reassign_to: 'user:eve' };
    expect(fallen(await does('root', 'DeleteUser', asked))).toEqual([
      "'proj.other' of user:dan by user:bob",
    ]);
    const { owner } = await room.as('operator', 'GetOwner', { path: 'proj.sub' });
    expect(owner).toEqual({ path: 'proj.sub', owner: 'user:carol', grantor: 'user:eve' });
    await room.as('root', 'CreateUser', { user: { id: 'bob' } });
    expect(await may('bob', 'read', 'proj')).toBe(false);
  });

  it('what another right still gives stands', async () => {
    await own('bob', 'proj.sub', 'carol');
    await grant('root', 'user:bob', '', FIVE);
    expect(fallen(await revoke('operator', 'user:bob', 'proj'))).toEqual([]);
    expect(await may('carol', 'read', 'proj.sub')).toBe(true);
  });

  it('what is handed to and fro falls all the same', async () => {
    await own('bob', 'proj.sub', 'carol');
    await own('carol', 'proj.sub', 'bob');
    const { owner } = await room.as('operator', 'GetOwner', { path: 'proj.sub' });
    expect(owner).toMatchObject({ owner: 'user:bob', grantor: 'user:bob' });
    await revoke('operator', 'user:bob', 'proj');
    expect(await may('bob', 'delete', 'proj.sub')).toBe(false);
  });

  it('a circle of an ownership and the grant that it gave falls', async () => {
    await own('bob', 'proj.sub', 'carol');
    await grant('carol', 'user:bob', 'proj.sub', FIVE, { grant_option: true });
    expect(fallen(await revoke('operator', 'user:bob', 'proj'))).toEqual([
      "'proj.sub' of user:carol by user:bob",
      "user:bob 'proj.sub' read,write,create,delete,admin",
    ]);
  });

  it('who hands on what it owns hands on the right that it owns it by', async () => {
    await own('alice', 'home', 'carol');
    const { owner } = await room.as('operator', 'GetOwner', { path: 'home' });
    expect(owner).toEqual({ path: 'home', owner: 'user:carol', grantor: '' });
    await room.as('root', 'DeleteUser', { id: 'alice' });
    expect(await may('carol', 'delete', 'home')).toBe(true);
  });

  it('nobody takes a path from its owner by what that one gave', async () => {
    await grant('alice', 'user:dan', 'home', FIVE);
    const { message, rule } = await room.refused('dan', 'SetOwner', {
      path: 'home',
      owner: 'user:eve',
    });
    expect(rule).toBe('ADM-2');
    expect(message).toContain('only by what its owner `user:alice` has given');
    expect(await may('alice', 'delete', 'home')).toBe(true);
    // By a right of another one it may.
    await grant('operator', 'user:dan', 'home', FIVE);
    await own('dan', 'home', 'eve');
    expect(await may('alice', 'delete', 'home')).toBe(false);
  });

  it('naming the same owner again makes its ownership no weaker', async () => {
    await grant('operator', 'user:dan', 'home', FIVE);
    await own('dan', 'home', 'alice');
    await revoke('operator', 'user:dan', 'home');
    expect(await may('alice', 'delete', 'home')).toBe(true);
    await own('bob', 'proj.sub', 'carol');
    await own('operator', 'proj.sub', 'carol');
    await revoke('operator', 'user:bob', 'proj');
    expect(await may('carol', 'delete', 'proj.sub')).toBe(true);
  });

  it('suspending its grantor begins no cascade', async () => {
    await own('bob', 'proj.sub', 'carol');
    expect(fallen(await does('root', 'UpdateUser', { id: 'bob', suspended: true }))).toEqual([]);
    expect(await may('carol', 'read', 'proj.sub')).toBe(true);
  });

  it('a state keeps grantors, and one who could not have set the owner is refused', async () => {
    await own('bob', 'proj.sub', 'carol');
    const exported = await exportState(store, TENANT);
    expect(exported?.state.owners).toContainEqual({
      path: 'proj.sub',
      owner: 'carol',
      grantor: 'user:bob',
    });
    const state = exported?.state as StateFile;
    const applied = await applyState(openMemoryStore(), state, defaults, 'test');
    expect(applied.revision).toBe(1);
    const wrong = { ...state, owners: [{ path: 'other', owner: 'carol', grantor: 'user:bob' }] };
    await expect(applyState(store, wrong, defaults, 'test')).rejects.toThrow(
      "`user:bob` may not set the owner of 'other'",
    );
  });
});

describe('rows (TREE-3)', () => {
  it('granting again adds actions and options, and takes none away', async () => {
    await grant('root', 'user:carol', 'x', ['read', 'write'], { grant_option: true });
    await grant('root', 'user:carol', 'x', ['read', 'create']);
    expect(await rowsOf('carol')).toEqual(['x read*,write*,create by user:root']);
    await grant('root', 'user:carol', 'x', ['create', 'delete'], { grant_options: ['create'] });
    expect(await rowsOf('carol')).toEqual(['x read*,write*,create*,delete by user:root']);
  });

  it('replace states the row anew, and says what it took', async () => {
    await grant('root', 'user:carol', 'x', ['read', 'write'], { grant_option: true });
    await grant('carol', 'user:dan', 'x.y', ['read', 'write']);
    const answer = await grant('root', 'user:carol', 'x', ['read', 'create'], { replace: true });
    expect([answer.taken_actions, answer.taken_options]).toEqual([['write'], ['read', 'write']]);
    expect(fallen(answer)).toEqual(["user:dan 'x.y' read,write"]);
    expect(await rowsOf('carol')).toEqual(['x read,create by user:root']);
  });

  it('an option is for the actions that it was given with', async () => {
    await grant('root', 'user:carol', 'x', ['read', 'write'], { grant_options: ['read'] });
    await grant('carol', 'user:dan', 'x', ['read']);
    const asked = { principal: 'user:dan', path: 'x', actions: ['write'] };
    expect((await room.refused('carol', 'CreateGrant', asked)).rule).toBe('ADM-2');
  });

  it.each([
    [{ grant_option: true, grant_options: ['read'] }],
    [{ grant_options: ['delete'] }],
    [{ grant_options: ['fly'] }],
  ])('options that are none are refused: %j', async (more) => {
    const asked = { principal: 'user:carol', path: 'x', actions: ['read'], ...more };
    const { kind, field } = await room.refused('root', 'CreateGrant', asked);
    expect([kind, field.replace(/\[.*/, '')]).toEqual(['invalid_argument', 'grant_options']);
  });

  it('a revocation takes what is there and reports what is not', async () => {
    await grant('root', 'user:carol', 'x', ['read', 'write']);
    const answer = await revoke('root', 'user:carol', 'x', { actions: ['write', 'delete'] });
    expect(answer.missing_actions).toEqual(['delete']);
    expect(answer.revoked).toMatchObject([{ grantor: 'user:root', actions: ['write'] }]);
    expect(await rowsOf('carol')).toEqual(['x read by user:root']);
    const none = { principal: 'user:carol', path: 'x', actions: ['write', 'delete'] };
    expect((await room.refused('root', 'RevokeGrant', none)).kind).toBe('not_found');
  });

  it('the option alone can be taken, and with it what was given by it', async () => {
    await grant('root', 'user:carol', 'x', ['read', 'write'], { grant_option: true });
    await grant('carol', 'user:dan', 'x', ['read', 'write']);
    const more = { actions: ['read'], grant_option_only: true };
    expect(fallen(await revoke('root', 'user:carol', 'x', more))).toEqual(["user:dan 'x' read"]);
    expect(await rowsOf('carol')).toEqual(['x read,write* by user:root']);
    const again = { principal: 'user:carol', path: 'x', ...more };
    expect((await room.refused('root', 'RevokeGrant', again)).kind).toBe('not_found');
  });

  it('without a grantor it takes what the actor gave; owners and superusers say all', async () => {
    for (const who of ['root', 'operator', 'alice'])
      await grant(who, 'user:carol', 'home.x', ['read']);
    await grant('operator', 'user:dan', 'home', ['read', 'admin']);
    const asked = { principal: 'user:carol', path: 'home.x', all_grantors: true };
    const { rule, message } = await room.refused('dan', 'RevokeGrant', asked);
    expect(rule).toBe('TREE-3');
    expect(message).toContain('names one grantor after the other');
    const both = { ...asked, grantor: 'user:root' };
    expect((await room.refused('root', 'RevokeGrant', both)).field).toBe('all_grantors');
    await revoke('root', 'user:carol', 'home.x');
    expect(await rowsOf('carol')).toEqual(['home.x read by ', 'home.x read by user:alice']);
    await revoke('alice', 'user:carol', 'home.x', { all_grantors: true });
    expect(await rowsOf('carol')).toEqual([]);
    await grant('operator', 'user:carol', 'home.x', ['read']);
    // TREE-4: a holder of admin names it.
    await revoke('dan', 'user:carol', 'home.x', { grantor: 'operator' });
    expect(await rowsOf('carol')).toEqual([]);
  });

  it('nobody else learns who gave what', async () => {
    await grant('operator', 'user:carol', 'home.x', ['read']);
    const asked = { principal: 'user:carol', path: 'home.x' };
    expect((await room.refused('eve', 'RevokeGrant', asked)).kind).toBe('permission_denied');
    const all = { ...asked, all_grantors: true };
    expect((await room.refused('eve', 'RevokeGrant', all)).kind).toBe('permission_denied');
  });

  it('tells by what the access remains', async () => {
    await room.as('root', 'AddMember', { group: 'role:crew', member: 'user:alice' });
    await room.as('root', 'AddMember', { group: 'role:readers', member: 'user:alice' });
    await grant('operator', 'user:alice', 'home', ['read']);
    await grant('root', 'user:alice', 'home.x', ['read', 'write']);
    await grant('root', 'user:alice', 'homes', ['read']);
    const { remaining } = await revoke('root', 'user:alice', 'home.x');
    expect(remaining).toMatchObject([
      { by: 'owner', actions: ['read', 'write'], owner: { path: 'home' } },
      { by: 'grant', actions: ['read'], grant: { principal: 'user:alice', path: 'home' } },
      { by: 'grant', actions: ['read', 'write'], grant: { principal: 'role:crew', path: '' } },
      { by: 'permission', actions: ['read'], role: 'role:readers', permission: 'kb:read' },
    ]);
    await grant('operator', 'user:root', 'x', ['read']);
    const own = await revoke('operator', 'user:root', 'x');
    expect(own.remaining).toMatchObject([{ by: 'superuser' }]);
    await grant('root', 'user:eve', 'x', ['read']);
    expect((await revoke('root', 'user:eve', 'x')).remaining).toEqual([]);
  });

  it('a row of an earlier version has the option for all its actions, in either store', async () => {
    const old = { path: 'x', actions: ['read', 'write'], grantor: '', grantOption: true } as const;
    const change = user('eve', { grants: [old] });
    expect(decodeRecord(encodeRecord(change.value))).toEqual(change.value);
    await put(store, TENANT, change);
    await grant('eve', 'user:dan', 'x', ['write']);
    await revoke('operator', 'user:eve', 'x', { actions: ['write'], grant_option_only: true });
    const { user: users } = await dumpOf(store);
    const [row] = users.get('eve')?.grants ?? [];
    expect(row).toEqual({ ...old, grantOption: false, options: ['read'] });
    const record = users.get('eve');
    expect(record && decodeRecord(encodeRecord(record))).toEqual(record);
  });

  it('a state file states its row, options for some actions too', async () => {
    await grant('operator', 'user:carol', 'x', ['read', 'write'], { grant_options: ['write'] });
    const { state } = (await exportState(store, TENANT)) ?? {};
    const rows = state?.grants?.filter(({ principal }) => principal === 'user:carol');
    expect(rows).toEqual([
      { principal: 'user:carol', path: 'x', actions: ['read', 'write'], grant_option: ['write'] },
    ]);
    const { revision } = await room.admin.export(OPERATOR, { tenant: TENANT, format: 'yaml' });
    expect((await applyState(store, state as StateFile, defaults, 'test')).revision).toBe(revision);
    const beyond = {
      ...state,
      grants: [{ principal: 'carol', path: 'x', actions: ['read'], grant_option: ['write'] }],
    } as StateFile;
    await expect(applyState(store, beyond, defaults, 'test')).rejects.toThrow('has write');
  });
});
