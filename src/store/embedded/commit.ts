/** A commit to the LMDB file: one transaction that is on the disk before it is acknowledged (CONS-5). */
import { randomBytes } from 'node:crypto';
import type { Kind } from '../../engine/records.ts';
import { mapInTurns } from '../../util/turns.ts';
import { leastReader, leastReaderOf, READER_VERSION } from '../format/version.ts';
import {
  MAX_NAMED,
  VersionError,
  type Commit,
  type CommitResult,
  type FactValue,
  type FeedEntry,
  type Head,
} from '../store.ts';
import { commitFailure } from './commit-failure.ts';
import type { EmbeddedDatabase, FactDbKey } from './database.ts';
import { readEntry, readHead, type StoredFact } from './record-json.ts';
import { dbIdOf } from './record-key.ts';

/** Feed entries kept a tenant; a reader further behind reads everything again. */
export const FEED_LENGTH = 10_000;

/** Changes of a commit as they are stored; a text of `undefined` removes the record. */
interface StoredChanges {
  readonly changes: readonly (readonly [key: FactDbKey, text: string | undefined])[];
  /** The least version of a reader that understands them (CONS-6). */
  readonly needs: number;
}

/** As `Store.commit`. @throws StoreError, VersionError */
export async function commitTo(database: EmbeddedDatabase, commit: Commit): Promise<CommitResult> {
  try {
    // Prepared before the transaction, which holds up the process.
    const stored = await storedChanges(commit);
    return await database.write(() => writeCommit(database, commit, stored));
  } catch (error) {
    throw await commitFailure(database.directory, error);
  }
}

/** Inside the transaction. */
function writeCommit(
  { heads, facts, entries }: EmbeddedDatabase,
  commit: Commit,
  stored: StoredChanges,
): CommitResult {
  const { tenant, expected } = commit;
  const head = readHead(tenant, heads.get(tenant));
  const isOtherHistory = commit.nonce !== undefined && commit.nonce !== head?.nonce;
  if ((head?.revision ?? 0) !== expected || isOtherHistory) return { committed: false, head };
  const newest = head && entries.get([tenant, head.revision]);
  const { needs: before = 1 } = newest === undefined ? {} : readEntry(expected, newest);
  if (before > READER_VERSION) throw new VersionError(`\`${tenant}\` in the store`, before);
  const next: Head = { revision: expected + 1, nonce: randomBytes(9).toString('base64url') };
  for (const [key, text] of stored.changes)
    if (text === undefined) void facts.remove(key);
    else void facts.put(key, text);
  const entry = feedEntry(commit, head, next, Math.max(before, stored.needs));
  void entries.put([tenant, next.revision], JSON.stringify(entry));
  if (next.revision > FEED_LENGTH) void entries.remove([tenant, next.revision - FEED_LENGTH]);
  void heads.put(tenant, JSON.stringify(next));
  return { committed: true, head: next };
}

function feedEntry(
  { changes, event }: Commit,
  previous: Head | undefined,
  next: Head,
  needs: number,
): FeedEntry {
  return {
    ...next,
    previous: previous?.nonce ?? '',
    // JSON leaves out `undefined`: there are too many to name.
    keys: changes.length > MAX_NAMED ? undefined : changes.map(({ kind, id }) => ({ kind, id })),
    event,
    time: Date.now(),
    ...(needs > 1 ? { needs } : {}),
  };
}

async function storedChanges({ tenant, changes }: Commit): Promise<StoredChanges> {
  const texts = await mapInTurns(changes, ({ kind, id, value }) => {
    const key: FactDbKey = [tenant, kind, dbIdOf(id)];
    return [key, value === undefined ? undefined : factText(kind, id, value)] as const;
  });
  return { changes: texts, needs: leastReaderOf(changes) };
}

function factText(kind: Kind, id: string, value: FactValue): string {
  const needs = leastReader(kind);
  return JSON.stringify({ id, value, ...(needs > 1 ? { needs } : {}) } satisfies StoredFact);
}
