/** A warm cache: no promise and no read, and every committed change is in force after its commit (CONS-4). */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { applyState } from '../../src/admin/state/apply-state.ts';
import type { StateFile } from '../../src/config/state.ts';
import type { Store } from '../../src/store/store.ts';
import { openEmbeddedStore } from '../../src/store/embedded/store.ts';
import { ask, askNow, settled, type Question } from '../support/asking.ts';
import { openMemoryStore, slowly } from '../support/memory-store.ts';
import {
  gone,
  key,
  openRoom,
  policySet,
  put,
  role,
  user,
  type TestRoom,
} from '../support/records.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const ALICE: Question = { user: 'alice' };
const KEY: Question = { key: 'k' };
const BOTH: Question = { user: 'alice', key: 'k' };

const STATE: StateFile = {
  tenant: 't',
  users: [{ id: 'alice', roles: ['team'] }, { id: 'bob' }],
  roles: [
    { id: 'team', level: 10, permissions: [], roles: ['reader'] },
    { id: 'reader', level: 10, permissions: ['doc:read'] },
  ],
  workspaces: [{ id: 'w' }],
  policy_sets: [
    { name: 'open', mode: 'enforce', rules: [{ id: 'r', effect: 'allow', actions: ['doc:read'] }] },
  ],
  keys: [{ id: 'k', role: 'default_deny', mode: 'enforce', policy_sets: ['open'] }],
};

interface Edit {
  readonly what: string;
  readonly state: Partial<StateFile>;
  /** The answers of alice, of the key, and of both together after the edit. */
  readonly answers: readonly [string, string, string];
}

const DENYING = [
  { name: 'open', mode: 'enforce', rules: [{ id: 'r', effect: 'deny', actions: ['doc:read'] }] },
] satisfies StateFile['policy_sets'];

const EDITS: readonly Edit[] = [
  {
    what: 'a role deep in the closure loses its permission',
    state: {
      roles: [
        { id: 'team', level: 10, permissions: [], roles: ['reader'] },
        { id: 'reader', level: 10, permissions: [] },
      ],
    },
    answers: ['NO_GRANT', 'ALLOWED', 'NO_GRANT'],
  },
  {
    what: 'a role leaves the closure of another',
    state: {
      roles: [
        { id: 'team', level: 10, permissions: [] },
        { id: 'reader', level: 10, permissions: ['doc:read'] },
      ],
    },
    answers: ['NO_GRANT', 'ALLOWED', 'NO_GRANT'],
  },
  {
    what: 'a role is deleted',
    state: { users: [{ id: 'alice' }], roles: [] },
    answers: ['NO_GRANT', 'ALLOWED', 'NO_GRANT'],
  },
  {
    what: 'a user leaves a role',
    state: { users: [{ id: 'alice' }] },
    answers: ['NO_GRANT', 'ALLOWED', 'NO_GRANT'],
  },
  {
    what: 'a user is suspended',
    state: { users: [{ id: 'alice', roles: ['team'], suspended: true }] },
    answers: ['SUBJECT_INACTIVE', 'ALLOWED', 'SUBJECT_INACTIVE'],
  },
  {
    what: 'a user is deleted',
    state: { users: [] },
    answers: ['SUBJECT_INACTIVE', 'ALLOWED', 'SUBJECT_INACTIVE'],
  },
  {
    what: 'a policy set is edited',
    state: { policy_sets: DENYING },
    answers: ['ALLOWED', 'ACTION_DENIED', 'ACTION_DENIED'],
  },
  {
    what: 'a policy set is switched off',
    state: { policy_sets: [{ name: 'open', mode: 'off', rules: [] }] },
    answers: ['ALLOWED', 'ACTION_DENIED', 'ACTION_DENIED'],
  },
  {
    what: 'a policy set is detached from a key',
    state: { keys: [{ id: 'k', role: 'default_deny', mode: 'enforce' }] },
    answers: ['ALLOWED', 'ACTION_DENIED', 'ACTION_DENIED'],
  },
  {
    what: 'a key is deleted',
    state: { keys: [] },
    answers: ['ALLOWED', 'KEY_INVALID', 'KEY_INVALID'],
  },
  {
    what: 'a key is bound to another user',
    state: {
      keys: [
        { id: 'k', role: 'default_deny', mode: 'enforce', policy_sets: ['open'], user: 'bob' },
      ],
    },
    answers: ['ALLOWED', 'NO_GRANT', 'KEY_INVALID'],
  },
];

