/** Heads of tenants: how they stand in Redis, and how many of them are read at once. */
import { StoreError, TenantError, type Head } from '../store.ts';
import type { Connections } from './connections.ts';
import { layoutText } from './layout.ts';
import { isPrimary } from './verify.ts';

/** Heads that one command reads: it holds up everybody else meanwhile. */
const CHUNK = 1_000;

type Heads = Map<string, Head | undefined | 'unknown'>;

/** @throws TenantError where it is no head */
export function parseHead(text: string | null | undefined): Head | undefined {
  if (typeof text !== 'string') return undefined;
  const [, number, nonce] = /^([1-9]\d*) (\S+)$/.exec(text) ?? [];
  const revision = Number(number);
  if (nonce === undefined || !Number.isSafeInteger(revision))
    throw new TenantError(`a head in Redis is not one of ours: \`${text.slice(0, 80)}\``);
  return { revision, nonce };
}

/** As `Store.heads`. */
export async function readHeads(
  connections: Connections,
  tenants: readonly string[],
): Promise<readonly (Head | undefined | 'unknown')[]> {
  await connections.ready();
  const { reader, keys, options, shown } = connections;
  const { readTimeoutMs, shards } = options;
  // Read each time, even where there is no tenant: whether Redis is there, still the primary, and still this store.
  const roles = reader.onPrimaries(readTimeoutMs, 'ROLE');
  const layout = reader.command(readTimeoutMs, 'GET', keys.layout);
  const heads: Heads = new Map();
  const ofShards = [...Map.groupBy(tenants, (tenant) => keys.shardOf(tenant)).values()];
  const reads = ofShards.map((some) => readShard(connections, some, heads));
  const [role, stored, ...results] = await Promise.allSettled([roles, layout, ...reads]);
  if (role.status === 'rejected') throw role.reason;
  const isReplaced = stored.status === 'fulfilled' && stored.value !== layoutText(shards);
  if (isReplaced || !role.value.every(isPrimary)) {
    // The heads may be of the Redis that was there before.
    await connections.verifyAgain();
    throw new StoreError(`\`${shown}\` was another one a moment ago: ask again`);
  }
  // Of a cluster one node may be away: the heads of its tenants alone are unknown.
  const failed = results.find(({ status }) => status === 'rejected');
  if (failed?.status === 'rejected' && heads.size === 0) throw failed.reason;
  return tenants.map((tenant) => (heads.has(tenant) ? heads.get(tenant) : 'unknown'));
}

/** Reads the heads of tenants of one shard, and enters all of them, or none where a read fails. */
async function readShard(
  { reader, keys, options }: Connections,
  tenants: readonly string[],
  heads: Heads,
): Promise<void> {
  const texts: (string | null)[] = [];
  for (let from = 0; from < tenants.length; from += CHUNK) {
    const chunk = tenants.slice(from, from + CHUNK).map((tenant) => keys.head(tenant));
    // `MGET` replies with a text or null for each.
    for (const text of (await reader.command(options.readTimeoutMs, 'MGET', ...chunk)) as (
      string | null
    )[])
      texts.push(text);
  }
  for (const [index, tenant] of tenants.entries()) heads.set(tenant, headOrUnknown(texts[index]));
}

/** Where one tenant's head cannot be read, that one is unknown; the others are returned. */
function headOrUnknown(text: string | null | undefined): Head | undefined | 'unknown' {
  try {
    return parseHead(text);
  } catch {
    return 'unknown';
  }
}
