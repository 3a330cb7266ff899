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

/** Records that will be kept together. */
interface Pending {
  readonly batch: Batch;
  readonly characters: number;
  /** For the answers that wait: kept, or not in time. */
  readonly kept: PromiseWithResolvers<boolean> | undefined;
}

/** The records that come now: the next batch. */
interface Filling {
  lines: string[];
  characters: number;
  kept: PromiseWithResolvers<boolean> | undefined;
}

/** Where a sink stands with its destination. */
type State =
  /**
   * `idle`: the next batch can go. `keeping`: one is with the destination. `hasFailed`: the last try that has ended has
   * failed, so that nothing can be relied on.
   */
  | { readonly kind: 'idle' | 'keeping'; readonly hasFailed: boolean }
  /** Until the timer ends, nothing is tried. */
  | { readonly kind: 'waiting'; readonly hasFailed: boolean; readonly timer: NodeJS.Timeout }
  /** The destination does not come back. */
  | { readonly kind: 'gone' }
  /** The time to close is over: what is kept from now on was counted as lost. */
  | { readonly kind: 'closed' };

export function openSink(destination: Destination, options: SinkOptions): Sink {
  return new QueueSink(destination, options);
}

class QueueSink implements Sink {
  readonly #destination: Destination;
  readonly #options: SinkOptions;
  #state: State = { kind: 'idle', hasFailed: false };
  readonly #queue: Pending[] = [];
  #filling: Filling = { lines: [], characters: 0, kept: undefined };
  #cancelFlush: (() => void) | undefined;
  /** Of everything that waits, `filling` included. */
  #characters = 0;
  #lines = 0;
  #ids = 0;
  #written = 0;
  #dropped = 0;
  #spooled = 0;
  #cut = 0;
  /** Before the next try after a failure, and at most, ms. */
  #retryMs: number = RETRY_MS[0];
  #maxRetryMs: number = RETRY_MS[1];
  #onOpen: () => void = () => {};
  /** Nothing waits any more. */
  #onEmpty: () => void = () => {};

  constructor(destination: Destination, options: SinkOptions) {
    this.#destination = destination;
    this.#options = options;
    if (destination.isWaiting?.() !== true) return;
    this.#queue.push({ batch: { id: ++this.#ids, lines: [] }, characters: 0, kept: undefined });
    this.#pump();
  }

  get name(): string {
    return this.#options.name;
  }

  get mode(): SinkMode {
    return this.#options.mode;
  }

  isOpen(): boolean {
    const { mode, bufferBytes } = this.#options;
    if (mode === 'drop') return true;
    return this.#isReliable() && this.#characters < bufferBytes;
  }

  write(record: string): Kept {
    const line = this.#fitting(record);
    const more = line.length + 1;
    const { mode } = this.#options;
    if (mode === 'drop' && !this.#hasRoom(more)) {
      this.#dropped++;
      return undefined;
    }
    const filling = this.#filling;
    filling.lines.push(line);
    filling.characters += more;
    this.#characters += more;
    this.#lines++;
    const kept = mode === 'strict' ? this.#whenKept() : undefined;
    if (filling.characters > BATCH_CHARACTERS) this.#flush();
    // In `strict`, what comes while a batch is being kept is the next one.
    else if (mode !== 'strict' || this.#state.kind !== 'keeping') this.#flushSoon();
    return kept;
  }

  onOpen(listener: () => void): void {
    this.#onOpen = listener;
  }

  settled(): Kept {
    if (this.#options.mode !== 'strict') return undefined;
    if (this.#filling.lines.length > 0) return this.#whenKept();
    return this.#queue.at(-1)?.kept?.promise;
  }

  stats(): SinkStats {
    const own = this.#destination.counts?.() ?? {};
    const cut = this.#cut + (own.cut ?? 0);
    return {
      written: this.#written,
      dropped: this.#dropped,
      queued: this.#lines,
      spooled: this.#spooled,
      counts: { rotation_failures: 0, trimmed: 0, ...own, cut },
    };
  }

  async close(ms: number): Promise<number> {
    if (this.#state.kind === 'waiting') {
      clearTimeout(this.#state.timer);
      this.#state = { kind: 'idle', hasFailed: this.#state.hasFailed };
    }
    this.#retryMs = RETRY_MS[0];
    this.#maxRetryMs = RETRY_MS[0];
    this.#flush();
    this.#pump();
    if (this.#queue.length > 0) await this.#whenEmpty(ms);
    this.#state = { kind: 'closed' };
    this.#leave();
    const lost = this.#lose();
    await this.#destination.close();
    return lost;
  }

  /** Whether what it takes now will be kept, as far as it is known. */
  #isReliable(): boolean {
    const state = this.#state;
    switch (state.kind) {
      case 'idle':
      case 'keeping':
      case 'waiting':
        return this.#options.mode !== 'strict' || !state.hasFailed;
      case 'gone':
      case 'closed':
        return false;
    }
  }

  /** In `drop`: whether so many characters more have room, and somewhere to go. */
  #hasRoom(more: number): boolean {
    const { kind } = this.#state;
    if (kind === 'gone' || kind === 'closed') return false;
    return this.#characters + more <= this.#options.bufferBytes;
  }

  #fitting(line: string): string {
    const { maxRecordBytes = Infinity } = this.#options;
    // A character is three bytes at most.
    if (line.length * 3 <= maxRecordBytes || Buffer.byteLength(line) <= maxRecordBytes) return line;
    this.#cut++;
    return cutDown(line, maxRecordBytes);
  }

  /** Whether the records that come now are kept: one promise and one timer for all answers of a batch. */
  #whenKept(): Promise<boolean> {
    const filling = this.#filling;
    if (filling.kept === undefined) {
      const kept = Promise.withResolvers<boolean>();
      const late = setTimeout(() => kept.resolve(false), this.#options.timeoutMs);
      void kept.promise.then(() => clearTimeout(late));
      filling.kept = kept;
    }
    return filling.kept.promise;
  }

  #whenEmpty(ms: number): Promise<void> {
    return new Promise((done) => {
      const late = setTimeout(done, ms);
      this.#onEmpty = (): void => {
        // Else the process would live on for a time that nobody needs any more.
        clearTimeout(late);
        done();
      };
    });
  }

