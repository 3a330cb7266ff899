/** Attempts of several that race for the same thing: who lost tries again a little later, and not all at once. */

/** Longest pause before the next attempt, ms. */
const MAX_PAUSE_MS = 20;

/**
 * Makes attempts until one succeeds, with random pauses that grow.
 * @param attempt returns `undefined` where somebody else was faster
 * @returns what the attempt returned; `undefined`: all of them were lost
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
