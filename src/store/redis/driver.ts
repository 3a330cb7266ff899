/** The driver of stores in Redis: one server, Sentinel or Cluster. */
import type { Driver } from '../driver.ts';
import { isRedisAddress } from './address.ts';
import { readPassword, readTlsFiles } from './credentials.ts';

export const redisDriver: Driver = {
  forms: ['redis://', 'rediss://', 'redis-sentinel://', 'redis-cluster://'],
  takes: isRedisAddress,
  directory: () => undefined,
  async open({ address, redis, readTimeoutMs, onProblem }) {
    const { openRedisStore } = await import('./store.ts');
    const password = readPassword(redis);
    return openRedisStore({
      address,
      ...(password === undefined ? {} : { password }),
      keyPrefix: redis.key_prefix,
      shards: redis.shards,
      tls: readTlsFiles(redis),
      connectTimeoutMs: redis.connect_timeout_ms,
      readTimeoutMs,
      commitTimeoutMs: redis.commit_timeout_ms,
      waitReplicas: redis.wait_replicas,
      waitMs: redis.wait_ms,
      feedLength: redis.feed_length,
      onProblem,
    });
  },
};
