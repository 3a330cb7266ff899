/**
 * A store that was wiped, rolled back by a fail-over, or whose feed has a hole. Promise: noticed by the generation
 * and the nonce chain, caches dropped, resynced, counted; never an allow from facts that no longer exist.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { StoreError, type Feed, type Store } from '../../src/store/store.ts';
import { ask, askNow, settled } from '../support/asking.ts';
import {
  EMPTY_IMAGE,
  failing,
  openGate,
  openMemoryStore,
  slowly,
  type FailingStore,
  type Image,
  type MemoryStore,
} from '../support/memory-store.ts';
import { gone, key, openRoom, put, role, user, type TestRoom } from '../support/records.ts';

const READER = role('reader', ['doc:read']);
const USELESS = role('reader', []);

let memory: MemoryStore;
/** Gives a hint when the test says so, so that what happens before it is noticed can be looked at. */
let store: FailingStore;
let room: TestRoom;
/** The store as of revision 1. */
let first: Image;

beforeEach(async () => {
  memory = openMemoryStore();
  store = failing(memory);
  room = openRoom(store);
  await put(
    memory,
    't',
    READER,
    user('alice', { roles: ['reader'] }),
    user('dave'),
    key('k', { role: 'default_allow' }),
  );
  await put(memory, 'other', user('alice', { superuser: true }));
  first = memory.image();
});
afterEach(() => room.close());

async function notice(): Promise<void> {
  store.hint();
  await settled();
}

async function warm(): Promise<void> {
  for (const question of [
    { user: 'alice' },
    { user: 'bob' },
    { key: 'k' },
    { tenant: 'other', user: 'alice' },
  ])
    await ask(room, question);
}

describe('a wiped store', () => {
  it('is noticed: nothing of what it held is allowed, no default takes its place', async () => {
    await warm();
    expect(askNow(room, { user: 'alice' })).toBe('ALLOWED@1');
    memory.restore(EMPTY_IMAGE);
    await notice();
    expect(room.resyncCauses.toSorted()).toEqual(['other: wiped', 't: wiped']);
    expect(room.stats()).toMatchObject({ resyncs: 2, tenants: 0 });
    expect(await ask(room, { user: 'alice' })).toBe('TENANT_MISMATCH@0');
    expect(await ask(room, { key: 'k' })).toBe('KEY_INVALID@0');
    expect(await ask(room, { user: 'alice', minRevision: 1, waitMs: 0 })).toBe('HISTORY_LOST');
  });

  it('is told once, however often it is looked at', async () => {
    await warm();
    memory.restore(EMPTY_IMAGE);
    for (let look = 0; look < 5; look++) await notice();
    expect(room.resyncCauses).toHaveLength(2);
  });

  it('is not read from before it is noticed', async () => {
    await warm();
    memory.restore(EMPTY_IMAGE);
    expect(await ask(room, { user: 'cold' })).not.toMatch(/^ALLOWED/);
    expect(await ask(room, { key: 'cold' })).not.toMatch(/^ALLOWED/);
  });

  it('is noticed by the first read that finds it empty', async () => {
    await warm();
    memory.restore(EMPTY_IMAGE);
    expect(await ask(room, { user: 'cold' })).toBe('TENANT_MISMATCH@0');
  });

  it('and filled again with other facts at the same revision: they are what is answered from', async () => {
    await warm();
    memory.restore(EMPTY_IMAGE);
    await put(
      memory,
      't',
      USELESS,
      user('alice', { roles: ['reader'] }),
      user('bob', { superuser: true }),
    );
    await notice();
    expect(room.resyncCauses).toContain('t: rolled_back');
    expect(await ask(room, { user: 'alice' })).toBe('NO_GRANT@1');
    expect(await ask(room, { user: 'bob' })).toBe('ALLOWED@1');
  });

  it('and filled again: who is not there any more is a stranger, an absent key invalid', async () => {
    await warm();
    memory.restore(EMPTY_IMAGE);
    await put(memory, 't', READER);
    await notice();
    expect(await ask(room, { user: 'alice' })).toBe('NO_GRANT@1');
    expect(await ask(room, { key: 'k' })).toBe('KEY_INVALID@1');
  });
});

