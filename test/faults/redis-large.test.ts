/**
 * Large commits to Redis. Promise: nobody is held up by one, for it is prepared step by step; whatever happens on the
 * way, it is done entirely or not at all (CONS-5), and what was prepared in vain does not stay.
 */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import {
  StoreError,
  UnknownOutcomeError,
  type Change,
  type Commit,
  type Store,
} from '../../src/store/store.ts';
import { EVENT, gone, put, role, user } from '../support/records.ts';
import { until, type RedisServer } from '../support/redis-server.ts';
import { COMMANDS, COMMANDS_FOR_LARGE, rules } from './acl.ts';
import { endingWithEach, KEYS, redisFor, storeFor, wireFor } from './support.ts';

/** A slow machine has time to make up its mind. */
const PATIENT = { readTimeoutMs: 20_000, commitTimeoutMs: 30_000 };
const ending = endingWithEach();

function users(count: number, email: string): Change[] {
  return Array.from({ length: count }, (_, at) => user(`user-${at}`, { email }));
}

function large(expected: number, count = 3_000): Commit {
  return { tenant: 't', expected, changes: users(count, 'new'), event: EVENT };
}

/** Names of what is prepared. */
async function staged(server: RedisServer): Promise<string[]> {
  return (await server.command('KEYS', '*:stage:*')) as string[];
}

async function commands(server: RedisServer): Promise<string> {
  return String(await server.command('INFO', 'commandstats'));
}

async function mailOf(store: Store, id: string): Promise<string | undefined> {
  const { values } = await store.get('t', [{ kind: 'user', id }]);
  return (values[0] as { readonly email?: string } | undefined)?.email;
}

/** Where a wire is to end: at a step of a preparation, for this user is changed in it. */
const STEP = 'user-2000';

/** Another client, in a thread of its own: what holds this process up does not count. */
function pingsOf(port: number): { end(): Promise<readonly number[]> } {
  const code = `
    const { parentPort, workerData } = require('node:worker_threads');
    const socket = require('node:net').connect(workerData, '127.0.0.1');
    const waits = [];
    let startedAt;
    const ping = () => {
      startedAt = performance.now();
      socket.write('PING\\r\\n');
    };
    socket.setNoDelay(true).on('connect', ping).on('data', () => {
      waits.push(performance.now() - startedAt);
      setTimeout(ping, 1);
    });
    parentPort.on('message', () => parentPort.postMessage(waits));`;
  const worker = ending.add(new Worker(code, { eval: true, workerData: port }), async (it) => {
    await it.terminate();
  });
  return {
    async end(): Promise<readonly number[]> {
      const told = once(worker, 'message');
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
      worker.postMessage('end');
      return ((await told) as [readonly number[]])[0];
    },
  };
}

describe('a commit of 50,000 changes over 20,000 records', () => {
  it('lets others have their turn: the longest PING meanwhile is short; nothing that was prepared is left', async () => {
    const server = await redisFor(ending);
    const store = storeFor(ending, server.url, PATIENT);
    await put(store, 't', ...users(20_000, 'old'), role('r', []));
    const pinging = pingsOf(server.port);
    await server.command('CONFIG', 'SET', 'slowlog-log-slower-than', 1_000);
    await server.command('SLOWLOG', 'RESET');
    const changes = [...users(50_000, 'new').slice(1), gone('user', 'user-0')];
    const startedAt = performance.now();
    const result = await store.commit({ tenant: 't', expected: 1, changes, event: EVENT });
    const tookMs = performance.now() - startedAt;
    const waits = await pinging.end();
    expect(result.committed).toBe(true);
    // Of Redis itself, without what this process and the machine add.
    const slow = (await server.command('SLOWLOG', 'GET', 1_000)) as [number, number, number][];
    const slowestMs = Math.max(0, ...slow.map(([, , micros]) => micros / 1_000));
    const longestMs = Math.max(...waits);
    const figures = { tookMs, pings: waits.length, longestMs, slowestMs };
    expect(waits.length).toBeGreaterThan(10);
    expect(longestMs, JSON.stringify(figures)).toBeLessThan(400);
    expect(slowestMs, JSON.stringify(figures)).toBeLessThan(200);
    // Whatever the machine: it is many scripts, none of them long.
    const scripts = Number(/cmdstat_evalsha:calls=(\d+)/.exec(await commands(server))?.[1]);
    expect(scripts).toBeGreaterThan(130);
    expect(await staged(server)).toEqual([]);
    expect(await server.command('HLEN', KEYS.records('t', 'user'))).toBe(49_999);
    expect(await server.command('ZCARD', KEYS.index('t', 'user'))).toBe(49_999);
    for (const key of [KEYS.records('t', 'user'), KEYS.index('t', 'user')])
      expect(await server.command('PTTL', key)).toBe(-1);
    expect(await mailOf(store, 'user-49999')).toBe('new');
  });
});

