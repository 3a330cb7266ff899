/** When keys were last used, and what is written of it. */
import { describe, expect, it } from 'vitest';
import { openUsage, type Usage } from '../../src/identity/usage.ts';
import type { Store } from '../../src/store/store.ts';
import { keepUsage } from '../../src/identity/usage-writer.ts';
import { openMemoryStore } from '../support/memory-store.ts';
import { key, NEVER_MS, put, user } from '../support/records.ts';
import { until } from '../support/redis-server.ts';

describe('usage', () => {
  it('tells the last time of each key, once', () => {
    let time = 1;
    const usage = openUsage(() => time);
    usage.used('a', 'k');
    usage.used('b', 'k');
    time = 2;
    usage.used('a', 'k');
    usage.used('a', '__proto__');
    expect(usage.take()).toEqual(
      new Map([
        ['a', new Map(Object.entries({ k: 2 }).concat([['__proto__', 2]]))],
        ['b', new Map([['k', 1]])],
      ]),
    );
    expect(usage.take()).toEqual(new Map());
    usage.used('b', 'k');
    expect(usage.take()).toEqual(new Map([['b', new Map([['k', 2]])]]));
  });

  it('is bounded, however many keys there are', () => {
    let time = 0;
    const usage = openUsage(() => time++);
    for (let at = 0; at < 150_000; at++) usage.used(`t${at % 3}`, `k${at}`);
    const taken = usage.take();
    const sizes = [...taken.values()].map((keys) => keys.size);
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(100_000);
    expect(taken.get('t2')?.get('k149999')).toBe(149_999);
    expect(taken.get('t0')?.has('k0')).not.toBe(true);
    // A tenant of which nothing is left is not told.
    expect(Math.min(...sizes)).toBeGreaterThan(0);
    for (let at = 0; at < 100_000; at++) usage.used('t', `k${at}`);
    expect(usage.take().get('t')?.size).toBe(100_000);
  });

  it.each([
    ['of the same tenant', 'many', 100_000],
    ['of another tenant', 'few', 100_000],
    ['in the next generation', 'few', 50_000],
  ])('keeps the keys that are used all the time while others come: %s', (_, tenant, others) => {
    let time = 0;
    const usage = openUsage(() => time);
    for (; time < others; time++) {
      if (time % 1_000 === 0) usage.used(tenant, 'busy');
      usage.used('many', `k${time}`);
    }
    expect(usage.take().get(tenant)?.get('busy')).toBe(others - 1_000);
  });

  it('keeps new uses before those that are put back, and is bounded then, too', () => {
    const usage = openUsage(() => 2);
    const lost = new Map(Array.from({ length: 150_000 }, (_, at) => [`k${at}`, 1]));
    usage.used('t', 'busy');
    usage.used('t', 'k7');
    usage.used('other', 'busy');
    usage.putBack('t', lost);
    usage.putBack('t', new Map([['busy', 1]]));
    const taken = usage.take();
    expect(taken.get('t')?.get('busy')).toBe(2);
    expect(taken.get('t')?.get('k7')).toBe(2);
    expect(taken.get('t')?.get('k8')).toBe(1);
    expect(taken.get('other')?.get('busy')).toBe(2);
    expect(taken.get('t')?.size).toBeLessThanOrEqual(100_000);
  });
});

describe('what is written of it', () => {
  const INTERVAL_MS = 20;
  const lastUse = async (store: Store, id: string): Promise<unknown> =>
    (await store.get('t', [{ kind: 'usage', id }])).values[0];
  const failing = (error: unknown): void => {
    throw error instanceof Error ? error : new Error(String(error));
  };

  it('the last use of a key that is used without a pause, while others commit', async () => {
    const store = openMemoryStore();
    await put(store, 't', key('busy'));
    let time = 0;
    const usage = openUsage(() => ++time);
    const end = keepUsage(store, usage, INTERVAL_MS, failing);
    const users = setInterval(() => {
      for (let n = 0; n < 100; n++) usage.used('t', 'busy');
    }, 1);
    await until(async () => {
      await put(store, 't', user(`u${time}`)).catch(() => undefined);
      return (await lastUse(store, 'busy')) !== undefined;
    }, 5_000);
    clearInterval(users);
    await end();
    expect(await lastUse(store, 'busy')).toEqual({ id: 'busy', at: time });
  });

  it('never an earlier time than the one that another instance wrote', async () => {
    const store = openMemoryStore();
    await put(store, 't', key('k'), key('other'));
    await put(store, 't', { kind: 'usage', id: 'k', value: { id: 'k', at: 9 } });
    const usage = openUsage(() => 5);
    usage.used('t', 'k');
    usage.used('t', 'other');
    await keepUsage(store, usage, NEVER_MS, failing)();
    expect(await lastUse(store, 'k')).toEqual({ id: 'k', at: 9 });
    expect(await lastUse(store, 'other')).toEqual({ id: 'other', at: 5 });
    const before = (await store.get('t', [])).head?.revision;
    usage.used('t', 'k');
    await keepUsage(store, usage, NEVER_MS, failing)();
    expect((await store.get('t', [])).head?.revision).toBe(before);
  });

  it('what comes while a store is slow is taken afterwards, not queued', async () => {
    const memory = openMemoryStore();
    await put(memory, 't', key('k'));
    let open: () => void = () => undefined;
    const opened = new Promise<void>((done) => (open = done));
    let commits = 0;
    const slow: Store = {
      ...memory,
      commit: async (commit) => {
        commits++;
        await opened;
        return await memory.commit(commit);
      },
    };
    let time = 0;
    let takes = 0;
    const usage = openUsage(() => ++time);
    const counted: Usage = { ...usage, take: () => (takes++, usage.take()) };
    const end = keepUsage(slow, counted, 5, failing);
    usage.used('t', 'k');
    await until(() => Promise.resolve(commits === 1));
    for (let at = 0; at < 20; at++) {
      usage.used('t', 'k');
      await new Promise((done) => setTimeout(done, 5));
    }
    expect(takes).toBe(1);
    open();
    await end();
    expect(commits).toBe(2);
    expect(await lastUse(memory, 'k')).toEqual({ id: 'k', at: 21 });
  });
});