describe('a store that was rolled back', () => {
  it.each([
    { what: 'to a lower revision', commits: 0 },
    { what: 'and written again to the same revision', commits: 1 },
    { what: 'and written past it', commits: 3 },
  ])('$what is noticed, and answered from what is there now', async ({ commits }) => {
    await put(memory, 't', user('dave', { superuser: true }));
    await warm();
    expect(await ask(room, { user: 'dave' })).toBe('ALLOWED@2');
    memory.restore(first);
    for (let at = 0; at < commits; at++) await put(memory, 't', user(`new-${at}`));
    await notice();
    expect(room.resyncCauses).toEqual(['t: rolled_back']);
    expect(await ask(room, { user: 'dave' })).toBe(`NO_GRANT@${1 + commits}`);
    expect(await ask(room, { user: 'alice' })).toBe(`ALLOWED@${1 + commits}`);
    // It was another tenant's bad luck.
    expect(askNow(room, { tenant: 'other', user: 'alice' })).toBe('ALLOWED@1');
  });

  it('a role that lost its permission before the roll-back and has it again counts as it is now', async () => {
    await put(memory, 't', USELESS);
    await warm();
    expect(askNow(room, { user: 'alice' })).toBe('NO_GRANT@2');
    memory.restore(first);
    await notice();
    expect(await ask(room, { user: 'alice' })).toBe('ALLOWED@1');
  });

  it('a number that was lost is refused from then on, and the next one is not: who can tell which is meant (CONS-1)', async () => {
    await put(memory, 't', user('bob', { superuser: true }));
    await warm();
    memory.restore(first);
    await notice();
    const question = { user: 'alice', minRevision: 2, waitMs: 50 };
    expect(await ask(room, question)).toBe('HISTORY_LOST');
    await put(memory, 't', user('alice'));
    expect(await ask(room, question)).toBe('HISTORY_LOST');
    await put(memory, 't', user('alice'));
    expect(await ask(room, { ...question, minRevision: 3 })).toBe('NO_GRANT@3');
    expect(await ask(room, { ...question, minRevision: 1 })).toBe('NO_GRANT@3');
  });

  it('while a cold read is under way: what it read is not kept', async () => {
    await put(memory, 't', user('bob', { superuser: true }));
    const gate = openGate();
    const own = openRoom(slowly(store, { after: gate.pass }));
    await ask(own, { user: 'alice' });
    gate.hold(({ method }) => method === 'get');
    const asking = ask(own, { user: 'bob' });
    await gate.held();
    memory.restore(first);
    await notice();
    gate.release();
    expect(await asking).toBe('NO_GRANT@1');
    expect(own.resyncCauses).toEqual(['t: rolled_back']);
    own.close();
  });

  it('while its plane is read: noticed at the next look', async () => {
    await put(memory, 't', user('alice', { superuser: true }));
    const gate = openGate();
    const own = openRoom(slowly(store, { after: gate.pass }));
    let scans = 0;
    // The last of the plane's pages.
    gate.hold(({ method }) => method === 'scan' && ++scans === 3);
    const asking = ask(own, { user: 'alice' });
    await gate.held();
    memory.restore(first);
    await put(memory, 't', USELESS);
    gate.release();
    await asking;
    await notice();
    expect(await ask(own, { user: 'alice' })).toBe('NO_GRANT@2');
    own.close();
  });

  it('before it is noticed: a user of a lower revision is not joined with newer roles', async () => {
    await put(memory, 't', USELESS, user('carol', { roles: ['reader'] }));
    const early = memory.image();
    await put(memory, 't', user('carol'));
    await put(memory, 't', READER);
    // Neither history allows it: carol was not in `reader` when it had the permission.
    expect(await ask(openRoom(memory), { user: 'carol' })).toBe('NO_GRANT@4');
    await warm();
    memory.restore(early);
    expect(await ask(openRoom(memory), { user: 'carol' })).toBe('NO_GRANT@2');
    expect(await ask(room, { user: 'carol' })).not.toMatch(/^ALLOWED/);
  });

  it('before it is noticed: a user of the same revision of another history is not joined either', async () => {
    await put(memory, 't', USELESS);
    const early = memory.image();
    await put(memory, 't', READER);
    expect(await ask(openRoom(memory), { user: 'carol' })).toBe('NO_GRANT@3');
    await warm();
    memory.restore(early);
    await put(memory, 't', user('carol', { roles: ['reader'] }));
    expect(await ask(openRoom(memory), { user: 'carol' })).toBe('NO_GRANT@3');
    expect(await ask(room, { user: 'carol' })).not.toMatch(/^ALLOWED/);
  });

  it('a token that the new history has is answered at once', async () => {
    await warm();
    memory.restore(EMPTY_IMAGE);
    await put(memory, 't', USELESS);
    await put(memory, 't', user('alice', { superuser: true }));
    const startedAt = performance.now();
    const answer = await ask(room, { user: 'alice', minRevision: 2, waitMs: 1_000 });
    expect(answer).toBe('ALLOWED@2');
    expect(performance.now() - startedAt).toBeLessThan(500);
  });
});

