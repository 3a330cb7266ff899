/**
 * The store does not answer (CONS-2, CONS-3). Promise: cached facts serve until `max_staleness`, then UNAVAILABLE
 * (STALE); what is not cached cannot be guessed; calls end by their deadline; fresh again when the store returns,
 * without a burst of stale answers.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ask, askNow, askWithin, settled, whoOf } from '../support/asking.ts';
import {
  failing,
  openMemoryStore,
  type FailingStore,
  type Failure,
  type MemoryStore,
} from '../support/memory-store.ts';
import { key, openRoom, put, role, user, type TestRoom } from '../support/records.ts';

const MAX = 30_000;
/** A read that hangs has failed after this time. */
const STORE_TIMEOUT_MS = 20;
/** Longer than any deadline that these tests give. */
const LATE_MS = 1_000;

let memory: MemoryStore;
let store: FailingStore;
let room: TestRoom;
/** The monotonic clock, ms. */
let clock: number;

beforeEach(async () => {
  memory = openMemoryStore();
  store = failing(memory);
  clock = 1_000_000;
  room = openRoom(store, {
    maxStalenessMs: MAX,
    storeTimeoutMs: STORE_TIMEOUT_MS,
    now: () => clock,
  });
  await put(
    memory,
    't',
    role('reader', ['doc:read']),
    user('alice', { roles: ['reader'] }),
    key('k', { role: 'default_allow' }),
  );
  await ask(room, { user: 'alice', key: 'k' });
});
afterEach(() => room.close());

/** Time passes, and the store is looked at as a heartbeat would. */
async function pass(ms: number): Promise<void> {
  clock += ms;
  // Looks that hang end by the store's time-out.
  await new Promise((done) => setTimeout(done, STORE_TIMEOUT_MS * 1.5));
  store.hint();
  await settled();
}

const ALICE = { user: 'alice', waitMs: 100 };

describe.each<Failure>(['throws', 'rejects', 'hangs'])('the store %s', (how) => {
  beforeEach(() => store.fail(how));

  it('below max_staleness cached facts serve, and tell their age (CONS-2, CONS-3)', async () => {
    for (let age = 0; age <= MAX; age += 7_500) {
      expect(askNow(room, ALICE)).toBe('ALLOWED@1');
      expect(await room.resolve(whoOf(ALICE), 0, 0)).toMatchObject({ ageMs: age, revision: 1 });
      expect(room.ageMs()).toBe(age);
      await pass(7_500);
    }
  });

  it('beyond max_staleness nothing is answered: STALE, by the deadline (CONS-3)', async () => {
    await pass(MAX + 1);
    for (const question of [ALICE, { key: 'k', waitMs: 100 }, { ...ALICE, minRevision: 1 }])
      expect(await askWithin(room, question, LATE_MS)).toBe('STALE');
    expect(await askWithin(room, { user: 'unknown', waitMs: 100 }, LATE_MS)).toBe('STALE');
  });

  it('what is not cached is UNAVAILABLE, by the deadline (CONS-3)', async () => {
    for (const question of [{ user: 'unknown' }, { key: 'unknown' }, { tenant: 'unknown' }])
      expect(await askWithin(room, { ...question, waitMs: 100 }, LATE_MS)).toBe('UNAVAILABLE');
    expect(askNow(room, ALICE)).toBe('ALLOWED@1');
  });

  it('beyond max_staleness nothing is ever allowed (CONS-3)', async () => {
    await pass(MAX + 1);
    expect(await askWithin(room, ALICE, 200)).not.toMatch(/^ALLOWED/);
  });

  it('back before max_staleness: a heartbeat makes it fresh, and what was revoked meanwhile is denied', async () => {
    await pass(10_000);
    await put(memory, 't', user('alice'));
    await pass(10_000);
    store.fail(undefined);
    await pass(10);
    expect(await askWithin(room, ALICE, LATE_MS)).toBe('NO_GRANT@2');
    expect(room.ageMs()).toBe(0);
    expect(room.resyncCauses).toEqual([]);
  });

  it('back after max_staleness: the first answer is fresh already, no stale burst', async () => {
    await pass(MAX + 1);
    await put(memory, 't', user('alice'));
    store.fail(undefined);
    // Without any heartbeat in between.
    const burst = await Promise.all(
      Array.from({ length: 20 }, () => askWithin(room, ALICE, LATE_MS)),
    );
    expect(new Set(burst)).toEqual(new Set(['NO_GRANT@2']));
    expect(room.ageMs()).toBe(0);
  });

  it('back: what was asked for and not answered is answered', async () => {
    await askWithin(room, { user: 'bob', waitMs: 50 }, 100);
    await askWithin(room, { tenant: 'new', user: 'bob', waitMs: 50 }, 100);
    await put(memory, 't', user('bob', { superuser: true }));
    await put(memory, 'new', user('bob', { superuser: true }));
    store.fail(undefined);
    await pass(10);
    expect(await askWithin(room, { user: 'bob', waitMs: 100 }, LATE_MS)).toBe('ALLOWED@2');
    expect(await askWithin(room, { tenant: 'new', user: 'bob', waitMs: 100 }, LATE_MS)).toBe(
      'ALLOWED@1',
    );
  });
});

describe('staleness', () => {
  it('an idle tenant stays fresh: each look that finds nothing confirms it (CONS-2)', async () => {
    for (let look = 0; look < 10; look++) {
      await pass(MAX - 1);
      expect(askNow(room, ALICE)).toBe('ALLOWED@1');
      expect(room.ageMs()).toBe(0);
    }
  });

  it('nobody looked for longer than max_staleness: it looks before it answers', async () => {
    await put(memory, 't', user('alice'));
    clock += MAX + 1;
    expect(await ask(room, ALICE)).toBe('NO_GRANT@2');
  });

  it('facts are exactly as old as the start of the look that confirmed them', async () => {
    clock += 5;
    expect(await room.resolve(whoOf(ALICE), 0, 0)).toMatchObject({ ageMs: 5 });
    await pass(100);
    clock += 7;
    expect(await room.resolve(whoOf(ALICE), 0, 0)).toMatchObject({ ageMs: 7 });
  });

  it('errors of looks are told, and none is thrown at the watcher', async () => {
    for (const how of ['throws', 'rejects'] as const) {
      store.fail(how);
      await pass(1);
    }
    expect(room.errors.map(String)).toEqual([
      'StoreError: the store fails',
      'StoreError: the store fails',
    ]);
  });
});
