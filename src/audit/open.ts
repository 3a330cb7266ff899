/** The audit log that the settings describe. What is not used is not loaded. */
import { existsSync } from 'node:fs';
import type { CredentialSettings } from '../store/redis/credentials.ts';
import { readNamedFile } from '../util/named-file.ts';
import { abandonedLogs, workerName } from './logs/names.ts';
import { newInstance, openLog, type AuditLog } from './log.ts';
import type { SealOptions } from './seals/seal.ts';
import { openSink, type Destination, type Sink } from './sinks/queue.ts';
import { openDestination, type SinkSettings } from './sinks/registry.ts';
import type { Spool } from './sinks/spool.ts';

export interface LogOptions {
  readonly sinks: readonly SinkSettings[];
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
  /** Called for the errors of one sink. */
  readonly onError: (sink: string) => (error: unknown) => void;
  /** Called for what one sink did that is worth a line of the log. */
  readonly onInfo: (sink: string) => (message: string) => void;
}

/** Of keys that hash, bytes. */
const SHORTEST_KEY = 32;

/** @throws Error where a sink cannot be opened: a log that cannot be kept must not be promised */
export async function openAuditLog(options: LogOptions): Promise<AuditLog> {
  const instance = newInstance();
  const types = options.sinks.map(({ type }) => type);
  const sinks: Sink[] = [];
  for (const [index, settings] of options.sinks.entries()) {
    // Two of a kind are told apart by their place among them.
    const place = types.slice(0, index).filter((type) => type === settings.type).length;
    const name = place === 0 ? settings.type : `${settings.type}-${place + 1}`;
    const onError = options.onError(name);
    const { store, redis, worker, workers } = options;
    const writer = `${instance}-${index}`;
    const destination = await withSpool(
      await openDestination(settings, { writer, store, redis, worker, workers, onError }),
      settings,
      options,
      { onError, onInfo: options.onInfo(name) },
    );
    const { mode, buffer_bytes: bufferBytes, timeout_ms: timeoutMs } = settings;
    const { max_record_bytes: maxRecordBytes } = settings;
    const limits = { bufferBytes, maxRecordBytes, timeoutMs };
    sinks.push(openSink(destination, { name, mode, ...limits, onError }));
  }
  return openLog(instance, sinks, options.maxWaiting, options.seals);
}

/** With the spool that its settings name. @throws Error where that cannot be opened */
async function withSpool(
  destination: Destination,
  sink: SinkSettings,
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
  // One process sends what those that have ended have left.
  const isFirst = worker === undefined || worker === 1;
  const abandoned = isFirst ? await abandonedLogs(file, workers) : [];
  return withSpools(destination, {
    own,
    others: abandoned.filter((path) => existsSync(path)).map(open),
    onSent: (count) =>
      onInfo(`${count} audit records of an earlier process were sent from the spool`),
  });
}

/** The key in a file; `undefined`: no file is named. @throws Error where it is too short to be one */
export function readKey(option: string, file: string | undefined): Buffer | undefined {
  if (file === undefined) return undefined;
  const key = readNamedFile(option, file);
  if (key.length < SHORTEST_KEY)
    throw new Error(
      `${option}: \`${file}\` has ${key.length} bytes: give ${SHORTEST_KEY} random ones or more`,
    );
  return key;
}
