/** An operation with an idempotency key is done once, whatever becomes of the answers (CONS-5). */
import { describe, expect, it } from 'vitest';
import { applyState } from '../../src/admin/state/apply-state.ts';
import { exportState } from '../../src/admin/state/export-state.ts';
import { IdempotencyError } from '../../src/admin/receipt.ts';
import { openEmbeddedStore } from '../../src/store/embedded/store.ts';
import { readAll, UnknownOutcomeError, type Store } from '../../src/store/store.ts';
import type { StateFile } from '../../src/config/state.ts';
import { openMemoryStore } from '../support/memory-store.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { manager } from '../support/admin.ts';
import { put, role } from '../support/records.ts';

const STATE: StateFile = { tenant: 't', users: [{ id: 'alice' }] };
const DAY_MS = 24 * 60 * 60 * 1_000;

const apply = (store: Store, state: StateFile, key?: string) =>
  applyState(store, state, [], 'test', { key });

describe.each([
  ['memory store', openMemoryStore],
  ['embedded store', () => openEmbeddedStore(temporaryDirectory())],
])('idempotency keys on the %s', (_name, open) => {
  it('the same operation again is answered with the first revision, and changes nothing', async () => {
    const store = open();
    expect(await apply(store, STATE, 'k')).toMatchObject({ revision: 1, repeated: false });
    // Somebody else goes on; a second apply without a key would take this away again.
    await put(store, 't', role('later', []));
    expect(await apply(store, STATE, 'k')).toMatchObject({ revision: 1, repeated: true });
    expect((await readAll(store, 't', ['role'])).records.role.has('later')).toBe(true);
    expect(await apply(store, STATE)).toMatchObject({ revision: 3, repeated: false });
    await store.close();
  });

  it('another operation under the same key is refused, and changes nothing', async () => {
    const store = open();
    await apply(store, STATE, 'k');
    const other: StateFile = { tenant: 't', users: [{ id: 'bob' }] };
    await expect(apply(store, other, 'k')).rejects.toBeInstanceOf(IdempotencyError);
    expect((await store.get('t', [])).head?.revision).toBe(1);
    expect(await apply(store, other, 'k2')).toMatchObject({ revision: 2, repeated: false });
    await store.close();
  });

  it('of ten at once under one key, one is done and all are told its revision', async () => {
    const store = open();
    const all = await Promise.all(Array.from({ length: 10 }, () => apply(store, STATE, 'k')));
    expect(all.map(({ revision }) => revision)).toEqual(all.map(() => 1));
    expect(all.filter(({ repeated }) => !repeated)).toHaveLength(1);
    await store.close();
  });

  it('a commit whose answer was lost is found by its key', async () => {
    const store = open();
    let lost = 0;
    const losing: Store = {
      ...store,
      async commit(commit) {
        await store.commit(commit);
        lost++;
        throw new UnknownOutcomeError('the connection was cut');
      },
    };
    await expect(apply(losing, STATE, 'k')).rejects.toThrow('UNKNOWN outcome');
    expect(await apply(losing, STATE, 'k')).toMatchObject({ revision: 1, repeated: true });
    expect(lost).toBe(1);
    await store.close();
  });

  it('a change whose outcome is not known is told whole: nobody tells it later (ADM-7)', async () => {
    const store = open();
    await manager(store).as('operator', 'CreateTenant', { owner: 'root' });
    const losing: Store = {
      ...store,
      async commit(commit) {
        await store.commit(commit);
        throw new UnknownOutcomeError('too few replicas have it', 'done');
      },
    };
    const managing = manager(losing);
    await expect(managing.as('operator', 'CreateUser', { user: { id: 'eve' } })).rejects.toThrow(
      'UNKNOWN',
    );
    expect(managing.events.at(-1)).toMatchObject({
      operation: 'user.create',
      revision: 2,
      refused: { kind: 'unknown_outcome' },
      differences: expect.arrayContaining([
        expect.objectContaining({ kind: 'user', id: 'eve' }),
      ]) as unknown,
    });
    await store.close();
  });

  it('receipts of yesterday go, those of today stay, and no export shows one', async () => {
    const store = open();
    await apply(store, STATE, 'first');
    for (let at = 0; at < 200; at++) {
      const id = `${at.toString(16).padStart(2, '0')}${'0'.repeat(62)}`;
      const age = at < 100 ? 2 * DAY_MS : 0;
      const value = { id, digest: '', revision: 1, time: Date.now() - age };
      await put(store, 't', { kind: 'receipt', id, value });
    }
    for (let at = 0; at < 60; at++)
      await apply(store, { tenant: 't', users: [{ id: `user-${at}` }] }, `key-${at}`);
    const { receipt } = (await readAll(store, 't', ['receipt'])).records;
    const old = [...receipt.values()].filter(({ time }) => time < Date.now() - DAY_MS);
    expect(old.length).toBeLessThan(20);
    expect([...receipt.values()].length - old.length).toBe(100 + 61);
    expect(await apply(store, STATE, 'first')).toMatchObject({ revision: 1, repeated: true });
    expect(JSON.stringify(await exportState(store, 't'))).not.toContain('digest');
    await store.close();
  });
});
