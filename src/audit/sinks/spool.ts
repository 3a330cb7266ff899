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
  /** Told of what a crash has left, and cannot be sent. */
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

/** @throws Error where the file cannot be one */
export function openSpool({ path, maxBytes, onProblem }: SpoolOptions): Spool {
  let descriptor = opened(path);
  /** Up to there all was sent. */
  let sent = 0;
  let isLeft = false;
  /** A chunk that is sent again is the same one. */
  let next: { readonly lines: readonly string[]; readonly end: number } | undefined;

  const size = (): number => fstatSync(descriptor).size;

  const chunk = (): { readonly lines: readonly string[]; readonly end: number } | undefined => {
    const end = size();
    if (sent >= end) return undefined;
    let bytes = readAt(descriptor, sent, Math.min(CHUNK_BYTES, end - sent));
    let last = bytes.lastIndexOf(LINE_FEED);
    // A line that is longer than a chunk is one by itself.
    while (last < 0 && sent + bytes.length < end) {
      bytes = readAt(descriptor, sent, Math.min(bytes.length * 2, end - sent));
      last = bytes.lastIndexOf(LINE_FEED);
    }
    if (last >= 0) return { lines: recordsIn(bytes.subarray(0, last)), end: sent + last + 1 };
    onProblem(
      `\`${path}\`: ${bytes.length} bytes at its end are no whole record: a crash cut it off`,
    );
    return { lines: [], end };
  };

  const recordsIn = (bytes: Buffer): string[] => {
    const lines = bytes
      .toString()
      .split('\n')
      .filter((line) => line !== '');
    const records = lines.filter((line) => parseRecord(line) !== undefined);
    if (records.length < lines.length)
      onProblem(
        `\`${path}\`: ${lines.length - records.length} lines are no records, and are not sent`,
      );
    return records;
  };

  /** Lines that were sent go, so that they do not count against the bound. */
  const compact = (): void => {
    if (sent === 0) return;
    const rest = readAt(descriptor, sent, size() - sent);
    const temporary = `${path}.new`;
    rmSync(temporary, { force: true });
    const fresh = openSync(temporary, FLAGS | constants.O_EXCL, MODE);
    writeAll(fresh, rest);
    fsyncSync(fresh);
    renameSync(temporary, path);
    closeSync(descriptor);
    descriptor = fresh;
    sent = 0;
    next = undefined;
  };

  return {
    isWaiting: () => sent < size(),
    async drain(send): Promise<number> {
      let count = 0;
      while ((next ??= chunk()) !== undefined) {
        const { lines, end } = next;
        if (lines.length > 0) await send(lines);
        // What was left meanwhile is the next process's, and this chunk with it.
        if (isLeft) return count;
        count += lines.length;
        sent = end;
        next = undefined;
      }
      if (sent > 0) ftruncateSync(descriptor, 0);
      sent = 0;
      return count;
    },
    leave(lines): number {
      isLeft = true;
      compact();
      const start = size();
      const torn = start > 0 && readAt(descriptor, start - 1, 1)[0] !== LINE_FEED ? '\n' : '';
      let room = maxBytes - start - torn.length;
      const fitting = lines.findIndex((line) => (room -= Buffer.byteLength(line) + 1) < 0);
      const kept = fitting < 0 ? lines : lines.slice(0, fitting);
      if (kept.length === 0) return 0;
      writeAll(descriptor, Buffer.from(`${torn}${kept.join('\n')}\n`));
      fsyncSync(descriptor);
      return kept.length;
    },
    close: () => closeSync(descriptor),
    remove(): void {
      if (size() === 0) rmSync(path, { force: true });
    },
  };
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
