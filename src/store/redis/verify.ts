/** Refuses a Redis that belongs to others, is a replica, or would lose what it is given. */
import { NoRightError, UnusableStoreError } from '../store.ts';
import type { Client } from './client.ts';
import type { Keys } from './keys.ts';
import { verifyLayout } from './layout.ts';
import type { RedisOptions } from './options.ts';
import { COMMIT, FEED, GET, SCAN } from './scripts.ts';

/** Redis must keep what it was given: with any other policy it drops keys when it is full. */
const KEEPS_ALL = 'noeviction';

/**
 * Creates the layout of the store where there is none.
 * @throws UnusableStoreError where no waiting helps, StoreError where it does not answer
 */
export async function verifyRedis(
  reader: Client,
  keys: Keys,
  options: RedisOptions,
  shown: string,
): Promise<void> {
  const { readTimeoutMs, connectTimeoutMs } = options;
  await reader.ready(connectTimeoutMs);
  await verifyEviction(reader, readTimeoutMs, shown);
  await verifyPrimary(reader, readTimeoutMs, shown);
  await loadScripts(reader, readTimeoutMs);
  await verifyLayout(reader, keys, options, shown);
}

async function verifyEviction(reader: Client, ms: number, shown: string): Promise<void> {
  for (const text of await reader.onPrimaries(ms, 'INFO', 'memory')) {
    const policy = /maxmemory_policy:(\S+)/.exec(String(text))?.[1] ?? KEEPS_ALL;
    if (policy !== KEEPS_ALL)
      throw new UnusableStoreError(
        `\`${shown}\` has maxmemory-policy ${policy}: it would drop facts when it is full; set maxmemory-policy ${KEEPS_ALL}`,
      );
  }
}

async function verifyPrimary(reader: Client, ms: number, shown: string): Promise<void> {
  for (const role of await reader.onPrimaries(ms, 'ROLE'))
    if (!isPrimary(role))
      throw new UnusableStoreError(
        `\`${shown}\` is a replica: name the primary, or use redis-sentinel:// to follow it`,
      );
}

/** Without it, the first call of each script would take a round trip more. */
async function loadScripts(reader: Client, ms: number): Promise<void> {
  for (const { lua } of [GET, SCAN, FEED, COMMIT])
    try {
      await reader.onPrimaries(ms, 'SCRIPT', 'LOAD', lua);
    } catch (error) {
      // A user that may not load scripts sends their text with the call.
      if (!(error instanceof NoRightError)) throw error;
    }
}

/** @param role the reply to `ROLE` */
export function isPrimary(role: unknown): boolean {
  return Array.isArray(role) && role[0] === 'master';
}
