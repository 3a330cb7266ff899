/** The server itself: its readiness, reloads, certificate, overload, management, and its process. */
import {
  by,
  counter,
  gauge,
  single,
  type Instrument,
  type InstrumentTable,
} from './instruments.ts';
import { openRuntime } from './process.ts';

/** What became of an operation of management; dry runs are operations too. */
const OPERATION_RESULTS = ['ok', 'refused', 'failed'] as const;
export type OperationResult = (typeof OPERATION_RESULTS)[number];

export interface ServerGauges {
  /** Whether `/readyz` says so. */
  readonly ready: () => boolean;
  /** Names of the operations of management; empty: it is not enabled. */
  readonly operations: readonly string[];
  readonly version: string;
}

export class ServerMetrics implements InstrumentTable {
  readonly #operations: ReadonlyMap<string, Record<OperationResult, number>>;
  readonly #overloads = { lag: 0, memory: 0 };
  readonly #reloads = { ok: 0, refused: 0 };
  readonly #keyReads = { ok: 0, failed: 0 };
  #widened = 0;
  /** Milliseconds since the epoch; Infinity: there is no TLS, and no end. */
  #certificateUntil = Infinity;
  readonly instruments: readonly Instrument[];

  constructor({ ready, operations, version }: ServerGauges) {
    this.#operations = new Map(operations.map((name) => [name, { ok: 0, refused: 0, failed: 0 }]));
    this.instruments = [
      ...this.#ofReloads(),
      counter(
        'postern_management_operations_total',
        'Operations of management by what became of them.',
        () =>
          [...this.#operations].flatMap(([operation, results]) =>
            OPERATION_RESULTS.map((result) => ({
              labels: { operation, result },
              value: results[result],
            })),
          ),
      ),
      counter(
        'postern_jwks_reads_total',
        'Reads of key sets of issuers, by whether there were keys to take.',
        by('result', () => this.#keyReads),
      ),
      gauge(
        'postern_tls_certificate_expiry_seconds',
        'Time until the certificate of the gRPC listener ends; below 0: it has ended; +Inf: there is no TLS.',
        single(() => (this.#certificateUntil - Date.now()) / 1_000),
      ),
      counter(
        'postern_overload_refusals_total',
        'Calls that an overload refused.',
        by('cause', () => this.#overloads),
      ),
      readiness(ready),
      gauge('postern_build_info', 'Version of this process.', () => [
        { labels: { version, node: process.version }, value: 1 },
      ]),
    ];
  }

  reload(result: 'ok' | 'widened' | 'refused'): void {
    this.#reloads[result === 'refused' ? 'refused' : 'ok']++;
    if (result === 'widened') this.#widened++;
  }

  /** An operation without a series is not counted. */
  operation(operation: string, result: OperationResult): void {
    const results = this.#operations.get(operation);
    if (results !== undefined) results[result]++;
  }

  keysRead(ok: boolean): void {
    this.#keyReads[ok ? 'ok' : 'failed']++;
  }

  certificate(until: number): void {
    this.#certificateUntil = until;
  }

  overloaded(cause: 'lag' | 'memory'): void {
    this.#overloads[cause]++;
  }

  #ofReloads(): Instrument[] {
    return [
      counter(
        'postern_policy_reload_total',
        'Reloads of the catalog.',
        by('result', () => this.#reloads),
      ),
      counter(
        'postern_policy_reload_widened_total',
        'Reloads of the catalog and routes that may allow more than before.',
        single(() => this.#widened),
      ),
    ];
  }
}

export function readiness(ready: () => boolean): Instrument {
  return gauge(
    'postern_ready',
    'Whether this server may be asked, as /readyz says.',
    single(() => (ready() ? 1 : 0)),
  );
}

/** @param workers 1: this process decides, 0: it keeps others going */
export function processInstruments(workers: 0 | 1, restarts: () => number): readonly Instrument[] {
  return [
    gauge(
      'postern_workers',
      'Processes that decide.',
      single(() => workers),
    ),
    counter(
      'postern_worker_restarts_total',
      'Processes that were started again because one had ended.',
      single(restarts),
    ),
    ...openRuntime().readings.map(({ name, help, type, value }) => ({
      name,
      help,
      type,
      values: () => {
        const read = value();
        return read === undefined ? [] : [{ labels: {}, value: read }];
      },
    })),
  ];
}
