/**
 * A sink: lines wait here, together, for the place where they are kept, under one of three promises.
 * - `drop`: an answer never waits. Where there is no room, or the place is gone, the record is lost, and counted.
 * - `block`: an answer waits until its record has room here.
 * - `strict`: an answer waits until its record is kept.
 */
import { cutDown } from '../record/cut.ts';

export type SinkMode = 'strict' | 'block' | 'drop';

/** Whether a record is kept; `undefined`: nobody waits for it. */
export type Kept = Promise<boolean> | undefined;

/** Records that are kept together. */
export interface Batch {
  /** 1, 2, 3 … a sink: what was kept once is known again by it. */
  readonly id: number;
  readonly lines: readonly string[];
}

/** A place that keeps records. One batch at a time, in order. */
export interface Destination {
  /**
   * Resolves once the whole batch is kept as the place promises. Where it rejects, the same batch comes again.
   * @throws GoneError where it never will be; anything else where it may be later
   */
  keep(batch: Batch): Promise<void>;
  /** Records of an earlier process wait in it: a batch without lines has them sent. Absent: never. */
  isWaiting?(): boolean;
  /** Writes down lines for the next process. @returns how many: the first ones. Absent: none */
  leave?(lines: readonly string[]): number;
  /** What it has counted itself, by name. */
  counts?(): Readonly<Partial<Record<DestinationCount, number>>>;
  close(): Promise<void>;
}

/**
 * `cut`: records of which it got a stub. `rotation_failures`: times that a file could not be renamed. `trimmed`: records
 * that a stream had no room for any more.
 */
export const DESTINATION_COUNTS = ['cut', 'rotation_failures', 'trimmed'] as const;
type DestinationCount = (typeof DESTINATION_COUNTS)[number];

/** A destination that does not come back, such as a pipe whose reader went away. */
export class GoneError extends Error {}
/** A destination that has no room just now; nothing is wrong with it. */
export class BusyError extends Error {}

export interface SinkOptions {
  /** For metrics and messages: `file`. */
  readonly name: string;
  readonly mode: SinkMode;
  /** Characters of records that may wait. */
  readonly bufferBytes: number;
  /** A record that has more bytes is cut down to a stub; absent: none is. */
  readonly maxRecordBytes?: number;
  /** How long an answer waits, ms; then it is refused. */
  readonly timeoutMs: number;
  readonly onError: (error: unknown) => void;
}

export interface Sink {
  readonly name: string;
  readonly mode: SinkMode;
  /** Whether a record has room, and may be relied on: else answers must wait. Always so in `drop`. */
  isOpen(): boolean;
  /** Takes a record; only while it is open. */
  write(line: string): Kept;
  /** Calls back each time that it becomes open. */
  onOpen(listener: () => void): void;
  /** Waits for all records so far, as an answer would. */
  settled(): Kept;
  stats(): SinkStats;
  /**
   * Keeps what is still here, as far as the time allows; the rest is left for the next process where there is a spool,
   * or lost, and counted.
   * @returns records that this has lost
   */
  close(ms: number): Promise<number>;
}

export interface SinkStats {
  readonly written: number;
  readonly dropped: number;
  readonly queued: number;
  /** Left for the next process. */
  readonly spooled: number;
  readonly counts: Readonly<Record<DestinationCount, number>>;
}

/**
 * Lines are kept together when they may be so many characters, or after so many milliseconds. Waking the thread
 * that writes costs more than what it writes: 5 ms instead of 20 would cost a tenth of the throughput.
 */
const BATCH_CHARACTERS = 768 * 1024;
const BATCH_MS = 20;
/** A destination that fails is tried again after the first of these times, ms; then after twice as much, up to the second. */
const RETRY_MS = [100, 5_000] as const;
/** One that has no room for the moment. */
const BUSY_MS = 20;

interface Pending {
  readonly batch: Batch;
  readonly characters: number;
  /** For whoever waits: kept, or not in time. */
  readonly kept: PromiseWithResolvers<boolean> | undefined;
}

