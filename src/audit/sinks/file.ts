/** Keeps records in a file that is rotated by size and age, and removes old ones by number, age and size. */
import {
  closeSync,
  constants,
  existsSync,
  fdatasync,
  fstatSync,
  fsync,
  mkdirSync,
  openSync,
  readSync,
  write,
  writeSync,
} from 'node:fs';
import { open, rename, stat, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { absent, filesOf, rotatedName } from '../logs/names.ts';
import { BusyError, GoneError, type Batch, type Destination } from './queue.ts';

const writeSome = promisify(write);
const syncData = promisify(fdatasync);
const syncAll = promisify(fsync);

export interface FileOptions {
  readonly path: string;
  /** A batch is kept once it is on the disk, not only with the system. */
  readonly durable: boolean;
  /** A file that is larger, or older, ms, is rotated; 0: never. */
  readonly rotateBytes: number;
  readonly rotateMs: number;
  /** Of rotated files, so many stay, so old ones, ms, and so many bytes in all; 0: all. */
  readonly keepFiles: number;
  readonly keepMs: number;
  readonly keepBytes: number;
  /** Other logs that this retention is also for, by the files that were written to; absent: none. */
  readonly abandoned?: (() => Promise<readonly string[]>) | undefined;
  /** Told of what does not keep a record from being kept: a file that cannot be removed. */
  readonly onError: (error: unknown) => void;
}

/** How often it is looked whether somebody else has moved the file away, ms. */
const LOOK_MS = 1_000;
/** How long the last write may take once the sink is closed, ms. */
const CLOSE_MS = 1_000;
/** How often it is looked which files are too old, ms. */
const PRUNE_MS = 60_000;
/** After a rotation that failed, the next is tried so much later, ms. */
const ROTATE_AGAIN_MS = 60_000;
/** Where the time of a file's first record is looked for, bytes from its beginning. */
const HEAD_BYTES = 64 * 1024;
const LINE_FEED = 0x0a;
/** A pipe that is full must say so, and hold no thread. */
const APPEND = constants.O_RDWR | constants.O_APPEND | constants.O_CREAT | constants.O_NONBLOCK;

/** @throws Error where the file cannot be opened: a log that cannot be kept must not be promised */
export function openFile(options: FileOptions): Destination {
  const { path, durable } = options;
  let file = openLog(path);
  let lookedAt = performance.now();
  let prunedAt = -Infinity;
  /** The batch that is being kept, and how much of it was written. */
  let current: { readonly id: number; readonly bytes: Buffer; at: number } | undefined;
  /** A write that the time to close did not wait for must not go on in a file that is not ours any more. */
  let closed = false;
  let working = Promise.resolve();

  let rotationFailures = 0;
  let rotateAt = -Infinity;

  const reopen = (): void => {
    const next = openLog(path);
    closeSync(file.descriptor);
    file = next;
  };

  /** Where no new file can be made, records go on into the one that is open, as long as it has a name. */
  const reopenOrStay = (): void => {
    try {
      reopen();
    } catch (error) {
      if (fstatSync(file.descriptor).nlink === 0) throw error;
      options.onError(
        new Error(
          `\`${path}\` was moved away, and no new one can be made: records go on into the old one`,
          { cause: error },
        ),
      );
    }
  };

  const isThere = async (): Promise<boolean> =>
    (await stat(path).catch(() => undefined))?.ino === file.inode;

  /** Only between batches: a line is never torn by it. */
  const settle = async (bytes: number): Promise<void> => {
    if (!file.regular) return;
    if (performance.now() - lookedAt > LOOK_MS) {
      if (!(await isThere())) reopenOrStay();
      lookedAt = performance.now();
    }
    if (performance.now() - prunedAt > PRUNE_MS) {
      prunedAt = performance.now();
      await prune(options);
    }
    const { rotateBytes, rotateMs } = options;
    const full = rotateBytes > 0 && file.bytes > 0 && file.bytes + bytes > rotateBytes;
    const old = rotateMs > 0 && file.bytes > 0 && Date.now() - file.bornAt > rotateMs;
    if ((full || old) && performance.now() >= rotateAt) await rotate();
  };

  /** A log that cannot be rotated is a log that grows: it goes on, says so, and is tried again. */
  const rotate = async (): Promise<void> => {
    let at = Date.now();
    while (existsSync(rotatedName(path, new Date(at)))) at++;
    try {
      await syncAll(file.descriptor);
      await rename(path, rotatedName(path, new Date(at)));
    } catch (error) {
      rotationFailures++;
      rotateAt = performance.now() + ROTATE_AGAIN_MS;
      options.onError(
        new Error(
          `\`${path}\` cannot be rotated: records are appended to it, and it is tried again in ${ROTATE_AGAIN_MS / 1_000} s`,
          { cause: error },
        ),
      );
      return;
    }
    reopenOrStay();
    await prune(options);
  };

  /** Where a try has failed and the file is not there any more, all of the batch goes into the one that will be. */
  const startAgain = async (batch: { at: number }): Promise<void> => {
    if (!file.regular || (await isThere())) return;
    reopen();
    batch.at = 0;
  };

  const sync = async (batch: { at: number }): Promise<void> => {
    try {
      await syncData(file.descriptor);
      if (!file.isNamed) await syncDirectory(path);
      file.isNamed = true;
    } catch (error) {
      // The system tells once that pages are lost, and forgets them: what is not surely there is written again.
      batch.at = 0;
      throw error;
    }
    if (fstatSync(file.descriptor).nlink > 0) return;
    batch.at = 0;
    throw new Error(`\`${path}\` was removed`);
  };

  const keep = async ({ id, lines }: Batch): Promise<void> => {
    if (current?.id === id) await startAgain(current);
    else {
      const bytes = Buffer.from(`${lines.join('\n')}\n`);
      await settle(bytes.length);
      current = { id, bytes, at: 0 };
    }
    const { bytes } = current;
    while (current.at < bytes.length) {
      if (closed) throw new GoneError(`\`${path}\` is closed`);
      const { bytesWritten } = await writeSome(file.descriptor, bytes, current.at).catch(
        explainPipe,
      );
      current.at += bytesWritten;
      file.bytes += bytesWritten;
    }
    if (durable && file.regular) await sync(current);
    current = undefined;
  };

  return {
    keep(batch: Batch): Promise<void> {
      const kept = keep(batch);
      working = kept.catch(() => {});
      return kept;
    },
    counts: () => ({ rotation_failures: rotationFailures }),
    close(): Promise<void> {
      closed = true;
      const end = async (): Promise<void> => {
        await working;
        if (file.regular) await syncAll(file.descriptor).catch(options.onError);
        closeSync(file.descriptor);
      };
      // A write that hangs is not waited for.
      return Promise.race([end(), sleep(CLOSE_MS, undefined, { ref: false })]);
    },
  };
}

/** Keeps records on stdout: what is taken from the pipe is somebody else's. */
export function openStdout(): Destination {
  const STDOUT = 1;
  let current: { readonly id: number; bytes: Buffer } | undefined;
  return {
    async keep({ id, lines }: Batch): Promise<void> {
      if (current?.id !== id) current = { id, bytes: Buffer.from(`${lines.join('\n')}\n`) };
      while (current.bytes.length > 0) {
        const { bytesWritten } = await writeSome(STDOUT, current.bytes).catch(explainPipe);
        current.bytes = current.bytes.subarray(bytesWritten);
      }
      current = undefined;
    },
    close: () => Promise.resolve(),
  };
}

function explainPipe(error: NodeJS.ErrnoException): never {
  if (error.code === 'EAGAIN') throw new BusyError();
  // A reader that went away (`postern serve | head`) does not come back, and must not take the gate down.
  if (error.code === 'EPIPE') throw new GoneError('nobody reads it any more', { cause: error });
  throw error;
}

interface OpenLog {
  readonly descriptor: number;
  /** Not a device, nor a pipe. */
  readonly regular: boolean;
  readonly inode: number;
  /** The time of its first record, ms since the epoch; of a file that tells none, when it was opened. */
  readonly bornAt: number;
  /** A file that is new has a name on the disk once its directory was synced. */
  isNamed: boolean;
  bytes: number;
}

function openLog(path: string): OpenLog {
  try {
    // Its directory, not the way to it: a mistyped path should be noticed.
    if (!existsSync(dirname(path))) mkdirSync(dirname(path));
    const descriptor = openSync(path, APPEND, 0o640);
    const status = fstatSync(descriptor);
    const { ino: inode, size } = status;
    const regular = status.isFile();
    const bornAt = regular ? firstTime(descriptor, size) : Date.now();
    const bytes = regular ? endLine(descriptor, size) : 0;
    return { descriptor, regular, inode, bornAt, bytes, isNamed: size > 0 };
  } catch (error) {
    throw new Error(
      `audit.sinks: \`${path}\` cannot be opened: give a file that can be appended to`,
      { cause: error },
    );
  }
}

/**
 * Not all file systems tell when a file was made: one that looked as old as the epoch would be rotated at every start,
 * and retention would remove the others. A time to come is that of a clock that was wrong.
 */
function firstTime(descriptor: number, size: number): number {
  const now = Date.now();
  const head = Buffer.alloc(Math.min(size, HEAD_BYTES));
  const text = head.toString('utf8', 0, readSync(descriptor, head, 0, head.length, 0));
  const [, time = ''] = /^\{"v":\d+,"type":"[a-z]+","time":"([^"]{1,40})"/m.exec(text) ?? [];
  const at = Date.parse(time);
  return at <= now ? at : now;
}

