import { LRUCache } from 'lru-cache';

/**
 * A cache of so many entries at most, the least recently used go first. Bounded by size instead of `max`, for
 * which the library sets aside the memory of a full cache at once.
 */
export function bounded<T extends object | number>(entries: number): LRUCache<string, T> {
  return new LRUCache({ maxSize: entries, sizeCalculation: () => 1 });
}
