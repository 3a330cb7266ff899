/** Where audit records go until they are queued with a promise of their own: one JSON line each, in batches. */
import { closeSync, existsSync, mkdirSync, openSync, write as writeTo } from 'node:fs';
import { dirname } from 'node:path';

export interface AuditSink {
  /** Takes one line; `undefined`: nobody reads them, so that none need be made. */
  readonly write: ((line: string) => void) | undefined;
  /** Records that were lost: no room in the bounded queue, a reader that went away, or left over at the end. */
  dropped(): number;
  /** Records that wait to be written. */
  queued(): number;
  /** Writes what is still here, as far as the time allows, and closes. */
  close(): Promise<void>;
}

export interface AuditOptions {
  readonly sink: 'stdout' | 'file' | 'off';
  readonly file: string | undefined;
  /** Bytes that wait for a slow destination before records are dropped, and counted. */
  readonly bufferBytes: number;
  /** How long `close` waits for a destination that does not take what is left, ms. */
  readonly closeMs: number;
  readonly onError: (error: unknown) => void;
}

/**
 * Lines are written together when they may be so many bytes, or after so many milliseconds. Waking the thread
 * that writes costs more than what it writes: 5 ms instead of 20 would cost a tenth of the throughput.
 */
const BATCH_BYTES = 768 * 1024;
const BATCH_MS = 20;
/** A destination that fails (a full disk, a full pipe) is tried again after this time, ms. */
const RETRY_MS = 100;
const STDOUT = 1;

interface Batch {
  readonly bytes: Buffer;
  readonly lines: number;
}

/** @throws Error where the file cannot be opened: a log that cannot be kept must not be promised */
export function openAudit(options: AuditOptions): AuditSink {
  if (options.sink === 'off')
    return {
      write: undefined,
      dropped: () => 0,
      queued: () => 0,
      close: () => Promise.resolve(),
    };
  const descriptor = options.sink === 'file' ? openFile(options.file ?? '') : STDOUT;
  const queue: Batch[] = [];
  let waiting = { bytes: 0, lines: 0 };
  let filling: string[] = [];
  /** Bytes of `filling` at most: three a UTF-16 unit is the most that UTF-8 takes. */
  let filled = 0;
  let timer: NodeJS.Timeout | undefined;
  let writing = false;
  let gone = false;
  let dropped = 0;
  let onEmpty: (() => void) | undefined;

  const lose = (lines: number): void => {
    dropped += lines;
  };
  const pump = (): void => {
    const [batch] = queue;
    if (writing) return;
    if (batch === undefined) {
      onEmpty?.();
      return;
    }
    writing = true;
    writeTo(descriptor, batch.bytes, (error, written) => {
      writing = false;
      if (error !== null) failed(error);
      else {
        waiting.bytes -= written;
        if (written < batch.bytes.length)
          queue[0] = { bytes: batch.bytes.subarray(written), lines: batch.lines };
        else {
          queue.shift();
          waiting.lines -= batch.lines;
        }
        pump();
      }
    });
  };
  const failed = (error: NodeJS.ErrnoException): void => {
    if (error.code !== 'EAGAIN') options.onError(error);
    // A reader that went away (`postern serve | head`) does not come back, and must not take the gate down.
    if (error.code === 'EPIPE') {
      gone = true;
      lose(waiting.lines);
      queue.length = 0;
      waiting = { bytes: 0, lines: 0 };
      onEmpty?.();
    } else setTimeout(pump, RETRY_MS).unref();
  };
  const flush = (): void => {
    clearTimeout(timer);
    timer = undefined;
    if (filling.length === 0) return;
    // Lines are put together here, many at once, and not at each decision.
    const bytes = Buffer.from(filling.join(''));
    queue.push({ bytes, lines: filling.length });
    waiting = { bytes: waiting.bytes + bytes.length, lines: waiting.lines + filling.length };
    filling = [];
    filled = 0;
    pump();
  };
  return {
    write(line): void {
      const most = line.length * 3 + 1;
      if (gone || waiting.bytes + filled + most > options.bufferBytes) {
        lose(1);
        return;
      }
      filling.push(`${line}\n`);
      filled += most;
      if (filled > BATCH_BYTES) flush();
      else timer ??= setTimeout(flush, BATCH_MS);
    },
    dropped: () => dropped,
    queued: () => waiting.lines + filling.length,
    async close(): Promise<void> {
      flush();
      await new Promise<void>((done) => {
        if (queue.length === 0) done();
        else {
          const late = setTimeout(done, options.closeMs);
          onEmpty = (): void => {
            // Else the process would live on for a time that nobody needs any more.
            clearTimeout(late);
            done();
          };
        }
      });
      lose(waiting.lines);
      if (descriptor !== STDOUT) closeSync(descriptor);
    },
  };
}

function openFile(file: string): number {
  try {
    // Its directory, not the way to it: a mistyped path should be noticed.
    if (!existsSync(dirname(file))) mkdirSync(dirname(file));
    return openSync(file, 'a');
  } catch (error) {
    throw new Error(
      `audit.file: \`${file}\` cannot be opened: give a file that can be appended to`,
      {
        cause: error,
      },
    );
  }
}