describe('a feed with a hole', () => {
  /** A store whose feed is bent by the test. */
  const bent = (bend: (feed: Feed) => Feed): Store => ({
    ...store,
    feed: async (...call) => bend(await store.feed(...call)),
  });
  const without = (revision: number) => (feed: Feed) => ({
    ...feed,
    entries: feed.entries.filter((entry) => entry.revision !== revision),
  });

  it('trimmed past the reader: a gap, everything is read again', async () => {
    await warm();
    await put(memory, 't', user('alice'));
    await put(memory, 't', USELESS);
    memory.trim('t', 2);
    await notice();
    expect(room.resyncCauses).toEqual(['t: gap']);
    expect(await ask(room, { user: 'alice' })).toBe('NO_GRANT@3');
    expect(await ask(room, { key: 'k' })).toBe('ALLOWED@3');
  });

  it.each([
    ['the first entry is missing', without(2)],
    ['one in the middle is missing', without(3)],
    ['the last one is missing', without(4)],
    ['it is empty (black-holed)', (feed: Feed) => ({ ...feed, entries: [] })],
    ['it is reordered', (feed: Feed) => ({ ...feed, entries: feed.entries.toReversed() })],
    [
      'an entry comes twice',
      (feed: Feed) => ({ ...feed, entries: feed.entries.flatMap((entry) => [entry, entry]) }),
    ],
  ])('%s: a gap, everything is read again', async (_, bend) => {
    const own = openRoom(bent(bend));
    for (const id of ['alice', 'bob']) await ask(own, { user: id });
    await put(memory, 't', user('alice'));
    await put(memory, 't', user('bob', { superuser: true }));
    await put(memory, 't', gone('key', 'k'));
    await notice();
    expect(own.resyncCauses).toEqual(['t: gap']);
    expect(await ask(own, { user: 'alice' })).toBe('NO_GRANT@4');
    expect(await ask(own, { user: 'bob' })).toBe('ALLOWED@4');
    own.close();
  });

  it('an entry that does not name the nonce before it: another history', async () => {
    const own = openRoom(
      bent((feed) => ({
        ...feed,
        entries: feed.entries.map((entry) => ({ ...entry, previous: 'x' })),
      })),
    );
    await ask(own, { user: 'alice' });
    await put(memory, 't', user('alice'));
    await notice();
    expect(own.resyncCauses).toEqual(['t: rolled_back']);
    expect(await ask(own, { user: 'alice' })).toBe('NO_GRANT@2');
    own.close();
  });

  it.each(['feed', 'get'] as const)(
    'a look that is overtaken while it waits for its %s takes nothing back',
    async (method) => {
      const gate = openGate();
      const own = openRoom(slowly(store, { after: gate.pass }));
      await ask(own, { user: 'alice' });
      gate.hold((read) => read.method === method);
      await put(memory, 't', role('reader', ['doc:read', 'doc:write']));
      store.hint();
      await gate.held();
      gate.hold(() => false);
      await put(memory, 't', USELESS, user('alice', { roles: ['reader'], superuser: false }));
      await notice();
      expect(await ask(own, { user: 'alice' })).toBe('NO_GRANT@3');
      gate.release();
      await settled();
      expect(await ask(own, { user: 'alice' })).toBe('NO_GRANT@3');
      expect(own.resyncCauses).toEqual([]);
      own.close();
    },
  );

  it('that cannot be read while records can: newer users are not joined with older roles (CONS-1)', async () => {
    let down = false;
    const own = openRoom({
      ...store,
      feed: (...call) => (down ? Promise.reject(new StoreError('down')) : store.feed(...call)),
    });
    await ask(own, { user: 'alice' });
    down = true;
    await put(memory, 't', USELESS);
    // Only now in the role, which gives nothing any more.
    await put(memory, 't', user('dave', { roles: ['reader'] }));
    expect(await ask(own, { user: 'dave' })).toBe('UNAVAILABLE');
    down = false;
    expect(await ask(own, { user: 'dave' })).toBe('NO_GRANT@3');
    own.close();
  });
});
