/** Many records of one tenant, all of one revision, without holding Redis up for all of them at once. */
import { StoreError, type FactKey } from '../store.ts';

/** Records that one script reads at first. */
const CHUNK = 2_000;
/** Scripts under way at once. */
const WINDOW = 4;
/** Times that the records are read anew because a commit came between; the parts grow, so that it comes to an end. */
const MAX_READS = 6;
/** How much larger the parts of the next reading are. */
const GROWTH = 4;

/**
 * @param read the head, then a value for each key, as of one moment
 * @throws StoreError where commits come faster than it can be read
 */
export async function inChunks(
  tenant: string,
  keys: readonly FactKey[],
  read: (part: readonly FactKey[]) => Promise<readonly (string | null)[]>,
): Promise<{ readonly head: string | null; readonly values: readonly (string | null)[] }> {
  let size = CHUNK;
  for (let attempt = 0; attempt < MAX_READS; attempt++) {
    const whole = await readOnce(keys, size, read);
    if (whole !== undefined) return whole;
    size *= GROWTH;
  }
  throw new StoreError(`\`${tenant}\` was changed ${MAX_READS} times while it was read: try again`);
}

/** `undefined`: a commit came between two parts. */
async function readOnce(
  keys: readonly FactKey[],
  size: number,
  read: (part: readonly FactKey[]) => Promise<readonly (string | null)[]>,
): Promise<
  { readonly head: string | null; readonly values: readonly (string | null)[] } | undefined
> {
  const values: (string | null)[] = [];
  let head: string | null | undefined;
  let from = 0;
  do {
    const parts: Promise<readonly (string | null)[]>[] = [];
    for (let at = from; parts.length < WINDOW && (at < keys.length || at === 0); at += size)
      parts.push(read(at === 0 && keys.length <= size ? keys : keys.slice(at, at + size)));
    from += parts.length * size;
    for (const found of await Promise.all(parts)) {
      const own = found[0] ?? null;
      if (head !== undefined && own !== head) return undefined;
      head = own;
      for (let index = 1; index < found.length; index++) values.push(found[index] ?? null);
    }
  } while (from < keys.length);
  return { head: head ?? null, values };
}
