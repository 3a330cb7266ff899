/** Files are read whole: one that somebody writes meanwhile is read again until two reads agree. */
import { readFileSync, statSync, type Stats } from 'node:fs';

/** Reads of a file that changes under them, before it is given up. */
const MAX_READS = 5;
/** Between two reads of a file that was written just now, ms. */
const PAUSE_MS = 10;
/** A file that was written longer ago is no more being written, ms. */
const SETTLED_MS = 2_000;
/** Contents are compared up to this size; of larger files size, time and identity alone, bytes. */
const COMPARED_BYTES = 16 * 1024 * 1024;

/**
 * Reads a file. A regular file counts only if two reads agree in size, time of change and content.
 * @throws Error where it cannot be read, or changes all the while
 */
export function readStable(file: string): Buffer {
  let last = look(file);
  // A pipe can be read once.
  if (!last.stats.isFile()) return last.bytes;
  for (let reads = 1; reads < MAX_READS; reads++) {
    if (Math.abs(Date.now() - last.stats.mtimeMs) < SETTLED_MS) pause();
    const next = look(file);
    if (agree(last, next)) return next.bytes;
    last = next;
  }
  throw new Error('changes while it is read: write it to another file and rename that file');
}

interface Look {
  readonly stats: Stats;
  readonly bytes: Buffer;
}

function look(file: string): Look {
  const stats = statSync(file);
  const bytes = readFileSync(file);
  return { stats, bytes };
}

function agree(one: Look, other: Look): boolean {
  const same = (field: 'size' | 'mtimeMs' | 'ino' | 'dev'): boolean =>
    one.stats[field] === other.stats[field];
  return (
    same('size') &&
    same('mtimeMs') &&
    same('ino') &&
    same('dev') &&
    one.bytes.length === one.stats.size &&
    other.bytes.length === other.stats.size &&
    (one.bytes.length > COMPARED_BYTES || one.bytes.equals(other.bytes))
  );
}

/** Reading is synchronous, and so is the pause: short, and only for a file that was written just now. */
function pause(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE_MS);
}
