/**
 * What was counted of keys that had no more room in the cache of windows: a table of fixed size in which each key has
 * two places, shared with others. A key that comes back goes on with the lesser of the two counts, which is never
 * below its own: where there are more keys than room, some are limited too early, and none too late.
 */
import { randomInt } from 'node:crypto';

/** Places a row; two rows of 12 bytes a place are 3 MiB, taken when the first window is evicted. */
const PLACES = 131_072;
const ROWS = 2;

export interface Evicted {
  /** Remembers what was used of a window until it ends, ms; one that has ended is not remembered. */
  add(name: string, used: number, endsAt: number, now: number): void;
  /** What may have been used of a key's window, and until when; `undefined`: nothing. */
  find(name: string, now: number): { readonly used: number; readonly endsAt: number } | undefined;
}

export function openEvicted(): Evicted {
  // Nobody can choose ids that share a place.
  const seeds = Array.from({ length: ROWS }, () => randomInt(2 ** 32 - 1));
  let used: Uint32Array | undefined;
  let ends: Float64Array | undefined;
  return {
    add(name, count, endsAt, now): void {
      if (now >= endsAt) return;
      used ??= new Uint32Array(PLACES * ROWS);
      ends ??= new Float64Array(PLACES * ROWS);
      for (const [row, seed] of seeds.entries()) {
        const at = row * PLACES + placeOf(name, seed);
        // What was counted there in windows that are over counts no more.
        const before = now >= (ends[at] ?? 0) ? 0 : (used[at] ?? 0);
        used[at] = Math.max(before, Math.min(count, 2 ** 32 - 1));
        ends[at] = Math.max(ends[at] ?? 0, endsAt);
      }
    },
    find(name, now): ReturnType<Evicted['find']> {
      if (used === undefined || ends === undefined) return undefined;
      let least: { used: number; endsAt: number } | undefined;
      for (const [row, seed] of seeds.entries()) {
        const at = row * PLACES + placeOf(name, seed);
        const endsAt = ends[at] ?? 0;
        if (now >= endsAt) {
          // All that shared this place is over.
          used[at] = 0;
          ends[at] = 0;
          return undefined;
        }
        const count = used[at] ?? 0;
        if (least === undefined || count < least.used) least = { used: count, endsAt };
      }
      return least;
    },
  };
}

/** FNV-1a, begun with a seed. */
function placeOf(name: string, seed: number): number {
  let hash = seed | 0;
  for (let at = 0; at < name.length; at++) hash = Math.imul(hash ^ name.charCodeAt(at), 0x01000193);
  return (hash ^ (hash >>> 15)) & (PLACES - 1);
}
