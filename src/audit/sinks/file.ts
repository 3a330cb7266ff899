/** Keeps records in a file that is rotated by size and age, and removes old ones by number, age and size. */
import { closeSync, existsSync, fdatasync, fstatSync, fsync, write } from 'node:fs';
import { rename, stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { rotatedName } from '../logs/names.ts';
import { openAppended, syncDirectory, type AppendedFile } from './appended-file.ts';
import { BusyError, GoneError, type Batch, type Destination } from './queue.ts';
import { prune, type Retention } from './retention.ts';

const writeSome = promisify(write);
const syncData = promisify(fdatasync);
const syncAll = promisify(fsync);

export interface FileOptions extends Retention {
  /** A batch is kept once it is on the disk, not only with the system. */
  readonly durable: boolean;
  /** A file that is larger, or older, ms, is rotated; 0: never. */
  readonly rotateBytes: number;
  readonly rotateMs: number;
}

/** How often it is looked whether somebody else has moved the file away, ms. */
const LOOK_MS = 1_000;
/** How long the last write may take once the sink is closed, ms. */
const CLOSE_MS = 1_000;
/** How often it is looked which files are too old, ms. */
const PRUNE_MS = 60_000;
/** After a rotation that failed, the next is tried so much later, ms. */
const ROTATE_AGAIN_MS = 60_000;

/** @throws Error where the file cannot be opened: a log that cannot be kept must not be promised */
export function openFile(options: FileOptions): Destination {
  return new LogFile(options);
}

class LogFile implements Destination {
  readonly #options: FileOptions;
  #file: AppendedFile;
  #lookedAt = performance.now();
  #prunedAt = -Infinity;
  /** No rotation is tried before this time: the last one failed. */
  #rotateAt = -Infinity;
  #rotationFailures = 0;
  /** The batch that is being written, and how much of it was. */
  #current: { readonly id: number; readonly bytes: Buffer; at: number } | undefined;
  /** From then on nothing is written: the file may belong to another process. */
  #closed = false;
  #working = Promise.resolve();

  constructor(options: FileOptions) {
    this.#options = options;
    this.#file = openAppended(options.path);
  }

  keep(batch: Batch): Promise<void> {
    const kept = this.#keep(batch);
    this.#working = kept.catch(() => {});
    return kept;
  }

  counts(): { readonly rotation_failures: number } {
    return { rotation_failures: this.#rotationFailures };
  }

  /** Does not wait for a write that hangs. */
  close(): Promise<void> {
    this.#closed = true;
    return Promise.race([this.#end(), sleep(CLOSE_MS, undefined, { ref: false })]);
  }

  async #end(): Promise<void> {
    await this.#working;
    const { regular, descriptor } = this.#file;
    if (regular) await syncAll(descriptor).catch(this.#options.onError);
    closeSync(descriptor);
  }

  async #keep({ id, lines }: Batch): Promise<void> {
    if (this.#current?.id === id) await this.#startAgain(this.#current);
    else {
      const bytes = Buffer.from(`${lines.join('\n')}\n`);
      await this.#prepare(bytes.length);
      this.#current = { id, bytes, at: 0 };
    }
    const batch = this.#current;
    while (batch.at < batch.bytes.length) {
      if (this.#closed) throw new GoneError(`\`${this.#options.path}\` is closed`);
      const { bytesWritten } = await writeSome(this.#file.descriptor, batch.bytes, batch.at).catch(
        explainPipe,
      );
      batch.at += bytesWritten;
      this.#file.bytes += bytesWritten;
    }
    if (this.#options.durable && this.#file.regular) await this.#sync(batch);
    this.#current = undefined;
  }

  /** Looks for a moved file, retention and rotation: between batches only, so that no line is torn. */
  async #prepare(bytes: number): Promise<void> {
    if (!this.#file.regular) return;
    if (performance.now() - this.#lookedAt > LOOK_MS) {
      if (!(await this.#isThere())) this.#reopenOrStay();
      this.#lookedAt = performance.now();
    }
    if (performance.now() - this.#prunedAt > PRUNE_MS) {
      this.#prunedAt = performance.now();
      await prune(this.#options);
    }
    if (this.#isRotationDue(bytes) && performance.now() >= this.#rotateAt) await this.#rotate();
  }

  #isRotationDue(bytes: number): boolean {
    const { rotateBytes, rotateMs } = this.#options;
    const file = this.#file;
    if (file.bytes === 0) return false;
    const isFull = rotateBytes > 0 && file.bytes + bytes > rotateBytes;
    return isFull || (rotateMs > 0 && Date.now() - file.bornAt > rotateMs);
  }

  /** A log that cannot be rotated grows on; the failure is reported, and the rotation is tried again. */
  async #rotate(): Promise<void> {
    const { path, onError } = this.#options;
    let at = Date.now();
    while (existsSync(rotatedName(path, new Date(at)))) at++;
    try {
      await syncAll(this.#file.descriptor);
      await rename(path, rotatedName(path, new Date(at)));
    } catch (error) {
      this.#rotationFailures++;
      this.#rotateAt = performance.now() + ROTATE_AGAIN_MS;
      onError(
        new Error(
          `\`${path}\` cannot be rotated: records are appended to it, and it is tried again in ${ROTATE_AGAIN_MS / 1_000} s`,
          { cause: error },
        ),
      );
      return;
    }
    this.#reopenOrStay();
    await prune(this.#options);
  }

  #reopen(): void {
    const next = openAppended(this.#options.path);
    closeSync(this.#file.descriptor);
    this.#file = next;
  }

  /** Where no new file can be made, records are appended to the open one as long as it has a name. */
  #reopenOrStay(): void {
    try {
      this.#reopen();
    } catch (error) {
      if (fstatSync(this.#file.descriptor).nlink === 0) throw error;
      this.#options.onError(
        new Error(
          `\`${this.#options.path}\` was moved away, and no new one can be made: records go on into the old one`,
          { cause: error },
        ),
      );
    }
  }

  async #isThere(): Promise<boolean> {
    return (await stat(this.#options.path).catch(() => undefined))?.ino === this.#file.inode;
  }

  /** After a failed write to a file that is gone, the whole batch is written to the new one. */
  async #startAgain(batch: { at: number }): Promise<void> {
    if (!this.#file.regular || (await this.#isThere())) return;
    this.#reopen();
    batch.at = 0;
  }

  async #sync(batch: { at: number }): Promise<void> {
    const file = this.#file;
    try {
      await syncData(file.descriptor);
      if (!file.isNamed) await syncDirectory(this.#options.path);
      file.isNamed = true;
    } catch (error) {
      // The system reports lost pages once and then forgets them: the whole batch is written again.
      batch.at = 0;
      throw error;
    }
    if (fstatSync(file.descriptor).nlink > 0) return;
    batch.at = 0;
    throw new Error(`\`${this.#options.path}\` was removed`);
  }
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
