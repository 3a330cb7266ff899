/** The audit log that the settings describe. What is not used is not loaded. */
import { existsSync, readFileSync } from 'node:fs';
import {
  readPassword,
  readTlsFiles,
  type CredentialSettings,
  type TlsFiles,
} from '../store/redis/credentials.ts';
import { openFile, openStdout } from './sinks/file.ts';
import { abandonedLogs, workerName } from './logs/names.ts';
import { newInstance, openLog, type AuditLog } from './log.ts';
import type { SealOptions } from './seals/seal.ts';
import { openSink, type Destination, type Sink, type SinkMode } from './sinks/queue.ts';
import type { Spool } from './sinks/spool.ts';

interface SinkCommon {
  readonly mode: SinkMode;
  readonly buffer_bytes: number;
  readonly max_record_bytes: number;
  readonly timeout_ms: number;
}

interface Spooling {
  readonly spool_file?: string | undefined;
  readonly spool_bytes: number;
}

export type SinkDescription = SinkCommon &
  (
    | { readonly type: 'stdout' }
    | {
        readonly type: 'file';
        readonly path: string;
        readonly rotate_bytes: number;
        readonly rotate_hours: number;
        readonly keep_files: number;
        readonly keep_days: number;
        readonly keep_bytes: number;
      }
    | (Spooling & {
        readonly type: 'redis';
        readonly url?: string | undefined;
        readonly key: string;
        readonly max_length: number;
        readonly max_age_hours: number;
        readonly wait_replicas: number;
      })
    | (Spooling & {
        readonly type: 'http';
        readonly url: string;
        readonly authorization_file?: string | undefined;
      })
  );

export interface LogOptions {
  readonly sinks: readonly SinkDescription[];
  /** The store's address, where a Redis sink names none of its own. */
  readonly store: string;
  readonly redis: CredentialSettings;
  /** Which of several processes this is, from 1; `undefined`: the only one. */
  readonly worker: number | undefined;
  readonly workers: number;
  /** How records are sealed. */
  readonly seals: SealOptions;
  /** Answers that wait for a sink at once. */
  readonly maxWaiting: number;
  /** Told of the errors of one sink. */
  readonly onError: (sink: string) => (error: unknown) => void;
  /** Told of what one sink did that is worth a line. */
  readonly onInfo: (sink: string) => (message: string) => void;
}

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** Of keys that hash, bytes. */
const SHORTEST_KEY = 32;

/** @throws Error where a sink cannot be opened: a log that cannot be kept must not be promised */
export async function openAuditLog(options: LogOptions): Promise<AuditLog> {
  const instance = newInstance();
  const names = options.sinks.map(({ type }) => type);
  const sinks: Sink[] = [];
  for (const [index, description] of options.sinks.entries()) {
    // Two of a kind are told apart by their place among them.
    const place = names.slice(0, index).filter((type) => type === description.type).length;
    const name = place === 0 ? description.type : `${description.type}-${place + 1}`;
    const onError = options.onError(name);
    const writer = `${instance}-${index}`;
    const tells = { onError, onInfo: options.onInfo(name) };
    const destination = await spooling(
      await openDestination(description, writer, options, onError),
      description,
      options,
      tells,
    );
    const { mode, buffer_bytes: bufferBytes, timeout_ms: timeoutMs } = description;
    const { max_record_bytes: maxRecordBytes } = description;
    const limits = { bufferBytes, maxRecordBytes, timeoutMs };
    sinks.push(openSink(destination, { name, mode, ...limits, onError }));
  }
  return openLog(instance, sinks, options.maxWaiting, options.seals);
}

/** With the spool that its settings name. @throws Error where that cannot be opened */
async function spooling(
  destination: Destination,
  sink: SinkDescription,
  { worker, workers }: LogOptions,
  { onError, onInfo }: { onError: (error: unknown) => void; onInfo: (message: string) => void },
): Promise<Destination> {
  if (!('spool_file' in sink) || sink.spool_file === undefined) return destination;
  const { spool_file: file, spool_bytes: maxBytes } = sink;
  const { openSpool } = await import('./sinks/spool.ts');
  const { withSpools } = await import('./sinks/spooled.ts');
  const onProblem = (problem: string): void => onError(new Error(problem));
  const open = (path: string): Spool => openSpool({ path, maxBytes, onProblem });
  const own = open(worker === undefined ? file : workerName(file, worker));
  // Of those that are gone, one takes care.
  const isFirst = worker === undefined || worker === 1;
  const abandoned = isFirst ? await abandonedLogs(file, workers) : [];
  return withSpools(destination, {
    own,
    others: abandoned.filter((path) => existsSync(path)).map(open),
    onSent: (count) =>
      onInfo(`${count} audit records of an earlier process were sent from the spool`),
  });
}

async function openDestination(
  sink: SinkDescription,
  writer: string,
  { store, redis, worker, workers }: LogOptions,
  onError: (error: unknown) => void,
): Promise<Destination> {
  switch (sink.type) {
    case 'stdout':
      return openStdout();
    case 'file':
      return openFile({
        path: worker === undefined ? sink.path : workerName(sink.path, worker),
        // Of those that are gone, one takes care.
        abandoned:
          worker === undefined || worker === 1
            ? (): Promise<readonly string[]> => abandonedLogs(sink.path, workers)
            : undefined,
        durable: sink.mode === 'strict',
        rotateBytes: sink.rotate_bytes,
        // Else what is old would stay as long as the file is small.
        rotateMs: (sink.rotate_hours || (sink.keep_days > 0 ? 24 : 0)) * HOUR_MS,
        keepFiles: sink.keep_files,
        keepMs: sink.keep_days * DAY_MS,
        keepBytes: sink.keep_bytes,
        onError,
      });
    case 'redis': {
      const { openRedisSink } = await import('./sinks/redis.ts');
      return openRedisSink({
        ...redisOf(sink.url, store, redis),
        key: sink.key,
        maxLength: sink.max_length,
        maxAgeMs: sink.max_age_hours * HOUR_MS,
        waitReplicas: sink.wait_replicas,
        maxRecordBytes: sink.max_record_bytes,
        timeoutMs: sink.timeout_ms,
        writer,
        onProblem: (problem) => onError(new Error(problem)),
      });
    }
    case 'http': {
      const { authorizationOf, openHttp } = await import('./sinks/http.ts');
      const { url, authorization_file: file, timeout_ms: timeoutMs } = sink;
      if (file !== undefined) authorizationOf(file);
      const onCut = (problem: string): void => onError(new Error(problem));
      return openHttp({ url, authorizationFile: file, timeoutMs, writer, onCut });
    }
  }
}

/** The Redis of a sink, and what opens it. @param url its own; `undefined`: that of the store */
export function redisOf(
  url: string | undefined,
  store: string,
  redis: CredentialSettings,
): { readonly url: string; readonly password: string | undefined; readonly tls: TlsFiles } {
  return {
    url: url ?? store,
    password: url === undefined ? readPassword(redis) : undefined,
    tls: readTlsFiles(redis),
  };
}

/** The key in a file; `undefined`: no file is named. @throws Error where it is too short to be one */
export function readKey(option: string, file: string | undefined): Buffer | undefined {
  if (file === undefined) return undefined;
  const key = readBytes(option, file);
  if (key.length < SHORTEST_KEY)
    throw new Error(
      `${option}: \`${file}\` has ${key.length} bytes: give ${SHORTEST_KEY} random ones or more`,
    );
  return key;
}

function readBytes(option: string, file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new Error(`${option}: \`${file}\` cannot be read: name a file that is there`, {
      cause: error,
    });
  }
}
