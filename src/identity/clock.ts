/** The clock that credentials expire by. */

/**
 * A wall clock in whole milliseconds that never goes back and never stands still: after a jump back it goes on from
 * where it was, so that what has expired does not open again and what shall expire still does.
 */
export function steadyClock(wall: () => number, monotonic: () => number): () => number {
  let time = -Infinity;
  let readAt = 0;
  return () => {
    const at = monotonic();
    time = Math.max(wall(), time + (at - readAt));
    readAt = at;
    return Math.floor(time);
  };
}

/** Milliseconds since the epoch, one steady clock for the process. */
export const steadyNow: () => number = steadyClock(
  () => Date.now(),
  () => performance.now(),
);
