/** A file that is opened to append records to. */
import {
  constants,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readSync,
  writeSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Where the time of a file's first record is looked for, bytes from its beginning. */
const HEAD_BYTES = 64 * 1024;
const LINE_FEED = 0x0a;
/** A full pipe answers EAGAIN and blocks no thread. */
const APPEND = constants.O_RDWR | constants.O_APPEND | constants.O_CREAT | constants.O_NONBLOCK;

export interface AppendedFile {
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

/** @throws Error that names the setting and the remedy */
export function openAppended(path: string): AppendedFile {
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

/** A name is on the disk once its directory is. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(dirname(path), 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
