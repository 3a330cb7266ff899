/**
 * The embedded store on LMDB: reads are memory-mapped and synchronous, a commit is one transaction that is
 * flushed before it is acknowledged, and several processes may share the directory.
 */
import { randomBytes, createHash } from 'node:crypto';
import { mkdirSync, watch as watchFile, type FSWatcher } from 'node:fs';
import { join } from 'node:path';
import { open, type Database, type RootDatabase } from 'lmdb';
import type { Kind } from '../../engine/records.ts';
import { leastReader, leastReaderOf, READER_VERSION } from '../format/version.ts';
import { checkDatabase, makeLockFile } from './file.ts';
import { later, type MaybePromise } from '../../util/later.ts';
import { mapInTurns } from '../../util/turns.ts';
import {
  idOfFact,
  parsedFact,
  readEntry,
  readFact,
  readHead,
  readParsed,
  type StoredFact,
} from './stored.ts';
import {
  MAX_NAMED,
  readable,
  readablePage,
  StoreError,
  Unreadable,
  VersionError,
  type Commit,
  type CommitResult,
  type FactKey,
  type FactValue,
  type Feed,
  type FeedEntry,
  type Head,
  type Page,
  type Snapshot,
  type Store,
} from '../store.ts';

/** Layout of the database; a directory with another one is refused. */
const LAYOUT = 1;
/** Feed entries kept a tenant; a reader further behind reads everything again. */
export const FEED_LENGTH = 10_000;
/** LMDB's keys are bounded; longer ids (paths of 64 labels) are stored under their hash. */
const MAX_KEY_CHARS = 512;
/** How long after each other it is looked again for a change that another process makes, ms. */
const LATER_LOOKS_MS = [10, 50, 250];
/** How long the library may take to tell why a commit failed, ms. */
const CAUSE_MS = 1_000;
/** Between two looks for readers whose process has ended, ms. */
const READERS_MS = 1_000;
/** Characters of a page's records after which it ends. */
const MAX_PAGE_CHARS = 1_000_000;
/** Address space, not memory: the file grows as it is filled, up to this. */
const MAP_BYTES = 64 * 1024 ** 3;

type Value = FactValue | Unreadable | undefined;
type FactDbKey = [tenant: string, kind: Kind, id: string];
type FeedDbKey = [tenant: string, revision: number];

