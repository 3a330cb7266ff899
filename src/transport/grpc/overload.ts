/** Notices that calls come faster than they can be answered: then some are refused at once, so that others are not late. */
import type { Layer } from '../intercept.ts';
import type { Methods } from './methods.ts';
import { CODE, withReason, type RpcError } from './status.ts';

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

const MESSAGES: Readonly<Record<OverloadCause, string>> = {
  lag: 'more calls come than can be answered in time: retry later, or with another instance; the limit is `limits.max_lag_ms`',
  memory:
    'no memory is left for more calls: retry later or at another instance; the limit is `limits.memory_bytes`',
};

/**
 * Refuses new calls, and the messages of open streams, while there is an overload.
 * @param onRefused a call or a message was refused
 * @param refused the answer to a message of a stream that is refused
 */
export function overloadLayer(
  overload: Overload,
  onRefused: (cause: OverloadCause) => void,
  refused: Methods['refused'],
): Layer {
  const refusal = (): RpcError | undefined => {
    const cause = overload.cause();
    if (cause === undefined) return undefined;
    onRefused(cause);
    return withReason(CODE.RESOURCE_EXHAUSTED, 'OVERLOAD', MESSAGES[cause]);
  };
  return {
    admit: refusal,
    wrap: (next, { isStream }) =>
      // A call of one message was judged when it began.
      isStream
        ? (bytes, call, waitMs) => {
            const why = refusal();
            return why === undefined ? next(bytes, call, waitMs) : refused(bytes, why);
          }
        : next,
  };
}
