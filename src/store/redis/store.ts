/**
 * The store on Redis: one node, Sentinel or Cluster. Many instances share it; a commit is one script on the keys of
 * one tenant, and publishes a hint that nobody depends on.
 */
import type { Store } from '../store.ts';
import { Committer } from './commit.ts';
import { Connections } from './connections.ts';
import { readFeed } from './feed.ts';
import { readHeads } from './heads.ts';
import { HintListeners } from './hints.ts';
import type { RedisOptions } from './options.ts';
import { getRecords, listTenants, scanKind } from './reads.ts';

export { REDIS_DEFAULTS, type RedisOptions } from './options.ts';

/**
 * Opens the store; where Redis is away it opens all the same, and answers with errors until Redis is there.
 * @throws Error where the address or an option is wrong
 */
export function openRedisStore(options: RedisOptions): Store {
  const connections = new Connections(options);
  const listeners = new HintListeners(connections);
  const committer = new Committer(connections, listeners);
  return {
    get: (tenant, keys) => getRecords(connections, tenant, keys),
    scan: (tenant, kind, after, limit) => scanKind(connections, tenant, kind, after, limit),
    commit: (commit) => committer.commit(commit),
    heads: (tenants) => readHeads(connections, tenants),
    feed: (tenant, after, limit) => readFeed(connections, tenant, after, limit),
    tenants: () => listTenants(connections),
    settle: (tenant) => committer.settle(tenant),
    watch: (onChange) => listeners.add(onChange),
    close(): Promise<void> {
      listeners.clear();
      connections.close();
      return Promise.resolve();
    },
  };
}
