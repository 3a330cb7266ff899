/** Revisions that a fail-over took away: nobody is answered as if they were still there (CONS-1). */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Head } from '../../src/store/store.ts';
import { ask, settled } from '../support/asking.ts';
import {
  EMPTY_IMAGE,
  failing,
  openMemoryStore,
  type FailingStore,
  type Image,
  type MemoryStore,
} from '../support/memory-store.ts';
import { openRoom, put, user, type TestRoom } from '../support/records.ts';

let memory: MemoryStore;
let store: FailingStore;
let room: TestRoom;
const rooms: TestRoom[] = [];

const another = (options: Parameters<typeof openRoom>[1] = {}): TestRoom => {
  const one = openRoom(store, options);
  rooms.push(one);
  return one;
};

beforeEach(() => {
  memory = openMemoryStore({ feedLength: 50 });
  store = failing(memory);
  room = another();
});
afterEach(() => {
  for (const one of rooms.splice(0)) one.close();
});

const commit = (superuser: boolean): Promise<Head> =>
  put(memory, 't', user('alice', { superuser }), user(`u-${Math.random()}`));
const commits = async (count: number): Promise<Head> => {
  let head = await commit(true);
  for (let at = 1; at < count; at++) head = await commit(true);
  return head;
};
const notice = async (): Promise<void> => {
  store.hint();
  await settled();
};
const alice = (question: Partial<Parameters<typeof ask>[1]> = {}) => ({
  user: 'alice',
  waitMs: 100,
  ...question,
});

/** Four revisions stay, the fifth revokes and is lost; two others take its place and one more. */
async function failOver(see = true): Promise<{ readonly revoke: Head; readonly before: Image }> {
  await commits(4);
  const before = memory.image();
  await notice();
  await ask(room, alice());
  const revoke = await commit(false);
  if (see) {
    await notice();
    expect(await ask(room, alice({ minRevision: 5 }))).toBe('NO_GRANT@5');
  }
  memory.restore(before);
  return { revoke, before };
}

