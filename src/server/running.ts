/** What a server is started with, and what is to be had from one that runs. */
import type { Logger } from 'pino';
import type { Settings } from '../config/settings/settings-schema.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { Readiness } from '../transport/ops/server.ts';

export interface ServerOptions {
  readonly settings: Settings;
  /** Where they come from, for what is wrong with them. */
  readonly settingsFile?: string | undefined;
  /** They end with the mark `...`: then each file that they name must, too. */
  readonly settingsEnded?: boolean | undefined;
  /** The operator's token; it enables AdminService. */
  readonly adminToken?: string | undefined;
  /** State files whose tenants are created if they are absent. */
  readonly states: readonly string[];
  /** Where `proto/` is. */
  readonly packageRoot: string;
  readonly version: string;
  /** Number of this process where several decide, from 1: then HTTP is served by the one that started them. */
  readonly worker?: number | undefined;
}

export interface Running {
  /** `http`: `''` in a worker. */
  readonly addresses: { readonly grpc: string; readonly http: string };
  /** Those of the moment of the start. */
  readonly tenants: readonly string[];
  /** The store was away at the start; the server becomes ready when it answers. */
  readonly waiting: boolean;
  readonly log: Logger;
  /** Memory of the caches, by their estimate. */
  readonly cachedBytes: () => number;
  readonly readiness: () => Readiness;
  /** All instruments as they stand. */
  readonly snapshot: Metrics['snapshot'];
  /** Reads the catalog again; a bad one is logged and leaves the last valid one in force. */
  reload(): boolean;
  /** Audit records that the end has lost, once it is closed. */
  lostRecords(): number;
  /** Not ready, GOAWAY, calls in flight finish, audit is flushed. May be called again. */
  close(): Promise<void>;
}

/** Workers are numbered from here. */
const FIRST_WORKER = 1;

/** Of several processes one does what needs to be done once. */
export function isFirstProcess({ worker }: ServerOptions): boolean {
  return worker === undefined || worker === FIRST_WORKER;
}