describe('a preparation that does not come to its end', () => {
  it('by the death of the writer: nothing is done, what is left expires, the next commit works', async () => {
    const server = await redisFor(ending);
    const store = storeFor(ending, server.url, PATIENT);
    await put(store, 't', ...users(3_000, 'old'));
    const wire = await wireFor(ending, server.port);
    const dying = storeFor(ending, wire.url, { ...PATIENT, commitTimeoutMs: 1_000 });
    await dying.tenants();
    wire.cutAt(STEP, 'lost');
    const outcome = dying.commit(large(1)).catch((error: unknown) => error);
    await until(() => Promise.resolve(wire.cuts() === 1));
    wire.cut();
    const told = await outcome;
    expect(told).toBeInstanceOf(StoreError);
    expect(told).not.toBeInstanceOf(UnknownOutcomeError);
    const left = await staged(server);
    expect(left.length).toBeGreaterThan(1);
    for (const key of left) {
      const life = Number(await server.command('PTTL', key));
      expect(life).toBeGreaterThan(0);
      expect(life).toBeLessThanOrEqual(30_000);
    }
    expect((await store.heads(['t']))[0]).toMatchObject({ revision: 1 });
    expect(await mailOf(store, 'user-0')).toBe('old');
    expect(await store.commit(large(1))).toMatchObject({ committed: true, head: { revision: 2 } });
    expect(await mailOf(store, 'user-0')).toBe('new');
  });

  it.each(['lost', 'delivered'] as const)(
    'a step that is cut off (%s) is done once more, and counts once',
    async (when) => {
      const server = await redisFor(ending);
      const wire = await wireFor(ending, server.port);
      const store = storeFor(ending, wire.url, PATIENT);
      await put(store, 't', ...users(2_500, 'old'));
      wire.cutAt(STEP, when);
      expect(await store.commit(large(1))).toMatchObject({ committed: true });
      expect(wire.cuts()).toBe(1);
      expect(await server.command('HLEN', KEYS.records('t', 'user'))).toBe(3_000);
      expect(await mailOf(store, 'user-2000')).toBe('new');
      expect(await staged(server)).toEqual([]);
    },
  );

  it.each(['lost', 'delivered'] as const)(
    'the last script is cut off (%s): it is done once',
    async (when) => {
      const server = await redisFor(ending);
      const wire = await wireFor(ending, server.port);
      const store = storeFor(ending, wire.url, PATIENT);
      await put(store, 't', ...users(2_500, 'old'));
      wire.cutAt('cut-here', when);
      const event = { actor: 'test', operation: 'cut-here' };
      expect(await store.commit({ ...large(1), event })).toMatchObject({
        committed: true,
        head: { revision: 2 },
      });
      expect(wire.cuts()).toBe(1);
      expect((await store.feed('t', 0, 10)).entries).toHaveLength(2);
      expect(await mailOf(store, 'user-2999')).toBe('new');
      expect(await staged(server)).toEqual([]);
    },
  );

  it('whose keys disappear meanwhile is refused whole: the steps that are gone are not left out', async () => {
    const server = await redisFor(ending);
    const wire = await wireFor(ending, server.port);
    const store = storeFor(ending, wire.url, PATIENT);
    await put(store, 't', ...users(2_500, 'old'));
    for (const text of [STEP, 'cut-here']) {
      wire.cutAt(text, 'lost');
      const event = { actor: 'test', operation: 'cut-here' };
      const short = storeFor(ending, wire.url, { ...PATIENT, commitTimeoutMs: 2_000 });
      await short.tenants();
      const cuts = wire.cuts();
      const outcome = short.commit({ ...large(1), event }).catch((error: unknown) => error);
      await until(() => Promise.resolve(wire.cuts() === cuts + 1), 10_000, 1);
      wire.cut();
      await server.command('UNLINK', ...(await staged(server)));
      wire.mend();
      expect(await outcome).toBeInstanceOf(StoreError);
      expect(await staged(server)).toEqual([]);
      expect(await server.command('HLEN', KEYS.records('t', 'user'))).toBe(2_500);
      expect(await mailOf(store, 'user-0')).toBe('old');
    }
    expect((await store.heads(['t']))[0]).toMatchObject({ revision: 1 });
    expect(await store.commit(large(1))).toMatchObject({ committed: true });
  });

  it('for another commit comes between: not committed, and nothing is left', async () => {
    const server = await redisFor(ending);
    const wire = await wireFor(ending, server.port);
    const far = storeFor(ending, wire.url, PATIENT);
    const near = storeFor(ending, server.url, PATIENT);
    await put(near, 't', ...users(2_500, 'old'));
    // The connection for commits is made by the first one.
    await put(far, 'other', user('other'));
    wire.hold('answers');
    const outcome = far.commit(large(1));
    // The first step is delivered, and its answer waits.
    await until(async () => (await staged(server)).length > 0);
    const head = await put(near, 't', user('first'));
    wire.mend();
    expect(await outcome).toEqual({ committed: false, head });
    await until(async () => (await staged(server)).length === 0);
    expect(await mailOf(near, 'user-0')).toBe('old');
  });
});

