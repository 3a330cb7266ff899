/** Facts that change faster than they can be read: a call ends after a bounded number of rounds, and says so (CONS-2). */
import { describe, expect, it, onTestFinished } from 'vitest';
import type { FactKey, Store } from '../../src/store/store.ts';
import { ask, settled } from '../support/asking.ts';
import { failing, openMemoryStore, type MemoryStore } from '../support/memory-store.ts';
import { key, openRoom, put, role, user, type TestRoom } from '../support/records.ts';

const READER = role('reader', ['doc:read']);

/** A store that lets a test act before each read of records, and counts them. */
function watched(memory: MemoryStore, before: (keys: readonly FactKey[]) => Promise<void>) {
  const reads: string[] = [];
  const store: Store = {
    ...memory,
    async get(tenant, keys) {
      reads.push(keys.map(({ kind, id }) => `${kind} ${id}`).join(', '));
      await before(keys);
      return memory.get(tenant, keys);
    },
  };
  return { store: failing(store), reads };
}

function room(store: Store): TestRoom {
  const opened = openRoom(store);
  onTestFinished(() => opened.close());
  return opened;
}

async function filled(): Promise<MemoryStore> {
  const memory = openMemoryStore();
  await put(memory, 't', READER, user('alice', { roles: ['reader'] }), key('k'));
  return memory;
}

describe('a record that changes while it is read', () => {
  it.each([
    ['user alice', { user: 'alice' }, user('alice', { roles: ['reader'] })],
    ['key k', { key: 'k' }, key('k')],
  ])(
    '%s is read twenty times at most, and then nothing is decided',
    async (name, question, change) => {
      const memory = await filled();
      const reads: string[] = [];
      const store = failing({
        ...memory,
        async get(tenant, keys) {
          const old = await memory.get(tenant, keys);
          if (keys[0]?.kind !== change.kind) return old;
          reads.push(`${change.kind} ${keys[0].id}`);
          // What was read is old before it arrives, and the feed has told so.
          await put(memory, tenant, change);
          store.hint();
          await settled();
          return old;
        },
      });
      const facts = room(store);
      expect(await ask(facts, question)).toBe('UNAVAILABLE');
      expect(reads).toEqual(Array.from({ length: 20 }, () => name));
    },
  );
});

describe('commits between the reads of what a look found changed', () => {
  /** Commits one role more before each of the first so many reads of roles. */
  async function chased(commits: number) {
    const memory = await filled();
    let left = 0;
    let count = 0;
    const { store, reads } = watched(memory, async (keys) => {
      if (left === 0 || keys[0]?.kind !== 'role') return;
      left--;
      await put(memory, 't', role(`more-${++count}`, []));
    });
    const facts = room(store);
    expect(await ask(facts, { user: 'alice' })).toBe('ALLOWED@1');
    left = commits;
    await put(memory, 't', role('reader', []));
    store.hint();
    for (let turn = 0; turn < 50; turn++) await settled();
    return { facts, reads: reads.filter((read) => read.startsWith('role ')) };
  }

  it.each([0, 1, 4])('%d of them are read on, without reading all again', async (commits) => {
    const { facts, reads } = await chased(commits);
    expect(facts.resyncCauses).toEqual([]);
    expect(reads).toHaveLength(commits + 1);
    expect(await ask(facts, { user: 'alice' })).toBe(`NO_GRANT@${commits + 2}`);
  });

  it('after five all is read again, once', async () => {
    const { facts, reads } = await chased(5);
    expect(facts.resyncCauses).toEqual(['t: gap']);
    expect(reads).toHaveLength(5);
    expect(await ask(facts, { user: 'alice' })).toBe('NO_GRANT@7');
  });

  it('that never end: no decision from what is out of date, and the reads end', async () => {
    const { facts, reads } = await chased(Infinity);
    const many = reads.length;
    expect(many).toBeLessThan(100);
    for (let turn = 0; turn < 50; turn++) await settled();
    expect(await ask(facts, { user: 'alice' })).not.toMatch(/^ALLOWED/);
  });
});
