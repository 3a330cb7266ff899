/** How the files of one audit log are named, and how their lines are read. */
import { open, readdir, type FileHandle } from 'node:fs/promises';
import { basename, dirname, extname, join } from 'node:path';

/** One line of a log, and where it stands, for messages. */
export interface Line {
  readonly text: string;
  /** `audit.jsonl:12`. */
  readonly where: string;
  /** A line feed ends it: what does not end was cut off while it was written. */
  readonly whole: boolean;
}

/** A line as it stands in a file. */
export interface FileLine extends Line {
  /** Without its line feed. They share memory with their neighbours: keep a copy. */
  readonly bytes: Buffer;
}

/** A line is at most so long: a reader that meets more reads no audit log. */
const MAX_LINE_BYTES = 64 * 1024 * 1024;
const LINE_FEED = 0x0a;
/** What is read at once, bytes. */
const READ_BYTES = 1024 * 1024;
/** The same from the end. */
const BLOCK_BYTES = 256 * 1024;

/** `audit.jsonl` of worker 2 is `audit-worker-2.jsonl`: each process numbers its records, and appends to a file of its own. */
export function workerName(file: string, worker: number): string {
  const extension = extname(file);
  return join(dirname(file), `${basename(file, extension)}-worker-${worker}${extension}`);
}

/** `audit.jsonl` that ends at this time becomes `audit-20261122T124036123Z.jsonl`: names sort by time. */
export function rotatedName(file: string, at: Date): string {
  const extension = extname(file);
  const stem = basename(file, extension);
  const time = at.toISOString().replaceAll(/[-:.]/g, '');
  return join(dirname(file), `${stem}-${time}${extension}`);
}

