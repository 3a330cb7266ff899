/**
 * What became of a commit to Redis, and what is said of it: sent again, trimmed away, half possible, of another history,
 * too large, not on its replicas. Promise: a commit is done entirely or not at all, once, and what is not known is
 * never said to be known (CONS-5); what it changed is in force in every other instance (CONS-1, CONS-4).
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { applyState } from '../../src/admin/state/apply-state.ts';
import type { StateFile } from '../../src/config/state.ts';
import {
  StoreError,
  UnknownOutcomeError,
  UnusableStoreError,
  type Change,
  type Commit,
  type Head,
  type Store,
} from '../../src/store/store.ts';
import { ask } from '../support/asking.ts';
import { EVENT, key, put, role, user } from '../support/records.ts';
import { startCluster, until, type RedisServer } from '../support/redis-server.ts';
import {
  endingWithAll,
  endingWithEach,
  KEYS,
  putSurely,
  redisFor,
  roomFor,
  sleep,
  storeFor,
  wireFor,
} from './support.ts';

/** A slow machine has time to make up its mind. */
const PATIENT = { readTimeoutMs: 5_000, commitTimeoutMs: 20_000 };
/** What a wire looks for. */
const CUT_HERE = { actor: 'test', operation: 'cut-here' };

function outcomeOf(commit: Promise<unknown>): Promise<unknown> {
  return commit.catch((error: unknown) => error);
}

function users(count: number): Change[] {
  return Array.from({ length: count }, (_, at) => user(`user-${at}`));
}

