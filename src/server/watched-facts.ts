/** The facts of a server over its store, with the metrics and log lines of both. */
import type { Logger } from 'pino';
import type { Settings } from '../config/settings/settings-schema.ts';
import type { Catalog } from '../engine/action.ts';
import { openFacts, type FactsOptions, type FactsRoom } from '../facts/facts.ts';
import { steadyNow } from '../identity/clock.ts';
import { MANAGEMENT_OPERATIONS } from '../management/counted.ts';
import { observed } from '../store/observed.ts';
import type { Store } from '../store/store.ts';
import { createMetrics, type Gauges, type Metrics } from '../telemetry/metrics.ts';
import { isManaged } from './administration.ts';
import { questionBytes } from './caches.ts';
import type { ServerOptions } from './running.ts';

export interface WatchedFacts {
  readonly facts: FactsRoom;
  readonly metrics: Metrics;
  /** As the store that was given; its calls are measured, and its commits come into force here at once. */
  readonly store: Store;
}

export function openWatchedFacts(
  { settings, adminToken, version }: ServerOptions,
  store: Store,
  gauges: Pick<Gauges, 'sinks' | 'ready'>,
  catalog: Catalog,
  log: Logger,
  onError: (error: unknown) => void,
): WatchedFacts {
  const metrics = createMetrics({
    ...gauges,
    facts: () => facts.stats(),
    factsAgeMs: () => facts.ageMs(),
    storeUp: () => facts.storeUp(),
    operations: isManaged(settings, adminToken) ? MANAGEMENT_OPERATIONS : [],
    version,
  });
  const measured = observed(store, metrics.store);
  const facts = openFacts(measured, catalog, {
    ...factsLimits(settings),
    ...factsEvents(metrics, log),
    now: () => performance.now(),
    wallNow: steadyNow,
    onError,
  });
  return { facts, metrics, store: withCommitsInForce(measured, facts) };
}

/** A commit of this process is in force here when it is acknowledged. */
function withCommitsInForce(store: Store, facts: FactsRoom): Store {
  return {
    ...store,
    async commit(commit) {
      const result = await store.commit(commit);
      if (result.committed) facts.committed(commit.tenant, result.head);
      return result;
    },
  };
}

function factsLimits({
  facts,
  limits,
}: Settings): Pick<
  FactsOptions,
  'maxStalenessMs' | 'heartbeatMs' | 'storeTimeoutMs' | 'maxWaiting' | 'cache'
> {
  return {
    maxStalenessMs: facts.max_staleness_ms,
    heartbeatMs: facts.heartbeat_ms,
    storeTimeoutMs: facts.store_timeout_ms,
    maxWaiting: limits.waiting_calls,
    cache: {
      subjects: facts.cached_subjects,
      keys: facts.cached_keys,
      absent: facts.cached_absent,
      groups: facts.cached_closures,
      tenants: facts.cached_tenants,
      bytes: facts.cache_bytes - questionBytes(facts.cache_bytes) / 2,
    },
  };
}

function factsEvents(
  metrics: Metrics,
  log: Logger,
): Pick<FactsOptions, 'onResync' | 'onEntries' | 'onHistoryLost' | 'onStore'> {
  return {
    onResync(tenant, cause): void {
      if (cause === 'deleted') {
        log.warn({ tenant }, 'the tenant was deleted: nothing of it is allowed any more');
        return;
      }
      metrics.resync(cause);
      log.warn({ tenant, cause }, 'the change feed broke: reading the tenant again');
    },
    onEntries(_tenant, entries): void {
      const newest = entries.at(-1);
      if (newest !== undefined) metrics.feed(Math.max(0, Date.now() - newest.time) / 1_000);
    },
    onHistoryLost(tenant, after, upTo): void {
      metrics.historyLost();
      log.error(
        { tenant, after, up_to: upTo },
        'the store has lost commits: revisions that were in force are no longer in its history',
      );
    },
    onStore(up): void {
      if (up) log.info('the store answers again');
      else log.error('the store does not answer: facts age');
    },
  };
}
