/** A sort in steps, for any number of items (ADM-11). */

/** Number of items that one step sorts or merges. */
const STEP = 512;

/** As `Array.toSorted`, stable; a step ends after some hundred items. */
export function* sortedInSteps<T>(
  items: readonly T[],
  compare: (a: T, b: T) => number,
): Generator<undefined, readonly T[]> {
  let runs: (readonly T[])[] = [];
  for (let from = 0; from < items.length; from += STEP) {
    runs.push(items.slice(from, from + STEP).sort(compare));
    yield;
  }
  while (runs.length > 1) {
    const merged: (readonly T[])[] = [];
    for (let at = 0; at < runs.length; at += 2)
      merged.push(yield* mergedInSteps(runs[at] ?? [], runs[at + 1] ?? [], compare));
    runs = merged;
  }
  return runs[0] ?? [];
}

function* mergedInSteps<T>(
  left: readonly T[],
  right: readonly T[],
  compare: (a: T, b: T) => number,
): Generator<undefined, readonly T[]> {
  const merged: T[] = [];
  let [l, r] = [0, 0];
  while (l < left.length && r < right.length) {
    // Both are below their lengths; an item may be `undefined` only where its type says so.
    const [one, other] = [left[l] as T, right[r] as T];
    const isFirst = compare(one, other) <= 0;
    merged.push(isFirst ? one : other);
    if (isFirst) l++;
    else r++;
    if (merged.length % STEP === 0) yield;
  }
  for (const rest of [left.slice(l), right.slice(r)])
    for (const item of rest) {
      merged.push(item);
      if (merged.length % STEP === 0) yield;
    }
  return merged;
}
