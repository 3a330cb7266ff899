/** What is much is done in several turns of the loop, and is the same as if it were done at once (ADM-11). */
import { expect, it } from 'vitest';
import { mapInTurns } from '../../src/util/turns.ts';
import { sortedInSteps } from '../../src/util/sorted.ts';

const upTo = (count: number): readonly number[] => Array.from({ length: count }, (_, at) => at);

/** Takes about a millisecond. */
function slowly(value: number): number {
  for (const until = performance.now() + 1; performance.now() < until;);
  return value * 2;
}

it('what is quick is there at once', () => {
  expect(mapInTurns([1, 2, 3], (one, at) => one * 10 + at)).toEqual([10, 21, 32]);
  expect(mapInTurns([], slowly)).toEqual([]);
});

it('what is slow lets others have their turn', async () => {
  let turns = 0;
  const ticking = setInterval(() => turns++, 0);
  const made = mapInTurns(upTo(60), slowly);
  expect(made).toBeInstanceOf(Promise);
  expect(await made).toEqual(upTo(60).map((one) => one * 2));
  clearInterval(ticking);
  expect(turns).toBeGreaterThan(3);
});

it('a throw on a later turn is told', async () => {
  const made = mapInTurns(upTo(60), (one) => {
    if (one === 50) throw new Error('fifty');
    return slowly(one);
  });
  await expect(made).rejects.toThrow('fifty');
});

it.each([0, 1, 511, 512, 513, 1_024, 2_500])('a sort of %i in steps is stable', (count) => {
  const items = upTo(count).map((at) => ({ at, key: (at * 7_919) % 101 }));
  const compare = (a: { key: number }, b: { key: number }): number => a.key - b.key;
  const steps = sortedInSteps(items, compare);
  let taken = 0;
  let step = steps.next();
  for (; step.done !== true; step = steps.next()) taken++;
  expect(step.value).toEqual(items.toSorted(compare));
  expect(taken).toBeGreaterThanOrEqual(Math.floor(count / 512));
});
