/** Removes the records of a tenant that is marked as deleted, some at a time; done again, it goes on (ADM-9). */
import type { Kind } from '../../engine/records.ts';
import { attempts } from '../../util/attempts.ts';
import { ALL_KINDS } from '../record-kinds.ts';
import { StoreError, UnreadableError, type Head, type Store } from '../../store/store.ts';

/** Changes of one commit. */
const CHUNK = 500;
/** How often a chunk is tried again because others commit meanwhile. */
const MAX_ATTEMPTS = 100;

/** All but the tenant's own record. Keys come first: without a key nobody notes its use any more. */
const REMOVED: readonly Kind[] = [
  ...new Set<Kind>(['key', 'usage', ...ALL_KINDS.filter((kind) => kind !== 'tenant')]),
];

/** What has been done so far. */
export interface Removal {
  readonly removed: Map<Kind, number>;
  /** After the last commit; `undefined`: there was none. */
  head: Head | undefined;
}

/**
 * @param options `actor`: who does it, for the change log; `dryRun`: count only
 * @param done kept up to date with each chunk, so that it is right where a later one fails
 * @throws StoreError; what was removed stays removed
 */
export async function removeRecords(
  store: Store,
  tenant: string,
  options: { readonly actor: string; readonly dryRun: boolean },
  done: Removal,
): Promise<void> {
  for (const kind of REMOVED)
    for (let after: string | undefined; ;) {
      const page = await attempts(MAX_ATTEMPTS, () =>
        removePage(store, tenant, options, kind, after),
      );
      if (page === undefined)
        throw new StoreError(
          `tenant \`${tenant}\` was changed by others ${MAX_ATTEMPTS} times while its records were removed: try again`,
        );
      if (page.head === undefined) return;
      if (page.committed !== undefined) done.head = page.committed;
      if (page.count > 0) done.removed.set(kind, (done.removed.get(kind) ?? 0) + page.count);
      after = page.next;
      if (after === undefined) break;
      await new Promise((go) => setImmediate(go));
    }
}

interface RemovedPage {
  /** At which it was read; `undefined`: there is no such tenant. */
  readonly head: Head | undefined;
  /** After its commit; `undefined`: it had none. */
  readonly committed: Head | undefined;
  readonly count: number;
  /** Where the next page begins; `undefined`: this is the last. */
  readonly next: string | undefined;
}

/** @returns `undefined`: somebody else committed meanwhile */
async function removePage(
  store: Store,
  tenant: string,
  { actor, dryRun }: { readonly actor: string; readonly dryRun: boolean },
  kind: Kind,
  after: string | undefined,
): Promise<RemovedPage | undefined> {
  const { head, ids, next } = await pageOf(store, tenant, kind, after);
  const page = { head, committed: undefined, count: ids.length, next };
  if (head === undefined || ids.length === 0 || dryRun) return page;
  const result = await store.commit({
    tenant,
    expected: head.revision,
    nonce: head.nonce,
    changes: ids.map((id) => ({ kind, id, value: undefined })),
    event: { actor, operation: 'tenant.remove_records' },
  });
  return result.committed ? { ...page, committed: result.head } : undefined;
}

/** Ids of a page, of records that cannot be used, too. */
async function pageOf(
  store: Store,
  tenant: string,
  kind: Kind,
  after: string | undefined,
): Promise<{ head: Head | undefined; ids: readonly string[]; next: string | undefined }> {
  try {
    const { head, entries, next } = await store.scan(tenant, kind, after, CHUNK);
    return { head, ids: entries.map(([id]) => id), next };
  } catch (error) {
    // What needs a newer version is not ours to remove.
    if (!(error instanceof UnreadableError) || error.needs !== undefined) throw error;
    const { head, values, next } = error.found;
    return { head, ids: values.map(([id]) => id), next };
  }
}
