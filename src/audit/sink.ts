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
}

/** Lines are written together when there are so many characters of them, or after so many milliseconds. */
const BATCH_CHARS = 32 * 1024;
const BATCH_MS = 5;

export function openAudit(options: AuditOptions): AuditSink {
  if (options.sink === 'off')
    return { write: undefined, dropped: () => 0, close: () => Promise.resolve() };
  const destination = pino.destination({
    dest: options.sink === 'file' && options.file !== undefined ? options.file : 1,
    sync: false,
    mkdir: true,
    maxLength: options.bufferBytes,
  });
  let batch = '';
  let lines = 0;
  let timer: NodeJS.Timeout | undefined;
  let dropped = 0;
  const lose = (chunk: string): void => {
    dropped += chunk.split('\n').length - 1;
  };
  destination.on('drop', (chunk: unknown) => lose(String(chunk)));
  // A reader that went away (`postern serve | head`) must not take the gate down.
  destination.on('error', () => lose(batch));
  const flush = (): void => {
    clearTimeout(timer);
    timer = undefined;
    if (lines > 0) destination.write(batch);
    batch = '';
    lines = 0;
  };
  return {
    write(line): void {
      batch += `${line}\n`;
      lines++;
      if (batch.length >= BATCH_CHARS) flush();
      else timer ??= setTimeout(flush, BATCH_MS);
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