describe('a revoke that a fail-over lost', () => {
  it('is never answered from facts that do not contain it: by its number or by its token', async () => {
    const { revoke } = await failOver();
    await commits(2);
    await notice();
    expect(await ask(room, alice())).toBe('ALLOWED@6');
    expect(await ask(room, alice({ minRevision: 5 }))).toBe('HISTORY_LOST');
    expect(await ask(room, alice({ since: revoke }))).toBe('HISTORY_LOST');
    expect(await ask(room, alice({ minRevision: 4 }))).toBe('ALLOWED@6');
    expect(await ask(room, alice({ minRevision: 6 }))).toBe('ALLOWED@6');
    expect(room.lost).toEqual(['t: 4..5']);
    expect(room.stats().historiesLost).toBe(1);
  });

  it('is told at once, before others reach its number', async () => {
    const { revoke } = await failOver();
    await notice();
    const started = performance.now();
    expect(await ask(room, alice({ since: revoke, waitMs: 5_000 }))).toBe('HISTORY_LOST');
    expect(await ask(room, alice({ minRevision: 5, waitMs: 5_000 }))).toBe('HISTORY_LOST');
    expect(performance.now() - started).toBeLessThan(2_000);
  });

  it('is refused by its token where nobody has seen it, also after the tenant is read anew', async () => {
    const { revoke } = await failOver(false);
    await commits(30);
    await notice();
    const late = another();
    for (const one of [room, late]) {
      expect(await ask(one, alice({ since: revoke }))).toBe('HISTORY_LOST');
      // A number alone cannot tell there.
      expect(await ask(one, alice({ minRevision: 5 }))).toBe('ALLOWED@34');
    }
  });

  it('is known where it was acknowledged, though the feed never brought it', async () => {
    const { revoke } = await failOver(false);
    room.committed('t', revoke);
    await commits(2);
    await notice();
    expect(await ask(room, alice({ minRevision: 5 }))).toBe('HISTORY_LOST');
    expect(room.lost).toEqual(['t: 4..5']);
  });

  it('is known where its tenant was pushed out of the cache meanwhile', async () => {
    room = another({ cache: { tenants: 2 } });
    const { revoke } = await failOver();
    for (const tenant of ['a', 'b', 'c']) {
      await put(memory, tenant, user('x'));
      await ask(room, { tenant, user: 'x' });
    }
    await commits(2);
    await notice();
    expect(await ask(room, alice({ since: revoke }))).toBe('HISTORY_LOST');
  });

  it('is known by the nonce of a token of the new history: that one is answered', async () => {
    await failOver();
    const fresh = await commit(false);
    expect(fresh.revision).toBe(5);
    await notice();
    expect(await ask(room, alice({ since: fresh }))).toBe('NO_GRANT@5');
    expect(await ask(another(), alice({ since: fresh }))).toBe('NO_GRANT@5');
  });

  it('where all was lost: every number up to the highest that was seen', async () => {
    await failOver();
    memory.restore(EMPTY_IMAGE);
    await notice();
    expect(await ask(room, alice({ minRevision: 3 }))).toBe('HISTORY_LOST');
    await commits(7);
    await notice();
    for (const minRevision of [1, 3, 5])
      expect(await ask(room, alice({ minRevision }))).toBe('HISTORY_LOST');
    expect(await ask(room, alice({ minRevision: 6 }))).toBe('ALLOWED@7');
  });

  it('two losses are one range', async () => {
    await failOver();
    await notice();
    expect(await ask(room, alice())).toBe('ALLOWED@4');
    const before = memory.image();
    await commits(4);
    await notice();
    await ask(room, alice());
    memory.restore(before);
    await commits(5);
    await notice();
    await ask(room, alice());
    for (const minRevision of [5, 6, 8])
      expect(await ask(room, alice({ minRevision }))).toBe('HISTORY_LOST');
    for (const minRevision of [4, 9])
      expect(await ask(room, alice({ minRevision }))).toBe('ALLOWED@9');
  });
});

describe('a token', () => {
  it('of each revision is answered, warm and by a room that was not there, as far as the feed reaches', async () => {
    const heads: Head[] = [];
    for (let at = 0; at < 20; at++) heads.push(await commit(at % 2 === 0));
    for (const since of heads) {
      expect(await ask(room, alice({ since }))).toBe('NO_GRANT@20');
      expect(await ask(another(), alice({ since }))).toBe('NO_GRANT@20');
    }
  });

  it('is waited for', async () => {
    await commits(2);
    await ask(room, alice());
    const waiting = ask(room, alice({ since: { revision: 3, nonce: 'unknown' }, waitMs: 50 }));
    expect(await waiting).toBe('UNAVAILABLE');
  });

  it('that was altered is never answered: another number, another name', async () => {
    await commits(5);
    const head = await commit(true);
    for (const since of [
      { ...head, nonce: 'x' },
      { ...head, revision: 5 },
      { ...head, revision: 1 },
      { revision: 1, nonce: '' },
    ])
      expect(await ask(room, alice({ since }))).toBe('HISTORY_LOST');
    // And shuts nobody else out.
    expect(await ask(room, alice({ minRevision: 5 }))).toBe('ALLOWED@6');
    expect(room.lost).toEqual([]);
  });

  it('that is older than the feed reaches can be proven no more', async () => {
    const old = await commit(true);
    await commits(60);
    expect(await ask(another(), alice({ since: old }))).toBe('HISTORY_LOST');
  });

  it('is checked while commits go on', async () => {
    const since = await commits(3);
    const one = another();
    const asked = Array.from({ length: 20 }, () => ask(one, alice({ since, waitMs: 2_000 })));
    for (let at = 0; at < 20; at++) {
      await commit(true);
      store.hint();
    }
    for (const answer of await Promise.all(asked)) expect(answer).toMatch(/^ALLOWED@/);
  });
});
