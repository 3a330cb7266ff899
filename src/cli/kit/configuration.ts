/** Settings and the files they name, for the commands that work without a server. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Environment } from '../../admin/write.ts';
import { parseCatalog } from '../../config/catalog.ts';
import { readSource } from '../../config/document.ts';
import { loadMigrations, type Migration } from '../../config/migration.ts';
import { ConfigError } from '../../config/problem.ts';
import { parseDefaultRoles, type DefaultRole } from '../../config/roles.ts';
import { loadSettings, type LoadedSettings } from '../../config/settings/load-settings.ts';
import type { Catalog } from '../../engine/action.ts';
import { steadyNow } from '../../identity/clock.ts';
import { mintKey, mintSession, newId } from '../../identity/token.ts';
import { openStore, storeDirectory } from '../../store/registry.ts';
import type { Store } from '../../store/store.ts';
import { CliError } from './output.ts';

export interface Configuration extends LoadedSettings {
  readonly catalog: Catalog;
  readonly defaults: readonly DefaultRole[];
  /** In order; a new tenant starts with all of them. */
  readonly migrations: readonly Migration[];
}

export function loadConfiguration(file: string | undefined, packageRoot: string): Configuration {
  const loaded = loadSettings(file, process.env, packageRoot);
  if (loaded.unnamed.length > 0) throw new ConfigError(loaded.unnamed);
  for (const warning of loaded.warnings) process.stderr.write(`warning: ${warning}\n`);
  return {
    ...loaded,
    catalog: parseCatalog(readSource(loaded.settings.catalog)),
    defaults: parseDefaultRoles(readSource(loaded.settings.default_roles)),
    migrations: loadMigrations(loaded.settings.migrations),
  };
}

/** What management rules run in, on a store of these settings. */
export function environmentOf(configuration: Configuration, store: Store): Environment {
  const { catalog, defaults, migrations } = configuration;
  return {
    store,
    catalog: () => catalog,
    defaults,
    baseline: migrations,
    now: steadyNow,
    mint: { key: mintKey, session: mintSession, id: newId },
  };
}

/**
 * Runs on the store that the settings name, and closes it.
 * @param absent what an embedded store that is not there means: one that only reads makes none where a path is mistyped
 */
export async function withStore<T>(
  { settings }: Configuration,
  absent: 'create' | 'refuse' | 'empty',
  use: (store: Store) => Promise<T>,
): Promise<T> {
  const named = settings.store;
  const directory = storeDirectory(named);
  const isThere = directory === undefined || existsSync(directory);
  if (!isThere && absent === 'refuse')
    throw new CliError(
      `store: there is none in \`${directory}\`: check \`store\`, or POSTERN_STORE`,
    );
  const scratch =
    isThere || absent === 'create' ? undefined : mkdtempSync(join(tmpdir(), 'postern-'));
  const store = await openStore({
    address: scratch === undefined ? named : `embedded:${scratch}`,
    readTimeoutMs: settings.redis.commit_timeout_ms,
    redis: settings.redis,
    // A command tells the error that it ends with.
    onProblem: () => {},
  });
  try {
    return await use(store);
  } finally {
    await store.close();
    if (scratch !== undefined) rmSync(scratch, { recursive: true });
  }
}
