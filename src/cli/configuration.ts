/** Settings and the files they name, for the commands that work without a server. */
import { existsSync } from 'node:fs';
import { parseCatalog } from '../config/catalog.ts';
import { readSource } from '../config/document.ts';
import { parseDefaultRoles, type DefaultRole } from '../config/roles.ts';
import { loadSettings, type LoadedSettings } from '../config/settings.ts';
import type { Catalog } from '../engine/action.ts';
import { embeddedDirectory, openStore } from '../store/open.ts';
import { isRedisAddress } from '../store/redis/address.ts';
import type { Store } from '../store/store.ts';
import { CliError } from './output.ts';

export interface Configuration extends LoadedSettings {
  readonly catalog: Catalog;
  readonly defaults: readonly DefaultRole[];
}

export function loadConfiguration(file: string | undefined, packageRoot: string): Configuration {
  const loaded = loadSettings(file, process.env, packageRoot);
  for (const warning of loaded.warnings) process.stderr.write(`warning: ${warning}\n`);
  return {
    ...loaded,
    catalog: parseCatalog(readSource(loaded.settings.catalog)),
    defaults: parseDefaultRoles(readSource(loaded.settings.default_roles)),
  };
}

/**
 * Runs on the store that the settings name, and closes it.
 * @param mustExist a command that only reads makes no store where a path is mistyped
 */
export async function withStore<T>(
  { settings }: Configuration,
  mustExist: boolean,
  use: (store: Store) => Promise<T>,
): Promise<T> {
  const address = settings.store;
  if (mustExist && !isRedisAddress(address) && !existsSync(embeddedDirectory(address)))
    throw new CliError(
      `store: there is none in \`${embeddedDirectory(address)}\`: check \`store\`, or POSTERN_STORE`,
    );
  const store = await openStore({
    address,
    readTimeoutMs: settings.redis.commit_timeout_ms,
    redis: settings.redis,
    // A command tells the error that it ends with.
    onProblem: () => {},
  });
  try {
    return await use(store);
  } finally {
    await store.close();
  }
}
