/** Notices that calls come faster than they can be answered: then some are refused at once, so that others are not late. */

export interface Overload {
  /** Why calls that come now are refused: they would be answered too late, or have no room; `undefined`: they are not. */
  cause(): OverloadCause | undefined;
  close(): void;
}

export type OverloadCause = 'lag' | 'memory';

/** How often the lag is measured, ms. */
const LOOK_MS = 20;

/**
 * @param maxLagMs how late the process may be with what it has to do; 0: however late
 * @param isFull whether there is no memory for new calls
 */
export function openOverload(maxLagMs: number, isFull: () => boolean): Overload {
  let late = false;
  let last = performance.now();
  // A timer is as late as everything else that waits for its turn.
  const look = (): void => {
    const now = performance.now();
    late = now - last - LOOK_MS > maxLagMs;
    last = now;
  };
  const timer = maxLagMs === 0 ? undefined : setInterval(look, LOOK_MS).unref();
  return {
    cause: () => (late ? 'lag' : isFull() ? 'memory' : undefined),
    close: () => clearInterval(timer),
  };
}
