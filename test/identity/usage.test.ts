/** When keys were last used. */
import { describe, expect, it } from 'vitest';
import { openUsage } from '../../src/identity/usage.ts';

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

  it('is bounded: those noted first go first', () => {
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
});
