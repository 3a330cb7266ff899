/** Maps many items without blocking the event loop for all of them (ADM-11). */
import type { MaybePromise } from './later.ts';

/** Longest time that it may block the event loop, ms. */
const TURN_MS = 5;

/** Like `Array.map`: at once if that is fast, otherwise in several turns of the loop. */
export function mapInTurns<T, U>(
  items: readonly T[],
  make: (item: T, index: number) => U,
): MaybePromise<U[]> {
  const made: U[] = [];
  return goOn(items, make, made) ? made : inTurns(items, make, made);
}

/** Maps items for one turn. @returns whether all are mapped */
function goOn<T, U>(items: readonly T[], make: (item: T, index: number) => U, made: U[]): boolean {
  const until = performance.now() + TURN_MS;
  for (let index = made.length; index < items.length; index++) {
    // It is below the length; an item may be `undefined` only where its type says so.
    made.push(make(items[index] as T, index));
    if (performance.now() > until) return made.length === items.length;
  }
  return true;
}

async function inTurns<T, U>(
  items: readonly T[],
  make: (item: T, index: number) => U,
  made: U[],
): Promise<U[]> {
  do await new Promise((go) => setImmediate(go));
  while (!goOn(items, make, made));
  return made;
}
