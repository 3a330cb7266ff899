/** The store of a server, and the tenants that its state files create. */
import type { Logger } from 'pino';
import type { Baseline } from '../admin/migrations/baseline.ts';
import { readSource } from '../config/document.ts';
import type { DefaultRole } from '../config/roles.ts';
import type { Settings } from '../config/settings/settings-schema.ts';
import type { Source } from '../config/source.ts';
import { parseState, refused, type StateFile } from '../config/state.ts';
import type { Catalog } from '../engine/action.ts';
import { withoutSecrets } from '../store/redis/address.ts';
import { openStore } from '../store/registry.ts';
import type { Store } from '../store/store.ts';
import { connectionLogger } from './loggers.ts';

/** @throws Error or StoreError where it cannot be opened; a Redis that is away is no error yet */
export function openServerStore(settings: Settings, log: Logger): Promise<Store> {
  return openStore({
    address: settings.store,
    readTimeoutMs: settings.facts.store_timeout_ms,
    redis: settings.redis,
    onProblem: connectionLogger(log, withoutSecrets(settings.store)),
  });
}

/** A state file that was read; its source is for what is wrong with it. */
export interface InitialState {
  readonly source: Source;
  readonly state: StateFile;
}

/** @throws ConfigError with everything that is wrong */
export function readStates(files: readonly string[], catalog: Catalog): readonly InitialState[] {
  return files.map((file) => {
    const source = readSource(file);
    return { source, state: parseState(source, catalog) };
  });
}

/** Creates the tenants of state files that are absent. @throws ConfigError, StoreError */
export async function createTenants(
  store: Store,
  states: readonly InitialState[],
  defaults: readonly DefaultRole[],
  baseline: Baseline,
): Promise<void> {
  if (states.length === 0) return;
  // What only applies states is loaded where there are any: a server without is smaller.
  const { applyState } = await import('../admin/state/apply-state.ts');
  const { StateError } = await import('../admin/state/plan-state.ts');
  for (const { source, state } of states) {
    const { head } = await store.get(state.tenant, []);
    if (head !== undefined) continue;
    // Another instance may have made the tenant since: then nothing of it is taken away.
    const options = { baseline, unlisted: 'refuse' } as const;
    try {
      await applyState(store, state, defaults, 'operator:serve --state', options);
    } catch (error) {
      throw error instanceof StateError ? refused(source, error.findings) : error;
    }
  }
}
