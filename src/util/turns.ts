/** One thing made of each of many, without holding the event loop for all of them (ADM-11). */
import type { MaybePromise } from './later.ts';

/** How long it may hold the event loop at a time, ms. */
const TURN_MS = 5;

/** As `Array.map`: at once where that is quick, else in several turns of the loop. */
export function mapInTurns<T, U>(
  items: readonly T[],
  make: (item: T, index: number) => U,
): MaybePromise<U[]> {
  const made: U[] = [];
  return goOn(items, make, made) ? made : inTurns(items, make, made);
}

/** Makes the next ones, for one turn. @returns whether all are made */
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
