/**
 * Every instrument, declared once. The hot path adds to typed arrays; Prometheus text is made at scrape time.
 * Labels are enums only, never ids.
 */
import type {
  MetricObjectWithValues,
  MetricValue,
  PrometheusContentType,
  Registry,
} from 'prom-client';
import { APIS, type Api } from '../audit/record/event.ts';
import type { DESTINATION_COUNTS, Sink } from '../audit/sinks/queue.ts';
import { CREDENTIAL_PROBLEMS, type CredentialProblem } from '../engine/credential-problem.ts';
import { REASONS, type Reason } from '../engine/model.ts';
import type { FactsStats } from '../facts/facts.ts';
import { openRuntime } from './process.ts';
import { OPERATIONS, type Observe } from '../store/observed.ts';

/** Malformed requests are errors, not decisions: they have no series. */
const NO_DECISION: Reason = 'INVALID_ARGUMENT';

/** Why a tenant is read again, as `facts/` tells it. */
const RESYNC_CAUSES = ['gap', 'wiped', 'rolled_back', 'unreadable', 'version'] as const;

/** What sinks count besides what they keep and lose. */
const SINK_COUNTS: readonly (readonly [(typeof DESTINATION_COUNTS)[number], string])[] = [
  ['cut', 'Audit records that were too large for a sink, which got a stub of them.'],
  ['rotation_failures', 'Times that the file of a sink could not be rotated.'],
  ['trimmed', 'Audit records that a stream removed because it was full.'],
];

const OPERATION_RESULTS = ['ok', 'refused', 'failed'] as const;
/** What became of an operation of management; dry runs are operations too. */
export type OperationResult = (typeof OPERATION_RESULTS)[number];

/** Upper bounds in seconds, of a call of the store. */
const STORE_BUCKETS = [1e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.1, 0.5, 1, 5];

/** Upper bounds in seconds: a warm decision takes microseconds, a cold one a round trip. */
const BUCKETS = [1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 1e-3, 5e-3, 2.5e-2, 0.1, 1];

export interface Metrics {
  decision(api: Api, reason: Reason, seconds: number): void;
  /** An answer was refused because its record was not kept in time. */
  notAudited(): void;
  /** Answers that full enforcement would change: newly denied, newly allowed. */
  shadow(denied: number, allowed: number): void;
  filtered(visible: number, hidden: number): void;
  resync(cause: string): void;
  /** The store was found to have lost commits of a tenant. */
  historyLost(): void;
  /** A call of the store. */
  readonly store: Observe;
  /** A commit has come into force here, so long after it was made by its writer's clock, seconds. */
  feed(lag: number): void;
  /** `widened`: it was taken, and may allow more than the one before. */
  reload(result: 'ok' | 'widened' | 'refused'): void;
  /** An operation of management was answered; one that is none of `Gauges.operations` is not counted. */
  operation(operation: string, result: OperationResult): void;
  /** Somebody could not prove who it is to this process; what decisions say of it is counted with them. */
  unauthenticated(): void;
  /** The credential of a question proves nobody. */
  credential(problem: CredentialProblem): void;
  /** The keys of an issuer were read, or could not be. */
  keysRead(ok: boolean): void;
  /** The certificate that serves is valid until then, ms since the epoch. */
  certificate(until: number): void;
  /** A call was refused before it was read: the process is late, or has no memory for it. */
  overloaded(cause: 'lag' | 'memory'): void;
  /** Caches were emptied for want of memory. */
  shed(): void;
  /** Prometheus exposition text. */
  render(): Promise<string>;
  /** The same before it is text, to be added to that of other processes. */
  readonly snapshot: () => Promise<Snapshot>;
  readonly contentType: string;
}

/** All instruments of a process as they stand; plain data. */
export type Snapshot = readonly Omit<MetricObjectWithValues<MetricValue<string>>, 'collect'>[];

export interface Gauges {
  readonly facts: () => FactsStats;
  readonly factsAgeMs: () => number;
  readonly storeUp: () => boolean;
  readonly sinks: readonly Sink[];
  /** Whether `/readyz` says so. */
  readonly ready: () => boolean;
  /** Names of the operations of management; empty: it is not enabled. */
  readonly operations: readonly string[];
  readonly version: string;
}

