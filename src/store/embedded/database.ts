/**
 * The LMDB file of an embedded store: it is opened and checked, read in snapshots, written in transactions, and
 * closed here. What the records mean is known to `reads.ts` and `commit.ts`.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { open, type Database as LmdbDatabase, type RootDatabase } from 'lmdb';
import type { Kind } from '../../engine/records.ts';
import { StoreError } from '../store.ts';
import { checkDatabase, makeLockFile } from './file.ts';

/** Layout of the database; a directory with another one is refused. */
const LAYOUT = 1;
/** Time between two searches for readers whose process has ended, ms. */
const READER_CHECK_MS = 1_000;
/** Address space, not memory: the file grows as it is filled, up to this. */
export const MAP_BYTES = 64 * 1024 ** 3;

export type FactDbKey = [tenant: string, kind: Kind, id: string];
export type FeedDbKey = [tenant: string, revision: number];

/** One snapshot of the database; every read is given it. */
export type Snapshot = ReturnType<RootDatabase['useReadTransaction']>;

export class EmbeddedDatabase {
  readonly directory: string;
  readonly file: string;
  // Texts: a record that cannot be read is reported alone, and does not end the read of the others.
  readonly heads: LmdbDatabase<string, string>;
  readonly facts: LmdbDatabase<string, FactDbKey>;
  readonly entries: LmdbDatabase<string, FeedDbKey>;
  readonly #root: RootDatabase;
  readonly #readerCheck: NodeJS.Timeout;
  #isClosed = false;

  /** @throws StoreError where the directory cannot be used, with the reason */
  constructor(directory: string) {
    this.directory = directory;
    this.file = join(directory, 'postern.mdb');
    this.#root = openRoot(directory, this.file);
    checkLayout(this.#root, directory);
    this.heads = this.#root.openDB({ name: 'heads', encoding: 'string' });
    this.facts = this.#root.openDB({ name: 'facts', encoding: 'string' });
    this.entries = this.#root.openDB({ name: 'feed', encoding: 'string' });
    // A process that was killed while it read would keep all pages from being used again, and the file would grow.
    this.#readerCheck = setInterval(() => {
      try {
        this.#root.readerCheck();
      } catch {
        // The next one may succeed; where the database cannot be read, the next read says so.
      }
    }, READER_CHECK_MS).unref();
  }

  /** Runs reads in one snapshot. @throws StoreError */
  read<T>(read: (snapshot: Snapshot) => T): T {
    if (this.#isClosed)
      throw new StoreError(`the embedded store in \`${this.directory}\` is closed`);
    try {
      const snapshot = this.#root.useReadTransaction();
      try {
        return read(snapshot);
      } finally {
        snapshot.done();
      }
    } catch (error) {
      if (error instanceof StoreError) throw error;
      throw new StoreError(`the embedded store in \`${this.directory}\` cannot be read`, {
        cause: error,
      });
    }
  }

  /** Runs writes in one transaction; resolves when it is on the disk. Throws what the library throws. */
  write<T>(write: () => T): Promise<T> {
    return this.#root.childTransaction(write);
  }

  /** Lets the next read see the newest commit: the library goes on with a snapshot that it has open. */
  refresh(): void {
    if (!this.#isClosed) this.#root.resetReadTxn();
  }

  /** May be called again. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearInterval(this.#readerCheck);
    await this.#root.close();
  }
}

function openRoot(directory: string, file: string): RootDatabase {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    checkDatabase(file);
    makeLockFile(`${file}-lock`);
    return open({
      path: file,
      noSubdir: true,
      encoding: 'json',
      mapSize: MAP_BYTES,
      maxDbs: 4,
      // Acknowledge only what is on disk.
      overlappingSync: false,
      // Nobody holds the promise that the library makes for such a batch: where it fails, the process would end.
      eventTurnBatching: false,
    });
  } catch (error) {
    throw new StoreError(`cannot open the embedded store in \`${directory}\``, { cause: error });
  }
}

/** Writes the layout where there is none. @throws StoreError where it is another */
function checkLayout(root: RootDatabase, directory: string): void {
  const meta: LmdbDatabase<number, string> = root.openDB({ name: 'meta', encoding: 'json' });
  const layout = meta.get('layout');
  if (layout === LAYOUT) return;
  if (layout === undefined) {
    meta.putSync('layout', LAYOUT);
    return;
  }
  void root.close();
  throw new StoreError(
    `\`${directory}\` has layout ${layout}, this version reads layout ${LAYOUT}: export with the version that wrote it, then apply to a new directory`,
  );
}
