/** Users and keys whose records cannot be used: they are denied until they can be read, and looked for again (CONS-6). */
import type { MaybePromise } from '../util/later.ts';
import type { KeyRecord, UserRecord } from '../engine/records.ts';
import {
  Unreadable,
  UnreadableError,
  VersionError,
  type FactKey,
  type FactValue,
  type Head,
  type Store,
} from '../store/store.ts';

/** Records as far as they can be read. */
export interface Lenient {
  readonly head: Head | undefined;
  readonly values: readonly (FactValue | Unreadable | undefined)[];
}

/** @throws StoreError; a record that cannot be used stands in its place instead */
export function getLeniently(
  store: Store,
  tenant: string,
  keys: readonly FactKey[],
): MaybePromise<Lenient> {
  try {
    const read: MaybePromise<Lenient> = store.get(tenant, keys);
    return read instanceof Promise ? read.catch(found) : read;
  } catch (error) {
    return found(error);
  }
}

/** What can be used of what a read has thrown. @throws the error, where it is another one */
function found(error: unknown): Lenient {
  if (!(error instanceof UnreadableError)) throw error;
  const { head, values } = error.found;
  return { head, values: values.map(([, value]) => value) };
}

/** @throws VersionError where one of the records needs a newer version */
export function mustUnderstand(
  tenant: string,
  values: readonly (FactValue | Unreadable | undefined)[],
): void {
  for (const value of values)
    if (value instanceof Unreadable && value.needs !== undefined)
      throw new VersionError(
        `the ${value.key.kind} \`${value.key.id}\` of \`${tenant}\``,
        value.needs,
      );
}

/** What stands for a user whose record cannot be used: denied by every model, as one that was deleted. */
export function deniedUser(id: string): UserRecord {
  const record: UserRecord = {
    id,
    type: 'user',
    superuser: false,
    createrole: false,
    suspended: true,
    deleted: true,
    roles: [],
    workspaces: [],
    grants: [],
    owns: [],
  };
  stands.add(record);
  return record;
}

const stands = new WeakSet<UserRecord | KeyRecord>();

/** Whether a record is one that stands for another: it is nothing to be written down. */
export function isStandIn(record: UserRecord | KeyRecord): boolean {
  return stands.has(record);
}

/** A record that decisions need cannot be used. */
export class UnusableRecordError extends Error {
  constructor(tenant: string, { kind, id }: FactKey, problem = 'it cannot be read') {
    super(
      `the ${kind} \`${id}\` of tenant \`${tenant}\` in the store is not used, and gives nothing: ${problem}: write it anew, or restore it`,
    );
    this.name = 'UnusableRecordError';
  }
}