export function createMetrics(gauges: Gauges): Metrics {
  const decisions = new Float64Array(APIS.length * REASONS.length);
  const durations = histograms('api', APIS, BUCKETS);
  const storeCalls = { ok: OPERATIONS.map(() => 0), error: OPERATIONS.map(() => 0) };
  const storeDurations = histograms('op', OPERATIONS, STORE_BUCKETS);
  let lag = 0;
  const shadows = { newly_denied: 0, newly_allowed: 0 };
  const objects = { true: 0, false: 0 };
  const resyncs = new Map<string, number>(RESYNC_CAUSES.map((cause) => [cause, 0]));
  const operations = new Map(
    gauges.operations.map((name) => [name, { ok: 0, refused: 0, failed: 0 }]),
  );
  let historiesLost = 0;
  let unauthenticated = 0;
  const keyReads = { ok: 0, failed: 0 };
  const credentials = new Map(CREDENTIAL_PROBLEMS.map((problem) => [problem, 0]));
  /** Infinity: there is no TLS, and no end. */
  let certificateUntil = Infinity;
  let refusals = 0;
  const overloads = { lag: 0, memory: 0 };
  let sheds = 0;
  const reloads = { ok: 0, refused: 0 };
  let widenings = 0;
  const { declare, registry } = openRegistry();

  declare('postern_decisions_total', 'Decisions by outcome.', 'counter', () =>
    APIS.flatMap((api, a) =>
      REASONS.filter((reason) => reason !== NO_DECISION).map((reason) => ({
        labels: { api, allowed: String(reason === 'ALLOWED'), reason },
        value: decisions[a * REASONS.length + REASONS.indexOf(reason)] ?? 0,
      })),
    ),
  );
  declare(
    'postern_decision_duration_seconds',
    'Time from a decoded request to its decision.',
    'histogram',
    () => durations.values(),
  );
  declare('postern_store_requests_total', 'Calls of the store.', 'counter', () =>
    OPERATIONS.flatMap((op, o) =>
      (['ok', 'error'] as const).map((result) => ({
        labels: { op, result },
        value: storeCalls[result][o] ?? 0,
      })),
    ),
  );
  declare(
    'postern_store_request_duration_seconds',
    'Time of a call of the store.',
    'histogram',
    () => storeDurations.values(),
  );
  declare(
    'postern_feed_lag_seconds',
    "How long after the commit, by its writer's clock, the newest change came into force here.",
    'gauge',
    () => [{ labels: {}, value: lag }],
  );
  declare(
    'postern_shadow_disagreements_total',
    'Decisions that full enforcement would change.',
    'counter',
    () => Object.entries(shadows).map(([kind, value]) => ({ labels: { kind }, value })),
  );
  declare('postern_filter_objects_total', 'Objects that Filter looked at.', 'counter', () =>
    Object.entries(objects).map(([visible, value]) => ({ labels: { visible }, value })),
  );
  declare(
    'postern_cache_requests_total',
    'Questions answered from caches, or not.',
    'counter',
    () => [
      { labels: { cache: 'facts', result: 'hit' }, value: gauges.facts().hits },
      { labels: { cache: 'facts', result: 'miss' }, value: gauges.facts().misses },
    ],
  );
  declare('postern_cache_entries', 'Entries kept.', 'gauge', () => {
    const { subjects, keys, tenants } = gauges.facts();
    return Object.entries({ subjects, keys, tenants }).map(([cache, value]) => ({
      labels: { cache },
      value,
    }));
  });
  declare('postern_store_up', 'Whether the store answers.', 'gauge', () => [
    { labels: {}, value: gauges.storeUp() ? 1 : 0 },
  ]);
  declare('postern_facts_age_seconds', 'Age of the oldest facts in use.', 'gauge', () => [
    { labels: {}, value: gauges.factsAgeMs() / 1000 },
  ]);
  declare(
    'postern_feed_resyncs_total',
    'Policies read again after a break of the feed.',
    'counter',
    () => [...resyncs].map(([cause, value]) => ({ labels: { cause }, value })),
  );
  declare(
    'postern_feed_history_lost_total',
    'Times that the store was found to have lost commits of a tenant.',
    'counter',
    () => [{ labels: {}, value: historiesLost }],
  );
  declare(
    'postern_history_lost_tenants',
    'Tenants that have lost commits since the start of this process.',
    'gauge',
    () => [{ labels: {}, value: gauges.facts().historiesLost }],
  );
  declare('postern_policy_reload_total', 'Reloads of the catalog.', 'counter', () =>
    Object.entries(reloads).map(([result, value]) => ({ labels: { result }, value })),
  );
  declare(
    'postern_policy_reload_widened_total',
    'Reloads of the catalog and routes that may allow more than before.',
    'counter',
    () => [{ labels: {}, value: widenings }],
  );
  declare('postern_audit_records_total', 'Audit records by what became of them.', 'counter', () =>
    gauges.sinks.flatMap((sink) => {
      const { written, dropped, spooled } = sink.stats();
      return Object.entries({ written, dropped, spooled }).map(([result, value]) => ({
        labels: { sink: sink.name, result },
        value,
      }));
    }),
  );
  for (const [count, help] of SINK_COUNTS)
    declare(`postern_audit_${count}_total`, help, 'counter', () =>
      gauges.sinks.map((sink) => ({
        labels: { sink: sink.name },
        value: sink.stats().counts[count],
      })),
    );
  declare('postern_audit_queue_length', 'Audit records that wait to be kept.', 'gauge', () =>
    gauges.sinks.map((sink) => ({ labels: { sink: sink.name }, value: sink.stats().queued })),
  );
  declare('postern_audit_holding', 'Whether a sink holds answers back.', 'gauge', () =>
    gauges.sinks.map((sink) => ({ labels: { sink: sink.name }, value: sink.isOpen() ? 0 : 1 })),
  );
  declare(
    'postern_audit_refusals_total',
    'Answers that were refused because their record was not kept in time.',
    'counter',
    () => [{ labels: {}, value: refusals }],
  );
  declare(
    'postern_management_operations_total',
    'Operations of management by what became of them.',
    'counter',
    () =>
      [...operations].flatMap(([operation, results]) =>
        OPERATION_RESULTS.map((result) => ({
          labels: { operation, result },
          value: results[result],
        })),
      ),
  );
  declare(
    'postern_tls_certificate_expiry_seconds',
    'Time until the certificate of the gRPC listener ends; below 0: it has ended; +Inf: there is no TLS.',
    'gauge',
    () => [{ labels: {}, value: (certificateUntil - Date.now()) / 1_000 }],
  );
  declare(
    'postern_authentication_failures_total',
    'Callers, operators, keys, sessions and tokens that could not prove who they are.',
    'counter',
    () => [{ labels: {}, value: unauthenticated + decided('KEY_INVALID') }],
  );
  declare(
    'postern_credential_problems_total',
    'Credentials of questions that proved nobody, by what is wrong with them.',
    'counter',
    () => [...credentials].map(([problem, value]) => ({ labels: { problem }, value })),
  );
  declare(
    'postern_jwks_reads_total',
    'Reads of key sets of issuers, by whether there were keys to take.',
    'counter',
    () => Object.entries(keyReads).map(([result, value]) => ({ labels: { result }, value })),
  );
  declare(
    'postern_rate_limited_total',
    'Questions of keys that asked more often than they may.',
    'counter',
    () => [{ labels: {}, value: decided('RATE_LIMITED') }],
  );
  declare('postern_overload_refusals_total', 'Calls that an overload refused.', 'counter', () =>
    Object.entries(overloads).map(([cause, value]) => ({ labels: { cause }, value })),
  );
  declare(
    'postern_cache_sheds_total',
    'Times that all caches were emptied for want of memory.',
    'counter',
    () => [{ labels: {}, value: sheds }],
  );
  declareReady(declare, gauges.ready);
  declare('postern_build_info', 'Version of this process.', 'gauge', () => [
    { labels: { version: gauges.version, node: process.version }, value: 1 },
  ]);
  declareProcess(declare, { workers: 1, restarts: () => 0 });

  /** Decisions of all APIs with a reason. */
  const decided = (reason: Reason): number => {
    const r = REASONS.indexOf(reason);
    return APIS.reduce((sum, _api, a) => sum + (decisions[a * REASONS.length + r] ?? 0), 0);
  };

  return {
    decision(api, reason, seconds): void {
      const a = APIS.indexOf(api);
      bump(decisions, a * REASONS.length + REASONS.indexOf(reason), 1);
      durations.observe(a, seconds);
    },
    store(operation, ok, seconds): void {
      const o = OPERATIONS.indexOf(operation);
      const calls = storeCalls[ok ? 'ok' : 'error'];
      calls[o] = (calls[o] ?? 0) + 1;
      storeDurations.observe(o, seconds);
    },
    feed(seconds): void {
      lag = seconds;
    },
    notAudited(): void {
      refusals++;
    },
    shadow(denied, allowed): void {
      shadows.newly_denied += denied;
      shadows.newly_allowed += allowed;
    },
    filtered(visible, hidden): void {
      objects.true += visible;
      objects.false += hidden;
    },
    reload(result): void {
      reloads[result === 'refused' ? 'refused' : 'ok']++;
      if (result === 'widened') widenings++;
    },
    resync(cause): void {
      resyncs.set(cause, (resyncs.get(cause) ?? 0) + 1);
    },
    historyLost(): void {
      historiesLost++;
    },
    operation(operation, result): void {
      const results = operations.get(operation);
      if (results !== undefined) results[result]++;
    },
    certificate(until): void {
      certificateUntil = until;
    },
    unauthenticated(): void {
      unauthenticated++;
    },
    keysRead(ok): void {
      keyReads[ok ? 'ok' : 'failed']++;
    },
    credential(problem): void {
      credentials.set(problem, (credentials.get(problem) ?? 0) + 1);
    },
    overloaded(cause): void {
      overloads[cause]++;
    },
    shed(): void {
      sheds++;
    },
    async render(): Promise<string> {
      return (await registry()).metrics();
    },
    snapshot: async () => snapshotOf(await registry()),
    contentType: CONTENT_TYPE,
  };
}