describe('where it cannot be prepared, a large commit is one script', () => {
  it('of a user without the rights for it', async () => {
    const server = await redisFor(ending);
    const without = COMMANDS.filter((command) => !COMMANDS_FOR_LARGE.includes(command));
    await server.command(
      'ACL',
      'SETUSER',
      'old',
      'reset',
      'on',
      '>secret',
      ...rules('postern', without),
    );
    const url = server.url.replace('//', '//old:secret@');
    const store = storeFor(ending, url, PATIENT);
    await put(store, 't', ...users(2_500, 'old'));
    expect(await store.commit(large(1))).toMatchObject({ committed: true });
    expect(await mailOf(store, 'user-2999')).toBe('new');
    expect(await commands(server)).not.toMatch(/cmdstat_rename/);
  });

  it.each(COMMANDS_FOR_LARGE)('%s alone is missing: it works, whole', async (missing) => {
    const server = await redisFor(ending);
    const without = COMMANDS.filter((command) => command !== missing);
    await server.command(
      'ACL',
      'SETUSER',
      'some',
      'reset',
      'on',
      '>secret',
      ...rules('postern', without),
    );
    const store = storeFor(ending, server.url.replace('//', '//some:secret@'), PATIENT);
    await put(store, 't', ...users(1_500, 'old'));
    expect(await store.commit(large(1))).toMatchObject({ committed: true });
    expect(await mailOf(store, 'user-2999')).toBe('new');
  });

  it('with the rights that are listed it is prepared', async () => {
    const server = await redisFor(ending);
    await server.command('ACL', 'SETUSER', 'all', 'reset', 'on', '>secret', ...rules('postern'));
    const store = storeFor(ending, server.url.replace('//', '//all:secret@'), PATIENT);
    await put(store, 't', ...users(1_500, 'old'));
    expect(await store.commit(large(1))).toMatchObject({ committed: true });
    expect(await commands(server)).toMatch(/cmdstat_rename:/);
    expect(JSON.stringify(await server.command('ACL', 'LOG'))).not.toContain('"all"');
  });

  it('where a kind is large and little of it changes', async () => {
    const server = await redisFor(ending);
    const store = storeFor(ending, server.url, PATIENT);
    await put(store, 't', ...users(102_000, 'old'));
    const before = /cmdstat_rename:calls=(\d+)/.exec(await commands(server))?.[1];
    expect(await store.commit(large(1, 1_001))).toMatchObject({ committed: true });
    expect(/cmdstat_rename:calls=(\d+)/.exec(await commands(server))?.[1]).toBe(before);
    expect(await staged(server)).toEqual([]);
    expect(await mailOf(store, 'user-1000')).toBe('new');
  });
});
