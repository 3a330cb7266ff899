/** Writes that are sent again while their outcome is not known: sent twice, each is done once. */
import { UnknownOutcomeError } from '../store.ts';
import type { Client } from './client.ts';

/** With less time left than this, a write is not sent again, ms. */
const LAST_ATTEMPT_MS = 200;
/** Time between two attempts, ms. */
const RETRY_MS = 50;

/**
 * Sends a commit again while its outcome is not known and time is left: its nonce makes it one commit.
 * @param left time that is left, ms
 * @returns the answer, and whether it was sent more than once
 */
export async function resendUntilKnown<T extends object>(
  client: Client,
  left: () => number,
  send: (client: Client) => Promise<T>,
): Promise<T & { readonly again: boolean }> {
  let unknown: UnknownOutcomeError | undefined;
  for (;;) {
    try {
      await client.ready(left());
      return { ...(await send(client)), again: unknown !== undefined };
    } catch (error) {
      if (error instanceof UnknownOutcomeError) {
        if (error.what !== 'lost') throw error;
        unknown = error;
      }
      // An error after an attempt of unknown outcome does not say what became of that attempt.
      if (unknown === undefined) throw error;
      if (left() < LAST_ATTEMPT_MS) throw unknown;
      await new Promise((done) => setTimeout(done, RETRY_MS));
    }
  }
}

/** @returns the time that is left until `ms` from now, at least 1 ms */
export function countdown(ms: number): () => number {
  const deadline = performance.now() + ms;
  return () => Math.max(1, deadline - performance.now());
}
