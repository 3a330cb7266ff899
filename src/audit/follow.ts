/** Follows the file that a log is written to: through rotation, however often, and truncation, no line twice, none left out. */
import { open, stat, type FileHandle } from 'node:fs/promises';
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
  splitter: Splitter;
}

const READ_BYTES = 1024 * 1024;

export async function openFollower(file: string): Promise<Follower> {
  /** Rotated files, without the one that is written to. */
  const rotated = async (): Promise<readonly string[]> =>
    (await filesOf(file)).filter((name) => name !== file);
  let past: readonly string[];
  let current: Opened | undefined;
  // Until no rotation falls in between.
  for (;;) {
    past = await rotated();
    current = await openIfThere(file);
    if ((await rotated()).at(-1) === past.at(-1)) break;
    await current?.handle.close();
  }
  /** The newest rotated file that is done with. */
  let newest = past.at(-1) ?? '';
  const known = current === undefined ? 0 : (await current.handle.stat()).size;
  if (current !== undefined) {
    const { value: unfinished } = await linesBackwards(current.handle, known).next();
    current.offset = known - (unfinished?.length ?? 0);
  }
  const start = current?.offset ?? 0;
  const beginning = current;

  /** Reads on, to the end. */
  async function* drain(one: Opened): AsyncGenerator<Line> {
    const { size } = await one.handle.stat();
    if (size < one.offset) {
      // Cut to nothing, to be written anew (logrotate's `copytruncate`).
      yield* one.splitter.end();
      one.offset = 0;
    }
    const buffer = Buffer.alloc(READ_BYTES);
    for (;;) {
      const { bytesRead } = await one.handle.read(buffer, 0, buffer.length, one.offset);
      if (bytesRead === 0) return;
      one.offset += bytesRead;
      // Lines that are not ended keep their bytes.
      yield* one.splitter.push(Buffer.from(buffer.subarray(0, bytesRead)));
    }
  }

  async function* finish(one: Opened): AsyncGenerator<Line> {
    yield* drain(one);
    yield* one.splitter.end();
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
      const id = await idOf(file);
      if (id === current?.id) return;
      // It was renamed. What it had meanwhile comes first, then files that came and went, then the new one.
      const left = current;
      if (left !== undefined) yield* finish(left);
      current = undefined;
      for (;;) {
        for (const name of (await rotated()).filter((one) => one > newest)) {
          newest = name;
          const one = await openIfThere(name);
          if (one === undefined) continue;
          if (one.id !== left?.id) yield* finish(one);
          await one.handle.close();
        }
        const next = await openIfThere(file);
        const isLast = ((await rotated()).at(-1) ?? '') <= newest;
        if (isLast) {
          current = next;
          break;
        }
        // It was rotated while it was opened.
        await next?.handle.close();
      }
      // Not before: as long as it is open, no other file can have its inode.
      await left?.handle.close();
      if (current !== undefined) yield* drain(current);
    },
    async close(): Promise<void> {
      await current?.handle.close();
      current = undefined;
    },
  };
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
    return { handle, id: `${dev}:${ino}`, offset: 0, splitter: openSplitter(() => file) };
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