describe('one Redis', () => {
  const ending = endingWithAll();
  let server: RedisServer;
  let store: Store;
  beforeAll(async () => {
    server = await redisFor(ending, ['enable-debug-command local']);
    store = storeFor(ending, server.url, PATIENT);
  });

  describe('a commit that was delivered and cut off, and whose feed entry is trimmed before it is sent again', () => {
    const FEED_LENGTH = 5;

    it('is UNKNOWN: the feed no longer tells, and it is never said that it was not done (CONS-5)', async () => {
      const wire = await wireFor(ending, server.port);
      const options = { ...PATIENT, feedLength: FEED_LENGTH };
      const far = storeFor(ending, wire.url, options);
      const near = storeFor(ending, server.url, options);
      await put(far, 'trimmed', user('alice'));
      wire.cutAt(CUT_HERE.operation, 'delivered');
      // The commit passes, for it is what cuts the wire; what comes after it waits.
      wire.hold();
      const commit = { tenant: 'trimmed', expected: 1, changes: [user('mine')], event: CUT_HERE };
      const outcome = outcomeOf(far.commit(commit));
      await until(async () => (await near.get('trimmed', [])).head?.revision === 2);
      for (let at = 0; at <= FEED_LENGTH; at++) await put(near, 'trimmed', user('other'));
      wire.mend();
      expect(await outcome).toBeInstanceOf(UnknownOutcomeError);
      expect(String(await outcome)).toContain('its feed no longer tells');
      expect(wire.cuts()).toBe(1);
      const { values } = await near.get('trimmed', [{ kind: 'user', id: 'mine' }]);
      expect(values).toEqual([user('mine').value]);
    });

    it('and one that was never sent before has lost to others, however far they are: not committed (CONS-5)', async () => {
      const near = storeFor(ending, server.url, { ...PATIENT, feedLength: FEED_LENGTH });
      let head: Head | undefined;
      for (let at = 0; at < 2 * FEED_LENGTH; at++) head = await put(near, 'ahead', user('other'));
      for (const expected of [0, 1, FEED_LENGTH, 2 * FEED_LENGTH - 1])
        expect(
          await near.commit({ tenant: 'ahead', expected, changes: [user('mine')], event: EVENT }),
        ).toEqual({ committed: false, head });
    });
  });

  it('a head that is older than its feed: a commit is refused whole, nothing is written (CONS-5)', async () => {
    await put(store, 'ghost', key('k', { role: 'default_deny' }));
    await server.command('XADD', KEYS.feed('ghost'), '2-0', 'n', 'ghost', 'p', 'x', 'e', '{}');
    const before = await server.command('DEBUG', 'DIGEST');
    const changes = [key('k', { role: 'default_allow' }), user('bob')];
    const commit = { tenant: 'ghost', expected: 1, changes, event: EVENT };
    const outcome = await outcomeOf(store.commit(commit));
    expect(await server.command('DEBUG', 'DIGEST')).toBe(before);
    expect(outcome).toBeInstanceOf(StoreError);
    // Nothing was done, and that is known.
    expect(outcome).not.toBeInstanceOf(UnknownOutcomeError);
    expect(String(outcome)).toContain('is older than');
    const { head, values } = await store.get('ghost', changes);
    expect(head?.revision).toBe(1);
    expect(values).toEqual([key('k', { role: 'default_deny' }).value, undefined]);
  });

  it('a receipt that appears between planning and committing: the same key is done once (CONS-5)', async () => {
    const slips = ['scan', 'get', 'commit'] as const;
    for (const at of slips) {
      const tenant = `receipt-${at}`;
      const base: StateFile = { tenant, users: [{ id: 'u' }] };
      const wanted: StateFile = { tenant, users: [{ id: 'u' }, { id: 'v' }] };
      await applyState(store, base, [], 'op');
      let slipped = false;
      /** The same is done by another try of the same caller, and then undone by somebody else. */
      const slipIn = async (): Promise<void> => {
        if (slipped) return;
        slipped = true;
        expect(await applyState(store, wanted, [], 'op', { key: 'KEY' })).toMatchObject({
          revision: 2,
        });
        await applyState(store, base, [], 'somebody else');
      };
      const disturbed: Store = {
        ...store,
        async get(...call) {
          const found = await store.get(...call);
          if (at === 'get') await slipIn();
          return found;
        },
        async scan(...call) {
          const found = await store.scan(...call);
          if (at === 'scan') await slipIn();
          return found;
        },
        async commit(commit) {
          if (at === 'commit') await slipIn();
          return store.commit(commit);
        },
      };
      const applied = await applyState(disturbed, wanted, [], 'op', { key: 'KEY' });
      expect(slipped).toBe(true);
      expect(applied).toMatchObject({ revision: 2, repeated: true, plan: { changes: [] } });
      const { head, values } = await store.get(tenant, [{ kind: 'user', id: 'v' }]);
      // What somebody else undid stays undone.
      expect(head?.revision).toBe(3);
      expect(values).toMatchObject([{ deleted: true }]);
    }
  });

  it('45,000 changes are one commit; more than 500,000 are refused, with the limit, and not UNKNOWN (CONS-5)', async () => {
    const commit = (count: number): Promise<unknown> =>
      outcomeOf(
        store.commit({ tenant: 'large', expected: 0, changes: users(count), event: EVENT }),
      );
    const refused = await commit(500_001);
    expect(refused).toBeInstanceOf(StoreError);
    expect(refused).not.toBeInstanceOf(UnknownOutcomeError);
    expect(String(refused)).toContain('500001 changes, Redis takes 500000 at once: split it');
    expect((await store.get('large', [])).head).toBeUndefined();

    expect(await commit(45_000)).toMatchObject({ committed: true, head: { revision: 1 } });
    const asked = [0, 44_999, 45_000].map((at) => ({ kind: 'user' as const, id: `user-${at}` }));
    const { values } = await store.get('large', asked);
    expect(values.map((value) => value !== undefined)).toEqual([true, true, false]);
  });

  it.each([
    [1_000, []],
    [1_001, ['huge-1001: gap']],
  ])(
    'a commit of %d changes reaches another room, though a feed entry names 1,000 keys at most (resyncs: %j): it answers right (CONS-1, CONS-4)',
    async (count, causes) => {
      const tenant = `huge-${count}`;
      await put(store, tenant, role('reader', ['doc:read']), user('alice', { roles: ['reader'] }));
      const room = roomFor(ending, storeFor(ending, server.url, PATIENT), {
        storeTimeoutMs: PATIENT.readTimeoutMs,
        maxStalenessMs: 30_000,
      });
      expect(await ask(room, { tenant, user: 'alice' })).toBe('ALLOWED@1');
      expect(await ask(room, { tenant, user: 'user-0' })).toBe('NO_GRANT@1');
      expect(await ask(room, { tenant, key: 'k' })).toBe('KEY_INVALID@1');
      const changes = [
        user('alice'),
        key('k', { role: 'default_allow' }),
        user('user-0', { roles: ['reader'] }),
        ...users(count - 2).slice(1),
      ];
      expect(changes).toHaveLength(count);
      await put(store, tenant, ...changes);
      const { entries } = await store.feed(tenant, 1, 10);
      expect(entries.map(({ keys }) => keys?.length)).toEqual([
        causes.length === 0 ? count : undefined,
      ]);
      // With the token at once.
      const question = { tenant, minRevision: 2, waitMs: 5_000 };
      expect(await ask(room, { ...question, user: 'alice' })).toBe('NO_GRANT@2');
      expect(await ask(room, { ...question, user: 'user-0' })).toBe('ALLOWED@2');
      expect(await ask(room, { ...question, key: 'k' })).toBe('ALLOWED@2');
      expect(room.resyncCauses).toEqual(causes);
    },
  );
});