// ── several processes ─────────────────────────────────────────────────────────────────────────────

/** What becomes of a gauge of several processes; all that is not named is added up. */
const OF_SEVERAL: Readonly<Record<string, 'min' | 'max'>> = {
  postern_ready: 'min',
  postern_store_up: 'min',
  postern_feed_lag_seconds: 'max',
  postern_facts_age_seconds: 'max',
  postern_tls_certificate_expiry_seconds: 'min',
  postern_history_lost_tenants: 'max',
  postern_audit_holding: 'max',
  postern_build_info: 'max',
  process_start_time_seconds: 'min',
  // Of the one that is nearest to its end.
  process_open_fds: 'max',
  process_max_fds: 'min',
  nodejs_eventloop_lag_mean_seconds: 'max',
  nodejs_eventloop_lag_p99_seconds: 'max',
  nodejs_eventloop_lag_max_seconds: 'max',
};

export interface PrimaryGauges {
  readonly restarts: () => number;
  /** All processes that decide are there. */
  readonly ready: () => boolean;
}

/** The instruments of a process that decides nothing, and keeps others going. */
export function createPrimaryMetrics({
  restarts,
  ready,
}: PrimaryGauges): Pick<Metrics, 'snapshot'> {
  const { declare, registry } = openRegistry();
  declareReady(declare, ready);
  declareProcess(declare, { workers: 0, restarts });
  return { snapshot: async () => snapshotOf(await registry()) };
}

