/** Why a commit to LMDB failed, with the remedy where there is one. */
import { StoreError } from '../store.ts';
import { MAP_BYTES } from './database.ts';

/** How long the library may take to give the reason of a failed commit, ms. */
const REASON_MS = 1_000;

/**
 * The error of a failed commit for its caller.
 * @param error as the library threw it; a StoreError is returned as it is
 */
export async function commitFailure(directory: string, error: unknown): Promise<StoreError> {
  if (error instanceof StoreError) return error;
  const reason = reasonText(await rootReason(error));
  return new StoreError(`the embedded store in \`${directory}\` could not commit: ${reason}`);
}

/** The library gives the reason of a failed commit in a second promise. */
async function rootReason(error: unknown): Promise<unknown> {
  if (!(error instanceof Error) || !('commitError' in error)) return error;
  const timeout = new Promise<unknown>((done) => setTimeout(done, REASON_MS, error).unref());
  const reason = Promise.resolve(error.commitError).then(
    () => error,
    (cause: unknown) => cause,
  );
  return Promise.race([reason, timeout]);
}

function reasonText(reason: unknown): string {
  const message = reason instanceof Error ? reason.message : String(reason);
  if (/no space left|ENOSPC|quota|EDQUOT|file too large|EFBIG/i.test(message))
    return `the disk is full: free some of it (${message})`;
  if (/MDB_MAP_FULL|mapsize/i.test(message))
    return `it is full, at ${MAP_BYTES} bytes (${message})`;
  return message;
}
