/** Writes that are sent again while their outcome is not known: sent twice, each is done once. */
import { UnknownOutcomeError } from '../store.ts';
import type { Client } from './client.ts';

/** With less time left than this, a write is not tried again, ms. */
const LAST_TRY_MS = 200;
/** Between two tries of a commit whose outcome is not known, ms. */
const RETRY_COMMIT_MS = 50;

/**
 * Sends a commit again while its outcome is not known and time is left: its nonce makes it one commit.
 * @returns the answer, and whether it was sent more than once
 */
export async function surely<T extends object>(
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
      // Whatever comes after a try of unknown outcome does not tell what became of that one.
      if (unknown === undefined) throw error;
      if (left() < LAST_TRY_MS) throw unknown;
      await new Promise((done) => setTimeout(done, RETRY_COMMIT_MS));
    }
  }
}

/** Time that is left until a moment from now, at least 1 ms. */
export function within(ms: number): () => number {
  const deadline = performance.now() + ms;
  return () => Math.max(1, deadline - performance.now());
}
