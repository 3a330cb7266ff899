/**
 * The embedded store on LMDB: reads are memory-mapped and synchronous, a commit is one transaction that is
 * flushed before it is acknowledged, and several processes may share the directory.
 */
import type { Store } from '../store.ts';
import { ChangeWatch } from './change-watch.ts';
import { commitTo } from './commit.ts';
import { EmbeddedDatabase } from './database.ts';
import { getRecords, listTenants, readFeed, readHeads, scanKind } from './reads.ts';

/** @throws StoreError where the directory cannot be used, with the reason. */
export function openEmbeddedStore(directory: string): Store {
  const database = new EmbeddedDatabase(directory);
  const watch = new ChangeWatch(database.file, () => database.refresh());
  return {
    get: (tenant, keys) => getRecords(database, tenant, keys),
    scan: (tenant, kind, after, limit) => scanKind(database, tenant, kind, after, limit),
    async commit(commit) {
      const result = await commitTo(database, commit);
      if (result.committed) watch.notify();
      return result;
    },
    heads: (tenants) => readHeads(database, tenants),
    feed: (tenant, after, limit) => readFeed(database, tenant, after, limit),
    tenants: () => listTenants(database),
    // A commit is on disk before it is acknowledged.
    settle: () => Promise.resolve(),
    watch: (onChange) => watch.add(onChange),
    close() {
      watch.close();
      return database.close();
    },
  };
}
