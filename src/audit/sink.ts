/** Where audit records go until they are queued with a promise of their own: one JSON line each, in batches. */
import { pino } from 'pino';

export interface AuditSink {
  /** Takes one line; `undefined`: nobody reads them, so that none need be made. */
  readonly write: ((line: string) => void) | undefined;
  /** Records that the bounded buffer had no room for. */
  dropped(): number;
  /** Writes what is still here, and closes. */
  close(): Promise<void>;
}

export interface AuditOptions {
  readonly sink: 'stdout' | 'file' | 'off';
  readonly file: string | undefined;
  /** Bytes that wait for a slow destination before records are dropped, and counted. */
  readonly bufferBytes: number;
  readonly onError: (error: unknown) => void;
}

/**
 * Lines are written together when there are so many bytes of them, or after so many milliseconds. Waking the thread
 * that writes costs more than what it writes: 5 ms instead of 20 would cost a tenth of the throughput.
 */
const BATCH_BYTES = 256 * 1024;
const BATCH_MS = 20;
const NEWLINE = 0x0a;

interface BytesDestination {
  write(bytes: Buffer): boolean;
}

export function openAudit(options: AuditOptions): AuditSink {
  if (options.sink === 'off')
    return { write: undefined, dropped: () => 0, close: () => Promise.resolve() };
  const destination = pino.destination({
    dest: options.sink === 'file' && options.file !== undefined ? options.file : 1,
    sync: false,
    mkdir: true,
    maxLength: options.bufferBytes,
    // Bytes, made line by line: one long string would be put together and encoded again.
    contentMode: 'buffer',
  });
  let batch = Buffer.allocUnsafeSlow(BATCH_BYTES);
  let length = 0;
  let timer: NodeJS.Timeout | undefined;
  let dropped = 0;
  destination.on('drop', (lost: unknown) => {
    dropped += Buffer.isBuffer(lost) ? countLines(lost) : 1;
  });
  // A reader that went away (`postern serve | head`) must not take the gate down.
  destination.on('error', (error: unknown) => {
    dropped++;
    options.onError(error);
  });
  const flush = (): void => {
    clearTimeout(timer);
    timer = undefined;
    if (length === 0) return;
    // Its types know the mode for text only.
    (destination as unknown as BytesDestination).write(batch.subarray(0, length));
    // The destination keeps what it was given until it is written.
    batch = Buffer.allocUnsafeSlow(BATCH_BYTES);
    length = 0;
  };
  return {
    write(line): void {
      // Three bytes a UTF-16 unit is the most that UTF-8 takes.
      const most = line.length * 3 + 1;
      if (length + most > batch.length) flush();
      if (most > batch.length) batch = Buffer.allocUnsafeSlow(most);
      length += batch.write(line, length);
      batch[length++] = NEWLINE;
      timer ??= setTimeout(flush, BATCH_MS);
    },
    dropped: () => dropped,
    close(): Promise<void> {
      flush();
      return new Promise((done) => {
        destination.once('close', done);
        destination.once('error', done);
        destination.end();
      });
    },
  };
}

function countLines(bytes: Buffer): number {
  let lines = 0;
  for (const byte of bytes) if (byte === NEWLINE) lines++;
  return lines;
}
