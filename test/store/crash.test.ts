/**
 * The embedded store under SIGKILL and between processes. Promise: it reopens whole at any instant; a commit is
 * there entirely or not at all (CONS-5), and one that was acknowledged is there.
 */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { openEmbeddedStore } from '../../src/store/embedded/store.ts';
import {
  readAll,
  type Change,
  type CommitResult,
  type FeedEntry,
  type Store,
} from '../../src/store/store.ts';
import { ask, askNow } from '../support/asking.ts';
import { startScript, type Child } from '../support/child.ts';
import { counters, EVENT, gone, NEVER_MS, openRoom, put, role, user } from '../support/records.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const COMMIT_LOOP = new URL('../support/commit-loop.ts', import.meta.url);
const COMMIT_ON_REQUEST = new URL('../support/commit-on-request.ts', import.meta.url);
const HELD_READ = new URL('../support/held-read.ts', import.meta.url);
const TENANT = 'the tenant';
const KILLS_A_LANE = 25;
/** Commits that must be seen by the other process, one by one. */
const TOGGLES = 40;

const children: Child[] = [];
function start(script: URL, ...args: readonly string[]): Child {
  const child = startScript(script, ...args);
  children.push(child);
  return child;
}
afterAll(async () => {
  for (const child of children.splice(0)) await child.kill();
});

function sleep(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}

/** All that a reader may rely on, whenever it looks. */
async function expectWhole(store: Store, atLeast: number): Promise<number> {
  const { head, records } = await readAll(store, TENANT, ['user', 'owner', 'role']);
  const feed = await store.feed(TENANT, 0, Number.MAX_SAFE_INTEGER);
  expect(feed.head).toEqual(head);
  const revision = head?.revision ?? 0;
  expect(revision).toBeGreaterThanOrEqual(atLeast);
  if (head === undefined) {
    expect([records.user.size, records.owner.size, records.role.size]).toEqual([0, 0, 0]);
    return 0;
  }
  // No half commit: every record says the revision of the head.
  const said = [
    ...[...records.user.values()].map(({ email }) => email),
    ...[...records.owner.values()].map(({ owner }) => owner),
    ...[...records.role.values()].map(({ level }) => String(level)),
  ];
  expect(said).toEqual(Array.from({ length: 7 }, () => String(revision)));
  // The feed leads to the head without a gap.
  expect(feed.entries).toHaveLength(revision);
  let previous: FeedEntry | undefined;
  for (const entry of feed.entries) {
    const wanted = { revision: (previous?.revision ?? 0) + 1, previous: previous?.nonce ?? '' };
    if (entry.revision !== wanted.revision || entry.previous !== wanted.previous)
      expect(entry).toMatchObject(wanted);
    previous = entry;
  }
  expect(previous).toMatchObject(head);
  expect(await store.tenants()).toEqual([TENANT]);
  return revision;
}

interface Kill {
  readonly acknowledged: number;
  readonly survived: number;
}

/** When a writer is killed: so many milliseconds after its first so many commits, or after it was started. */
interface Moment {
  readonly commits: number;
  readonly ms: number;
}

/** Lets a writer run, kills it, and looks at what it left behind. */
async function killOnce(
  directory: string,
  before: number,
  { commits, ms }: Moment,
  reopened: () => Store,
): Promise<Kill> {
  const child = start(COMMIT_LOOP, directory, TENANT);
  // A slow disk makes few commits: those are waited for, or the kills would prove nothing.
  if (commits > 0) for (let line = 0; line <= commits; line++) await child.line();
  await sleep(ms);
  await child.kill();
  expect(child.lines[0] ?? 'open').toBe('open');
  const acknowledged = Number(child.lines.findLast((line) => line !== 'open') ?? before);
  const store = reopened();
  const survived = await expectWhole(store, Math.max(acknowledged, before));
  // A commit that was not acknowledged may be there, but no more than the one that was under way.
  expect(survived).toBeLessThanOrEqual(acknowledged + 1);
  // Commits go on, from what the killed writer left.
  return { acknowledged, survived: await goOn(store, survived, acknowledged) };
}

/**
 * A writer that is killed between writing its commit and publishing it leaves the publishing to the next
 * writer: to a reader that had the file open, the commit under way may show as late as then.
 */
async function goOn(store: Store, survived: number, acknowledged: number): Promise<number> {
  const write = (revision: number): Promise<CommitResult> => {
    const changes = counters(revision);
    return store.commit({ tenant: TENANT, expected: revision - 1, changes, event: EVENT });
  };
  let result = await write(survived + 1);
  if (!result.committed) {
    expect(result.head?.revision).toBe(survived + 1);
    expect(survived).toBe(acknowledged);
    await expectWhole(store, survived + 1);
    result = await write(survived + 2);
  }
  expect(result.committed).toBe(true);
  return expectWhole(store, result.head?.revision ?? 0);
}

