/** Stored ids that break a rule that is newer than they are: logged once at start, and valid as long as they are stored (ID-1). */
import { idProblem } from '../engine/id.ts';
import { printable } from '../engine/validate.ts';
import type { Store } from '../store/store.ts';

/** Records looked at between two pauses; a pause, ms. A start must not slow down decisions. */
const PAGE = 500;
const PAUSE_MS = 20;
/** Ids that are named, of all tenants together. */
const NAMED = 100;

export interface OldId {
  readonly tenant: string;
  readonly kind: string;
  /** As it can stand in a log. */
  readonly id: string;
  readonly problem: string;
}

export interface OldIds {
  /** The first hundred. */
  readonly named: readonly OldId[];
  /** All of them. */
  readonly count: number;
}

/**
 * Looks through all principals, policy sets and keys of all tenants, a little at a time.
 * @param signal ends it early
 * @throws StoreError
 */
export async function findOldIds(store: Store, signal: AbortSignal): Promise<OldIds> {
  const named: OldId[] = [];
  let count = 0;
  const look = (tenant: string, kind: string, id: string): void => {
    const problem = idProblem(id);
    if (problem === undefined) return;
    count++;
    if (named.length < NAMED)
      named.push({ tenant: printable(tenant), kind, id: printable(id), problem });
  };
  for (const tenant of await store.tenants()) {
    look(tenant, 'tenant', tenant);
    for (const kind of ['user', 'role', 'workspace', 'policy_set', 'key'] as const) {
      let after: string | undefined;
      do {
        if (signal.aborted) return { named, count };
        const page = await store.scan(tenant, kind, after, PAGE);
        for (const [id] of page.entries) look(tenant, kind, id);
        after = page.next;
        if (after !== undefined) await new Promise((wake) => setTimeout(wake, PAUSE_MS).unref());
      } while (after !== undefined);
    }
  }
  return { named, count };
}

/** Where the warning goes; never throws. */
interface Warn {
  warn(fields: object, message: string): void;
}

/** Names stored ids that could not be created any more, once. */
export async function tellOldIds(store: Store, signal: AbortSignal, log: Warn): Promise<void> {
  try {
    const { named, count } = await findOldIds(store, signal);
    if (count > 0 && !signal.aborted)
      log.warn(
        { count, ids: named },
        'stored ids break a rule that is newer than they are: they stay valid, and should be renamed',
      );
  } catch (error) {
    if (!signal.aborted) log.warn({ error: String(error) }, 'stored ids could not be looked at');
  }
}