/** When a file of a log was rotated, ms since the epoch; `undefined`: it is the one that is written to. */
export function rotatedAt(name: string): number | undefined {
  const [, ...parts] =
    /-(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(\d{3})Z(?:\.[^.]*)?$/.exec(name) ?? [];
  const [year, month, day, hour, minute, second, ms] = parts;
  if (ms === undefined) return undefined;
  return Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}.${ms}Z`);
}

/** The files of a log, oldest first; the one that is written to is the last, if it is there. */
export async function filesOf(file: string): Promise<readonly string[]> {
  const extension = extname(file);
  const stem = basename(file, extension);
  const names = await readdir(dirname(file));
  const rotated = names.filter(
    (name) =>
      name.startsWith(`${stem}-`) &&
      name.endsWith(extension) &&
      /^\d{8}T\d{9}Z$/.test(name.slice(stem.length + 1, name.length - extension.length)),
  );
  const current = names.filter((name) => name === basename(file));
  return [...rotated.sort(), ...current].map((name) => join(dirname(file), name));
}

/** A log at one moment: whatever is renamed afterwards, no line is lost or read twice. */
export interface Snapshot {
  /** Oldest first. */
  readonly rotated: readonly string[];
  /** The file that is written to; `undefined`: there is none. Whoever asked closes it. */
  readonly current: FileHandle | undefined;
}

/** Opens the file that is written to between two rotations. */
export async function snapshotOf(file: string): Promise<Snapshot> {
  const list = async (): Promise<readonly string[]> =>
    (await filesOf(file)).filter((name) => basename(name) !== basename(file));
  for (;;) {
    const rotated = await list();
    const current = await openIfThere(file);
    let isOne = false;
    try {
      isOne = (await list()).at(-1) === rotated.at(-1);
    } finally {
      if (!isOne) await current?.close();
    }
    if (isOne) return { rotated, current };
  }
}

/** `undefined`: there is no such file. @throws any other error */
export function openIfThere(file: string): Promise<FileHandle | undefined> {
  return open(file, 'r').catch(absent);
}

/** What stands for a file that is not there, or no longer. @throws any other error */
export function absent(error: unknown): undefined {
  if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
  throw error;
}

/** The log of this name, and those of workers, by the files that each is written to: there may be none of them yet. */
export async function logsOf(file: string): Promise<readonly string[]> {
  const extension = extname(file);
  const start = `${basename(file, extension)}-worker-`;
  const workers = (await readdir(dirname(file))).flatMap((name) => {
    if (!name.startsWith(start) || !name.endsWith(extension)) return [];
    const rest = name.slice(start.length, name.length - extension.length);
    const [, worker] = /^(\d{1,3})(?:-\d{8}T\d{9}Z)?$/.exec(rest) ?? [];
    return worker === undefined ? [] : [Number(worker)];
  });
  const numbers = [...new Set(workers)].sort((one, other) => one - other);
  return [file, ...numbers.map((worker) => workerName(file, worker))];
}

/**
 * The logs of this name that nobody writes to any more: of workers above their number, and of the single process that
 * was there before them.
 * @param workers how many processes write; 1: one, to the file itself
 */
export async function abandonedLogs(file: string, workers: number): Promise<readonly string[]> {
  const written =
    workers === 1
      ? [file]
      : Array.from({ length: workers }, (_, index) => workerName(file, index + 1));
  return (await logsOf(file)).filter((log) => !written.includes(log));
}

/** Cuts bytes into lines. Only a line feed ends a line: JSON texts may hold the other separators. */
export interface Splitter {
  /** The lines that end in these bytes. @throws Error where one is longer than 64 MiB */
  push(bytes: Buffer): readonly FileLine[];
  /** What nothing has ended, if there is any. */
  end(): readonly FileLine[];
}

/** @param where tells of the next line where it stands */
export function openSplitter(where: () => string): Splitter {
  let rest: Buffer[] = [];
  let restBytes = 0;
  const lineOf = (part: Buffer, whole: boolean): FileLine => {
    const bytes = restBytes === 0 ? part : Buffer.concat([...rest, part]);
    rest = [];
    restBytes = 0;
    return { bytes, text: bytes.toString(), where: where(), whole };
  };
  return {
    push(chunk): readonly FileLine[] {
      const lines: FileLine[] = [];
      let from = 0;
      for (;;) {
        const end = chunk.indexOf(LINE_FEED, from);
        if (end < 0) break;
        lines.push(lineOf(chunk.subarray(from, end), true));
        from = end + 1;
      }
      if (from < chunk.length) {
        rest.push(chunk.subarray(from));
        restBytes += chunk.length - from;
        if (restBytes > MAX_LINE_BYTES)
          throw new Error(`${where()}: the line is longer than 64 MiB: this is no audit log`);
      }
      return lines;
    },
    end: () => (restBytes === 0 ? [] : [lineOf(Buffer.alloc(0), false)]),
  };
}

/**
 * The lines of a file.
 * @throws Error where the file cannot be read, or a line is longer than 64 MiB
 */
export async function* linesOf(file: string): AsyncGenerator<FileLine> {
  yield* linesFrom(await open(file, 'r'), file);
}

/** The lines of an open file, which is closed at their end. @param name of it, for messages */
export function linesFrom(file: FileHandle, name: string): AsyncGenerator<FileLine> {
  return linesIn(file.createReadStream({ highWaterMark: READ_BYTES }), name);
}

/** The lines of a stream of bytes. @param name of it, for messages */
export async function* linesIn(
  stream: AsyncIterable<Buffer>,
  name: string,
): AsyncGenerator<FileLine> {
  let number = 0;
  const splitter = openSplitter(() => `${name}:${++number}`);
  for await (const chunk of stream) yield* splitter.push(chunk);
  yield* splitter.end();
}

/**
 * What stands in a file before an offset, from its end on: first what comes after the last line feed, be it nothing,
 * then the lines before it, newest first.
 */
export async function* linesBackwards(file: FileHandle, end: number): AsyncGenerator<Buffer> {
  let rest: Buffer[] = [];
  for (let at = end; at > 0;) {
    const block = await blockAt(file, Math.max(0, at - BLOCK_BYTES), at);
    at -= block.length;
    let to = block.length;
    for (;;) {
      // A search from -1 would be one from the end.
      const feed = to === 0 ? -1 : block.lastIndexOf(LINE_FEED, to - 1);
      if (feed < 0) break;
      yield Buffer.concat([block.subarray(feed + 1, to), ...rest]);
      rest = [];
      to = feed;
    }
    rest.unshift(block.subarray(0, to));
  }
  yield Buffer.concat(rest);
}

/** @throws Error where the file is shorter than it was */
async function blockAt(file: FileHandle, from: number, to: number): Promise<Buffer> {
  const block = Buffer.alloc(to - from);
  let read = 0;
  while (read < block.length) {
    const { bytesRead } = await file.read(block, read, block.length - read, from + read);
    if (bytesRead === 0) throw new Error('the file became shorter while it was read: try again');
    read += bytesRead;
  }
  return block;
}
