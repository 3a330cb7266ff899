/**
 * Fill against revoke. Promise: never a stale allow past the revision of the revoke (CONS-1, CONS-4). Each order
 * of events is forced, and a cache without the protection shows that the order would have caught it.
 */
import { describe, expect, it } from 'vitest';
import type { UserRecord } from '../../src/engine/records.ts';
import type { Change, Store } from '../../src/store/store.ts';
import { ask, askWithin, settled, type Question } from '../support/asking.ts';
import { failing, openGate, openMemoryStore, slowly, type Read } from '../support/memory-store.ts';
import { gone, key, openRoom, policySet, put, role, user } from '../support/records.ts';

/** A cache under test: what it answers, and with which facts. */
interface Cache {
  readonly ask: (question: Question) => Promise<string>;
  readonly close: () => void;
}

function ours(store: Store): Cache {
  const room = openRoom(store);
  return { ask: (question) => ask(room, question), close: () => room.close() };
}

/** What one would write first: drops what the feed names, and fills with whatever was read. */
function naive(store: Store): Cache {
  const users = new Map<string, UserRecord | undefined>();
  let revision = 0;
  const look = async (): Promise<void> => {
    const { head, entries } = await store.feed('t', revision, 1_000);
    for (const { keys } of entries) for (const { id } of keys ?? []) users.delete(id);
    revision = head?.revision ?? 0;
  };
  const close = store.watch(() => void look());
  return {
    async ask({ user: id = '' }): Promise<string> {
      if (revision === 0) await look();
      if (!users.has(id)) {
        const { values } = await store.get('t', [{ kind: 'user', id }]);
        users.set(id, values[0] as UserRecord | undefined);
      }
      const allowed = users.get(id)?.roles.includes('reader') === true;
      return `${allowed ? 'ALLOWED' : 'NO_GRANT'}@${revision}`;
    },
    close,
  };
}

const READER = role('reader', ['doc:read']);
const ALICE = user('alice', { roles: ['reader'] });
const asksFor = (kind: string) => (read: Read) =>
  read.method === 'get' && read.keys.some((wanted) => wanted.kind === kind);
const asksFeed = ({ method }: Read): boolean => method === 'feed';

interface Race {
  readonly what: string;
  readonly question: Question;
  readonly kind: 'user' | 'key';
  readonly facts: readonly Change[];
  readonly revoke: Change;
  readonly revoked: string;
}

const RACES: readonly Race[] = [
  {
    what: 'a role is taken from a user',
    question: { user: 'alice' },
    kind: 'user',
    facts: [READER, ALICE],
    revoke: user('alice'),
    revoked: 'NO_GRANT@2',
  },
  {
    what: 'a user is suspended',
    question: { user: 'alice' },
    kind: 'user',
    facts: [READER, ALICE],
    revoke: user('alice', { roles: ['reader'], suspended: true }),
    revoked: 'SUBJECT_INACTIVE@2',
  },
  {
    what: 'a user is gone',
    question: { user: 'alice' },
    kind: 'user',
    facts: [READER, ALICE],
    revoke: gone('user', 'alice'),
    revoked: 'NO_GRANT@2',
  },
  {
    what: 'a key is gone',
    question: { key: 'k' },
    kind: 'key',
    facts: [key('k', { role: 'default_allow' })],
    revoke: gone('key', 'k'),
    revoked: 'KEY_INVALID@2',
  },
  {
    what: 'a denying set is attached to a key',
    question: { key: 'k' },
    kind: 'key',
    facts: [policySet('s', 'deny', ['doc:read']), key('k', { role: 'default_allow' })],
    revoke: key('k', { role: 'default_allow', policySets: ['s'] }),
    revoked: 'ACTION_DENIED@2',
  },
];

/** The read is answered from before the revoke, and lands after the feed told of the revoke. */
async function fillLandsAfterFeed(
  open: (store: Store) => Cache,
  { question, kind, facts, revoke }: Race,
  hide: (store: Store) => Store = (store) => store,
): Promise<{ readonly first: string; readonly later: string }> {
  const store = openMemoryStore();
  await put(store, 't', ...facts);
  const gate = openGate();
  const cache = open(slowly(hide(store), { after: gate.pass }));
  gate.hold(asksFor(kind));
  const asking = cache.ask(question);
  await gate.held();
  await put(store, 't', revoke);
  await settled();
  gate.release();
  const first = await asking;
  const later = await cache.ask(question);
  cache.close();
  return { first, later };
}

