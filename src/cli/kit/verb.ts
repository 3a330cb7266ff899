/** How the verbs of a noun are made from Commander's commands. */
import { Option, type Command } from 'commander';
import { openAdmin, type Admin, type AdminOptions } from './admin-client.ts';
import { parseInteger, parseUint64 } from './arguments.ts';

/** Adds a noun's verbs to it. */
export type AddVerbs = (noun: Command, packageRoot: string) => void;

/** The options of every write. */
export interface WriteFlags {
  readonly dryRun?: boolean;
  readonly idempotencyKey?: string;
  readonly expectedRevision?: string;
  readonly verbose?: boolean;
}

/** The option of every list. */
export interface LimitFlag {
  readonly limit?: string;
}

/** What a verb does. It returns the exit code. */
type Handler<Own extends object, Args extends readonly unknown[]> = (
  admin: Admin,
  options: Own,
  ...args: Args
) => Promise<number>;

/** Makes a Commander action of a handler: connects, runs it, and ends with its exit code. */
export type Run = <Own extends object, Args extends readonly unknown[]>(
  handler: Handler<Own, Args>,
) => (...given: unknown[]) => Promise<void>;

export function runner(packageRoot: string): Run {
  return <Own extends object, Args extends readonly unknown[]>(handler: Handler<Own, Args>) =>
    async (...given) => {
      // Commander gives the declared arguments, then the options, then the command.
      const command = given.at(-1) as Command;
      const args = given.slice(0, -2) as unknown as Args;
      const options = command.optsWithGlobals<AdminOptions & Own>();
      const admin = await openAdmin({ ...options, packageRoot });
      try {
        process.exitCode = await handler(admin, options, ...args);
      } finally {
        admin.close();
      }
    };
}

/** Adds the options of a write. */
export function writing(command: Command): Command {
  return command
    .optionsGroup('Options of the write:')
    .option('--dry-run', 'print what would be done, change nothing')
    .option('--idempotency-key <key>', 'do it at most once with this key; a key is kept for a day')
    .option('--expected-revision <n>', 'fail if the tenant is not at this revision')
    .option('--verbose', 'list each fact that changed, the first 10,000 of very many');
}

/** `WriteOptions` of a request. */
export function writeOptions(flags: WriteFlags): object {
  const { dryRun, idempotencyKey, expectedRevision, verbose } = flags;
  return {
    ...(dryRun === true ? { dry_run: true } : {}),
    ...(verbose === true ? { all_facts: true } : {}),
    ...(idempotencyKey === undefined ? {} : { idempotency_key: idempotencyKey }),
    ...(expectedRevision === undefined
      ? {}
      : { expected_revision: parseUint64('--expected-revision', expectedRevision) }),
  };
}

/** The option of a list. */
export function limitOption(): Option {
  return new Option('--limit <n>', 'print at most this many (default: all)');
}

export function parseLimit({ limit }: LimitFlag): number | undefined {
  return limit === undefined ? undefined : parseInteger('--limit', limit, 1, 4_294_967_295);
}