describe.each(['memory', 'embedded'])('a warm cache on the %s store', (kind) => {
  let store: Store;
  let room: TestRoom;
  beforeEach(() => {
    store = kind === 'memory' ? openMemoryStore() : openEmbeddedStore(temporaryDirectory());
    room = openRoom(store);
  });
  afterEach(async () => {
    room.close();
    await store.close();
  });
  const apply = (state: StateFile) => applyState(store, state, [], 'test');
  const warm = async (): Promise<void> => {
    await apply(STATE);
    for (const question of [ALICE, KEY, BOTH, { user: 'bob' }]) await ask(room, question);
  };

  it('answers without a promise, a cold one may answer later', async () => {
    await warm();
    expect([askNow(room, ALICE), askNow(room, KEY), askNow(room, BOTH)]).toEqual([
      'ALLOWED@1',
      'ALLOWED@1',
      'ALLOWED@1',
    ]);
    expect(askNow(room, { subject: { type: 'role', id: 'team' } })).toBe('ALLOWED@1');
    expect(await ask(room, { user: 'new' })).toBe('NO_GRANT@1');
    // That somebody does not exist is warm too.
    expect(askNow(room, { user: 'new' })).toBe('NO_GRANT@1');
    const { hits, misses } = room.stats();
    expect({ hits, misses }).toEqual({ hits: 6, misses: 4 });
  });

  it.each(EDITS)('$what: in force after the commit (CONS-4)', async ({ state, answers }) => {
    await warm();
    await apply({ ...STATE, ...state });
    await settled();
    const expected = answers.map((answer) => `${answer}@2`);
    expect(await Promise.all([ALICE, KEY, BOTH].map((question) => ask(room, question)))).toEqual(
      expected,
    );
    expect([ALICE, KEY, BOTH].map((question) => askNow(room, question))).toEqual(expected);
    // And back.
    await apply(STATE);
    await settled();
    const back = await Promise.all([ALICE, KEY, BOTH].map((question) => ask(room, question)));
    expect(back).toEqual(['ALLOWED@3', 'ALLOWED@3', 'ALLOWED@3']);
    expect(room.resyncCauses).toEqual([]);
  });

  it('somebody who did not exist is known after the commit that creates him', async () => {
    await warm();
    for (const question of [{ user: 'new' }, { key: 'new' }]) {
      await ask(room, question);
      askNow(room, question);
    }
    await put(store, 't', user('new', { superuser: true }), key('new', { role: 'default_allow' }));
    await settled();
    expect(await ask(room, { user: 'new' })).toBe('ALLOWED@2');
    expect(await ask(room, { key: 'new' })).toBe('ALLOWED@2');
  });

  it('a tenant that did not exist is known after the commit that creates it', async () => {
    const question = { tenant: 'new', user: 'a' };
    expect(await ask(room, question)).toBe('TENANT_MISMATCH@0');
    expect(await ask(room, { ...question, key: 'k' })).toBe('KEY_INVALID@0');
    await put(store, 'new', user('a', { superuser: true }));
    await settled();
    expect(await ask(room, question)).toBe('ALLOWED@1');
  });

  it('a commit to one tenant changes no answer of another', async () => {
    await warm();
    await apply({ ...STATE, tenant: 'u' });
    await ask(room, { ...ALICE, tenant: 'u' });
    await put(store, 'u', gone('role', 'reader'), gone('key', 'k'));
    await settled();
    expect(await ask(room, { ...ALICE, tenant: 'u' })).toBe('NO_GRANT@2');
    expect(askNow(room, ALICE)).toBe('ALLOWED@1');
    expect(askNow(room, KEY)).toBe('ALLOWED@1');
  });

  it('warmUp reads the planes of all tenants, so that groups are warm from the first question', async () => {
    await apply(STATE);
    await put(store, 'u', role('r', ['doc:read']));
    expect(await room.warmUp()).toEqual(['t', 'u']);
    expect(askNow(room, { subject: { type: 'role', id: 'team' } })).toBe('ALLOWED@1');
    expect(askNow(room, { tenant: 'u', subject: { type: 'role', id: 'r' } })).toBe('ALLOWED@1');
  });

  it('after close nothing is answered: no commit is followed any more', async () => {
    await warm();
    room.close();
    expect(askNow(room, ALICE)).toBe('UNAVAILABLE');
    await put(store, 't', user('alice'));
    await settled();
    expect(askNow(room, ALICE)).toBe('UNAVAILABLE');
  });
});

