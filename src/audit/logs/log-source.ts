/** Where audit records are read from: logs on disk, standard input, Redis streams. */
import { stat } from 'node:fs/promises';
import { normalize, resolve } from 'node:path';
import {
  absent,
  filesOf,
  linesFrom,
  linesIn,
  logsOf,
  openIfThere,
  rotatedAt,
  snapshotOf,
  type Line,
  type Snapshot,
} from './names.ts';
import { openFollower, type Follower } from './follow.ts';

/** Times of records, ms since the epoch; `undefined`: no bound. */
export interface Range {
  /** The first that counts. */
  readonly from: number | undefined;
  /** The first that no longer counts. */
  readonly to: number | undefined;
}

export const ALWAYS: Range = { from: undefined, to: undefined };

export interface Source {
  /**
   * What was recorded, oldest first: all records of the range, and others beside it.
   * @throws Error where it cannot be read
   */
  read(range: Range): AsyncIterable<Line>;
  /** Fixes the place where the past ends and what is new begins. @throws Error where it cannot be read */
  follow(): Promise<Following>;
  /** Bytes that there are to read at most, for progress. */
  size(): Promise<number>;
  close(): Promise<void>;
}

/** A log from one place on, in both directions. Each line comes once. */
export interface Following {
  /** What was there, newest first, of each log by itself. */
  before(): readonly AsyncIterable<Line>[];
  /** What comes, until the signal, or the end of standard input. */
  after(signal: AbortSignal): AsyncIterable<Line>;
}

/** Clocks are set back and differ between machines: so much later than its name tells a file may have ended, ms. */
const CLOCK_SLACK_MS = 60_000;
/** A record may wait so long for its sink, ms. */
const QUEUE_SLACK_MS = 3_600_000;
/** How often files are looked at, ms. */
const POLL_MS = 100;

/** The range within which a destination noted down what was recorded in a range. */
export function writtenWithin({ from, to }: Range): Range {
  return {
    from: from === undefined ? undefined : from - CLOCK_SLACK_MS,
    to: to === undefined ? undefined : to + QUEUE_SLACK_MS,
  };
}

/**
 * @param files of logs, each the one that is written to; `-`, alone: standard input
 * @param onProblem called for records that can no longer be read
 */
export function openFiles(files: readonly string[], onProblem: (message: string) => void): Source {
  return files.includes('-') ? standardInput(files) : logs(files, onProblem);
}

function logs(files: readonly string[], onProblem: (message: string) => void): Source {
  const followers: Follower[] = [];
  async function* linesOfRotated(name: string): AsyncGenerator<Line> {
    const file = await openIfThere(name);
    if (file === undefined)
      onProblem(`\`${name}\` was removed before it was read: its records are not looked at`);
    else yield* linesFrom(file, name);
  }
  return {
    async *read(range): AsyncGenerator<Line> {
      const snapshots: (Snapshot & { readonly file: string })[] = [];
      try {
        for (const file of await logsOnce(files))
          snapshots.push({ file: normalize(file), ...(await snapshotOf(file)) });
        const isNew = firstTime();
        const each = snapshots.map(({ file, rotated, current }) => {
          const names = current === undefined ? rotated : [...rotated, file];
          const wanted = withinRange(names, range).filter(isNew);
          return (async function* (): AsyncGenerator<Line> {
            for (const name of wanted)
              yield* name === file && current !== undefined
                ? linesFrom(current, name)
                : linesOfRotated(name);
          })();
        });
        yield* byTime(each);
      } finally {
        for (const { current } of snapshots) await current?.close();
      }
    },
    async follow(): Promise<Following> {
      for (const log of await logsOnce(files)) followers.push(await openFollower(log));
      return {
        before: () => followers.map((one) => one.before()),
        async *after(signal): AsyncGenerator<Line> {
          while (!signal.aborted) {
            for (const one of followers) yield* one.grown();
            await pause(POLL_MS, signal);
          }
        },
      };
    },
    async size(): Promise<number> {
      let bytes = 0;
      for (const file of await filesOnce(files))
        bytes += (await stat(file).catch(absent))?.size ?? 0;
      return bytes;
    },
    async close(): Promise<void> {
      for (const one of followers.splice(0)) await one.close();
    },
  };
}

