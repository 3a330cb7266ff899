/** How long a call may wait for facts: a little less than its deadline leaves, so that the answer still arrives. */
import type { Layer } from '../intercept.ts';

/** Of the time that a deadline leaves, so much, and at least so many ms, are kept for the way of the answer. */
const MARGIN = 0.1;
const MARGIN_MS = 20;

/** @param maxWaitMs how long a call without a deadline waits, and any other at most, ms */
export function deadlineLayer(maxWaitMs: number): Layer {
  return {
    wrap: (next) => (bytes, call) => next(bytes, call, waitOf(call.getDeadline(), maxWaitMs)),
  };
}

function waitOf(deadline: Date | number, maxWaitMs: number): number {
  const left = (typeof deadline === 'number' ? deadline : deadline.getTime()) - Date.now();
  if (left === Infinity) return maxWaitMs;
  const usable = left - Math.max(left * MARGIN, MARGIN_MS);
  return Math.max(0, Math.min(usable, maxWaitMs));
}
