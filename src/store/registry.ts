/** The store that one line of the settings names. What is not used is not loaded. */
import { readFileSync } from 'node:fs';
import { checked } from './format/checked.ts';
import { openEmbeddedStore } from './embedded/store.ts';
import { isRedisAddress, withoutSecrets } from './redis/address.ts';
import type { Store } from './store.ts';

export interface StoreSettings {
  /** `embedded:DIR`, or `redis://…` and its like. */
  readonly address: string;
  /** How long a read may take, ms. */
  readonly readTimeoutMs: number;
  readonly redis: {
    readonly key_prefix: string;
    readonly shards: number;
    readonly password_file?: string | undefined;
    readonly connect_timeout_ms: number;
    readonly commit_timeout_ms: number;
    readonly wait_replicas: number;
    readonly wait_ms: number;
    readonly feed_length: number;
    readonly tls: {
      readonly ca?: string | undefined;
      readonly cert?: string | undefined;
      readonly key?: string | undefined;
      readonly server_name?: string | undefined;
    };
  };
  /** Told of problems of a remote store, which tries again by itself. */
  readonly onProblem: (message: string) => void;
}

/** @throws Error or StoreError where it cannot be opened; a Redis that is away is no error yet */
export async function openStore(settings: StoreSettings): Promise<Store> {
  return checked(await openDriver(settings));
}

async function openDriver(settings: StoreSettings): Promise<Store> {
  const { address, redis, readTimeoutMs, onProblem } = settings;
  if (!isRedisAddress(address)) return openEmbeddedStore(embeddedDirectory(address));
  const { openRedisStore } = await import('./redis/store.ts');
  const { ca, cert, key, server_name: serverName } = redis.tls;
  return openRedisStore({
    address,
    ...(redis.password_file === undefined
      ? {}
      : { password: readText('redis.password_file', redis.password_file).trim() }),
    keyPrefix: redis.key_prefix,
    shards: redis.shards,
    tls: {
      ...(ca === undefined ? {} : { ca: readText('redis.tls.ca', ca) }),
      ...(cert === undefined ? {} : { cert: readText('redis.tls.cert', cert) }),
      ...(key === undefined ? {} : { key: readText('redis.tls.key', key) }),
      ...(serverName === undefined ? {} : { serverName }),
    },
    connectTimeoutMs: redis.connect_timeout_ms,
    readTimeoutMs,
    commitTimeoutMs: redis.commit_timeout_ms,
    waitReplicas: redis.wait_replicas,
    waitMs: redis.wait_ms,
    feedLength: redis.feed_length,
    onProblem,
  });
}

/** The directory of an `embedded:DIR` store. @throws Error naming what is supported */
export function embeddedDirectory(address: string): string {
  if (address.startsWith('embedded:') && address.length > 9) return address.slice(9);
  throw new Error(
    `store: \`${withoutSecrets(address)}\` is not supported: use embedded:DIR, redis://, rediss://, redis-sentinel:// or redis-cluster://`,
  );
}

function readText(option: string, file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new Error(`${option}: \`${file}\` cannot be read: name a file that is there`, {
      cause: error,
    });
  }
}