describe.each(RACES)('while a cold read is under way, $what (CONS-4)', (race) => {
  it('the read lands after the feed: dropped, and read again', async () => {
    const { first, later } = await fillLandsAfterFeed(ours, race);
    expect(first).toBe(race.revoked);
    expect(later).toBe(race.revoked);
  });

  it('the read lands while the look at the feed is under way: answered as of then, and dropped', async () => {
    const store = openMemoryStore();
    await put(store, 't', ...race.facts);
    const [reads, feeds] = [openGate(), openGate()];
    const cache = ours(
      slowly(store, {
        after: async (read) => {
          await reads.pass(read);
          await feeds.pass(read);
        },
      }),
    );
    reads.hold(asksFor(race.kind));
    const asking = cache.ask(race.question);
    await reads.held();
    feeds.hold(asksFeed);
    await put(store, 't', race.revoke);
    await feeds.held();
    reads.release();
    // The answer names the revision that it is true at.
    expect(await asking).toBe('ALLOWED@1');
    feeds.release();
    await settled();
    expect(await cache.ask(race.question)).toBe(race.revoked);
    cache.close();
  });

  it('the read is newer than the feed: not mixed with older facts', async () => {
    const store = openMemoryStore();
    await put(store, 't', ...race.facts);
    const feeds = openGate();
    const cache = ours(slowly(store, { before: feeds.pass }));
    // The plane is there, the user or key is not.
    await cache.ask({ user: 'somebody else' });
    feeds.hold(asksFeed);
    await put(store, 't', race.revoke);
    const asking = cache.ask(race.question);
    await feeds.held(2);
    feeds.release();
    expect(await asking).toBe(race.revoked);
    cache.close();
  });

  it('the answer of the feed comes before that of its records: neither old facts nor half of the new', async () => {
    const store = openMemoryStore();
    await put(store, 't', READER, ...race.facts);
    const [reads, planes] = [openGate(), openGate()];
    const cache = ours(
      slowly(store, {
        after: async (read) => {
          await reads.pass(read);
          await planes.pass(read);
        },
      }),
    );
    reads.hold(asksFor(race.kind));
    const asking = cache.ask(race.question);
    await reads.held();
    planes.hold(asksFor('role'));
    await put(store, 't', race.revoke, role('reader', ['doc:read', 'doc:write']));
    await planes.held();
    reads.release();
    expect(await asking).toBe('ALLOWED@1');
    planes.release();
    await settled();
    expect(await cache.ask(race.question)).toBe(race.revoked);
    cache.close();
  });
});

it('a commit between a look at the feed and the read of what it names: no roles of one revision with users of another', async () => {
  const store = openMemoryStore();
  const deaf = failing(store);
  const gate = openGate();
  await put(store, 't', role('reader', []), ALICE);
  const room = openRoom(slowly(deaf, { before: gate.pass }));
  expect(await ask(room, { user: 'alice' })).toBe('NO_GRANT@1');
  gate.hold(asksFor('role'));
  await put(store, 't', role('reader', [], { description: 'still useless' }));
  deaf.hint();
  await gate.held();
  // When the role gets its permission, alice has left it.
  await put(store, 't', READER, user('alice'));
  gate.release();
  await settled();
  expect(await ask(room, { user: 'alice' })).toBe('NO_GRANT@3');
  room.close();
});

describe('positive control: the order of events does catch a cache without the protection', () => {
  const race = RACES[0] as Race;

  it('a cache that fills without looking at the revision gives the stale allow', async () => {
    const { later } = await fillLandsAfterFeed(naive, race);
    expect(later).toBe('ALLOWED@2');
  });

  it('ours too, when the feed hides the change from it', async () => {
    const hide = (store: Store): Store => ({
      ...store,
      async feed(...call) {
        const feed = await store.feed(...call);
        return { ...feed, entries: feed.entries.map((entry) => ({ ...entry, keys: [] })) };
      },
    });
    const { later } = await fillLandsAfterFeed(ours, race, hide);
    expect(later).toBe('ALLOWED@2');
  });
});

it('a stream of revokes and grants while reads are slow: no answer contradicts its revision (CONS-1)', async () => {
  const store = openMemoryStore();
  await put(store, 't', READER, user('alice'));
  const slow = slowly(store, {
    before: () => new Promise((done) => setTimeout(done, Math.random() * 3)),
    after: () => new Promise((done) => setTimeout(done, Math.random() * 3)),
  });
  const room = openRoom(slow, { heartbeatMs: 5 });
  // Odd revisions deny, even ones allow.
  const writing = (async () => {
    for (let revision = 2; revision <= 61; revision++) {
      await put(store, 't', user('alice', { roles: revision % 2 === 0 ? ['reader'] : [] }));
      await new Promise((done) => setTimeout(done, 5 + Math.random() * 20));
    }
  })();
  const writer = { over: false };
  void writing.then(() => (writer.over = true));
  const seen = new Set<string>();
  const asking = async (): Promise<void> => {
    while (!writer.over) {
      const answer = await ask(room, { user: 'alice' });
      seen.add(answer);
      await settled();
    }
  };
  await Promise.all([asking(), asking(), asking(), asking(), writing]);
  const answered = [...seen].filter((answer) => answer !== 'UNAVAILABLE');
  for (const answer of answered) {
    const revision = Number(answer.split('@')[1]);
    expect(answer).toBe(`${revision % 2 === 0 ? 'ALLOWED' : 'NO_GRANT'}@${revision}`);
  }
  expect(answered.length).toBeGreaterThan(10);
  expect(room.errors).toEqual([]);
  room.close();
});

it('commits about others, as frequent as reads, do not keep a revoke from being in force (CONS-4)', async () => {
  const store = openMemoryStore();
  await put(store, 't', READER, ALICE);
  // Hints come only from the test, or each commit would begin one more look.
  const deaf = failing(store);
  let busy = false;
  const room = openRoom(
    slowly(deaf, {
      async after({ method }) {
        if (busy && method === 'feed') await put(store, 't', user('somebody else'));
        await settled();
      },
    }),
  );
  expect(await ask(room, { user: 'alice' })).toBe('ALLOWED@1');
  busy = true;
  await put(store, 't', user('alice'));
  deaf.hint();
  const until = performance.now() + 500;
  let answer = '';
  while (performance.now() < until && !answer.startsWith('NO_GRANT')) {
    await settled();
    answer = await askWithin(room, { user: 'alice' }, 100);
  }
  busy = false;
  await settled();
  room.close();
  expect(answer).toMatch(/^NO_GRANT/);
});