/** The lines of several logs, each in its order, by the times of their records. */
async function* byTime(logs: readonly AsyncGenerator<Line>[]): AsyncGenerator<Line> {
  const [only] = logs;
  if (logs.length === 1 && only !== undefined) {
    yield* only;
    return;
  }
  const heads: { readonly log: AsyncGenerator<Line>; line: Line; time: string }[] = [];
  try {
    for (const log of logs) {
      const { done, value: line } = await log.next();
      if (done !== true) heads.push({ log, line, time: timeOf(line) ?? '' });
    }
    while (heads.length > 0) {
      const first = heads.reduce((least, one) => (one.time < least.time ? one : least));
      yield first.line;
      const { done, value: line } = await first.log.next();
      if (done === true) heads.splice(heads.indexOf(first), 1);
      // What is no record goes with the one before it.
      else Object.assign(first, { line, time: timeOf(line) ?? first.time });
    }
  } finally {
    for (const log of logs) await log.return(undefined);
  }
}

/** Of a record as it is written, without reading all of it: ISO 8601 of one length, so that texts compare as times. */
function timeOf({ text }: Line): string | undefined {
  return /^\{"v":\d+,"type":"[a-z]+","time":"([^"]+)"/.exec(text)?.[1];
}

/** Whether a file is named for the first time, however it is spelled. */
function firstTime(): (name: string) => boolean {
  const seen = new Set<string>();
  return (name) => seen.size < seen.add(resolve(name)).size;
}

/** The logs of these names and of their workers, each once. @throws Error where a name has none */
async function logsOnce(files: readonly string[]): Promise<readonly string[]> {
  return (await Promise.all(files.map(existing))).flat().filter(firstTime());
}

/** Their files, each once. @throws Error where a name has none */
export async function filesOnce(files: readonly string[]): Promise<readonly string[]> {
  return (await Promise.all((await logsOnce(files)).map(filesOf))).flat().filter(firstTime());
}

function standardInput(files: readonly string[]): Source {
  if (files.length > 1) throw new Error('--file: `-` is standard input, and stands alone');
  const read = (): AsyncGenerator<Line> => linesIn(process.stdin, '-');
  async function* after(signal: AbortSignal): AsyncGenerator<Line> {
    signal.addEventListener('abort', () => process.stdin.destroy());
    try {
      yield* read();
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }
  return {
    read,
    follow: () => Promise.resolve({ before: () => [], after }),
    size: () => Promise.resolve(0),
    close: () => Promise.resolve(),
  };
}

async function existing(file: string): Promise<readonly string[]> {
  const names = await logsOf(file).catch((error: unknown) => {
    throw new Error(`\`${file}\`: its directory cannot be read: check the path`, { cause: error });
  });
  // A mistyped path should be noticed.
  if ((await Promise.all(names.map(filesOf))).flat().length === 0)
    throw new Error(`\`${file}\`: there is no such file, and none rotated from it: check the path`);
  return names;
}

/** Of files in their order, those that may hold records of a range: a file begins where the one before it was rotated. */
function withinRange(files: readonly string[], range: Range): readonly string[] {
  const { from = -Infinity, to = Infinity } = writtenWithin(range);
  return files.filter((file, index) => {
    const began = rotatedAt(files[index - 1] ?? '') ?? -Infinity;
    const ended = rotatedAt(file) ?? Infinity;
    return ended >= from && began < to;
  });
}

/** Ends early where the signal does. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    const over = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', over);
      done();
    };
    const timer = setTimeout(over, ms);
    signal.addEventListener('abort', over);
    if (signal.aborted) over();
  });
}
