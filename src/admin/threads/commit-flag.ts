/**
 * Tells the thread that waits for a task whether a commit of it may have been sent, even after the task's own thread is
 * dead: what became of it is then not known (CONS-5).
 */
import { UnknownOutcomeError, type Store } from '../../store/store.ts';

/** Shared by both threads: 1 from before a commit until it is known that nothing was written. */
export type CommitFlag = Int32Array<SharedArrayBuffer>;

export function newCommitFlag(): CommitFlag {
  return new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
}

/** What a task fails with whose thread has died. */
export function outcomeOf(flag: CommitFlag, error: Error): Error {
  if (Atomics.load(flag, 0) === 0) return error;
  return new UnknownOutcomeError(
    'the thread that committed ended in its middle: look at the tenant, or do it again with the same idempotency key',
  );
}

/** The store, with the flag set while a commit may be done. */
export function flagged(store: Store, flag: CommitFlag): Store {
  return {
    ...store,
    async commit(commit) {
      Atomics.store(flag, 0, 1);
      try {
        const result = await store.commit(commit);
        if (!result.committed) Atomics.store(flag, 0, 0);
        return result;
      } catch (error) {
        if (!(error instanceof UnknownOutcomeError)) Atomics.store(flag, 0, 0);
        throw error;
      }
    },
  };
}
