/** The contract on real servers: one node, a primary behind Sentinel, a cluster of three. */
import { afterAll, beforeAll, describe } from 'vitest';
import { openRedisStore, REDIS_DEFAULTS } from '../../src/store/redis/store.ts';
import type { Store } from '../../src/store/store.ts';
import {
  startCluster,
  startRedis,
  startSentinel,
  type RedisCluster,
  type RedisSentinel,
  type RedisServer,
} from '../support/redis-server.ts';
import { describeStore, type Subject } from './contract.ts';

const FEED_LENGTH = 50;

/** A store under a prefix that nobody else has; opened again, it has nothing in memory. */
const subject =
  (url: () => string, reopens = false) =>
  async (): Promise<Subject> => {
    const keyPrefix = `test-${process.pid}-${Math.random().toString(36).slice(2)}`;
    const open = (): Store =>
      openRedisStore({
        ...REDIS_DEFAULTS,
        address: url(),
        keyPrefix,
        feedLength: FEED_LENGTH,
        onProblem: () => {},
      });
    let store = open();
    return {
      store: () => store,
      async reopen(): Promise<void> {
        if (!reopens) return;
        await store.close();
        store = open();
      },
      feedLength: FEED_LENGTH,
    };
  };

describe('one node', () => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await startRedis();
  });
  afterAll(() => server.dispose());
  describeStore(
    'redis store',
    subject(() => server.url),
  );
  describeStore(
    'redis store, opened again wherever it could forget',
    subject(() => server.url, true),
  );
});

describe('Sentinel', () => {
  let sentinel: RedisSentinel;
  beforeAll(async () => {
    sentinel = await startSentinel();
  });
  afterAll(() => sentinel.dispose());
  describeStore(
    'redis store',
    subject(() => sentinel.url),
  );
});

describe('Cluster', () => {
  let cluster: RedisCluster;
  beforeAll(async () => {
    cluster = await startCluster();
  });
  afterAll(() => cluster.dispose());
  describeStore(
    'redis store',
    subject(() => cluster.url),
  );
});
