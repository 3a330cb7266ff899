/** Who may call the service: known by the hash of a static token. */
import * as crypto from 'node:crypto';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { digest, openCallers } from '../../src/identity/callers.ts';

vi.mock('node:crypto', async (original) => {
  const real = await original<typeof crypto>();
  return { ...real, timingSafeEqual: vi.fn<typeof real.timingSafeEqual>(real.timingSafeEqual) };
});

const compared = vi.mocked(crypto.timingSafeEqual);
beforeEach(() => void compared.mockClear());

const entries = ['gateway', 'worker', 'admin'].map((name) => ({ name, hash: digest(`${name}!`) }));

describe('callers', () => {
  it('are known by their tokens', () => {
    const callers = openCallers(entries);
    expect(callers.nameOf('gateway!')).toBe('gateway');
    expect(callers.nameOf('admin!')).toBe('admin');
    for (const token of ['', 'Admin!', 'admin', 'admin! ', digest('admin!'), 'x'.repeat(5_000)])
      expect(callers.nameOf(token)).toBeUndefined();
    expect(openCallers([]).nameOf('admin!')).toBeUndefined();
  });

  it('are all compared, found or not', () => {
    const callers = openCallers(entries);
    for (const token of ['gateway!', 'worker!', 'admin!', 'nobody!']) {
      compared.mockClear();
      callers.nameOf(token);
      expect(compared).toHaveBeenCalledTimes(entries.length);
    }
  });

  it('may have their hashes in capitals', () => {
    const hash = digest('t').toUpperCase();
    expect(openCallers([{ name: 'a', hash }]).nameOf('t')).toBe('a');
  });

  it.each([
    [[{ name: '', hash: digest('t') }], 'caller 1 has an empty name'],
    [[{ name: 'a', hash: '' }], 'caller `a`: hash is not'],
    [[{ name: 'a', hash: 'secret' }], 'caller `a`: hash is not'],
    [[{ name: 'a', hash: `${digest('t')}\n` }], 'caller `a`: hash is not'],
    [[{ name: 'a', hash: digest('') }], 'the empty token'],
    [[...entries, { name: 'b', hash: digest('admin!').toUpperCase() }], '`admin` and `b`'],
  ])('that are not usable do not start: %o', (bad, problem) => {
    expect(() => openCallers(bad)).toThrow(problem);
  });

  it('show no token of theirs in an error', () => {
    expect(() => openCallers([{ name: 'a', hash: 'hunter2' }])).toThrow(/^(?!.*hunter2)/);
  });
});
