/** The clock that credentials expire by. */
import { describe, expect, it } from 'vitest';
import { steadyClock, steadyNow } from '../../src/identity/clock.ts';
import fc from '../support/fast-check.ts';

/** A clock whose wall and monotonic time the test moves. */
function clock(): { now: () => number; pass: (ms: number) => void; jump: (ms: number) => void } {
  let wall = 1_800_000_000_000;
  let monotonic = 5_000;
  return {
    now: steadyClock(
      () => wall,
      () => monotonic,
    ),
    pass: (ms) => {
      wall += ms;
      monotonic += ms;
    },
    jump: (ms) => void (wall += ms),
  };
}

describe('the clock', () => {
  it('is the wall clock', () => {
    const { now, pass, jump } = clock();
    expect(now()).toBe(1_800_000_000_000);
    pass(10);
    expect(now()).toBe(1_800_000_000_010);
    jump(5);
    expect(now()).toBe(1_800_000_000_015);
    expect(Math.abs(steadyNow() - Date.now())).toBeLessThan(1_000);
  });

  it('does not go back when the wall clock does, and does not stand still', () => {
    const { now, pass, jump } = clock();
    const before = now();
    jump(-3_600_000);
    expect(now()).toBe(before);
    pass(1_000);
    expect(now()).toBe(before + 1_000);
    jump(3_600_000 + 500);
    expect(now()).toBe(before + 1_500);
  });

  it('never goes back, whatever happens', () => {
    const steps = fc.array(fc.tuple(fc.double({ min: 0, max: 1e6, noNaN: true }), fc.integer()));
    fc.assert(
      fc.property(steps, (moves) => {
        const { now, pass, jump } = clock();
        let last = now();
        for (const [passed, jumped] of moves) {
          pass(passed);
          jump(jumped);
          const time = now();
          expect(time).toBeGreaterThanOrEqual(last);
          expect(Number.isInteger(time)).toBe(true);
          last = time;
        }
      }),
    );
  });
});
