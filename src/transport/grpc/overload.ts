/** Notices that calls come faster than they can be answered: then some are refused at once, so that others are not late. */

export interface Overload {
  /** Calls that come now would be answered too late. */
  isOver(): boolean;
  close(): void;
}

/** How often the lag is measured, ms. */
const LOOK_MS = 20;

/** @param maxLagMs how late the process may be with what it has to do; 0: however late */
export function openOverload(maxLagMs: number): Overload {
  if (maxLagMs === 0) return { isOver: () => false, close: () => {} };
  let over = false;
  let last = performance.now();
  // A timer is as late as everything else that waits for its turn.
  const timer = setInterval(() => {
    const now = performance.now();
    over = now - last - LOOK_MS > maxLagMs;
    last = now;
  }, LOOK_MS);
  timer.unref();
  return { isOver: () => over, close: () => clearInterval(timer) };
}
