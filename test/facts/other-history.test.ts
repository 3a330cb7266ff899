/**
 * Two histories of one tenant that look alike, planes that are gone, and stores that never stand still. Promise: no
 * answer joins facts of two histories (CONS-1), a revocation is never missed (CONS-4), and a read ends.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  readAll,
  StoreError,
  type Change,
  type Feed,
  type Page,
  type Store,
} from '../../src/store/store.ts';
import { ask, askNow, settled, type Question } from '../support/asking.ts';
import {
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
const ALICE = user('alice', { roles: ['reader'] });

let memory: MemoryStore;
/** Gives a hint when the test says so. */
let store: FailingStore;
/** The store as of revision 1. */
let first: Image;
const rooms: TestRoom[] = [];

function open(source: Store, options: Parameters<typeof openRoom>[1] = {}): TestRoom {
  const room = openRoom(source, options);
  rooms.push(room);
  return room;
}

beforeEach(async () => {
  memory = openMemoryStore();
  store = failing(memory);
  await put(memory, 't', READER, role('writer', []), ALICE, user('dave'));
  first = memory.image();
});
afterEach(() => {
  for (const room of rooms.splice(0)) room.close();
});

async function notice(): Promise<void> {
  store.hint();
  await settled();
}

describe('a value that was read in a history that was lost', () => {
  it.each<{ what: string; lost: Change; question: Question; answer: string }>([
    {
      what: 'a user',
      lost: user('mallory', { superuser: true }),
      question: { user: 'mallory' },
      answer: 'NO_GRANT',
    },
    {
      what: 'a key',
      lost: key('lost', { role: 'default_allow' }),
      question: { key: 'lost' },
      answer: 'KEY_INVALID',
    },
    {
      what: 'that somebody is not there',
      lost: gone('user', 'dave'),
      question: { user: 'dave' },
      answer: 'ALLOWED',
    },
  ])(
    '$what: neither answered from nor kept, although the new history has passed its revision (CONS-1)',
    async ({ lost, question, answer }) => {
      if (answer === 'ALLOWED') {
        await put(memory, 't', user('dave', { superuser: true }));
        first = memory.image();
      }
      const gate = openGate();
      const room = open(slowly(store, { after: gate.pass }));
      expect(await ask(room, { user: 'alice' })).toMatch(/^ALLOWED@/);
      await put(memory, 't', lost);
      gate.hold(({ method }) => method === 'get');
      const asking = ask(room, question);
      await gate.held();
      memory.restore(first);
      await put(memory, 't', user('bob'));
      const { revision } = await put(memory, 't', user('carol'));
      gate.release();
      expect(await asking).toBe(`${answer}@${revision}`);
      expect(askNow(room, question)).toBe(`${answer}@${revision}`);
      // The new history goes on from what the room has: there was nothing to read again.
      expect(room.resyncCauses).toEqual([]);
    },
  );
});

describe('a feed of one history and records of another', () => {
  it.each([
    ['at the same revision', []],
    ['that has gone on', [user('bob')]],
  ])(
    'that name as many keys, %s: noticed as rolled back, and the revocation is in force (CONS-1, CONS-4)',
    async (_, more) => {
      let failOver: (() => Promise<void>) | undefined;
      const room = open(
        slowly(store, {
          before: async ({ method }) => {
            if (method !== 'get' || failOver === undefined) return;
            const once = failOver;
            failOver = undefined;
            await once();
          },
        }),
      );
      expect(await ask(room, { user: 'alice' })).toBe('ALLOWED@1');
      // The feed is read of this history, the record that it names of the next one, which changed another.
      await put(memory, 't', role('writer', ['doc:write']));
      failOver = async () => {
        memory.restore(first);
        await put(memory, 't', USELESS);
        for (const change of more) await put(memory, 't', change);
      };
      await notice();
      expect(failOver).toBeUndefined();
      expect(room.resyncCauses).toEqual(['t: rolled_back']);
      expect(await ask(room, { user: 'alice' })).toBe(`NO_GRANT@${2 + more.length}`);
    },
  );
});