describe('keys', () => {
  it('a key whose set is lost is invalid, and told: the set may have held a deny', async () => {
    const store = openMemoryStore();
    const room = openRoom(store);
    await put(
      store,
      't',
      policySet('s', 'deny', ['doc:write']),
      key('k', { role: 'default_allow', policySets: ['s'] }),
    );
    expect(await ask(room, KEY)).toBe('ALLOWED@1');
    await put(store, 't', gone('policy_set', 's'));
    await settled();
    expect(await ask(room, KEY)).toBe('KEY_INVALID@2');
    expect(await ask(room, { user: 'x', key: 'k' })).toBe('KEY_INVALID@2');
    expect(room.errors.map(String)).toContain('Error: key `k` of `t` has a lost policy set');
    await put(store, 't', policySet('s', 'deny', ['doc:read']));
    await settled();
    expect(await ask(room, KEY)).toBe('ACTION_DENIED@3');
    room.close();
  });

  it('a key that never had its set is invalid, also when only one of several is lost', async () => {
    const store = openMemoryStore();
    const room = openRoom(store);
    await put(
      store,
      't',
      policySet('s', 'allow', ['doc:read']),
      key('k', { role: 'default_allow', policySets: ['s', '__proto__'] }),
    );
    expect(await ask(room, KEY)).toBe('KEY_INVALID@1');
    room.close();
  });

  it('a bound key acts for its user and for no other, whoever is named (ABAC-1)', async () => {
    const store = openMemoryStore();
    const room = openRoom(store);
    await put(
      store,
      't',
      role('reader', ['doc:read']),
      user('alice', { roles: ['reader'] }),
      user('bob', { superuser: true }),
      key('k', { role: 'default_allow', user: 'alice' }),
    );
    const answers = async (): Promise<string[]> => [
      await ask(room, { key: 'k' }),
      await ask(room, { key: 'k', user: 'alice' }),
      await ask(room, { key: 'k', user: 'bob' }),
      await ask(room, { key: 'k', user: 'unknown' }),
      await ask(room, { key: 'k', subject: { type: 'role', id: 'alice' } }),
      await ask(room, { key: 'k', action: 'doc:write' }),
    ];
    const expected = [
      'ALLOWED',
      'ALLOWED',
      'KEY_INVALID',
      'KEY_INVALID',
      'KEY_INVALID',
      'NO_GRANT',
    ];
    expect(await answers()).toEqual(expected.map((answer) => `${answer}@1`));
    expect(await answers()).toEqual(expected.map((answer) => `${answer}@1`));
    // The user of a bound key is followed like any other.
    await put(store, 't', user('alice', { roles: ['reader'], suspended: true }));
    await settled();
    expect(await ask(room, { key: 'k' })).toBe('SUBJECT_INACTIVE@2');
    await put(store, 't', gone('user', 'alice'));
    await settled();
    expect(await ask(room, { key: 'k' })).toBe('NO_GRANT@3');
    room.close();
  });

  it('neither a key nor a subject is nobody: not allowed', async () => {
    const store = openMemoryStore();
    const room = openRoom(store);
    await put(store, 't', user('alice', { superuser: true }));
    expect(await ask(room, {})).toBe('INVALID_ARGUMENT@1');
    room.close();
  });

  it('a slow store costs a promise only when cold', async () => {
    const store = openMemoryStore();
    await put(store, 't', user('alice', { superuser: true }));
    const room = openRoom(slowly(store, {}));
    expect(() => askNow(room, ALICE)).toThrow('not warm');
    expect(await ask(room, ALICE)).toBe('ALLOWED@1');
    expect(askNow(room, ALICE)).toBe('ALLOWED@1');
    room.close();
  });
});
