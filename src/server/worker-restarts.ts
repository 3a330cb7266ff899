/** When a worker that has ended is started again. */

/** Before a worker is started again, ms; twice as long each time. */
const FIRST_DELAY_MS = 100;
/** A worker that ends so often in so long, ms, is not started again. */
export const MAX_ENDS = 5;
const ENDS_MS = 60_000;

export class WorkerRestarts {
  /** When the workers of each slot ended, of late; ms of the monotonic clock. */
  readonly #ends = new Map<number, readonly number[]>();

  /** Notes an end. @returns time before the next start, ms; `undefined`: it ended too often */
  delayAfterEnd(slot: number): number | undefined {
    const now = performance.now();
    const ends = [...(this.#ends.get(slot) ?? []).filter((at) => now - at < ENDS_MS), now];
    this.#ends.set(slot, ends);
    return ends.length >= MAX_ENDS ? undefined : FIRST_DELAY_MS * 2 ** (ends.length - 1);
  }
}
