/** The layout that a store was created with: its version, and the count of its shards. */
import { NoRightError, StoreError, UnusableStoreError } from '../store.ts';
import type { Client } from './client.ts';
import { LAYOUT, type Keys } from './keys.ts';
import type { RedisOptions } from './options.ts';

/** The text that stands under `keys.layout`. */
export function layoutText(shards: number): string {
  return `${LAYOUT} ${shards}`;
}

/**
 * Creates the layout where there is none.
 * @throws UnusableStoreError where it is another, StoreError where there is none and this user may not write
 */
export async function verifyLayout(
  reader: Client,
  keys: Keys,
  options: RedisOptions,
  shown: string,
): Promise<void> {
  const { shards, keyPrefix } = options;
  const wanted = layoutText(shards);
  const layout = await readOrCreate(reader, keys, wanted, options, shown);
  if (layout === wanted) return;
  const [version, count] = typeof layout === 'string' ? layout.split(' ') : [];
  throw new UnusableStoreError(
    version === String(LAYOUT)
      ? `\`${shown}\` has ${count} shards under \`${keyPrefix}\`, redis.shards says ${shards}: the count is fixed when a store is created; set redis.shards to ${count}`
      : `\`${shown}\` has layout ${version} under \`${keyPrefix}\`, this version reads layout ${LAYOUT}: export with the version that wrote it, then apply under another redis.key_prefix`,
  );
}

async function readOrCreate(
  reader: Client,
  keys: Keys,
  wanted: string,
  { readTimeoutMs, keyPrefix }: RedisOptions,
  shown: string,
): Promise<unknown> {
  const found = await reader.command(readTimeoutMs, 'GET', keys.layout);
  if (found !== null) return found;
  try {
    const created = await reader.command(readTimeoutMs, 'SET', keys.layout, wanted, 'NX');
    if (created === 'OK') return wanted;
  } catch (error) {
    if (!(error instanceof NoRightError)) throw error;
    // An instance that may only read waits until one that may write has created the store (CONS-7).
    throw new StoreError(
      `\`${shown}\` holds nothing under \`${keyPrefix}\` yet, and this user may not write: start an instance that may, or set redis.key_prefix`,
    );
  }
  // Another instance has created it meanwhile.
  return reader.command(readTimeoutMs, 'GET', keys.layout);
}