/** @throws StoreError where the directory cannot be used, with the reason. */
export function openEmbeddedStore(directory: string): Store {
  const file = join(directory, 'postern.mdb');
  let root: RootDatabase;
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    checkDatabase(file);
    makeLockFile(`${file}-lock`);
    root = open({
      path: file,
      noSubdir: true,
      encoding: 'json',
      mapSize: MAP_BYTES,
      maxDbs: 4,
      // Acknowledge only what is on disk.
      overlappingSync: false,
      // The library's promise of such a batch is nobody's: where it fails, the process would end.
      eventTurnBatching: false,
    });
  } catch (error) {
    throw new StoreError(`cannot open the embedded store in \`${directory}\``, { cause: error });
  }
  const meta: Database<number, string> = root.openDB({ name: 'meta', encoding: 'json' });
  // Texts: what cannot be read is told for the record alone, and does not end the read of the others.
  const heads: Database<string, string> = root.openDB({ name: 'heads', encoding: 'string' });
  const facts: Database<string, FactDbKey> = root.openDB({ name: 'facts', encoding: 'string' });
  const entries: Database<string, FeedDbKey> = root.openDB({ name: 'feed', encoding: 'string' });

  const layout = meta.get('layout');
  if (layout === undefined) meta.putSync('layout', LAYOUT);
  else if (layout !== LAYOUT) {
    void root.close();
    throw new StoreError(
      `\`${directory}\` has layout ${layout}, this version reads layout ${LAYOUT}: export with the version that wrote it, then apply to a new directory`,
    );
  }

  /** Runs reads in one snapshot. */
  const reading = <T>(read: (transaction: ReturnType<typeof root.useReadTransaction>) => T): T => {
    if (closed) throw new StoreError(`the embedded store in \`${directory}\` is closed`);
    try {
      const transaction = root.useReadTransaction();
      try {
        return read(transaction);
      } finally {
        transaction.done();
      }
    } catch (error) {
      if (error instanceof StoreError) throw error;
      throw new StoreError(`the embedded store in \`${directory}\` cannot be read`, {
        cause: error,
      });
    }
  };

  // A process that was killed while it read would keep all pages from being used again, and the file would grow.
  const readers = setInterval(() => {
    try {
      root.readerCheck();
    } catch {
      // The next one may succeed; a database that cannot be read tells it where it is.
    }
  }, READERS_MS).unref();

  const listeners = new Set<(tenant: string | undefined) => void>();
  let watcher: FSWatcher | undefined;
  let closed = false;

  const notify = (): void => {
    // Else the library would go on reading the snapshot that it has open.
    if (!closed) root.resetReadTxn();
    for (const listener of listeners) listener(undefined);
  };

  /** Commits of other processes: LMDB writes its file with ordinary writes, which inotify reports. */
  const watchOthers = (): FSWatcher | undefined => {
    let later: NodeJS.Timeout | undefined;
    // The file changes shortly before LMDB shows the commit to readers, and its writer may be held up in between.
    const lookAgain = (looks: number): void => {
      clearTimeout(later);
      const ms = LATER_LOOKS_MS[looks];
      if (ms === undefined) return;
      later = setTimeout(() => {
        notify();
        lookAgain(looks + 1);
      }, ms).unref();
    };
    const hint = (): void => {
      notify();
      lookAgain(0);
    };
    try {
      // A hint only: readers look on their own at every heartbeat.
      return watchFile(file, { persistent: false }, hint).on('error', () => {});
    } catch {
      return undefined;
    }
  };

  /** @param written its changes as they are stored, prepared before the transaction, which holds the process */
  const apply = (commit: Commit, written: Written): CommitResult => {
    const { tenant, expected, changes, event } = commit;
    const head = readHead(tenant, heads.get(tenant));
    const other = commit.nonce !== undefined && commit.nonce !== head?.nonce;
    if ((head?.revision ?? 0) !== expected || other) return { committed: false, head };
    const newest = head && entries.get([tenant, head.revision]);
    const { needs: before = 1 } = newest === undefined ? {} : readEntry(expected, newest);
    if (before > READER_VERSION) throw new VersionError(`\`${tenant}\` in the store`, before);
    const revision = expected + 1;
    const nonce = randomBytes(9).toString('base64url');
    for (const [key, text] of written.changes)
      if (text === undefined) void facts.remove(key);
      else void facts.put(key, text);
    const needs = Math.max(before, written.needs);
    const entry: FeedEntry = {
      revision,
      nonce,
      previous: head?.nonce ?? '',
      // Left out by JSON where they are too many.
      keys: changes.length > MAX_NAMED ? undefined : changes.map(({ kind, id }) => ({ kind, id })),
      event,
      time: Date.now(),
      ...(needs > 1 ? { needs } : {}),
    };
    void entries.put([tenant, revision], JSON.stringify(entry));
    if (revision > FEED_LENGTH) void entries.remove([tenant, revision - FEED_LENGTH]);
    void heads.put(tenant, JSON.stringify({ revision, nonce }));
    return { committed: true, head: { revision, nonce } };
  };

  return {
    get(tenant, keys): MaybePromise<Snapshot> {
      const { head, texts } = reading((transaction) => ({
        head: readHead(tenant, heads.get(tenant, { transaction })),
        texts: keys.map(({ kind, id }) => facts.get([tenant, kind, keyId(id)], { transaction })),
      }));
      const read = (key: FactKey, index: number): readonly [string, Value] => [
        key.id,
        readFact(key, texts[index]),
      ];
      return later(mapInTurns(keys, read), (values) => readable(head, values));
    },

    scan(tenant, kind, after, limit): MaybePromise<Page> {
      const { head, page, next } = reading((transaction) => {
        const range = facts.getRange({
          start: [tenant, kind, after ?? ''],
          // The next string after `kind` that can follow it: kinds have no such suffix.
          end: [tenant, `${kind}\u{1}` as Kind, ''],
          limit: limit + 2,
          transaction,
        });
        const found: { readonly key: FactDbKey; readonly value: string }[] = [];
        let chars = 0;
        let isCut = false;
        for (const one of range) {
          if (one.key[2] === after) continue;
          isCut = found.length === limit || chars > MAX_PAGE_CHARS;
          if (isCut) break;
          found.push(one);
          chars += one.value.length;
        }
        return {
          head: readHead(tenant, heads.get(tenant, { transaction })),
          page: found,
          next: isCut ? found.at(-1)?.key[2] : undefined,
        };
      });
      const read = ({ key, value }: (typeof page)[number]): readonly [string, Value] => {
        const parsed = parsedFact(value);
        const id = idOfFact(parsed) ?? key[2];
        // A record that carries another id would take that one's place.
        const fact = keyId(id) === key[2] ? readParsed({ kind, id }, parsed) : undefined;
        return [id, fact ?? misplaced(kind, key[2])];
      };
      return later(mapInTurns(page, read), (values) => readablePage(head, values, next));
    },

    async commit(commit): Promise<CommitResult> {
      let result: CommitResult;
      try {
        const written = await writtenOf(commit);
        result = await root.childTransaction(() => apply(commit, written));
      } catch (error) {
        if (error instanceof StoreError) throw error;
        const cause = await rootCause(error);
        throw new StoreError(
          `the embedded store in \`${directory}\` could not commit: ${causeText(cause)}`,
        );
      }
      if (result.committed) notify();
      return result;
    },

    feed: (tenant, after, limit): Feed =>
      reading((transaction) => {
        const range = entries.getRange({
          start: [tenant, after + 1],
          end: [tenant, Number.MAX_SAFE_INTEGER],
          limit,
          transaction,
        });
        const found = [...range].map(({ key, value }) => readEntry(key[1], value));
        const dense = found[0]?.revision === after + 1;
        const head = readHead(tenant, heads.get(tenant, { transaction }));
        return { head, entries: dense ? found : [] };
      }),

    heads: (tenants): readonly (Head | undefined | 'unknown')[] =>
      // A snapshot that nobody needs would only be in the way of a newer one.
      tenants.length === 0
        ? []
        : reading((transaction) =>
            tenants.map((tenant) => knownHead(tenant, heads.get(tenant, { transaction }))),
          ),

    tenants: (): readonly string[] => reading((transaction) => [...heads.getKeys({ transaction })]),

    // A commit is on disk before it is acknowledged.
    settle: () => Promise.resolve(),

    watch(onChange): () => void {
      listeners.add(onChange);
      watcher ??= watchOthers();
      return () => void listeners.delete(onChange);
    },

    async close(): Promise<void> {
      if (closed) return;
      closed = true;
      listeners.clear();
      clearInterval(readers);
      watcher?.close();
      await root.close();
    },
  };
}

