/**
 * All names that Postern has in Redis, and nobody else makes one. A tenant's keys share a hash slot (the part in
 * braces), so that a commit is one script on one node; tenants spread over the shards.
 */
import { createHash } from 'node:crypto';
import type { Kind } from '../../engine/records.ts';

export { KINDS } from '../format/kinds.ts';

/** The layout that this version reads and writes; see docs/redis.md, Keys. */
export const LAYOUT = 1;

export interface Keys {
  /** A string: layout version and shard count, written once when the store is created. */
  readonly layout: string;
  /** The channel of hints; a message is the tenant that was committed to, and what was changed where it is little. */
  readonly channel: string;
  shardOf(tenant: string): number;
  /** A set: the tenants of a shard. */
  tenants(shard: number): string;
  /** A string: revision and nonce of the newest commit. */
  head(tenant: string): string;
  /** A stream: one entry a commit, its id the revision. */
  feed(tenant: string): string;
  /** A hash: the records of a kind by id. */
  records(tenant: string, kind: Kind): string;
  /** A sorted set: the ids of a kind, for pages in byte order. */
  index(tenant: string, kind: Kind): string;
  /** A string: how far a large commit has been prepared; the nonce is the commit's. All keys of a stage expire. */
  stage(tenant: string, nonce: string): string;
  /** As `records` and `index`: what a kind will be once a large commit is done. */
  stagedRecords(tenant: string, nonce: string, kind: Kind): string;
  stagedIndex(tenant: string, nonce: string, kind: Kind): string;
}

/** @param prefix of all keys; without braces, which would move the hash slot */
export function keysOf(prefix: string, shards: number): Keys {
  const shardOf = (tenant: string): number =>
    createHash('sha256').update(tenant).digest().readUInt32BE(0) % shards;
  // The tenant comes last: whatever characters it has, it cannot be taken for another part.
  const at = (tenant: string, what: string): string =>
    `${prefix}:{${shardOf(tenant)}}:${what}:${tenant}`;
  return {
    layout: `${prefix}:layout`,
    channel: `${prefix}:commits`,
    shardOf,
    tenants: (shard) => `${prefix}:{${shard}}:tenants`,
    head: (tenant) => at(tenant, 'head'),
    feed: (tenant) => at(tenant, 'feed'),
    records: (tenant, kind) => at(tenant, `records:${kind}`),
    index: (tenant, kind) => at(tenant, `index:${kind}`),
    stage: (tenant, nonce) => at(tenant, `stage:${nonce}:step`),
    stagedRecords: (tenant, nonce, kind) => at(tenant, `stage:${nonce}:records:${kind}`),
    stagedIndex: (tenant, nonce, kind) => at(tenant, `stage:${nonce}:index:${kind}`),
  };
}
