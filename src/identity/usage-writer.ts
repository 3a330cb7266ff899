/** Writes down now and then when keys were last used, aside from all decisions. */
import { attempts } from '../util/attempts.ts';
import type { Usage } from './usage.ts';
import {
  NoRightError,
  Unreadable,
  UnreadableError,
  type Change,
  type FactKey,
  type Found,
  type Store,
} from '../store/store.ts';

/** Keys of one commit. */
const MAX_KEYS = 1_000;
/** Tries to write one tenant's before they wait for the next time: others commit meanwhile. */
const MAX_TRIES = 5;

/**
 * Begins to write; what it returns ends it, after what is known was written. What cannot be written is tried again
 * with the next; an instance that may not write at all says so once (CONS-7).
 * @param intervalMs 0: never
 */
export function keepUsage(
  store: Store,
  usage: Usage,
  intervalMs: number,
  onError: (error: unknown) => void,
): () => Promise<void> {
  if (intervalMs === 0) return () => Promise.resolve();
  let writing: Promise<void> = Promise.resolve();
  let mayWrite = true;
  const failed = (error: unknown): void => {
    const isReported = error instanceof NoRightError && !mayWrite;
    if (error instanceof NoRightError) mayWrite = false;
    if (!isReported) onError(explained(error));
  };
  const write = async (uses: ReturnType<Usage['take']>): Promise<void> => {
    // One tenant's trouble is not the others'.
    for (const [tenant, keys] of uses)
      try {
        await writeTenant(store, tenant, keys);
        mayWrite = true;
      } catch (error) {
        // Without the right to write, what is noted would only pile up.
        if (!(error instanceof NoRightError)) usage.putBack(tenant, keys);
        failed(error);
      }
  };
  let isWriting = false;
  const flush = (): Promise<void> => {
    writing = writing
      .then(async () => {
        isWriting = true;
        await write(usage.take());
      })
      .catch(onError)
      .finally(() => (isWriting = false));
    return writing;
  };
  // What is used while a store is slow waits in the bounded memory of `usage`, not in a queue of writes.
  const timer = setInterval(() => {
    if (!isWriting) void flush();
  }, intervalMs);
  timer.unref();
  return () => {
    clearInterval(timer);
    return flush();
  };
}

function explained(error: unknown): unknown {
  return error instanceof NoRightError
    ? new Error(
        'when keys are used is not written down: this instance may not write to the store',
        {
          cause: error,
        },
      )
    : error;
}

async function writeTenant(
  store: Store,
  tenant: string,
  keys: ReadonlyMap<string, number>,
): Promise<void> {
  const all = [...keys];
  for (let from = 0; from < all.length; from += MAX_KEYS)
    await writeKeys(store, tenant, all.slice(from, from + MAX_KEYS));
}

/** A key whose record cannot be used has no uses. */
async function read(
  store: Store,
  tenant: string,
  keys: readonly FactKey[],
): Promise<Found<unknown>> {
  try {
    return await store.get(tenant, keys);
  } catch (error) {
    if (!(error instanceof UnreadableError)) throw error;
    const { head, values } = error.found;
    return {
      head,
      values: values.map(([, value]) => (value instanceof Unreadable ? undefined : value)),
    };
  }
}

/** ms since the epoch of a usage record; before all times where there is none. */
function timeOf(record: unknown): number {
  if (typeof record !== 'object' || record === null || !('at' in record)) return -Infinity;
  return typeof record.at === 'number' ? record.at : -Infinity;
}

/** A time that another instance wrote meanwhile stands where it is later. @throws StoreError; where others commit all the time, too */
async function writeKeys(
  store: Store,
  tenant: string,
  keys: readonly (readonly [id: string, at: number])[],
): Promise<void> {
  const wanted: FactKey[] = [
    ...keys.map(([id]) => ({ kind: 'key' as const, id })),
    ...keys.map(([id]) => ({ kind: 'usage' as const, id })),
  ];
  const written = await attempts(MAX_TRIES, async (): Promise<true | undefined> => {
    const { head, values } = await read(store, tenant, wanted);
    if (head === undefined) return true;
    const changes = keys.flatMap(([id, at], index): Change[] =>
      values[index] === undefined || timeOf(values[keys.length + index]) >= at
        ? []
        : [{ kind: 'usage', id, value: { id, at } }],
    );
    if (changes.length === 0) return true;
    const event = { actor: 'postern', operation: 'key.used' };
    const { revision: expected, nonce } = head;
    const { committed } = await store.commit({ tenant, expected, nonce, changes, event });
    return committed ? true : undefined;
  });
  if (written === undefined)
    throw new Error(`when keys of \`${tenant}\` are used is written later: others commit`);
}
