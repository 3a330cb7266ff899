import { LRUCache } from 'lru-cache';

/** Memory that entries take, beside their number. */
export interface Memory<T> {
  /** Of all entries together, by the estimate. */
  readonly bytes: number;
  readonly sizeOf: (entry: T) => number;
}

/**
 * A cache of so many entries at most, and of so many bytes; the least recently used go first. Bounded by size
 * instead of `max`, for which the library sets aside the memory of a full cache at once.
 * @param onGone called for each entry that leaves, for whatever reason
 */
export function bounded<T extends object | number, K extends string | object = string>(
  entries: number,
  memory?: Memory<T>,
  onGone?: (entry: T) => void,
): LRUCache<K, T> {
  const gone = onGone === undefined ? {} : { dispose: onGone };
  if (memory === undefined)
    return new LRUCache({ ...gone, maxSize: entries, sizeCalculation: () => 1 });
  const { bytes, sizeOf } = memory;
  // An entry counts for its share of the memory at least: so many entries fill it, however small they are.
  const share = Math.max(1, Math.floor(bytes / entries));
  return new LRUCache({
    ...gone,
    maxSize: bytes,
    // What is larger than the whole cache would not be kept at all, and be read for ever.
    sizeCalculation: (entry) => Math.min(bytes, Math.max(share, sizeOf(entry))),
  });
}