/** Functions do not travel to other processes. */
async function snapshotOf(registry: Registry): Promise<Snapshot> {
  const instruments = await registry.getMetricsAsJSON();
  return instruments.map(({ collect: _function, ...plain }) => plain);
}

/** One for several: counters and histograms are added up, gauges as `OF_SEVERAL` says. */
export function together(snapshots: readonly Snapshot[]): {
  /** Prometheus exposition text. */
  text(): Promise<string>;
  readonly snapshot: () => Promise<Snapshot>;
  readonly contentType: string;
} {
  const aggregated = async (): Promise<Registry> => {
    const { default: library } = await import('prom-client');
    return library.AggregatorRegistry.aggregate<PrometheusContentType>([...snapshots]);
  };
  return {
    text: async () => (await aggregated()).metrics(),
    snapshot: async () => snapshotOf(await aggregated()),
    contentType: CONTENT_TYPE,
  };
}

/** What of a process outlives it: else a sum over processes would go back when one ends, and look as if all had begun anew. */
export function counts(snapshot: Snapshot): Snapshot {
  // The library's enum is a type only; its values are words.
  return snapshot.filter(({ type }) => String(type) !== 'gauge');
}

function declareReady(declare: Declare, ready: () => boolean): void {
  declare('postern_ready', 'Whether this server may be asked, as /readyz says.', 'gauge', () => [
    { labels: {}, value: ready() ? 1 : 0 },
  ]);
}

