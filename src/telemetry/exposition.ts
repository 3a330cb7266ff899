/** Instruments as Prometheus text, of one process or of several together. The library is loaded at the first scrape: a server that nobody watches is smaller. */
import type {
  MetricObjectWithValues,
  MetricValue,
  PrometheusContentType,
  Registry,
} from 'prom-client';
import type { Instrument } from './instruments.ts';

/** All instruments of a process as they stand; plain data. */
export type Snapshot = readonly Omit<MetricObjectWithValues<MetricValue<string>>, 'collect'>[];

export interface Exposition {
  /** Prometheus exposition text. */
  readonly render: () => Promise<string>;
  /** The same before it is text, to be added to that of other processes. */
  readonly snapshot: () => Promise<Snapshot>;
  readonly contentType: string;
}

/** Of Prometheus text; that of the library. */
const CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** How a gauge of several processes becomes one. Each gauge is named: none is added up because nobody thought of it. */
const OF_SEVERAL: Readonly<Record<string, 'min' | 'max' | 'sum'>> = {
  postern_cache_entries: 'sum',
  postern_audit_queue_length: 'sum',
  postern_workers: 'sum',
  process_resident_memory_bytes: 'sum',
  nodejs_heap_size_total_bytes: 'sum',
  nodejs_heap_size_used_bytes: 'sum',
  nodejs_external_memory_bytes: 'sum',
  postern_ready: 'min',
  postern_store_up: 'min',
  postern_feed_lag_seconds: 'max',
  postern_facts_age_seconds: 'max',
  postern_tls_certificate_expiry_seconds: 'min',
  postern_history_lost_tenants: 'max',
  postern_audit_holding: 'max',
  postern_build_info: 'max',
  process_start_time_seconds: 'min',
  // Of the process that is nearest to its limit.
  process_open_fds: 'max',
  process_max_fds: 'min',
  nodejs_eventloop_lag_mean_seconds: 'max',
  nodejs_eventloop_lag_p99_seconds: 'max',
  nodejs_eventloop_lag_max_seconds: 'max',
};

/** Exposes the instruments of this process. */
export function expose(instruments: readonly Instrument[]): Exposition {
  let registry: Promise<Registry> | undefined;
  const load = async (): Promise<Registry> => {
    const { Registry } = await library();
    const loaded = new Registry();
    for (const one of instruments) loaded.registerMetric(forLibrary(one));
    return loaded;
  };
  return exposition(() => (registry ??= load()));
}

/** Exposes several processes as one: counters and histograms are added up, gauges as `OF_SEVERAL` says. */
export function together(snapshots: readonly Snapshot[]): Exposition {
  return exposition(async () => {
    const { AggregatorRegistry } = await library();
    return AggregatorRegistry.aggregate<PrometheusContentType>([...snapshots]);
  });
}

/** The counters and histograms, which outlive their process: else a sum over processes would fall when one ends. */
export function counts(snapshot: Snapshot): Snapshot {
  // The library's enum is a type only; its values are words.
  return snapshot.filter(({ type }) => String(type) !== 'gauge');
}

function exposition(registry: () => Promise<Registry>): Exposition {
  return {
    render: async () => (await registry()).metrics(),
    snapshot: async () => {
      const instruments = await (await registry()).getMetricsAsJSON();
      // Functions do not travel to other processes.
      return instruments.map(({ collect: _function, ...plain }) => plain);
    },
    contentType: CONTENT_TYPE,
  };
}

function library() {
  // A package of CommonJS: in the bundle its default is all that there is.
  return import('prom-client').then((module) => module.default);
}

/** @throws Error for a gauge of which nobody has said it: each scrape would fail, and the tests with it */
function ofSeveral(name: string): 'min' | 'max' | 'sum' {
  const known = OF_SEVERAL[name];
  if (known === undefined) throw new Error(`how is the gauge ${name} of several processes one?`);
  return known;
}

function forLibrary({
  name,
  help,
  type,
  values,
}: Instrument): Parameters<Registry['registerMetric']>[0] {
  const collected = (): MetricObjectWithValues<MetricValue<string>> => ({
    name,
    help,
    // The library's enum is a type only; its values are these words.
    type: type as unknown as MetricObjectWithValues<MetricValue<string>>['type'],
    aggregator: type === 'gauge' ? ofSeveral(name) : 'sum',
    collect: () => {},
    values: values().map(({ labels, value, suffix = '' }) => ({
      labels,
      value,
      metricName: `${name}${suffix}`,
    })),
  });
  // The registry asks a metric for nothing but its name and `get`.
  return { name, get: () => Promise.resolve(collected()) } as unknown as ReturnType<
    typeof forLibrary
  >;
}
