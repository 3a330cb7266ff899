/** Where audit records go until they are queued with a promise of their own: one JSON line each, in batches. */
import { pino } from 'pino';

export interface AuditSink {
  /** Takes one line; `undefined`: nobody reads them, so that none need be made. */
  readonly write: ((line: string) => void) | undefined;
  /** Records that the bounded buffer had no room for. */
  dropped(): number;
  close(): Promise<void>;
}

export interface AuditOptions {
  readonly sink: 'stdout' | 'file' | 'off';
  readonly file: string | undefined;
  /** Bytes that wait for a slow destination before records are dropped, and counted. */
  readonly bufferBytes: number;
}

export function openAudit(options: AuditOptions): AuditSink {
  if (options.sink === 'off')
    return { write: undefined, dropped: () => 0, close: () => Promise.resolve() };
  const destination = pino.destination({
    dest: options.sink === 'file' && options.file !== undefined ? options.file : 1,
    sync: false,
    mkdir: true,
    maxLength: options.bufferBytes,
  });
  let dropped = 0;
  destination.on('drop', () => dropped++);
  // A reader that went away (`postern serve | head`) must not take the gate down.
  destination.on('error', () => dropped++);
  return {
    write: (line) => void destination.write(`${line}\n`),
    dropped: () => dropped,
    close: () =>
      new Promise((done) => {
        destination.once('close', done);
        destination.once('error', done);
        destination.end();
      }),
  };
}