describe('a Redis that was emptied and filled to the same revision again', () => {
  const ending = endingWithEach();

  it('refuses a commit that was planned on what it lost, and takes one that was planned on what it has (CONS-5)', async () => {
    const server = await redisFor(ending);
    const store = storeFor(ending, server.url, PATIENT);
    const fill = async (email: string): Promise<Head | undefined> => {
      let head: Head | undefined;
      for (let at = 0; at < 3; at++) head = await put(store, 't', user('alice', { email }));
      return head;
    };
    const lost = await fill('lost');
    await server.command('FLUSHALL');
    const now = await fill('now');
    expect(lost?.revision).toBe(now?.revision);
    const commit = { tenant: 't', expected: 3, changes: [user('alice')], event: EVENT };
    expect(await store.commit({ ...commit, nonce: lost?.nonce })).toEqual({
      committed: false,
      head: now,
    });
    expect((await store.get('t', commit.changes)).values).toMatchObject([{ email: 'now' }]);
    expect(await store.commit({ ...commit, nonce: now?.nonce })).toMatchObject({
      committed: true,
      head: { revision: 4 },
    });
  });

  it('between a plan and its commit: the plan is made again (CONS-5)', async () => {
    const server = await redisFor(ending);
    const store = storeFor(ending, server.url, PATIENT);
    await applyState(store, { tenant: 't', users: [{ id: 'u' }, { id: 'v' }] }, [], 'op');
    let attempts = 0;
    const applied = await applyState(
      {
        ...store,
        async commit(commit: Commit) {
          if (++attempts === 1) {
            await server.command('FLUSHALL');
            await applyState(store, { tenant: 't', users: [{ id: 'other' }] }, [], 'op');
          }
          return store.commit(commit);
        },
      },
      { tenant: 't', users: [{ id: 'u' }, { id: 'v' }, { id: 'w' }] },
      [],
      'op',
    );
    expect(attempts).toBe(2);
    expect(applied.revision).toBe(2);
    const ids = ['u', 'v', 'w', 'other'].map((id) => ({ kind: 'user' as const, id }));
    const { values } = await store.get('t', ids);
    expect(values).toMatchObject([
      { deleted: false },
      { deleted: false },
      { deleted: false },
      { deleted: true },
    ]);
  });
});

describe('a state that must reach a replica', () => {
  const ending = endingWithEach();

  it('is not acknowledged while there is none: neither at first, nor again with its key, nor without one; then it is (CONS-5)', async () => {
    const server = await redisFor(ending, ['repl-diskless-sync-delay 0']);
    const options = { ...PATIENT, waitReplicas: 1, waitMs: 100 };
    const careful = storeFor(ending, server.url, options);
    const state: StateFile = { tenant: 't', users: [{ id: 'u' }] };
    const apply = (idempotencyKey?: string): Promise<unknown> =>
      outcomeOf(applyState(careful, state, [], 'op', { key: idempotencyKey }));
    for (const idempotencyKey of ['KEY', 'KEY', undefined, 'KEY', 'OTHER']) {
      const outcome = await apply(idempotencyKey);
      expect(outcome).toBeInstanceOf(UnknownOutcomeError);
      expect(String(outcome)).toContain('0 of 1 replicas have it');
    }
    // Done once under `KEY`, and once more for the receipt of `OTHER`.
    expect((await careful.get('t', [])).head?.revision).toBe(2);

    const replica = await redisFor(ending, [`replicaof 127.0.0.1 ${server.port}`]);
    await until(async () =>
      String(await replica.command('INFO', 'replication')).includes('master_link_status:up'),
    );
    const patient = storeFor(ending, server.url, { ...options, waitMs: 5_000 });
    expect(await applyState(patient, state, [], 'op', { key: 'KEY' })).toMatchObject({
      revision: 1,
      repeated: true,
    });
    expect(await applyState(patient, state, [], 'op')).toMatchObject({
      revision: 2,
      repeated: false,
    });
    expect(await replica.command('GET', KEYS.head('t'))).toBe(
      await server.command('GET', KEYS.head('t')),
    );
  });
});

