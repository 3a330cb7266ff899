/** Follows the file that a log is written to: through rotation, however often, and truncation, no line twice, none left out. */
import { stat, type FileHandle } from 'node:fs/promises';
import {
  absent,
  linesBackwards,
  openIfThere,
  openSplitter,
  snapshotOf,
  type Line,
  type Splitter,
} from './names.ts';

export interface Follower {
  /** The lines that were there when it was opened, newest first. To be read before the next ones. */
  before(): AsyncGenerator<Line>;
  /** The lines that were ended since the last look, of a file that was moved away also those that it still gets. */
  grown(): AsyncGenerator<Line>;
  close(): Promise<void>;
}

/** A file and how far it was read. */
interface Opened {
  readonly handle: FileHandle;
  /** Device and inode: the file, whatever it is called. */
  readonly id: string;
  offset: number;
  readonly splitter: Splitter;
}

const READ_BYTES = 1024 * 1024;
/** A file that somebody else has moved away is written to until its sink looks, which it does once a second; ms. */
const LEAVING_MS = 2_000;

export async function openFollower(file: string): Promise<Follower> {
  const { past, beginning } = await begin(file);
  return new FileFollower(file, past, beginning);
}

class FileFollower implements Follower {
  readonly #file: string;
  /** Rotated files that were there when it was opened, oldest first. */
  readonly #past: readonly string[];
  readonly #beginning: Opened | undefined;
  /** Where `before` ends in the file that was written to when it was opened. */
  readonly #start: number;
  #current: Opened | undefined;
  /** Files that were moved away, and until when they are read on. As long as one is open, no other has its inode. */
  readonly #leaving = new Map<Opened, number>();
  /** The newest rotated file that was read to its end. */
  #newest: string;

  constructor(file: string, past: readonly string[], beginning: Opened | undefined) {
    this.#file = file;
    this.#past = past;
    this.#beginning = beginning;
    this.#start = beginning?.offset ?? 0;
    this.#current = beginning;
    this.#newest = past.at(-1) ?? '';
  }

  async *before(): AsyncGenerator<Line> {
    if (this.#beginning !== undefined)
      yield* backwards(this.#beginning.handle, this.#start, this.#file);
    for (const name of this.#past.toReversed()) {
      const handle = await openIfThere(name);
      if (handle === undefined) continue;
      try {
        yield* backwards(handle, (await handle.stat()).size, name);
      } finally {
        await handle.close();
      }
    }
  }

  async *grown(): AsyncGenerator<Line> {
    const current = this.#current;
    // The size is read first: the sink wrote to the older files before it wrote these bytes.
    const end = current === undefined ? 0 : await sizeOf(current);
    for (const [one, until] of this.#leaving) yield* this.#leave(one, until);
    if (current !== undefined) yield* drain(current, end);
    if ((await idOf(this.#file)) === current?.id) return;
    if (current !== undefined) {
      this.#leaving.set(current, performance.now() + LEAVING_MS);
      yield* drain(current, await sizeOf(current));
    }
    yield* this.#readRotated();
  }

  async close(): Promise<void> {
    for (const one of this.#leaving.keys()) await one.handle.close();
    this.#leaving.clear();
    await this.#current?.handle.close();
    this.#current = undefined;
  }

  /** Reads a file that was moved away, and closes it when its time is over. */
  async *#leave(one: Opened, until: number): AsyncGenerator<Line> {
    const isOver = performance.now() > until;
    yield* drain(one, await sizeOf(one));
    if (!isOver) return;
    yield* one.splitter.end();
    this.#leaving.delete(one);
    await one.handle.close();
  }

  /** Reads the files that were rotated since the last look. The next look reads the one that is written to now. */
  async *#readRotated(): AsyncGenerator<Line> {
    const { rotated, current } = await snapshotOf(this.#file);
    this.#current = await openedOf(current, this.#file);
    for (const name of rotated.filter((one) => one > this.#newest)) {
      this.#newest = name;
      const one = await openedOf(await openIfThere(name), name);
      if (one === undefined) continue;
      try {
        if ([...this.#leaving.keys()].some(({ id }) => id === one.id)) continue;
        yield* drain(one, await sizeOf(one));
        yield* one.splitter.end();
      } finally {
        await one.handle.close();
      }
    }
  }
}

/** Opens the file behind its last whole line. */
async function begin(
  file: string,
): Promise<{ readonly past: readonly string[]; readonly beginning: Opened | undefined }> {
  const { rotated: past, current } = await snapshotOf(file);
  const beginning = await openedOf(current, file);
  if (beginning !== undefined) {
    const size = await sizeOf(beginning);
    const { value: unfinished } = await linesBackwards(beginning.handle, size).next();
    beginning.offset = size - (unfinished?.length ?? 0);
  }
  return { past, beginning };
}

/** Reads on, to what is its end. */
async function* drain(one: Opened, end: number): AsyncGenerator<Line> {
  const { handle, splitter } = one;
  if (end < one.offset) {
    // Cut to nothing, to be written anew (logrotate's `copytruncate`).
    yield* splitter.end();
    one.offset = 0;
  }
  while (one.offset < end) {
    const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, end - one.offset));
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, one.offset);
    if (bytesRead === 0) return;
    one.offset += bytesRead;
    yield* splitter.push(buffer.subarray(0, bytesRead));
  }
}

async function sizeOf({ handle }: Opened): Promise<number> {
  return (await handle.stat()).size;
}

/** Lines newest first; what no line feed ends is one that was cut off. */
async function* backwards(handle: FileHandle, end: number, name: string): AsyncGenerator<Line> {
  let whole = false;
  for await (const bytes of linesBackwards(handle, end)) {
    if (whole || bytes.length > 0) yield { text: bytes.toString(), where: name, whole };
    whole = true;
  }
}

/** @param name for messages */
async function openedOf(handle: FileHandle | undefined, name: string): Promise<Opened | undefined> {
  if (handle === undefined) return undefined;
  const { dev, ino } = await handle.stat({ bigint: true });
  return { handle, id: `${dev}:${ino}`, offset: 0, splitter: openSplitter(() => name) };
}

async function idOf(file: string): Promise<string | undefined> {
  const found = await stat(file, { bigint: true }).catch(absent);
  return found === undefined ? undefined : `${found.dev}:${found.ino}`;
}
