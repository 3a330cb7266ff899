/** Retries for writers that conflict: each waits a random time before the next attempt. */

/** Longest pause before the next attempt, ms. */
const MAX_PAUSE_MS = 20;

/**
 * Makes attempts until one succeeds, with random pauses that grow.
 * @param attempt returns `undefined` after a conflict
 * @returns the result of the attempt; `undefined`: all attempts conflicted
 */
export async function attempts<T>(
  most: number,
  attempt: () => Promise<T | undefined>,
): Promise<T | undefined> {
  for (let count = 1; count <= most; count++) {
    const result = await attempt();
    if (result !== undefined) return result;
    const pauseMs = Math.random() * Math.min(count * 2, MAX_PAUSE_MS);
    await new Promise((wake) => setTimeout(wake, pauseMs));
  }
  return undefined;
}
