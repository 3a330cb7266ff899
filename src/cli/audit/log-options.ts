/** The options that say which audit log a command reads. */
import type { Command } from 'commander';
import { openFiles, type Range, type Source } from '../../audit/logs/log-source.ts';
import type { StreamOptions } from '../../audit/logs/stream.ts';
import { loadSettings } from '../../config/settings/load-settings.ts';
import { readAccess } from '../../store/redis/credentials.ts';
import { collect, parseDuration, parseTime } from '../kit/arguments.ts';
import { CliError, visible } from '../kit/output.ts';

export interface SourceFlags {
  readonly file?: readonly string[];
  readonly redis?: string;
  readonly stream: string;
  readonly config?: string;
  readonly packageRoot: string;
}

/** What the options or the settings name. Sinks of the same settings hold the same records. */
export interface Logs {
  /** Each the file that is written to, or `-`. */
  readonly files: readonly string[];
  readonly streams: readonly Omit<StreamOptions, 'onProblem'>[];
  /** Where the settings name the log. */
  readonly chainKeyFile: string | undefined;
  readonly areOptions: boolean;
}

/** Adds the options. */
export function reading(command: Command): Command {
  return command
    .optionsGroup('The log (else the first file or Redis stream of the settings):')
    .option(
      '--file <file>',
      'the current file, with its rotated files and those of workers; - is standard input; repeatable',
      collect,
    )
    .option('--redis <url>', 'the Redis with the stream: redis://, rediss://, redis-sentinel:// …')
    .option('--stream <key>', 'the stream in that Redis', 'postern:audit')
    .option('--config <file>', 'settings that name the log');
}

/** @throws CliError where nothing is named, or two logs are */
export function namedLogs({ file = [], redis, stream, config, packageRoot }: SourceFlags): Logs {
  if (file.length > 0 && redis !== undefined)
    throw new CliError('--redis: the log is that of --file already: give one of them');
  if (file.length > 0 || redis !== undefined)
    return {
      files: file,
      streams:
        redis === undefined ? [] : [{ url: redis, password: undefined, tls: {}, key: stream }],
      chainKeyFile: undefined,
      areOptions: true,
    };
  const { file: named, settings } = loadSettings(config, process.env, packageRoot);
  const { audit, store } = settings;
  const logs = {
    files: audit.sinks.flatMap((sink) => (sink.type === 'file' ? [sink.path] : [])),
    streams: audit.sinks.flatMap((sink) =>
      sink.type === 'redis'
        ? [{ ...readAccess(sink.url, store, settings.redis), key: sink.key }]
        : [],
    ),
    chainKeyFile: audit.chain_key_file,
    areOptions: false,
  };
  if (logs.files.length + logs.streams.length === 0)
    throw new CliError(
      `\`${named}\` has no audit sink that can be read: give --file FILE or --redis URL`,
    );
  return logs;
}

/** The log to read. Of several that the settings name, the first: they hold the same. */
export async function sourceOf({ files, streams, areOptions }: Logs): Promise<Source> {
  const [stream] = streams;
  if (stream === undefined || files.length > 0)
    return openFiles(
      areOptions ? files : files.slice(0, 1),
      (message) => void process.stderr.write(`warning: ${visible(message)}\n`),
    );
  const { openStream } = await import('../../audit/logs/stream.ts');
  return openStream({
    ...stream,
    onProblem: (message) => void process.stderr.write(`${visible(message)}: it is tried again\n`),
  });
}

export interface RangeFlags {
  readonly from?: string;
  readonly to?: string;
}

/** Adds the options of a range of time. */
export function within(command: Command): Command {
  return command
    .optionsGroup('Time:')
    .option('--from <time>', 'first time, inclusive: 2030-01-31T12:00:00Z, or 15m, 24h, 7d ago')
    .option('--to <time>', 'last time, exclusive, in the same form');
}

/** @throws CliError where a time is none, or nothing lies between them */
export function rangeOf({ from, to }: RangeFlags): Range {
  const now = Date.now();
  const momentOf = (option: string, text: string | undefined): number | undefined =>
    text === undefined ? undefined : parseMoment(option, text, now);
  const range = { from: momentOf('--from', from), to: momentOf('--to', to) };
  if ((range.from ?? -Infinity) >= (range.to ?? Infinity))
    throw new CliError('--to: it is not after --from: give a later time');
  return range;
}

/** A time, or so long ago, ms since the epoch. */
function parseMoment(option: string, text: string, now: number): number {
  return /^\d+[smhd]$/.test(text)
    ? now - parseDuration(option, text) * 1_000
    : Date.parse(parseTime(option, text));
}

/** What a verb does. It returns the exit code. */
type Handler<Options extends SourceFlags> = (options: Options) => Promise<number>;

/** Makes a Commander action of a handler. */
export type Run = <Options extends SourceFlags>(
  handler: Handler<Options>,
) => (own: object, self: Command) => Promise<void>;

export function runnerOf(packageRoot: string): Run {
  return <Options extends SourceFlags>(handler: Handler<Options>) =>
    async (_own, self) => {
      process.exitCode = await handler({ ...self.optsWithGlobals<Options>(), packageRoot });
    };
}