/** Changes of a commit under their keys; `undefined` removes what is there. */
interface Written {
  readonly changes: readonly (readonly [key: FactDbKey, text: string | undefined])[];
  readonly needs: number;
}

async function writtenOf({ tenant, changes }: Commit): Promise<Written> {
  const texts = await mapInTurns(changes, ({ kind, id, value }) => {
    const key: FactDbKey = [tenant, kind, keyId(id)];
    return [key, value === undefined ? undefined : factText(kind, id, value)] as const;
  });
  return { changes: texts, needs: leastReaderOf(changes) };
}

function factText(kind: Kind, id: string, value: FactValue): string {
  const needs = leastReader(kind);
  return JSON.stringify({ id, value, ...(needs > 1 ? { needs } : {}) } satisfies StoredFact);
}

function misplaced(kind: Kind, id: string): Unreadable {
  return new Unreadable({ kind, id }, 'it stands in the place of another record');
}

/** One tenant's head that cannot be read is not known; the others are. */
function knownHead(tenant: string, json: string | undefined): Head | undefined | 'unknown' {
  try {
    return readHead(tenant, json);
  } catch {
    return 'unknown';
  }
}

/** What went wrong, and the remedy where there is one. */
function causeText(cause: unknown): string {
  const message = cause instanceof Error ? cause.message : String(cause);
  if (/no space left|ENOSPC|quota|EDQUOT|file too large|EFBIG/i.test(message))
    return `the disk is full: free some of it (${message})`;
  if (/MDB_MAP_FULL|mapsize/i.test(message))
    return `it is full, at ${MAP_BYTES} bytes (${message})`;
  return message;
}

/** The library tells why a commit failed in a second promise, which nobody else looks at. */
async function rootCause(error: unknown): Promise<unknown> {
  if (!(error instanceof Error) || !('commitError' in error)) return error;
  const late = new Promise<unknown>((done) => setTimeout(done, CAUSE_MS, error).unref());
  const told = Promise.resolve(error.commitError).then(
    () => error,
    (cause: unknown) => cause,
  );
  return Promise.race([told, late]);
}

function keyId(id: string): string {
  return id.length <= MAX_KEY_CHARS
    ? id
    : `sha256:${createHash('sha256').update(id).digest('hex')}`;
}
