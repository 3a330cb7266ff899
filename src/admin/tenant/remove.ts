/** Removes the records of a tenant that is marked as deleted, some at a time; done again, it goes on (ADM-9). */
import type { Kind } from '../../engine/records.ts';
import { StoreError, UnreadableError, type Head, type Store } from '../../store/store.ts';

/** Changes of one commit. */
const CHUNK = 500;
/** How often a chunk is tried again because others commit meanwhile. */
const MAX_ATTEMPTS = 100;

/** All but the tenant's own record. Keys come first: without a key nobody notes its use any more. */
const REMOVED: readonly Kind[] = [
  'key',
  'usage',
  'user',
  'owner',
  'role',
  'workspace',
  'policy_set',
  'policy_version',
  'tombstone',
  'refs',
  'name',
  'receipt',
];

/** What has been done so far. */
export interface Removal {
  readonly removed: Map<Kind, number>;
  /** After the last commit; `undefined`: there was none. */
  head: Head | undefined;
}

/**
 * @param options `actor`: who does it, for the change log; `dryRun`: count only
 * @param done told of each chunk, so that it is right where a later one fails
 * @throws StoreError; what was removed stays removed
 */
export async function removeRecords(
  store: Store,
  tenant: string,
  options: { readonly actor: string; readonly dryRun: boolean },
  done: Removal,
): Promise<void> {
  for (const kind of REMOVED)
    for (let after: string | undefined, attempts = 0; ;) {
      const { head, ids, next } = await pageOf(store, tenant, kind, after);
      if (head === undefined) return;
      if (ids.length > 0 && !options.dryRun) {
        const result = await store.commit({
          tenant,
          expected: head.revision,
          nonce: head.nonce,
          changes: ids.map((id) => ({ kind, id, value: undefined })),
          event: { actor: options.actor, operation: 'tenant.remove_records' },
        });
        if (!result.committed) {
          if (++attempts > MAX_ATTEMPTS)
            throw new StoreError(
              `tenant \`${tenant}\` was changed by others ${MAX_ATTEMPTS} times while its records were removed: try again`,
            );
          continue;
        }
        done.head = result.head;
      }
      if (ids.length > 0) done.removed.set(kind, (done.removed.get(kind) ?? 0) + ids.length);
      after = next;
      if (after === undefined) break;
      attempts = 0;
      await new Promise((go) => setImmediate(go));
    }
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
