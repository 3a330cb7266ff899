/** `min_revision` (CONS-1): answered from that revision or newer, or UNAVAILABLE at the deadline; never from older facts. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { whoOf, ask, askNow, settled } from '../support/asking.ts';
import {
  failing,
  openMemoryStore,
  slowly,
  type FailingStore,
  type MemoryStore,
} from '../support/memory-store.ts';
import { NEVER_MS, openRoom, put, role, user, type TestRoom } from '../support/records.ts';

const READER = role('reader', ['doc:read']);

describe('min_revision', () => {
  let memory: MemoryStore;
  /** Gives no hint of its own: what is seen is seen because it was asked for. */
  let store: FailingStore;
  let room: TestRoom;
  const open = (heartbeatMs = NEVER_MS): void => {
    room?.close();
    room = openRoom(store, { heartbeatMs });
  };
  beforeEach(async () => {
    memory = openMemoryStore();
    store = failing(memory);
    await put(memory, 't', READER, user('alice', { roles: ['reader'] }));
    open();
    await ask(room, { user: 'alice' });
  });
  afterEach(() => room.close());
  const timed = async (work: Promise<string>): Promise<{ answer: string; ms: number }> => {
    const startedAt = performance.now();
    return { answer: await work, ms: performance.now() - startedAt };
  };

  it('that is here already costs no promise', () => {
    expect(askNow(room, { user: 'alice', minRevision: 1 })).toBe('ALLOWED@1');
  });

  it('that the store has is fetched at once, without a hint', async () => {
    await put(memory, 't', user('alice'));
    expect(askNow(room, { user: 'alice' })).toBe('ALLOWED@1');
    const { answer, ms } = await timed(ask(room, { user: 'alice', minRevision: 2, waitMs: 5_000 }));
    expect(answer).toBe('NO_GRANT@2');
    expect(ms).toBeLessThan(500);
    expect(askNow(room, { user: 'alice' })).toBe('NO_GRANT@2');
  });

  it('holds for a cold user and a cold tenant too', async () => {
    await put(memory, 't', user('bob', { roles: ['reader'] }));
    expect(await ask(room, { user: 'bob', minRevision: 2 })).toBe('ALLOWED@2');
    await put(memory, 'cold', user('bob', { superuser: true }));
    expect(await ask(room, { tenant: 'cold', user: 'bob', minRevision: 1 })).toBe('ALLOWED@1');
  });

  it('that comes later is waited for: the hint ends the wait', async () => {
    const asking = timed(ask(room, { user: 'alice', minRevision: 3, waitMs: 10_000 }));
    await settled();
    await put(memory, 't', user('alice'));
    store.hint();
    await settled();
    await put(memory, 't', user('alice', { roles: ['reader'], suspended: true }));
    store.hint();
    const { answer, ms } = await asking;
    expect(answer).toBe('SUBJECT_INACTIVE@3');
    expect(ms).toBeLessThan(1_000);
  });

  it('that comes later is found by the heartbeat where no hint comes', async () => {
    open(50);
    const asking = timed(ask(room, { user: 'alice', minRevision: 2, waitMs: 10_000 }));
    await settled();
    await put(memory, 't', user('alice'));
    const { answer, ms } = await asking;
    expect(answer).toBe('NO_GRANT@2');
    expect(ms).toBeLessThan(2_000);
  });

  it.each([NEVER_MS, 10])(
    'that never comes is UNAVAILABLE at the deadline, with a heartbeat of %d ms',
    async (heartbeat) => {
      open(heartbeat);
      const loaded = timed(ask(room, { user: 'alice', minRevision: 2, waitMs: 150 }));
      const { answer, ms } = await loaded;
      expect(answer).toBe('UNAVAILABLE');
      expect(ms).toBeGreaterThan(140);
      expect(ms).toBeLessThan(1_000);
      // Nobody else is harmed.
      expect(await ask(room, { user: 'alice' })).toBe('ALLOWED@1');
    },
  );

  it('without time to wait it is looked for once', async () => {
    expect(await ask(room, { user: 'alice', minRevision: 2, waitMs: 0 })).toBe('UNAVAILABLE');
    await put(memory, 't', user('alice'));
    expect(await ask(room, { user: 'alice', minRevision: 2, waitMs: 0 })).toBe('NO_GRANT@2');
  });

  it('the refusal names both revisions', async () => {
    const loaded = await room.resolve(whoOf({ user: 'alice' }), 7, 0);
    expect(loaded).toEqual({ unavailable: expect.stringMatching(/7.*1/), reason: 'UNAVAILABLE' });
  });

  it('a made-up token of the far future costs few reads, and ends at the deadline', async () => {
    let reads = 0;
    const counting = slowly(memory, { before: () => void reads++ });
    const own = openRoom(counting, { heartbeatMs: 20 });
    const question = { user: 'alice', minRevision: Number.MAX_SAFE_INTEGER, waitMs: 200 };
    const { answer, ms } = await timed(ask(own, question));
    expect(answer).toBe('UNAVAILABLE');
    expect(ms).toBeLessThan(1_000);
    expect(reads).toBeLessThan(60);
    own.close();
  });

  it('100 that wait for one commit are all answered from it', async () => {
    const asking = Array.from({ length: 100 }, () =>
      ask(room, { user: 'alice', minRevision: 2, waitMs: 10_000 }),
    );
    await settled();
    await put(memory, 't', user('alice'));
    store.hint();
    expect(new Set(await Promise.all(asking))).toEqual(new Set(['NO_GRANT@2']));
  });

  describe('of a tenant that does not exist yet', () => {
    const question = { tenant: 'new', user: 'a', minRevision: 1 };

    it('is waited for: the hint ends the wait', async () => {
      const asking = timed(ask(room, { ...question, waitMs: 10_000 }));
      await settled();
      await put(memory, 'new', user('a', { superuser: true }));
      store.hint();
      const { answer, ms } = await asking;
      expect(answer).toBe('ALLOWED@1');
      expect(ms).toBeLessThan(1_000);
    });

    it('is found by the heartbeat where no hint comes', async () => {
      open(30);
      const asking = ask(room, { ...question, waitMs: 10_000 });
      await settled();
      await put(memory, 'new', user('a', { superuser: true }));
      expect(await asking).toBe('ALLOWED@1');
    });

    it('is UNAVAILABLE at the deadline, not a mismatch; without a token it is a mismatch', async () => {
      const { answer, ms } = await timed(ask(room, { ...question, waitMs: 100 }));
      expect(answer).toBe('UNAVAILABLE');
      expect(ms).toBeLessThan(1_000);
      expect(await ask(room, { ...question, minRevision: 0 })).toBe('TENANT_MISMATCH@0');
    });
  });

  it('ends at the deadline although the store fails', async () => {
    store.fail('throws');
    const { answer, ms } = await timed(ask(room, { user: 'alice', minRevision: 2, waitMs: 100 }));
    expect(answer).toBe('UNAVAILABLE');
    expect(ms).toBeLessThan(1_000);
  });
});
