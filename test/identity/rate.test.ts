/** Rate limits of keys. */
import { describe, expect, it } from 'vitest';
import { openEvicted } from '../../src/identity/evicted.ts';
import { openRateLimits, type RateLimits } from '../../src/identity/rate.ts';

interface TestLimits extends RateLimits {
  pass(seconds: number): void;
}

function open(keys?: number): TestLimits {
  let time = 1_800_000_000_000;
  const limits = openRateLimits({ now: () => time, ...(keys === undefined ? {} : { keys }) });
  return { ...limits, pass: (seconds) => void (time += seconds * 1_000) };
}

/** How many of some requests at once are let through. */
function passed(limits: RateLimits, requests: number, seconds: number, tries = 50): number {
  const takes = Array.from({ length: tries }, () => limits.take('t', 'k', { requests, seconds }));
  return takes.filter(({ ok }) => ok).length;
}

describe('a rate limit', () => {
  it('lets so many through in its time, and as many again afterwards', () => {
    const limits = open();
    expect(passed(limits, 10, 60)).toBe(10);
    limits.pass(59.999);
    expect(passed(limits, 10, 60)).toBe(0);
    limits.pass(0.001);
    expect(passed(limits, 10, 60)).toBe(10);
  });

  it('says when to come again', () => {
    const limits = open();
    const limit = { requests: 1, seconds: 10 };
    expect(limits.take('t', 'k', limit)).toEqual({ ok: true });
    limits.pass(4);
    expect(limits.take('t', 'k', limit)).toEqual({ ok: false, retryAfterMs: 6_000 });
    limits.pass(6);
    expect(limits.take('t', 'k', limit)).toEqual({ ok: true });
  });

  it('counts many at once whole, or not at all', () => {
    const limits = open();
    const limit = { requests: 10, seconds: 60 };
    expect(limits.take('t', 'k', limit, 8).ok).toBe(true);
    expect(limits.take('t', 'k', limit, 3).ok).toBe(false);
    expect(limits.take('t', 'k', limit, 2).ok).toBe(true);
    expect(limits.take('t', 'k', limit, 0).ok).toBe(true);
    expect(limits.take('t', 'k', limit).ok).toBe(false);
    expect(limits.take('t', 'other', limit, 11).ok).toBe(false);
  });

  it('takes effect at once when it changes', () => {
    const limits = open();
    expect(passed(limits, 20, 60, 15)).toBe(15);
    expect(passed(limits, 10, 60)).toBe(0);
    expect(passed(limits, 18, 60)).toBe(3);
    expect(passed(limits, 5, 10)).toBe(5);
    limits.pass(10);
    expect(passed(limits, 5, 10)).toBe(5);
  });

  it('is of one key of one tenant, whatever they are called', () => {
    const limits = open();
    const limit = { requests: 1, seconds: 60 };
    const names = ['a', 'ab', 'b', 'a b', '1 a', ':', 'a:b', '__proto__', '', '2 ab'];
    for (const tenant of names)
      for (const id of names)
        expect(limits.take(tenant, id, limit).ok, `${tenant}|${id}`).toBe(true);
    for (const tenant of names)
      for (const id of names) expect(limits.take(tenant, id, limit).ok).toBe(false);
  });

  it('that is none, or no number, lets nothing through', () => {
    const limits = open();
    for (const requests of [0, -1, Number.NaN]) expect(passed(limits, requests, 60)).toBe(0);
  });

  it('may have any length, also one that no timer takes', async () => {
    const limits = open();
    const month = 40 * 86_400;
    expect(passed(limits, 3, month)).toBe(3);
    await new Promise((done) => setTimeout(done, 20));
    expect(passed(limits, 3, month)).toBe(0);
  });

  it('is kept one by one for so many keys at most, and the others are not let go', () => {
    const limits = open(100);
    const limit = { requests: 1, seconds: 60 };
    for (let at = 0; at < 1_000; at++) {
      limits.take('t', `k${at}`, limit);
      expect(limits.take('t', 'busy', limit).ok).toBe(at === 0);
    }
    expect(limits.take('t', 'k999', limit).ok).toBe(false);
    expect(limits.take('t', 'k0', limit).ok).toBe(false);
  });
});

describe('more keys than there is room for', () => {
  it.each(['in turns', 'each until it is refused'])(
    'are limited all the same, asking %s',
    (how) => {
      let time = 1_800_000_000_000;
      const limits = openRateLimits({ now: () => time, keys: 100 });
      const limit = { requests: 5, seconds: 60 };
      const names = Array.from({ length: 301 }, (_, n) => `key-${n}`);
      const through = new Map<string, number>();
      const ask = (name: string): void => {
        if (limits.take('t', name, limit).ok) through.set(name, (through.get(name) ?? 0) + 1);
      };
      if (how === 'in turns') for (let round = 0; round < 20; round++) names.forEach(ask);
      else for (const name of names) for (let round = 0; round < 20; round++) ask(name);
      names.forEach(ask);
      const counts = names.map((name) => through.get(name) ?? 0);
      expect(Math.max(...counts)).toBe(5);
      // Two that share their places are the exception.
      expect(counts.filter((count) => count === 5).length).toBeGreaterThan(290);
      time += 60_000;
      through.clear();
      for (let round = 0; round < 20; round++) names.forEach(ask);
      expect(Math.max(...through.values())).toBe(5);
    },
  );

  it('are not limited by what others used in windows that are over', () => {
    let time = 1_800_000_000_000;
    const evicted = openEvicted();
    // Every place is of some window of before; then time passes.
    for (let n = 0; n < 400_000; n++) evicted.add(`old-${n}`, 1_000, time + 1_000, time);
    time += 1_000;
    for (let n = 0; n < 100; n++) evicted.add(`new-${n}`, 1, time + 60_000, time);
    for (let n = 0; n < 100; n++)
      expect(evicted.find(`new-${n}`, time)).toEqual({ used: 1, endsAt: time + 60_000 });
    // A window that was over when its key lost its room says nothing of those that share its places.
    for (let n = 0; n < 400_000; n++) evicted.add(`late-${n}`, 1_000, time - 1, time);
    for (let n = 0; n < 100; n++)
      expect(evicted.find(`new-${n}`, time)).toEqual({ used: 1, endsAt: time + 60_000 });
  });

  it('10,001 keys, with the room that there is by default', () => {
    const limits = openRateLimits({ now: () => 1_800_000_000_000 });
    let through = 0;
    for (let round = 0; round < 4; round++)
      for (let n = 0; n < 10_001; n++)
        if (limits.take('t', `k${n}`, { requests: 1, seconds: 3_600 }).ok) through++;
    expect(through).toBeLessThanOrEqual(10_001);
    expect(through).toBeGreaterThan(9_500);
  });
});
