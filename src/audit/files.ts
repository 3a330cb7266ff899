/** How the files of one audit log are named, and how their lines are read. */
import { createReadStream } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { basename, dirname, extname, join } from 'node:path';

/** One line of a log, and where it stands, for messages. */
export interface Line {
  readonly text: string;
  /** `audit.jsonl:12`. */
  readonly where: string;
  /** A line feed ends it: what does not end was cut off while it was written. */
  readonly whole: boolean;
}

/** A line is at most so long: a reader that meets more reads no audit log. */
const MAX_LINE_BYTES = 64 * 1024 * 1024;
const LINE_FEED = 0x0a;

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

/**
 * The lines of a file. Only a line feed ends a line: JSON texts may hold the other separators.
 * @throws Error where the file cannot be read, or a line is longer than 64 MiB
 */
export async function* linesOf(file: string): AsyncGenerator<Line> {
  let rest: Buffer[] = [];
  let restBytes = 0;
  let number = 0;
  const where = (): string => `${file}:${++number}`;
  for await (const chunk of createReadStream(file, {
    highWaterMark: 1024 * 1024,
  }) as AsyncIterable<Buffer>) {
    let from = 0;
    for (;;) {
      const end = chunk.indexOf(LINE_FEED, from);
      if (end < 0) break;
      const part = chunk.subarray(from, end);
      const bytes = restBytes === 0 ? part : Buffer.concat([...rest, part]);
      rest = [];
      restBytes = 0;
      from = end + 1;
      yield { text: bytes.toString(), where: where(), whole: true };
    }
    if (from < chunk.length) {
      rest.push(chunk.subarray(from));
      restBytes += chunk.length - from;
      if (restBytes > MAX_LINE_BYTES)
        throw new Error(`${file}: line ${number + 1} is longer than 64 MiB: this is no audit log`);
    }
  }
  if (restBytes > 0) yield { text: Buffer.concat(rest).toString(), where: where(), whole: false };
}
