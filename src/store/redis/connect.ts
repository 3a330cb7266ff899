/** Makes the library's connection to a server, to the primary that sentinels name, or to a cluster. */
import { Cluster, Redis } from 'ioredis';
import type { RedisAddress } from './address.ts';
import type { TlsFiles } from './credentials.ts';

export interface ConnectOptions {
  readonly address: RedisAddress;
  readonly tls: TlsFiles;
  readonly connectTimeoutMs: number;
}

/** Times between attempts to connect, ms: short, so that facts are fresh soon after a Redis is back. */
const RETRY_MS = [50, 100, 200, 500];
/** Time between two attempts to listen to a sentinel, ms. */
const SENTINEL_RETRY_MS = 1_000;

/** @param silenceMs a connection whose peer owes an answer for so long is dropped and made again */
export function connect(options: ConnectOptions, silenceMs: number): Redis | Cluster {
  switch (options.address.kind) {
    case 'single':
      return toServer(options, silenceMs);
    case 'sentinel':
      return toSentinels(options, silenceMs);
    case 'cluster':
      return toCluster(options, silenceMs);
  }
}

function toServer(options: ConnectOptions, silenceMs: number): Redis {
  const [first] = options.address.hosts;
  return new Redis({
    ...oneServerOptions(options, silenceMs),
    host: first?.host ?? '127.0.0.1',
    port: first?.port ?? 6_379,
  });
}

function toSentinels(options: ConnectOptions, silenceMs: number): Redis {
  const { address, connectTimeoutMs } = options;
  const tls = tlsOptions(options);
  return new Redis({
    ...oneServerOptions(options, silenceMs),
    sentinels: [...address.hosts],
    name: address.primary,
    role: 'master',
    sentinelRetryStrategy: retryDelay,
    sentinelCommandTimeout: connectTimeoutMs,
    // The sentinels say which one is the primary: the old one goes on to call itself one for seconds.
    failoverDetector: true,
    sentinelReconnectStrategy: () => SENTINEL_RETRY_MS,
    enableTLSForSentinelMode: address.tls,
    ...(tls === undefined ? {} : { sentinelTLS: tls }),
    ...(address.sentinelPassword === undefined
      ? {}
      : { sentinelPassword: address.sentinelPassword }),
  });
}

function toCluster(options: ConnectOptions, silenceMs: number): Cluster {
  const { address, connectTimeoutMs } = options;
  return new Cluster([...address.hosts], {
    redisOptions: commonOptions(options, silenceMs),
    enableOfflineQueue: false,
    lazyConnect: true,
    maxRedirections: 4,
    // Else the library would send a commit again by itself, and report the second attempt alone.
    retryDelayOnFailover: 0,
    retryDelayOnClusterDown: 50,
    retryDelayOnTryAgain: 50,
    slotsRefreshTimeout: connectTimeoutMs,
    slotsRefreshInterval: 5_000,
    clusterRetryStrategy: retryDelay,
    scaleReads: 'master',
  });
}

function oneServerOptions(options: ConnectOptions, silenceMs: number) {
  return {
    ...commonOptions(options, silenceMs),
    db: options.address.db,
    enableOfflineQueue: false,
    retryStrategy: retryDelay,
  };
}

/** Of every connection to a server, also to those of a cluster. */
function commonOptions(options: ConnectOptions, silenceMs: number) {
  const { address, connectTimeoutMs } = options;
  const tls = tlsOptions(options);
  return {
    ...(tls === undefined ? {} : { tls }),
    ...(address.username === undefined ? {} : { username: address.username }),
    ...(address.password === undefined ? {} : { password: address.password }),
    protocol: 2 as const,
    connectTimeout: connectTimeoutMs,
    socketTimeout: silenceMs,
    keepAlive: 10_000,
    // A call that cannot be sent now has failed now; one that was lost on the way is not sent again.
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    autoResubscribe: false,
    disableClientInfo: true,
    lazyConnect: true,
    // A primary that has become a replica must be left.
    reconnectOnError: (error: Error) => error.message.startsWith('READONLY'),
  };
}

/** `undefined`: the connection is without TLS. */
function tlsOptions({ address, tls: { ca, cert, key, serverName } }: ConnectOptions) {
  if (!address.tls) return undefined;
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(serverName === undefined ? {} : { servername: serverName }),
  };
}

/** @param times attempts so far, from 1 @returns ms */
function retryDelay(times: number): number {
  return RETRY_MS[Math.min(times, RETRY_MS.length) - 1] ?? 500;
}
