/** What is shared between questions, and what must not be: single flight, bounds, names that look alike. */
import { describe, expect, it } from 'vitest';
import type { Store } from '../../src/store/store.ts';
import { ask, askNow, type Question } from '../support/asking.ts';
import { failing, openGate, openMemoryStore, slowly, type Read } from '../support/memory-store.ts';
import { gone, key, openRoom, put, role, user } from '../support/records.ts';

const READER = role('reader', ['doc:read']);
const reads = ['reader'];

/** A store that counts its reads. */
function counted(store: Store): { readonly store: Store; readonly calls: Read[] } {
  const calls: Read[] = [];
  return { store: slowly(store, { before: (read) => void calls.push(read) }), calls };
}

describe('single flight', () => {
  it('100 questions at once about a cold user read the tenant once and the user once', async () => {
    const store = openMemoryStore();
    await put(store, 't', READER, user('alice', { roles: reads }));
    const { store: slow, calls } = counted(store);
    const room = openRoom(slow);
    const answers = await Promise.all(
      Array.from({ length: 100 }, () => ask(room, { user: 'alice' })),
    );
    expect(new Set(answers)).toEqual(new Set(['ALLOWED@1']));
    expect(calls.filter(({ method }) => method === 'get')).toHaveLength(1);
    expect(calls.filter(({ method }) => method === 'scan')).toHaveLength(4);
    room.close();
  });

  it('a key and its user cost one round trip, 100 times at once', async () => {
    const store = openMemoryStore();
    await put(
      store,
      't',
      READER,
      user('alice', { roles: reads }),
      key('k', { role: 'default_allow' }),
    );
    const { store: slow, calls } = counted(store);
    const room = openRoom(slow);
    await ask(room, {});
    calls.length = 0;
    await Promise.all(Array.from({ length: 100 }, () => ask(room, { user: 'alice', key: 'k' })));
    expect(calls.map(({ method, keys }) => [method, keys.length])).toEqual([['get', 2]]);
    room.close();
  });

  it.each(['user', 'key'] as const)(
    'a failed read of a %s fails all that wait, and is forgotten',
    async (kind) => {
      const store = openMemoryStore();
      await put(store, 't', user('a', { superuser: true }), key('a', { role: 'default_allow' }));
      const faulty = failing(store);
      const gate = openGate();
      const room = openRoom(slowly(faulty, { before: gate.pass }));
      await ask(room, {});
      gate.hold(({ method }) => method === 'get');
      const asking = Promise.all([1, 2, 3].map(() => ask(room, { [kind]: 'a' })));
      await gate.held();
      faulty.fail('rejects');
      gate.release();
      expect(await asking).toEqual(['UNAVAILABLE', 'UNAVAILABLE', 'UNAVAILABLE']);
      faulty.fail(undefined);
      expect(await ask(room, { [kind]: 'a' })).toBe('ALLOWED@1');
      room.close();
    },
  );
});

describe('names that a joined string would confuse (CONS-1)', () => {
  // tenant, id: the pairs of a line are the same when they are joined in some way.
  const PAIRS: readonly (readonly [string, string])[] = [
    ['a', 'bc'],
    ['ab', 'c'],
    ['abc', ''],
    ['a b', 'c'],
    ['a', 'b c'],
    ['1 a', 'b'],
    ['1', ' ab'],
    ['a:b', 'c'],
    ['a', 'b:c'],
    ['a\u0000b', 'c'],
    ['a', 'b\u0000c'],
    ['é', 'x'],
    ['e\u0301', 'x'],
    ['__proto__', '__proto__'],
    ['__proto__', 'constructor'],
    ['user 1 a', 'b'],
    ['key 1 a', 'b'],
  ];

  it.each(['user', 'key'] as const)(
    '%ss share neither a flight nor a cache entry',
    async (kind) => {
      const store = openMemoryStore();
      const { store: slow, calls } = counted(store);
      const room = openRoom(slow);
      const expected: string[] = [];
      const questions: Question[] = [];
      for (const [at, [tenant, id]] of PAIRS.entries()) {
        const allowed = at % 2 === 0;
        const change =
          kind === 'user'
            ? user(id, { superuser: allowed })
            : key(id, { role: allowed ? 'default_allow' : 'default_deny' });
        const { revision } = await put(store, tenant, change);
        questions.push({ tenant, [kind]: id });
        const denied = kind === 'user' ? 'NO_GRANT' : 'ACTION_DENIED';
        expected.push(`${allowed ? 'ALLOWED' : denied}@${revision}`);
      }
      // A tenant that two pairs have was written twice: its revision is the newer.
      const current = expected.map((answer, at) => {
        const last = PAIRS.findLastIndex(([tenant]) => tenant === PAIRS[at]?.[0]);
        return answer.replace(/@.*/, `@${expected[last]?.split('@')[1]}`);
      });
      const cold = await Promise.all(
        questions.flatMap((question) => [ask(room, question), ask(room, question)]),
      );
      expect(cold).toEqual(current.flatMap((answer) => [answer, answer]));
      expect(questions.map((question) => askNow(room, question))).toEqual(current);
      expect(calls.filter(({ method }) => method === 'get')).toHaveLength(PAIRS.length);
      room.close();
    },
  );

  it('a user and a key of one name are two things', async () => {
    const store = openMemoryStore();
    await put(store, 't', user('x', { superuser: true }), key('x', { role: 'default_deny' }));
    const room = openRoom(store);
    const answers = await Promise.all([
      ask(room, { user: 'x' }),
      ask(room, { key: 'x' }),
      ask(room, { subject: { type: 'role', id: 'x' } }),
      ask(room, { subject: { type: 'workspace', id: 'x' } }),
    ]);
    expect(answers).toEqual(['ALLOWED@1', 'ACTION_DENIED@1', 'NO_GRANT@1', 'NO_GRANT@1']);
    room.close();
  });

  it('users with groups that join to the same string do not share a closure', async () => {
    const store = openMemoryStore();
    await put(
      store,
      't',
      role('a,b', ['doc:read']),
      role('a', []),
      role('b', []),
      role('a"],["b', ['doc:read']),
      user('one', { roles: ['a', 'b'] }),
      user('two', { roles: ['a,b'] }),
      user('three', { roles: ['a'], workspaces: ['b'] }),
      user('four', { roles: ['a"],["b'] }),
    );
    const room = openRoom(store);
    const answers = await Promise.all(
      ['one', 'two', 'three', 'four'].map((id) => ask(room, { user: id })),
    );
    expect(answers).toEqual(['NO_GRANT@1', 'ALLOWED@1', 'NO_GRANT@1', 'ALLOWED@1']);
    room.close();
  });
});