describe('a Redis that comes back', () => {
  const ending = endingWithEach();

  it('with a policy that evicts is refused, although it could not be asked at first (CONS-5)', async () => {
    const server = await redisFor(ending, ['appendonly yes', 'appendfsync always']);
    const wire = await wireFor(ending, server.port);
    const store = storeFor(ending, wire.url, { ...PATIENT, connectTimeoutMs: 200 });
    await put(store, 't', user('alice'));
    await server.command('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru');
    await server.command('CONFIG', 'REWRITE');
    wire.hold();
    await server.kill();
    await server.restart();
    // The store is connected again, and has no answer yet.
    await until(async () =>
      String(await server.command('CLIENT', 'LIST'))
        .trim()
        .includes('\n'),
    );
    expect(await outcomeOf(Promise.resolve(store.get('t', [])))).toBeInstanceOf(StoreError);
    wire.mend();
    let told: unknown;
    await until(async () => {
      told = await outcomeOf(Promise.resolve(store.get('t', [])));
      return told instanceof UnusableStoreError;
    }, 3_000);
    expect(String(told)).toMatch(/maxmemory-policy allkeys-lru.*set maxmemory-policy noeviction/);
    const commit = { tenant: 't', expected: 1, changes: [], event: EVENT };
    expect(await outcomeOf(store.commit(commit))).toBeInstanceOf(UnusableStoreError);
    expect((await server.command('GET', KEYS.head('t'))) as string).toMatch(/^1 /);
  });
});

describe('a cluster whose connections all end after a commit ran and before its reply', () => {
  const ending = endingWithAll();

  it('the commit is known as done, or UNKNOWN: never said to be not committed, never a plain refusal (CONS-5)', async () => {
    const cluster = ending.add(await startCluster(), (all) => all.dispose());
    const wires = await Promise.all(cluster.nodes.map(({ port }) => wireFor(ending, port)));
    // Clients find the nodes at the near ends of the wires.
    for (const [at, node] of cluster.nodes.entries())
      await node.command('CONFIG', 'SET', 'cluster-announce-port', portOf(wires[at]?.url));
    const [first] = cluster.nodes;
    await until(async () => {
      for (const node of cluster.nodes) {
        const slots = JSON.stringify(await node.command('CLUSTER', 'SLOTS'));
        if (!wires.every(({ url }) => slots.includes(String(portOf(url))))) return false;
      }
      return true;
    });
    const hosts = wires.map(({ url }) => url.replace('redis://', '')).join(',');
    const open = (commitTimeoutMs: number): Store =>
      storeFor(ending, `redis-cluster://${hosts}`, { ...PATIENT, commitTimeoutMs });
    const slot = Number(await first?.command('CLUSTER', 'KEYSLOT', KEYS.head('t')));
    const home = Math.floor((slot * cluster.nodes.length) / 16_384);
    const revision = async (): Promise<number> =>
      Number.parseInt(String(await cluster.nodes[home]?.command('GET', KEYS.head('t'))), 10);

    const far = open(10_000);
    await put(far, 't', user('alice'));
    let known = 0;
    for (let round = 1; round <= 8; round++) {
      // Back at once, or only when it is too late.
      const late = round > 6;
      const store = late ? open(1_000) : far;
      // Connections to all nodes: with one that was never used, the library would take that.
      for (let at = 0; at < 12; at++) await putSurely(store, `warm-${at}`, user('alice'));
      expect(await revision()).toBe(round);
      wires[home]?.cutAt(CUT_HERE.operation, 'delivered');
      const changes = [user(`user-${round}`)];
      const commit = { tenant: 't', expected: round, changes, event: CUT_HERE };
      const committing = outcomeOf(store.commit(commit));
      await until(async () => (await revision()) === round + 1, 20_000, 1);
      // The commit's own first, while the library still takes the cluster for ready, then the others.
      wires[home]?.cut();
      await sleep(20);
      for (const wire of wires) wire.cut();
      await sleep(100);
      if (!late) for (const wire of wires) wire.mend();
      const outcome = await committing;
      for (const wire of wires) wire.mend();
      expect(wires[home]?.cuts()).toBe(round);
      if (!(outcome instanceof UnknownOutcomeError)) {
        known++;
        expect(outcome).toMatchObject({ committed: true, head: { revision: round + 1 } });
        expect(late).toBe(false);
      }
      expect(await revision()).toBe(round + 1);
    }
    // Not all are given up: a cut is mended within the time that a commit has.
    expect(known).toBeGreaterThan(0);
  });
});

function portOf(url: string | undefined): number {
  return Number(new URL(url ?? '').port);
}
