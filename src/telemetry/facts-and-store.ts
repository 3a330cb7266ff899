/** The store, the change feed and the caches of facts. */
import { BREAK_CAUSES, type BreakCause, type FactsStats } from '../facts/facts.ts';
import { OPERATIONS, type Operation } from '../store/observed.ts';
import {
  by,
  counter,
  gauge,
  Histograms,
  single,
  type Instrument,
  type InstrumentTable,
} from './instruments.ts';

/** Upper bounds in seconds, of a call of the store. */
const BUCKETS = [1e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.1, 0.5, 1, 5];

export interface FactsGauges {
  readonly facts: () => FactsStats;
  readonly factsAgeMs: () => number;
  readonly storeUp: () => boolean;
}

export class FactsMetrics implements InstrumentTable {
  readonly #gauges: FactsGauges;
  readonly #calls = { ok: OPERATIONS.map(() => 0), error: OPERATIONS.map(() => 0) };
  readonly #durations = new Histograms('op', OPERATIONS, BUCKETS);
  readonly #resyncs = new Map<BreakCause, number>(BREAK_CAUSES.map((cause) => [cause, 0]));
  #lag = 0;
  #historiesLost = 0;
  #sheds = 0;
  readonly instruments: readonly Instrument[];

  constructor(gauges: FactsGauges) {
    this.#gauges = gauges;
    this.instruments = [...this.#ofStore(), ...this.#ofCaches(), ...this.#ofFeed()];
  }

  /** A call of the store. */
  store(operation: Operation, ok: boolean, seconds: number): void {
    const o = OPERATIONS.indexOf(operation);
    const calls = this.#calls[ok ? 'ok' : 'error'];
    calls[o] = (calls[o] ?? 0) + 1;
    this.#durations.observe(o, seconds);
  }

  feed(lag: number): void {
    this.#lag = lag;
  }

  resync(cause: BreakCause): void {
    this.#resyncs.set(cause, (this.#resyncs.get(cause) ?? 0) + 1);
  }

  historyLost(): void {
    this.#historiesLost++;
  }

  shed(): void {
    this.#sheds++;
  }

  #ofStore(): Instrument[] {
    return [
      counter('postern_store_requests_total', 'Calls of the store.', () =>
        OPERATIONS.flatMap((op, o) =>
          (['ok', 'error'] as const).map((result) => ({
            labels: { op, result },
            value: this.#calls[result][o] ?? 0,
          })),
        ),
      ),
      {
        name: 'postern_store_request_duration_seconds',
        help: 'Time of a call of the store.',
        type: 'histogram',
        values: () => this.#durations.values(),
      },
      gauge(
        'postern_store_up',
        'Whether the store answers.',
        single(() => (this.#gauges.storeUp() ? 1 : 0)),
      ),
    ];
  }

  #ofCaches(): Instrument[] {
    return [
      counter('postern_cache_requests_total', 'Questions answered from caches, or not.', () => {
        const { hits, misses } = this.#gauges.facts();
        return [
          { labels: { cache: 'facts', result: 'hit' }, value: hits },
          { labels: { cache: 'facts', result: 'miss' }, value: misses },
        ];
      }),
      gauge(
        'postern_cache_entries',
        'Entries kept.',
        by('cache', () => {
          const { subjects, keys, tenants } = this.#gauges.facts();
          return { subjects, keys, tenants };
        }),
      ),
      counter(
        'postern_cache_sheds_total',
        'Times that all caches were emptied for want of memory.',
        single(() => this.#sheds),
      ),
      gauge(
        'postern_facts_age_seconds',
        'Age of the oldest facts in use.',
        single(() => this.#gauges.factsAgeMs() / 1000),
      ),
    ];
  }

  #ofFeed(): Instrument[] {
    return [
      gauge(
        'postern_feed_lag_seconds',
        "How long after the commit, by its writer's clock, the newest change came into force here.",
        single(() => this.#lag),
      ),
      counter(
        'postern_feed_resyncs_total',
        'Policies read again after a break of the feed.',
        by('cause', () => Object.fromEntries(this.#resyncs)),
      ),
      counter(
        'postern_feed_history_lost_total',
        'Times that the store was found to have lost commits of a tenant.',
        single(() => this.#historiesLost),
      ),
      gauge(
        'postern_history_lost_tenants',
        'Tenants that have lost commits since the start of this process.',
        single(() => this.#gauges.facts().historiesLost),
      ),
    ];
  }
}
