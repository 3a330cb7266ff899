/** Messages that may be large are read in steps, so that their callers hold nobody up (ADM-11). */
import type { SteppedWork } from '../../util/slices.ts';
import { decoding } from './problem.ts';

/** Bytes, and checks or objects, that are read between two steps. Errors cost more than bytes: hence both. */
export const STEP_BYTES = 16_384;
export const STEP_ENTRIES = 256;

/** Takes all steps at once. @throws DecodeProblem */
export function inOneStep<T>(work: SteppedWork<T>): T {
  return decoding(() => {
    for (;;) {
      const { done, value } = work.next(false);
      if (done === true) return value;
    }
  });
}
