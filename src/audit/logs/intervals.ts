/** Sets of whole numbers that mostly follow each other: kept as intervals, so that a million takes no more than one. */
export interface Intervals {
  /** @returns whether it is new */
  add(value: number): boolean;
  has(value: number): boolean;
  first(): number | undefined;
  /** First and last number of each interval, ascending. */
  all(): readonly Interval[];
}

export type Interval = readonly [first: number, last: number];

export function openIntervals(): Intervals {
  // Ascending, and never side by side: `firsts[i] - 1 > lasts[i - 1]`.
  const firsts: number[] = [];
  const lasts: number[] = [];
  return {
    add(value): boolean {
      const at = indexAbove(firsts, value);
      const below = lasts[at - 1];
      if (below !== undefined && value <= below) return false;
      const joinsBelow = below === value - 1;
      const joinsAbove = firsts[at] === value + 1;
      if (joinsBelow && joinsAbove) {
        lasts.splice(at - 1, 1);
        firsts.splice(at, 1);
      } else if (joinsBelow) lasts[at - 1] = value;
      else if (joinsAbove) firsts[at] = value;
      else {
        firsts.splice(at, 0, value);
        lasts.splice(at, 0, value);
      }
      return true;
    },
    has(value): boolean {
      const below = lasts[indexAbove(firsts, value) - 1];
      return below !== undefined && value <= below;
    },
    first: () => firsts[0],
    all: () => firsts.map((first, at) => [first, lasts[at] ?? first]),
  };
}

/** Index of the first that is greater. */
function indexAbove(sorted: readonly number[], value: number): number {
  // Records come in order nearly always.
  if ((sorted.at(-1) ?? -Infinity) <= value) return sorted.length;
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] ?? Infinity) <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}
