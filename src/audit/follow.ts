/** Follows the file that a log is written to: through rotation, however often, and truncation, no line twice, none left out. */
import { open, stat, type FileHandle } from 'node:fs/promises';
import { normalize } from 'node:path';
import { filesOf, linesBackwards, openSplitter, type Line, type Splitter } from './files.ts';

export interface Follower {
  /** The lines that were there when it was opened, newest first. To be read before the next ones. */
  before(): AsyncGenerator<Line>;
  /** The lines that were ended since the last look. A file that was renamed is written to no more. */
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
  readonly buffer: Buffer;
}

const READ_BYTES = 1024 * 1024;

export async function openFollower(named: string): Promise<Follower> {
  // As its neighbours are named.
  const file = normalize(named);
  const rotated = async (): Promise<readonly string[]> =>
    (await filesOf(file)).filter((name) => name !== file);
  const { past, beginning } = await begin(file, rotated);
  const start = beginning?.offset ?? 0;
  let current = beginning;
  /** The newest rotated file that is done with. */
  let newest = past.at(-1) ?? '';

  /** Files that came and went since the last look, and the one that is written to now. @param left is done with */
  async function* goOn(left: Opened | undefined): AsyncGenerator<Line> {
    for (;;) {
      for (const name of (await rotated()).filter((one) => one > newest)) {
        newest = name;
        const one = await openIfThere(name);
        if (one === undefined) continue;
        if (one.id !== left?.id) yield* finish(one);
        await one.handle.close();
      }
      current = await openIfThere(file);
      if (((await rotated()).at(-1) ?? '') <= newest) break;
      // It was rotated while it was opened.
      await current?.handle.close();
    }
    if (current !== undefined) yield* drain(current);
  }

  return {
    async *before(): AsyncGenerator<Line> {
      if (beginning !== undefined) yield* backwards(beginning.handle, start, file);
      for (const name of past.toReversed()) {
        const one = await openIfThere(name);
        if (one === undefined) continue;
        yield* backwards(one.handle, (await one.handle.stat()).size, name);
        await one.handle.close();
      }
    },
    async *grown(): AsyncGenerator<Line> {
      if (current !== undefined) yield* drain(current);
      if ((await idOf(file)) === current?.id) return;
      // It was renamed: what it had meanwhile comes first.
      const left = current;
      if (left !== undefined) yield* finish(left);
      yield* goOn(left);
      // Not before: as long as it is open, no other file can have its inode.
      await left?.handle.close();
    },
    async close(): Promise<void> {
      await current?.handle.close();
      current = undefined;
    },
  };
}

/** Opens the file behind its last whole line, between two rotations. */
async function begin(
  file: string,
  rotated: () => Promise<readonly string[]>,
): Promise<{ readonly past: readonly string[]; readonly beginning: Opened | undefined }> {
  for (;;) {
    const past = await rotated();
    const beginning = await openIfThere(file);
    if ((await rotated()).at(-1) !== past.at(-1)) {
      await beginning?.handle.close();
      continue;
    }
    if (beginning === undefined) return { past, beginning };
    const { size } = await beginning.handle.stat();
    const { value: unfinished } = await linesBackwards(beginning.handle, size).next();
    beginning.offset = size - (unfinished?.length ?? 0);
    return { past, beginning };
  }
}

/** Reads on, to the end. */
async function* drain(one: Opened): AsyncGenerator<Line> {
  const { handle, buffer, splitter } = one;
  if ((await handle.stat()).size < one.offset) {
    // Cut to nothing, to be written anew (logrotate's `copytruncate`).
    yield* splitter.end();
    one.offset = 0;
  }
  for (;;) {
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, one.offset);
    if (bytesRead === 0) return;
    one.offset += bytesRead;
    // A copy: lines that are not ended keep their bytes.
    yield* splitter.push(Buffer.from(buffer.subarray(0, bytesRead)));
  }
}

/** Reads a file that is written to no more. */
async function* finish(one: Opened): AsyncGenerator<Line> {
  yield* drain(one);
  yield* one.splitter.end();
}

/** Lines newest first; what no line feed ends is one that was cut off. */
async function* backwards(handle: FileHandle, end: number, name: string): AsyncGenerator<Line> {
  let whole = false;
  for await (const bytes of linesBackwards(handle, end)) {
    if (whole || bytes.length > 0) yield { text: bytes.toString(), where: name, whole };
    whole = true;
  }
}

async function openIfThere(file: string): Promise<Opened | undefined> {
  try {
    const handle = await open(file, 'r');
    const { dev, ino } = await handle.stat({ bigint: true });
    const splitter = openSplitter(() => file);
    const buffer = Buffer.allocUnsafe(READ_BYTES);
    return { handle, id: `${dev}:${ino}`, offset: 0, splitter, buffer };
  } catch (error) {
    return absent(error);
  }
}

async function idOf(file: string): Promise<string | undefined> {
  try {
    const { dev, ino } = await stat(file, { bigint: true });
    return `${dev}:${ino}`;
  } catch (error) {
    return absent(error);
  }
}

/** A file that is not there, between two names. @throws any other error */
function absent(error: unknown): undefined {
  if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
  throw error;
}
