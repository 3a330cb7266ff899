/**
 * Rate limits of keys, each instance its own count: so many requests in a window that starts with the first of them.
 * The counters are the library's. Windows run on our clock: the library's would take a timer a key, which ends at
 * once where a window has more than 24 days, and follow jumps of the wall clock.
 */
import { LRUCache } from 'lru-cache';
import RateLimiterMemory from 'rate-limiter-flexible/lib/RateLimiterMemory.js';
import type { RateLimit } from '../engine/records.ts';
import { openEvicted } from './evicted.ts';

export type Taken =
  | { readonly ok: true }
  /** The window ends then; what asks for more than a whole window has is refused there too. */
  | { readonly ok: false; readonly retryAfterMs: number };

export interface RateLimits {
  /** Counts requests of a key, or refuses all of them and counts none. Answers at once. */
  take(tenant: string, keyId: string, limit: RateLimit, count?: number): Taken;
}

export interface RateLimitOptions {
  readonly now: () => number;
  /** Keys that are counted one by one; those that were not used for the longest are counted together with others. */
  readonly keys?: number;
}

interface Window {
  readonly counter: RateLimiterMemory;
  readonly seconds: number;
  readonly endsAt: number;
}

const OK: Taken = { ok: true };
/** A window has a counter of its own, with one name in it. */
const NAME = 'window';

export function openRateLimits({ now, keys = 10_000 }: RateLimitOptions): RateLimits {
  const evicted = openEvicted();
  const windows = new LRUCache<string, Window>({
    maxSize: keys,
    sizeCalculation: () => 1,
    dispose: (window, name, why) => {
      if (why === 'evict') evicted.add(name, usedOf(window), window.endsAt, now());
    },
  });
  return {
    take(tenant, keyId, { requests, seconds }, count = 1): Taken {
      // Injective: the tenant's length keeps it apart from the id, whatever characters either has.
      const name = `${tenant.length} ${tenant}${keyId}`;
      const at = now();
      let window = windows.get(name);
      // Another number of requests counts at once, on what was used so far; another length starts a new window.
      if (window === undefined || window.seconds !== seconds || at >= window.endsAt) {
        const counter = new RateLimiterMemory({ points: requests, duration: 0, keyPrefix: '' });
        // Of a key that had no more room, the window goes on that it had.
        const before = window === undefined ? evicted.find(name, at) : undefined;
        if (before !== undefined && before.used > 0) void counter.penalty(NAME, before.used);
        window = { counter, seconds, endsAt: before?.endsAt ?? at + seconds * 1_000 };
        windows.set(name, window);
      }
      const used = usedOf(window);
      // So written, a limit that is not a number refuses.
      if (!(used + count <= requests)) return { ok: false, retryAfterMs: window.endsAt - at };
      // Counts before it returns, and never fails; its promise tells nothing that is needed.
      void window.counter.penalty(NAME, count);
      return OK;
    },
  };
}

function usedOf({ counter }: Window): number {
  return counter.dump().storage[0]?.value ?? 0;
}