describe('SIGKILL at any instant (CONS-5)', () => {
  it.concurrent.each(['reopened after each kill', 'open in another process all the time'])(
    `${KILLS_A_LANE} kills of a writer: whole, nothing acknowledged is lost: %s`,
    async (lane) => {
      const directory = temporaryDirectory();
      const keepsOpen = lane.startsWith('open');
      let store = openEmbeddedStore(directory);
      let revision = 0;
      let commits = 0;
      for (let kill = 0; kill < KILLS_A_LANE; kill++) {
        // Some while they start, most while they commit.
        const moment =
          kill % 6 === 5
            ? { commits: 0, ms: 100 + Math.random() * 60 }
            : { commits: 1 + (kill % 4), ms: Math.random() * 40 };
        if (!keepsOpen) await store.close();
        const { acknowledged, survived } = await killOnce(directory, revision, moment, () => {
          if (!keepsOpen) store = openEmbeddedStore(directory);
          return store;
        });
        commits += acknowledged - revision;
        revision = survived;
      }
      await store.close();
      expect(commits).toBeGreaterThan(KILLS_A_LANE);
    },
  );
});

describe('two processes on one directory', () => {
  it('raise one counter without losing a commit (CONS-5)', async () => {
    const directory = temporaryDirectory();
    const writers = [0, 1].map(() => start(COMMIT_LOOP, directory, TENANT, '40'));
    expect(await Promise.all(writers.map(({ ended }) => ended))).toEqual([0, 0]);
    const acknowledged = writers.flatMap(({ lines }) => lines.slice(1).map(Number));
    expect(acknowledged.toSorted((a, b) => a - b)).toEqual(
      Array.from({ length: 80 }, (_, at) => at + 1),
    );
    const store = openEmbeddedStore(directory);
    expect(await expectWhole(store, 80)).toBe(80);
    await store.close();
  });

  /** Toggles a user's role in another process, and waits until each change is in force here. */
  const propagates = async (
    heartbeatMs: number,
    listening: (store: Store) => Store,
  ): Promise<number> => {
    const directory = temporaryDirectory();
    const store = openEmbeddedStore(directory);
    const room = openRoom(listening(store), { heartbeatMs });
    const writer = start(COMMIT_ON_REQUEST, directory, 't');
    await writer.line();
    const commit = async (...changes: Change[]): Promise<number> => {
      writer.write(`${JSON.stringify(changes)}\n`);
      return Number(await writer.line());
    };
    try {
      await commit(role('reader', ['doc:read']), user('alice', { roles: ['reader'] }));
      expect(await ask(room, { user: 'alice' })).toBe('ALLOWED@1');
      for (let revision = 2; revision <= TOGGLES; revision++) {
        const roles = revision % 2 === 0 ? [] : ['reader'];
        // A deletion in JSON is a change without a value.
        const change = revision === 10 ? gone('user', 'alice') : user('alice', { roles });
        const committedAt = await commit(change);
        const expected = `${roles.length === 0 ? 'NO_GRANT' : 'ALLOWED'}@${revision}`;
        while ((await ask(room, { user: 'alice' })) !== expected) {
          expect(Date.now() - committedAt).toBeLessThan(1_000);
          await sleep(1);
        }
        expect(askNow(room, { user: 'alice' })).toBe(expected);
      }
      expect(room.errors).toEqual([]);
      expect(room.resyncCauses).toEqual([]);
      return TOGGLES;
    } finally {
      room.close();
      writer.endInput();
      expect(await writer.ended).toBe(0);
      await store.close();
    }
  };

  it('a revocation by one is in force in the other within 1 s, by the heartbeat alone (CONS-4)', async () => {
    expect(await propagates(100, (store) => ({ ...store, watch: () => () => {} }))).toBe(TOGGLES);
  });

  it('a revocation by one is in force in the other within 1 s, by the hint of watch alone (CONS-4)', async () => {
    expect(await propagates(NEVER_MS, (store) => store)).toBe(TOGGLES);
  });

  it('a caller that holds a token of the other is answered from it or newer (CONS-1)', async () => {
    const directory = temporaryDirectory();
    const store = openEmbeddedStore(directory);
    const room = openRoom({ ...store, watch: () => () => {} });
    await put(store, 't', role('reader', ['doc:read']), user('alice', { roles: ['reader'] }));
    expect(await ask(room, { user: 'alice' })).toBe('ALLOWED@1');
    const writer = start(COMMIT_ON_REQUEST, directory, 't');
    await writer.line();
    writer.write(`${JSON.stringify([user('alice')])}\n`);
    await writer.line();
    // Neither hint nor heartbeat: only the token tells.
    expect(askNow(room, { user: 'alice' })).toBe('ALLOWED@1');
    expect(await ask(room, { user: 'alice', minRevision: 2 })).toBe('NO_GRANT@2');
    room.close();
    await store.close();
  });
});

describe('a process that is killed while it reads', () => {
  it(
    'does not make the file grow: what it had open is let go of soon',
    { timeout: 60_000 },
    async () => {
      const directory = temporaryDirectory();
      const store = openEmbeddedStore(directory);
      const large = (round: number): Change =>
        user('large', { email: String(round).padEnd(100_000, 'x') });
      await put(store, 't', large(0));
      const reader = start(HELD_READ, directory);
      await reader.line();
      await reader.kill();
      await sleep(2_500);
      for (let round = 1; round <= 200; round++) await put(store, 't', large(round));
      // Each round writes 100 kB; without a reader two or three of them are kept.
      expect(statSync(join(directory, 'postern.mdb')).size).toBeLessThan(5_000_000);
      await store.close();
    },
  );
});
