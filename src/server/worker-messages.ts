/** Messages between the process that starts workers and its workers. */
import type { Snapshot } from '../telemetry/exposition.ts';
import type { Readiness } from '../transport/ops/server.ts';
import type { ServerOptions } from './running.ts';

/** To a worker. */
export type ToWorker =
  | { readonly do: 'start'; readonly options: ServerOptions }
  | { readonly do: 'reload' }
  | { readonly do: 'report'; readonly id: number; readonly what: ReportName };

/** From a worker. */
export type FromWorker =
  /** It listens to messages. */
  | 'listening'
  | { readonly started: Started }
  | { readonly id: number; readonly report: Reports[ReportName] };

/** What a worker reports when it is asked. */
export interface Reports {
  readonly readiness: Readiness;
  readonly snapshot: Snapshot;
}

export type ReportName = keyof Reports;

/** A worker serves. */
export interface Started {
  /** The address of gRPC. */
  readonly grpc: string;
  readonly tenants: readonly string[];
  /** The store was away at the start. */
  readonly waiting: boolean;
}
