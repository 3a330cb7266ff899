/**
 * The spool of a sink: a file with the records that it could not deliver before its process ended. The next process sends
 * them first, in their order. They come at least once: where a process ends in the middle of that, the next begins
 * again, and a record that comes twice is known by its `instance` and `seq`.
 */
import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { parseRecord } from '../record/line.ts';

export interface SpoolOptions {
  readonly path: string;
  /** The file has so many bytes at most. */
  readonly maxBytes: number;
  /** Called for what a crash has left that cannot be sent. */
  readonly onProblem: (problem: string) => void;
}

export interface Spool {
  /** Records wait in it. */
  isWaiting(): boolean;
  /**
   * Sends what waits, and empties the file.
   * @param send rejects where the lines are not kept; the next call begins with them
   * @returns how many were sent
   */
  drain(send: (lines: readonly string[]) => Promise<void>): Promise<number>;
  /** Writes lines behind those that wait, and to the disk. @returns how many had room: the first ones */
  leave(lines: readonly string[]): number;
  close(): void;
  /** Removes the file, where nothing waits in it. */
  remove(): void;
}

const LINE_FEED = 0x0a;
/** What is sent at once, bytes, or one line. */
const CHUNK_BYTES = 512 * 1024;
/** Appended to by its owner alone; a link would lead to a file of somebody else. */
const FLAGS = constants.O_RDWR | constants.O_CREAT | constants.O_APPEND | constants.O_NOFOLLOW;
const MODE = 0o600;

interface Chunk {
  readonly lines: readonly string[];
  /** Where the chunk ends in the file. */
  readonly end: number;
}

/** @throws Error where the file cannot be opened as a spool */
export function openSpool(options: SpoolOptions): Spool {
  return new FileSpool(options);
}

class FileSpool implements Spool {
  readonly #options: SpoolOptions;
  #descriptor: number;
  /** The bytes before this offset were sent. */
  #sent = 0;
  /** `leave` was called: what waits now is for the next process. */
  #isLeft = false;
  /** The chunk that is sent now: the same one again, if sending fails. */
  #next: Chunk | undefined;

  constructor(options: SpoolOptions) {
    this.#options = options;
    this.#descriptor = opened(options.path);
  }

  isWaiting(): boolean {
    return this.#sent < this.#size();
  }

  async drain(send: (lines: readonly string[]) => Promise<void>): Promise<number> {
    let count = 0;
    while ((this.#next ??= this.#chunk()) !== undefined) {
      const { lines, end } = this.#next;
      if (lines.length > 0) await send(lines);
      // The next process sends what was left meanwhile, and this chunk with it.
      if (this.#isLeft) return count;
      count += lines.length;
      this.#sent = end;
      this.#next = undefined;
    }
    if (this.#sent > 0) ftruncateSync(this.#descriptor, 0);
    this.#sent = 0;
    return count;
  }

  leave(lines: readonly string[]): number {
    this.#isLeft = true;
    this.#compact();
    const start = this.#size();
    const isTorn = start > 0 && readAt(this.#descriptor, start - 1, 1)[0] !== LINE_FEED;
    const before = isTorn ? '\n' : '';
    let room = this.#options.maxBytes - start - before.length;
    const fitting = lines.findIndex((line) => (room -= Buffer.byteLength(line) + 1) < 0);
    const kept = fitting < 0 ? lines : lines.slice(0, fitting);
    if (kept.length === 0) return 0;
    writeAll(this.#descriptor, Buffer.from(`${before}${kept.join('\n')}\n`));
    fsyncSync(this.#descriptor);
    return kept.length;
  }

  close(): void {
    // A chunk that is still being sent must not touch the descriptor after this.
    this.#isLeft = true;
    closeSync(this.#descriptor);
  }

  remove(): void {
    if (this.#size() === 0) rmSync(this.#options.path, { force: true });
  }

  #size(): number {
    return fstatSync(this.#descriptor).size;
  }

  /** The next lines to send; `undefined`: nothing waits. */
  #chunk(): Chunk | undefined {
    const end = this.#size();
    const from = this.#sent;
    if (from >= end) return undefined;
    let bytes = readAt(this.#descriptor, from, Math.min(CHUNK_BYTES, end - from));
    let last = bytes.lastIndexOf(LINE_FEED);
    // A line that is longer than a chunk is a chunk of its own.
    while (last < 0 && from + bytes.length < end) {
      bytes = readAt(this.#descriptor, from, Math.min(bytes.length * 2, end - from));
      last = bytes.lastIndexOf(LINE_FEED);
    }
    if (last >= 0) return { lines: this.#recordsIn(bytes.subarray(0, last)), end: from + last + 1 };
    this.#options.onProblem(
      `\`${this.#options.path}\`: ${bytes.length} bytes at its end are no whole record: a crash cut it off`,
    );
    return { lines: [], end };
  }

  #recordsIn(bytes: Buffer): string[] {
    const lines = bytes
      .toString()
      .split('\n')
      .filter((line) => line !== '');
    const records = lines.filter((line) => parseRecord(line) !== undefined);
    if (records.length < lines.length)
      this.#options.onProblem(
        `\`${this.#options.path}\`: ${lines.length - records.length} lines are no records, and are not sent`,
      );
    return records;
  }

  /** Removes the lines that were sent, so that they do not count against the bound. */
  #compact(): void {
    if (this.#sent === 0) return;
    const rest = readAt(this.#descriptor, this.#sent, this.#size() - this.#sent);
    const temporary = `${this.#options.path}.new`;
    rmSync(temporary, { force: true });
    const fresh = openSync(temporary, FLAGS | constants.O_EXCL, MODE);
    writeAll(fresh, rest);
    fsyncSync(fresh);
    renameSync(temporary, this.#options.path);
    closeSync(this.#descriptor);
    this.#descriptor = fresh;
    this.#sent = 0;
    this.#next = undefined;
  }
}

function opened(path: string): number {
  let descriptor: number | undefined;
  try {
    descriptor = openSync(path, FLAGS, MODE);
    if (!fstatSync(descriptor).isFile()) throw new Error('it is no file');
    fchmodSync(descriptor, MODE);
    return descriptor;
  } catch (error) {
    if (descriptor !== undefined) closeSync(descriptor);
    throw new Error(
      `audit.sinks.spool_file: \`${path}\` cannot be opened: give a file in a directory that is there and may be written to`,
      { cause: error },
    );
  }
}

function readAt(descriptor: number, from: number, bytes: number): Buffer {
  const buffer = Buffer.alloc(bytes);
  let read = 0;
  while (read < bytes) {
    const more = readSync(descriptor, buffer, read, bytes - read, from + read);
    if (more === 0) break;
    read += more;
  }
  return buffer.subarray(0, read);
}

function writeAll(descriptor: number, bytes: Buffer): void {
  for (let at = 0; at < bytes.length;) at += writeSync(descriptor, bytes, at);
}
