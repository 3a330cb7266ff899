/** What is kept only to be quicker, and the watch over memory that empties it. */
import type { Logger } from 'pino';
import type { Settings } from '../config/settings/settings-schema.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { defaultMemoryBound, watchMemory, type MemoryWatch } from '../util/memory.ts';

export interface Cache {
  empty(): void;
  /** By an estimate. */
  bytes(): number;
}

/** Of `facts.cache_bytes`, which users and keys have each, the part for remembered questions, bytes. */
export function questionBytes(cacheBytes: number): number {
  return cacheBytes / 4;
}

/** Empties the caches, and has new calls refused, where memory runs out. */
export function watchCaches(
  { limits, workers }: Settings,
  caches: readonly Cache[],
  metrics: Metrics,
  log: Logger,
): MemoryWatch {
  const bound = limits.memory_bytes ?? defaultMemoryBound(workers);
  if (bound === 0) return watchMemory(undefined);
  return watchMemory({
    bound,
    shed: () => caches.forEach((cache) => cache.empty()),
    onShed(used): void {
      metrics.shed();
      log.warn({ used, bound }, 'memory runs out: caches were emptied');
    },
    onOver(over, used): void {
      if (over) log.error({ used, bound }, 'memory has run out: new calls are refused');
      else log.info({ used, bound }, 'there is memory again: new calls are answered');
    },
  });
}