  #flush(): void {
    this.#cancelFlush?.();
    this.#cancelFlush = undefined;
    const { lines, characters, kept } = this.#filling;
    if (lines.length === 0) return;
    this.#queue.push({ batch: { id: ++this.#ids, lines }, characters, kept });
    this.#filling = { lines: [], characters: 0, kept: undefined };
    this.#pump();
  }

  #flushSoon(): void {
    if (this.#cancelFlush !== undefined) return;
    if (this.#options.mode === 'strict') {
      // All that the event loop has at hand goes together.
      const immediate = setImmediate(() => this.#flush());
      this.#cancelFlush = (): void => clearImmediate(immediate);
    } else {
      const timer = setTimeout(() => this.#flush(), BATCH_MS);
      this.#cancelFlush = (): void => clearTimeout(timer);
    }
  }

  /** Gives the next batch to the destination, if it can take one now. */
  #pump(): void {
    const state = this.#state;
    if (state.kind !== 'idle') return;
    const [next] = this.#queue;
    if (next === undefined) {
      if (this.#filling.lines.length === 0) this.#onEmpty();
      // What came while the last batch was kept is the next: a group commit.
      else if (this.#options.mode === 'strict') this.#flush();
      return;
    }
    this.#state = { kind: 'keeping', hasFailed: state.hasFailed };
    this.#destination.keep(next.batch).then(
      () => this.#succeeded(next),
      (error: unknown) => this.#failed(error),
    );
  }

  #succeeded(kept: Pending): void {
    if (this.#state.kind === 'closed') return;
    const wasOpen = this.isOpen();
    this.#state = { kind: 'idle', hasFailed: false };
    this.#retryMs = RETRY_MS[0];
    this.#queue.shift();
    this.#characters -= kept.characters;
    this.#lines -= kept.batch.lines.length;
    this.#written += kept.batch.lines.length;
    kept.kept?.resolve(true);
    this.#pump();
    if (!wasOpen && this.isOpen()) this.#onOpen();
  }

  #failed(error: unknown): void {
    if (this.#state.kind !== 'keeping') return;
    const { hasFailed } = this.#state;
    if (error instanceof BusyError) {
      this.#tryAfter(BUSY_MS, hasFailed);
      return;
    }
    this.#options.onError(error);
    if (error instanceof GoneError) {
      this.#state = { kind: 'gone' };
      this.#lose();
      return;
    }
    // Not all instances at the same moment.
    this.#tryAfter(this.#retryMs * (0.75 + Math.random() / 2), true);
    this.#retryMs = Math.min(this.#retryMs * 2, this.#maxRetryMs);
  }

  #tryAfter(ms: number, hasFailed: boolean): void {
    const timer = setTimeout(() => {
      this.#state = { kind: 'idle', hasFailed };
      this.#pump();
    }, ms).unref();
    this.#state = { kind: 'waiting', hasFailed, timer };
  }

  /** Leaves what was not kept to the next process, as far as that has room for it. */
  #leave(): void {
    if (this.#destination.leave === undefined || this.#lines === 0) return;
    const all = [...this.#queue.flatMap(({ batch }) => batch.lines), ...this.#filling.lines];
    try {
      this.#spooled = this.#destination.leave(all);
    } catch (error) {
      this.#options.onError(error);
    }
    this.#lines -= this.#spooled;
  }

  /** @returns how many are lost */
  #lose(): number {
    const lost = this.#lines;
    this.#dropped += lost;
    for (const { kept } of this.#queue) kept?.resolve(false);
    this.#filling.kept?.resolve(false);
    this.#queue.length = 0;
    this.#filling = { lines: [], characters: 0, kept: undefined };
    this.#characters = 0;
    this.#lines = 0;
    this.#onEmpty();
    return lost;
  }
}