export function openSink(destination: Destination, options: SinkOptions): Sink {
  const { mode, bufferBytes, timeoutMs } = options;
  const queue: Pending[] = [];
  let filling: string[] = [];
  let fillingCharacters = 0;
  let fillingKept: PromiseWithResolvers<boolean> | undefined;
  /** Of everything that waits, `filling` included. */
  let characters = 0;
  let lines = 0;
  let ids = 0;
  let written = 0;
  let dropped = 0;
  let spooled = 0;
  let cut = 0;
  let cancelFlush: (() => void) | undefined;
  let keeping = false;
  let failing = false;
  let gone = false;
  let closing = false;
  let closed = false;
  let retryMs: number = RETRY_MS[0];
  /** Until then nothing is tried. */
  let retrying: NodeJS.Timeout | undefined;
  let onOpen: () => void = () => {};
  let onEmpty: (() => void) | undefined;

  const isOpen = (): boolean =>
    mode === 'drop' ||
    (!closed && !gone && characters < bufferBytes && !(mode === 'strict' && failing));

  /** What changes whether it is open goes through here. */
  const changing = (change: () => void): void => {
    const was = isOpen();
    change();
    if (!was && isOpen()) onOpen();
  };

  const flush = (): void => {
    cancelFlush?.();
    cancelFlush = undefined;
    if (filling.length === 0) return;
    queue.push({
      batch: { id: ++ids, lines: filling },
      characters: fillingCharacters,
      kept: fillingKept,
    });
    filling = [];
    fillingCharacters = 0;
    fillingKept = undefined;
    pump();
  };

  const flushSoon = (): void => {
    if (cancelFlush !== undefined) return;
    if (mode === 'strict') {
      // All that the event loop has at hand goes together.
      const immediate = setImmediate(flush);
      cancelFlush = (): void => clearImmediate(immediate);
    } else {
      const timer = setTimeout(flush, BATCH_MS);
      cancelFlush = (): void => clearTimeout(timer);
    }
  };

  const pump = (): void => {
    const [next] = queue;
    if (keeping || gone || retrying !== undefined) return;
    if (next === undefined) {
      if (filling.length === 0) onEmpty?.();
      // What came while the last batch was kept is the next: a group commit.
      else if (mode === 'strict') flush();
      return;
    }
    keeping = true;
    destination.keep(next.batch).then(
      () =>
        changing(() => {
          keeping = false;
          failing = false;
          retryMs = RETRY_MS[0];
          // It was counted as lost when the time to close was over.
          if (closed) return;
          queue.shift();
          take(next);
          written += next.batch.lines.length;
          next.kept?.resolve(true);
          pump();
        }),
      (error: unknown) => {
        keeping = false;
        failed(error);
      },
    );
  };

  const take = ({ batch, characters: of }: Pending): void => {
    characters -= of;
    lines -= batch.lines.length;
  };

  const failed = (error: unknown): void => {
    if (closed) return;
    if (error instanceof BusyError) {
      retryAfter(BUSY_MS);
      return;
    }
    failing = true;
    options.onError(error);
    if (error instanceof GoneError) {
      gone = true;
      lose();
      return;
    }
    // Not all instances at the same moment.
    retryAfter(retryMs * (0.75 + Math.random() / 2));
    retryMs = Math.min(retryMs * 2, closing ? RETRY_MS[0] : RETRY_MS[1]);
  };

  const retryAfter = (ms: number): void => {
    retrying = setTimeout(() => {
      retrying = undefined;
      pump();
    }, ms).unref();
  };

  /** What has not been kept goes to the next process, as far as it has room for it. */
  const leave = (): void => {
    if (destination.leave === undefined || lines === 0) return;
    const all = [...queue.flatMap(({ batch }) => batch.lines), ...filling];
    try {
      spooled = destination.leave(all);
    } catch (error) {
      options.onError(error);
    }
    lines -= spooled;
  };

  /** @returns how many are lost */
  const lose = (): number => {
    const lost = lines;
    dropped += lost;
    for (const { kept } of queue) kept?.resolve(false);
    fillingKept?.resolve(false);
    queue.length = 0;
    filling = [];
    fillingCharacters = 0;
    fillingKept = undefined;
    characters = 0;
    lines = 0;
    onEmpty?.();
    return lost;
  };

  /** One promise and one timer for all answers of a batch. */
  const waiting = (): Promise<boolean> => {
    if (fillingKept === undefined) {
      const kept = Promise.withResolvers<boolean>();
      const late = setTimeout(() => kept.resolve(false), timeoutMs);
      void kept.promise.then(() => clearTimeout(late));
      fillingKept = kept;
    }
    return fillingKept.promise;
  };

  const { maxRecordBytes = Infinity } = options;
  const fitting = (line: string): string => {
    // A character is three bytes at most.
    if (line.length * 3 <= maxRecordBytes || Buffer.byteLength(line) <= maxRecordBytes) return line;
    cut++;
    return cutDown(line, maxRecordBytes);
  };
  if (destination.isWaiting?.() === true) {
    queue.push({ batch: { id: ++ids, lines: [] }, characters: 0, kept: undefined });
    pump();
  }

  return {
    name: options.name,
    mode,
    isOpen,
    write(record): Kept {
      const line = fitting(record);
      const more = line.length + 1;
      if (mode === 'drop' && (gone || closed || characters + more > bufferBytes)) {
        dropped++;
        return undefined;
      }
      filling.push(line);
      fillingCharacters += more;
      characters += more;
      lines++;
      const kept = mode === 'strict' ? waiting() : undefined;
      if (fillingCharacters > BATCH_CHARACTERS) flush();
      // In `strict`, what comes while a batch is being kept is the next one.
      else if (mode !== 'strict' || !keeping) flushSoon();
      return kept;
    },
    onOpen(listener): void {
      onOpen = listener;
    },
    settled(): Kept {
      if (mode !== 'strict') return undefined;
      return filling.length > 0 ? waiting() : queue.at(-1)?.kept?.promise;
    },
    stats(): SinkStats {
      const own = destination.counts?.() ?? {};
      const counts = { rotation_failures: 0, trimmed: 0, ...own, cut: cut + (own.cut ?? 0) };
      return { written, dropped, queued: lines, spooled, counts };
    },
    async close(ms): Promise<number> {
      closing = true;
      clearTimeout(retrying);
      retrying = undefined;
      retryMs = RETRY_MS[0];
      flush();
      pump();
      if (queue.length > 0)
        await new Promise<void>((done) => {
          const late = setTimeout(done, ms);
          onEmpty = (): void => {
            // Else the process would live on for a time that nobody needs any more.
            clearTimeout(late);
            done();
          };
        });
      closed = true;
      leave();
      const lost = lose();
      await destination.close();
      return lost;
    },
  };
}