describe('planes that were evicted', () => {
  /** A full collection; what a test has looked at stays alive until its turn has ended. */
  const collect = async (): Promise<void> => {
    setFlagsFromString('--expose-gc');
    // A fresh context is the only place where the function shows after start.
    const gc = runInNewContext('gc') as () => void;
    await settled();
    gc();
  };

  it('are not kept alive by the users and keys that were read for them: the bound of planes bounds memory', async () => {
    const tenants = Array.from({ length: 8 }, (_, at) => `tenant-${at}`);
    for (const tenant of tenants)
      await put(memory, tenant, role('nobody-has-it', []), user('alice', { superuser: true }));
    /** A record of each plane, which nothing but the plane refers to. */
    const witnesses = new Map<string, WeakRef<object>>();
    const room = open(
      {
        ...store,
        async scan(tenant, ...call): Promise<Page> {
          const page = await store.scan(tenant, ...call);
          for (const [id, value] of page.entries)
            if (id === 'nobody-has-it') witnesses.set(tenant, new WeakRef(value));
          return page;
        },
      },
      { cache: { tenants: 1 } },
    );
    for (const tenant of tenants) {
      expect(await ask(room, { tenant, user: 'alice' })).toBe('ALLOWED@1');
      expect(await ask(room, { tenant, key: 'none' })).toBe('KEY_INVALID@1');
    }
    // What was read for a plane goes with it, and counts no longer.
    expect(room.stats()).toMatchObject({ tenants: 1, subjects: 1 });
    const alive = (): string[] =>
      tenants.filter((tenant) => witnesses.get(tenant)?.deref() !== undefined);
    expect(witnesses.size).toBe(tenants.length);
    for (let tries = 0; tries < 10; tries++) {
      await collect();
      if (alive().length <= 1) break;
    }
    expect(alive()).toEqual(tenants.slice(-1));
    expect(askNow(room, { tenant: 'tenant-7', user: 'alice' })).toBe('ALLOWED@1');
  });
});

describe('commits that come all the time', () => {
  /** So many and no more, so that a read that would never end ends here. */
  const MANY = 300;

  /** A store to which somebody commits before each page but the first. */
  const busy = (
    commit: (at: number) => Promise<void>,
  ): Store & { readonly pages: () => number } => {
    let pages = 0;
    return {
      ...slowly(store, {
        before: async ({ method }) => {
          if (method !== 'scan' || pages === MANY || pages++ === 0) return;
          await settled();
          await commit(pages - 1);
        },
      }),
      pages: () => pages,
    };
  };

  it('between any two pages: the tenant is read all the same, and what they revoked is revoked (CONS-1, CONS-4)', async () => {
    // Two pages of roles.
    await put(memory, 't', ...Array.from({ length: 2_500 }, (_, at) => role(`role-${at}`, [])));
    const commits = [
      [USELESS, gone('role', 'role-1')],
      [user('bob', { roles: ['late'] })],
      [role('late', ['doc:read'])],
    ];
    const source = busy(async (at) => {
      await put(memory, 't', ...(commits[at - 1] ?? [user('carol', { email: `${at}` })]));
    });
    const room = open(source);
    expect(await ask(room, { user: 'alice', waitMs: 10_000 })).toBe('NO_GRANT@6');
    expect(await ask(room, { user: 'bob' })).toBe('ALLOWED@6');
    // Roles twice, workspaces, policy sets, the tenant itself: read once.
    expect(source.pages()).toBe(5);
    expect(room.errors).toEqual([]);
  });

  it('and a feed that keeps none of them: UNAVAILABLE after a few attempts, and told (CONS-1)', async () => {
    const source = busy(async (at) => {
      const { revision } = await put(memory, 't', user('carol', { email: `${at}` }));
      memory.trim('t', revision);
    });
    const room = open(source);
    expect(await ask(room, { user: 'alice', waitMs: 10_000 })).toBe('UNAVAILABLE');
    expect(source.pages()).toBeLessThan(MANY);
    expect(String(room.errors[0])).toContain('`t` changes faster than it can be read');
  });

  it('readAll, which needs one revision, gives up with a StoreError and does not go on for ever (CONS-5)', async () => {
    const source = busy(async (at) => {
      await put(memory, 't', user('carol', { email: `${at}` }));
    });
    const outcome = await readAll(source, 't', ['role', 'workspace']).catch(
      (error: unknown) => error,
    );
    expect(outcome).toBeInstanceOf(StoreError);
    expect(String(outcome)).toMatch(/`t` was changed \d+ times while it was read: try again/);
    expect(source.pages()).toBeLessThan(MANY);
  });
});

