/** Writes down now and then when keys were last used, aside from all decisions. */
import type { Usage } from './identity/usage.ts';
import type { Change, Store } from './store/store.ts';

/** Keys of one commit. */
const MAX_KEYS = 1_000;

/** Begins to write; what it returns ends it, after what is known was written. @param intervalMs 0: never */
export function keepUsage(
  store: Store,
  usage: Usage,
  intervalMs: number,
  onError: (error: unknown) => void,
): () => Promise<void> {
  if (intervalMs === 0) return () => Promise.resolve();
  let writing: Promise<void> = Promise.resolve();
  const flush = (): Promise<void> => {
    const taken = usage.take();
    writing = writing.then(() => writeUsage(store, taken, onError)).catch(onError);
    return writing;
  };
  const timer = setInterval(() => void flush(), intervalMs);
  timer.unref();
  return () => {
    clearInterval(timer);
    return flush();
  };
}

/** A commit that others overtake is not repeated: the next use will be written. */
async function writeUsage(
  store: Store,
  taken: ReturnType<Usage['take']>,
  onError: (error: unknown) => void,
): Promise<void> {
  // One tenant's trouble is not the others'.
  for (const [tenant, keys] of taken) await writeTenant(store, tenant, keys).catch(onError);
}

async function writeTenant(
  store: Store,
  tenant: string,
  keys: ReadonlyMap<string, number>,
): Promise<void> {
  const newest = [...keys].slice(-MAX_KEYS);
  const wanted = newest.map(([id]) => ({ kind: 'key' as const, id }));
  const { head, values } = await store.get(tenant, wanted);
  if (head === undefined) return;
  const changes = newest.flatMap(([id, at], index): Change[] =>
    values[index] === undefined ? [] : [{ kind: 'usage', id, value: { id, at } }],
  );
  if (changes.length === 0) return;
  const event = { actor: 'postern', operation: 'key.used' };
  await store.commit({ tenant, expected: head.revision, nonce: head.nonce, changes, event });
}