/** A crash may have cut the last line off: what comes next must not become a part of it. */
function endLine(descriptor: number, size: number): number {
  const last = Buffer.alloc(1);
  if (size === 0 || readSync(descriptor, last, 0, 1, size - 1) === 0 || last[0] === LINE_FEED)
    return size;
  return size + writeSync(descriptor, '\n');
}

/** Removes what retention no longer wants, log by log; never the file that is written to. */
async function prune(options: FileOptions): Promise<void> {
  const { path, keepFiles, keepMs, keepBytes } = options;
  if (keepFiles === 0 && keepMs === 0 && keepBytes === 0) return;
  try {
    await pruneLog(
      (await filesOf(path)).filter((name) => name !== path),
      options,
    );
    for (const log of (await options.abandoned?.()) ?? [])
      await pruneLog(await filesOf(log), options);
  } catch (error) {
    options.onError(error);
  }
}

/** @param files oldest first */
async function pruneLog(files: readonly string[], options: FileOptions): Promise<void> {
  const { keepFiles, keepMs, keepBytes } = options;
  let bytes = 0;
  for (const [index, name] of files.toReversed().entries()) {
    const status = await stat(name).catch(absent);
    if (status === undefined) continue;
    const { size, mtimeMs } = status;
    bytes += size;
    const tooMany = keepFiles > 0 && index >= keepFiles;
    const tooOld = keepMs > 0 && Date.now() - mtimeMs > keepMs;
    const tooMuch = keepBytes > 0 && bytes > keepBytes;
    if (tooMany || tooOld || tooMuch) await unlink(name).catch(absent);
  }
}

/** A name is on the disk once its directory is. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(dirname(path), 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
