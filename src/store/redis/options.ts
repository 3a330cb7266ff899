/** Options of a store on Redis. */
import type { TlsFiles } from './credentials.ts';

export interface RedisOptions {
  /** `redis://…` and its like: see `redis/address.ts`. */
  readonly address: string;
  /** Instead of the address's, so that it need not stand in a settings file. */
  readonly password?: string | undefined;
  /** Before all names, so that others may use the same Redis. */
  readonly keyPrefix: string;
  /** Hash slots that tenants spread over; fixed when the store is created. */
  readonly shards: number;
  readonly tls: TlsFiles;
  readonly connectTimeoutMs: number;
  /** How long a read may take. */
  readonly readTimeoutMs: number;
  /** How long a commit may take, waiting for replicas included. */
  readonly commitTimeoutMs: number;
  /** Replicas that must have a commit before it is acknowledged, and how long to wait for them. */
  readonly waitReplicas: number;
  readonly waitMs: number;
  /** Commits of a tenant that its feed keeps. */
  readonly feedLength: number;
  /** Called with each problem of a connection. */
  readonly onProblem: (message: string) => void;
}

/** As `RedisOptions` has it where nothing else is said. */
export const REDIS_DEFAULTS = {
  keyPrefix: 'postern',
  shards: 16,
  tls: {},
  connectTimeoutMs: 2_000,
  readTimeoutMs: 1_000,
  commitTimeoutMs: 5_000,
  waitReplicas: 0,
  waitMs: 1_000,
  feedLength: 10_000,
} as const;