describe('a reader that is far behind', () => {
  it.each([
    [1_000, []],
    [1_001, ['t: gap']],
  ])(
    'by %d commits: resyncs by %j, and what was revoked is denied (CONS-4)',
    async (behind, causes) => {
      const room = open(store);
      expect(await ask(room, { user: 'alice' })).toBe('ALLOWED@1');
      expect(await ask(room, { user: 'dave' })).toBe('NO_GRANT@1');
      await put(memory, 't', USELESS);
      await put(memory, 't', user('dave', { superuser: true }));
      for (let at = 2; at < behind; at++) await put(memory, 't');
      await notice();
      expect(room.resyncCauses).toEqual(causes);
      expect(await ask(room, { user: 'alice' })).toBe(`NO_GRANT@${1 + behind}`);
      expect(await ask(room, { user: 'dave' })).toBe(`ALLOWED@${1 + behind}`);
    },
  );

  it('and a feed entry that does not name what it changed: a gap, everything is read again (CONS-4)', async () => {
    const room = open({
      ...store,
      async feed(...call): Promise<Feed> {
        const feed = await store.feed(...call);
        const entries = feed.entries.map((entry) =>
          entry.revision === 3 ? { ...entry, keys: undefined } : entry,
        );
        return { ...feed, entries };
      },
    });
    expect(await ask(room, { user: 'alice' })).toBe('ALLOWED@1');
    expect(await ask(room, { user: 'dave' })).toBe('NO_GRANT@1');
    await put(memory, 't', user('bob'));
    await put(memory, 't', USELESS, user('dave', { superuser: true }));
    await notice();
    expect(room.resyncCauses).toEqual(['t: gap']);
    expect(await ask(room, { user: 'alice' })).toBe('NO_GRANT@3');
    expect(await ask(room, { user: 'dave' })).toBe('ALLOWED@3');
  });
});

describe('commits to others, before and after what is read', () => {
  const READER = role('reader', ['doc:read']);

  it('a plane is read once, though one comes after each of its pages', async () => {
    const memory = openMemoryStore();
    await put(memory, 't', READER, user('alice', { roles: ['reader'] }));
    let scans = 0;
    const source = slowly(memory, {
      after: async ({ method }) => {
        if (method !== 'scan') return;
        scans++;
        await put(memory, 't', user('carol', { email: `${scans}` }));
      },
    });
    const room = openRoom(source);
    expect(await ask(room, { user: 'alice', waitMs: 5_000 })).toBe('ALLOWED@5');
    expect(scans).toBe(4);
    room.close();
  });

  it('a user is read once, though one comes before and one after', async () => {
    const memory = openMemoryStore();
    await put(memory, 't', READER, user('alice', { roles: ['reader'] }));
    let gets = 0;
    const other = async (method: string): Promise<void> => {
      if (method === 'get') await put(memory, 't', user('carol', { email: `${gets}` }));
    };
    // Without hints: the reader itself finds that it is behind.
    const silent = { ...memory, watch: () => () => {} };
    const source = slowly(silent, {
      before: async ({ method }) => {
        if (method === 'get') gets++;
        await other(method);
      },
      after: ({ method }) => other(method),
    });
    const room = openRoom(source);
    expect(await ask(room, { user: 'alice', waitMs: 5_000 })).toBe('ALLOWED@3');
    expect(gets).toBe(1);
    room.close();
  });
});