describe('bounds', () => {
  it.each(['user', 'key'] as const)(
    'a flood of unknown %ss evicts nothing that exists',
    async (kind) => {
      const store = openMemoryStore();
      const known = Array.from({ length: 10 }, (_, at) => `known-${at}`);
      const make = (id: string) =>
        kind === 'user' ? user(id, { superuser: true }) : key(id, { role: 'default_allow' });
      await put(store, 't', ...known.map(make));
      const room = openRoom(store, { cache: { subjects: 10, keys: 10, absent: 5 } });
      for (const id of known) await ask(room, { [kind]: id });
      const refused = kind === 'user' ? 'NO_GRANT@1' : 'KEY_INVALID@1';
      for (let at = 0; at < 1_000; at++)
        expect(await ask(room, { [kind]: `unknown-${at}` })).toBe(refused);
      for (const id of known) expect(askNow(room, { [kind]: id })).toBe('ALLOWED@1');
      const { subjects, keys } = room.stats();
      expect([subjects, keys]).toEqual(kind === 'user' ? [10, 0] : [0, 10]);
      room.close();
    },
  );

  it('a flood of unknown tenants evicts no known one, and is not read again within a heartbeat', async () => {
    const store = openMemoryStore();
    await put(store, 't', user('a', { superuser: true }));
    const { store: slow, calls } = counted(store);
    const room = openRoom(slow, { cache: { tenants: 1, absent: 1_000 } });
    await ask(room, { user: 'a' });
    for (let at = 0; at < 500; at++)
      expect(await ask(room, { tenant: `no-${at}`, user: 'a' })).toBe('TENANT_MISMATCH@0');
    expect(askNow(room, { user: 'a' })).toBe('ALLOWED@1');
    calls.length = 0;
    for (let at = 0; at < 500; at++) await ask(room, { tenant: `no-${at}`, user: 'a' });
    expect(calls).toEqual([]);
    room.close();
  });

  it('caches never hold more than their bounds, and answer right beyond them', async () => {
    const store = openMemoryStore();
    const ids = Array.from({ length: 40 }, (_, at) => `id-${at}`);
    const tenants = Array.from({ length: 6 }, (_, at) => `tenant-${at}`);
    for (const tenant of tenants)
      await put(
        store,
        tenant,
        READER,
        ...ids.map((id, at) => user(id, { roles: at % 2 === 0 ? reads : [] })),
        ...ids.map((id, at) => key(id, { role: at % 2 === 0 ? 'default_allow' : 'default_deny' })),
      );
    const room = openRoom(store, { cache: { subjects: 7, keys: 5, tenants: 2, groups: 1 } });
    for (let round = 0; round < 2; round++)
      for (const tenant of tenants)
        for (const [at, id] of ids.entries()) {
          expect(await ask(room, { tenant, user: id })).toBe(
            at % 2 === 0 ? 'ALLOWED@1' : 'NO_GRANT@1',
          );
          expect(await ask(room, { tenant, key: id })).toBe(
            at % 2 === 0 ? 'ALLOWED@1' : 'ACTION_DENIED@1',
          );
          const stats = room.stats();
          expect(stats.subjects).toBeLessThanOrEqual(7);
          expect(stats.keys).toBeLessThanOrEqual(5);
          expect(stats.tenants).toBeLessThanOrEqual(2);
        }
    room.close();
  });

  // What is deleted while its tenant is out of the cache leaves an entry of the old plane behind.
  const deletedMeanwhile = async (kind: 'user' | 'key'): Promise<string> => {
    const store = openMemoryStore();
    await put(store, 't', user('x', { superuser: true }), key('x', { role: 'default_allow' }));
    await put(store, 'other', user('x'));
    const room = openRoom(store, { cache: { tenants: 1 } });
    expect(await ask(room, { [kind]: 'x' })).toBe('ALLOWED@1');
    await ask(room, { tenant: 'other', user: 'x' });
    await put(store, 't', gone(kind, 'x'));
    const answer = await ask(room, { [kind]: 'x' });
    room.close();
    return answer;
  };
  it.each(['user', 'key'] as const)(
    'a %s deleted while its tenant is out of the cache is not allowed',
    async (kind) => {
      expect(await deletedMeanwhile(kind)).not.toMatch(/^ALLOWED/);
    },
  );
  it('a user deleted while its tenant is out of the cache is a stranger', async () => {
    expect(await deletedMeanwhile('user')).toBe('NO_GRANT@2');
  });
  it('a key deleted while its tenant is out of the cache is invalid', async () => {
    expect(await deletedMeanwhile('key')).toBe('KEY_INVALID@2');
  });
});
