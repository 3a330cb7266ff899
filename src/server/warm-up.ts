/** How a server comes to its facts: from the store, from a snapshot while that is away, and how it keeps one. */
import type { Logger } from 'pino';
import type { Settings } from '../config/settings/settings-schema.ts';
import type { FactsRoom } from '../facts/facts.ts';
import { readSnapshot, writeSnapshot } from '../facts/snapshot.ts';
import { withoutSecrets } from '../store/redis/address.ts';
import { storeDirectory } from '../store/registry.ts';
import { StoreError, UnusableStoreError } from '../store/store.ts';

/**
 * Reads the policies of all tenants. `undefined`: a store that others share is away, and will be back.
 * @throws UnusableStoreError where no waiting helps, StoreError where the embedded store fails
 */
export async function warmUp(
  facts: FactsRoom,
  address: string,
  log: Logger,
): Promise<readonly string[] | undefined> {
  try {
    return await facts.warmUp();
  } catch (error) {
    const away = error instanceof StoreError && !(error instanceof UnusableStoreError);
    if (!away || storeDirectory(address) !== undefined) throw error;
    log.error({ error: error.message }, 'not ready: the store is away');
    return undefined;
  }
}

/** Between two lines of the log that say the same, ms. */
const LOG_INTERVAL_MS = 10_000;

/** Tries again at every heartbeat. @returns what ends it */
export function retryUntilWarm(
  facts: FactsRoom,
  { facts: { heartbeat_ms: heartbeatMs }, store }: Settings,
  onWarm: () => void,
  log: Logger,
): () => void {
  let ended = false;
  let loggedAt = -Infinity;
  const attempt = async (): Promise<void> => {
    if (ended) return;
    try {
      const tenants = await facts.warmUp();
      if (ended) return;
      log.info({ tenants: tenants.length }, 'ready: the store answers');
      onWarm();
    } catch (error) {
      if (performance.now() - loggedAt > LOG_INTERVAL_MS) {
        loggedAt = performance.now();
        log.error({ error: messageOf(error) }, `not ready: \`${withoutSecrets(store)}\` is away`);
      }
      setTimeout(() => void attempt(), heartbeatMs).unref();
    }
  };
  setTimeout(() => void attempt(), heartbeatMs).unref();
  return () => {
    ended = true;
  };
}

/** Whether there are facts on disk that may still serve. */
export function restoreSnapshot(facts: FactsRoom, settings: Settings, log: Logger): boolean {
  const { snapshot_file: file, max_staleness_ms: maxStaleness } = settings.facts;
  if (file === undefined) return false;
  try {
    const tenants = readSnapshot(file, nameOfStore(settings)) ?? [];
    const usable = tenants.filter(({ ageMs }) => ageMs <= maxStaleness);
    facts.restore(usable);
    const counts = { file, tenants: usable.length, too_old: tenants.length - usable.length };
    if (usable.length > 0) log.warn(counts, 'ready: serving the last good facts');
    else log.error(counts, 'not ready: the snapshot has no facts that are recent enough');
    return usable.length > 0;
  } catch (error) {
    log.error({ file, error: messageOf(error) }, 'not ready: the snapshot cannot be used');
    return false;
  }
}

/** Writes the snapshot again and again, if there is to be one. @returns what writes it a last time */
export function keepSnapshot(
  facts: FactsRoom,
  settings: Settings,
  onError: (error: unknown) => void,
): () => Promise<void> {
  const { snapshot_file: file, snapshot_interval_ms: everyMs } = settings.facts;
  if (file === undefined) return () => Promise.resolve();
  let writing: Promise<void> | undefined;
  const write = (): Promise<void> => {
    if (writing !== undefined) return writing;
    const tenants = facts.snapshot();
    // Nothing is known yet: what is there may still be of use.
    if (tenants.length === 0) return Promise.resolve();
    writing = writeSnapshot(file, nameOfStore(settings), tenants)
      .catch(onError)
      .finally(() => {
        writing = undefined;
      });
    return writing;
  };
  const timer = setInterval(() => void write(), everyMs).unref();
  return async () => {
    clearInterval(timer);
    await writing;
    await write();
  };
}

function nameOfStore({ store, redis }: Settings): string {
  return `${withoutSecrets(store)} ${redis.key_prefix}`;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
