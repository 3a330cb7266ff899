/** An expected revision holds although keys are used meanwhile; ends of keys that can be written; an apply nobody knows of. */
import { beforeEach, describe, expect, it } from 'vitest';
import { OPERATOR } from '../../src/admin/actor.ts';
import { UnknownOutcomeError, type Store } from '../../src/store/store.ts';
import { bytesOf, manager, TENANT, type Manager } from '../support/admin.ts';
import { openMemoryStore, type MemoryStore } from '../support/memory-store.ts';
import { dumpOf } from './cases.ts';

let store: MemoryStore;
let room: Manager;
beforeEach(async () => {
  store = openMemoryStore();
  room = manager(store);
  await room.as('operator', 'CreateTenant', { owner: 'root' });
  await room.as('root', 'CreateKey', { key: { id: 'k' } });
});

/** As the keeper of usage writes it. */
const use = async (on: Store = store): Promise<void> => {
  const { head } = await on.get(TENANT, []);
  await on.commit({
    tenant: TENANT,
    expected: head?.revision ?? 0,
    nonce: head?.nonce,
    changes: [{ kind: 'usage', id: 'k', value: { id: 'k', at: 1 } }],
    event: { actor: 'postern', operation: 'key.used' },
  });
};
const revision = async (): Promise<number> => (await dumpOf(store)).revision;
const expecting = (expected_revision: number): object => ({
  dry_run: false,
  idempotency_key: '',
  expected_revision,
  request_id: '',
});
const state = async (): Promise<string> =>
  (await room.admin.export(OPERATOR, { tenant: TENANT, format: 'json' })).text;

describe('an expected revision', () => {
  it('CONS-5: holds where nothing but the use of keys was written since', async () => {
    const seen = await revision();
    for (let times = 0; times < 450; times++) await use();
    await room.as('root', 'CreateUser', { user: { id: 'a' }, options: expecting(seen) });
    expect(await revision()).toBe(seen + 451);
  });

  it('CONS-5: of an apply too', async () => {
    const [seen, text] = [await revision(), await state()];
    await use();
    const request = { tenant: TENANT, prune: true, keep: false, options: expecting(seen) };
    await room.admin.apply(OPERATOR, request as never, bytesOf(text.replace('"k"', '"other"')));
    expect((await dumpOf(store)).key.has('other')).toBe(true);
  });

  it('CONS-5: and does not where anything else was, before the use or after it', async () => {
    const seen = await revision();
    await use();
    await room.as('root', 'CreateUser', { user: { id: 'a' } });
    await use();
    const late = { user: { id: 'b' }, options: expecting(seen) };
    expect((await room.refused('root', 'CreateUser', late)).kind).toBe('aborted');
    const request = { tenant: TENANT, prune: true, keep: false, options: expecting(seen) };
    await expect(
      room.admin.apply(OPERATOR, request as never, bytesOf(await state())),
    ).rejects.toMatchObject({ kind: 'aborted' });
    const early = { user: { id: 'b' }, options: expecting((await revision()) + 1) };
    expect((await room.refused('root', 'CreateUser', early)).kind).toBe('aborted');
  });

  it('CONS-5: nor where the feed no longer tells what was', async () => {
    const seen = await revision();
    for (let times = 0; times < 3; times++) await use();
    store.trim(TENANT, seen + 2);
    const late = { user: { id: 'b' }, options: expecting(seen) };
    expect((await room.refused('root', 'CreateUser', late)).kind).toBe('aborted');
  });

  it('CONS-5: holds where a key is used between the look at the feed and the commit', async () => {
    const seen = await revision();
    let left = 2;
    const busy: Store = {
      ...store,
      async commit(commit) {
        if (left-- > 0) await use();
        return store.commit(commit);
      },
    };
    const own = manager(busy);
    await own.as('root', 'CreateUser', { user: { id: 'a' }, options: expecting(seen) });
    expect((await dumpOf(store)).user.has('a')).toBe(true);
  });
});

describe('the end of a key', () => {
  it.each(['9999-12-31T23:59:59-14:00', '9999-12-31T23:59:59.999-00:01'])(
    '%s has a year that cannot be written',
    async (expires_at) => {
      for (const call of [
        () => room.refused('root', 'CreateKey', { key: { id: 'x', expires_at } }),
        () => room.refused('root', 'UpdateKey', { id: 'k', expires_at }),
      ])
        expect((await call()).message).toMatch(/9999-12-31T23:59:59\.999Z/);
      const text = JSON.stringify({
        tenant: 'fresh',
        keys: [{ id: 'x', role: 'default_deny', mode: 'off', expires_at }],
      });
      const request = { tenant: 'fresh', prune: false, keep: false };
      await expect(room.admin.apply(OPERATOR, request, bytesOf(text))).rejects.toThrow(
        /9999-12-31/,
      );
    },
  );

  it('what is exported is applied, whenever a key ends', async () => {
    await room.as('root', 'UpdateKey', { id: 'k', expires_at: '9999-12-31T23:59:59.999Z' });
    const { head, values } = await store.get(TENANT, [{ kind: 'key', id: 'k' }]);
    // As an earlier version has stored it.
    const value = { ...values[0], expiresAt: Date.parse('9999-12-31T23:59:59-14:00') } as never;
    await store.commit({
      tenant: TENANT,
      expected: head?.revision ?? 0,
      changes: [{ kind: 'key', id: 'k', value }],
      event: { actor: 'test', operation: 'key.update' },
    });
    const request = { tenant: TENANT, prune: true, keep: false };
    await room.admin.apply(OPERATOR, request, bytesOf(await state()));
    expect(await state()).toContain('9999-12-31T23:59:59.999Z');
  });
});

describe('an apply of which nobody knows', () => {
  it('ADM-7: is told as unknown, with what it would have changed', async () => {
    const lost: Store = {
      ...store,
      commit: () => Promise.reject(new UnknownOutcomeError('the connection is lost')),
    };
    const own = manager(lost);
    const text = (await state()).replace('"k"', '"other"');
    const request = { tenant: TENANT, prune: true, keep: false };
    await expect(own.admin.apply(OPERATOR, request, bytesOf(text))).rejects.toBeInstanceOf(
      UnknownOutcomeError,
    );
    expect(own.events).toMatchObject([
      {
        operation: 'state.apply',
        refused: { kind: 'unknown_outcome' },
        revision: (await revision()) + 1,
      },
    ]);
    expect(own.events[0]?.differences.map(({ kind, id }) => `${kind} ${id}`)).toEqual([
      'key other',
      'key k',
    ]);
  });
});