/** What a process tells of itself, whatever it does. */
function declareProcess(
  declare: Declare,
  { workers, restarts }: { readonly workers: 0 | 1; readonly restarts: () => number },
): void {
  declare('postern_workers', 'Processes that decide.', 'gauge', () => [
    { labels: {}, value: workers },
  ]);
  declare(
    'postern_worker_restarts_total',
    'Processes that were started again because one had ended.',
    'counter',
    () => [{ labels: {}, value: restarts() }],
  );
  for (const { name, help, type, value } of openRuntime().readings)
    declare(name, help, type, () => {
      const read = value();
      return read === undefined ? [] : [{ labels: {}, value: read }];
    });
}

/** Of Prometheus text; that of the library. */
const CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

type Instrument = Parameters<Registry['registerMetric']>[0];

type Declare = (
  name: string,
  help: string,
  type: 'counter' | 'gauge' | 'histogram',
  values: () => Value[],
) => void;

interface Value {
  readonly labels: Record<string, string | number>;
  readonly value: number;
  readonly suffix?: string;
}

function bump(array: Float64Array, index: number, by: number): void {
  array[index] = (array[index] ?? 0) + by;
}

interface Histograms {
  observe(at: number, seconds: number): void;
  values(): Value[];
}

/** One histogram for each value of a label. */
function histograms(
  label: string,
  names: readonly string[],
  bounds: readonly number[],
): Histograms {
  const width = bounds.length + 1;
  const buckets = new Float64Array(names.length * width);
  const sums = new Float64Array(names.length);
  const valuesOf = (name: string, at: number): Value[] => {
    const values: Value[] = [];
    let count = 0;
    for (const [b, bound] of [...bounds, Infinity].entries()) {
      count += buckets[at * width + b] ?? 0;
      const le = bound === Infinity ? '+Inf' : bound;
      values.push({ labels: { [label]: name, le }, value: count, suffix: '_bucket' });
    }
    values.push({ labels: { [label]: name }, value: sums[at] ?? 0, suffix: '_sum' });
    values.push({ labels: { [label]: name }, value: count, suffix: '_count' });
    return values;
  };
  return {
    observe(at, seconds): void {
      let bucket = 0;
      while (bucket < bounds.length && seconds > (bounds[bucket] ?? Infinity)) bucket++;
      bump(buckets, at * width + bucket, 1);
      bump(sums, at, seconds);
    },
    values: () => names.flatMap(valuesOf),
  };
}

/** The library is loaded where somebody scrapes: a server that nobody watches is smaller. */
function openRegistry(): { readonly declare: Declare; readonly registry: () => Promise<Registry> } {
  const instruments: Instrument[] = [];
  let made: Promise<Registry> | undefined;
  const make = async (): Promise<Registry> => {
    // A package of CommonJS: in the bundle its default is all that there is.
    const { default: library } = await import('prom-client');
    const registry = new library.Registry();
    for (const one of instruments) registry.registerMetric(one);
    return registry;
  };
  return {
    declare: (name, help, type, values) =>
      void instruments.push(instrument(name, help, type, values)),
    registry: () => (made ??= make()),
  };
}

/** A metric whose values are made when it is scraped. */
function instrument(
  name: string,
  help: string,
  type: 'counter' | 'gauge' | 'histogram',
  values: () => Value[],
): Instrument {
  const collected = (): MetricObjectWithValues<MetricValue<string>> => ({
    name,
    help,
    // The library's enum is a type only; its values are these words.
    type: type as unknown as MetricObjectWithValues<MetricValue<string>>['type'],
    aggregator: OF_SEVERAL[name] ?? 'sum',
    collect: () => {},
    values: values().map(({ labels, value, suffix = '' }) => ({
      labels,
      value,
      metricName: `${name}${suffix}`,
    })),
  });
  // The registry asks a metric for nothing but its name and `get`.
  return { name, get: () => Promise.resolve(collected()) } as unknown as Instrument;
}
