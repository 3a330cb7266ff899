/** `postern validate`, `test`, `replay` and `init`, as they are invoked: commands that ask no server. */
import { Option, type Command } from 'commander';
import { collect } from '../kit/arguments.ts';
import type { Format } from '../kit/output.ts';
import { run, type GlobalOptions, type Shared } from '../kit/run.ts';
import type { ReplayOptions } from './replay.ts';

/** Adds `postern validate`. */
export function addValidate(program: Command, shared: Shared): void {
  program
    .command('validate')
    .description('check and lint all files of a configuration directory')
    .argument('<dir>', 'directory, or one file; - reads standard input')
    .option('--require-end', 'refuse YAML without the mark `...` at its end, which may be cut off')
    .action(async (directory: string, _own: object, self: Command) => {
      const { validate } = await import('./validate.ts');
      const { output, requireEnd } = self.optsWithGlobals<
        GlobalOptions & { requireEnd?: boolean }
      >();
      process.exitCode = await validate(directory, { output, requireEnd, ...shared });
    });
}

/** Adds `postern test`. */
export function addTest(program: Command, shared: Shared): void {
  program
    .command('test')
    .description('run the policy tests of a directory')
    .argument('<dir>', 'directory, or one file; - reads standard input')
    .option('--junit <file>', 'write a JUnit report')
    .option('--verbose', 'also print passed tests')
    .option('--run <regex>', 'only tests whose `suite: name` matches')
    .option('--coverage', 'list rules, permissions, grants and owners that no test exercises')
    .option('--coverage-min <percent>', 'exit code 1 below this coverage; implies --coverage')
    .action(
      async (
        directory: string,
        own: {
          junit?: string;
          verbose?: boolean;
          run?: string;
          coverage?: boolean;
          coverageMin?: string;
        },
        self: Command,
      ) => {
        const { test } = await import('./test.ts');
        const { output } = self.optsWithGlobals<GlobalOptions>();
        process.exitCode = await test(directory, { ...own, output, ...shared });
      },
    );
}

/** Adds `postern replay`. */
export function addReplay(program: Command, shared: Shared): void {
  program
    .command('replay')
    .description('decide recorded requests again with candidate policies, roles and facts')
    .requiredOption(
      '--log <file>',
      'an audit log file with its rotated files, or redis://…; repeatable',
      collect,
    )
    .option('--stream <key>', 'the stream in that Redis', 'postern:audit')
    .option('--config <file>', 'candidate settings, for the catalog and the store')
    .option(
      '--state <file>',
      'candidate facts of a tenant, instead of those of the store; repeatable',
      collect,
      [],
    )
    .option('--policy-set <file>', 'a candidate policy set; repeatable', collect, [])
    .option('--attach <key>', 'a key to attach these sets to; repeatable', collect, [])
    .option('--from <time>', 'first time, inclusive: 2030-01-31T12:00:00Z, or 15m, 24h, 7d ago')
    .option('--to <time>', 'last time, exclusive, in the same form')
    .option('--junit <file>', 'write a JUnit report')
    .addOption(
      new Option('--fail-on <difference>', 'differences that cause exit code 1')
        .choices(['any', 'allow-to-deny', 'deny-to-allow'])
        .default('any'),
    )
    .addHelpText(
      'after',
      `
The records need the inputs of requests: \`audit.attributes: true\`. Nothing is guessed: decisions that depend on
an omitted input are counted as not replayed, with the cause.

Exit codes: 0 no difference, 1 differences, 2 usage, or nothing could be replayed.

Examples:
  postern replay --log audit.jsonl --config candidate/postern.yaml --state candidate/acme.yaml
  postern replay --log audit.jsonl --tenant acme --policy-set strict.yaml --attach agent-1 --fail-on allow-to-deny`,
    )
    .action(
      run(shared, async (options: ReplayOptions & Shared) =>
        (await import('./replay.ts')).replayCommand(options),
      ),
    );
}

/** Adds `postern init`. */
export function addInit(program: Command, shared: Shared): void {
  program
    .command('init')
    .description('create a tenant and its owner on the store itself, and print a token')
    .requiredOption('--admin <user>', "the tenant's owner, a superuser")
    .option('--ttl <time>', 'lifetime of the session, for example 30m (default: 12h)')
    .option('--config <file>', 'settings with the store')
    .addHelpText(
      'after',
      `
--tenant or POSTERN_TENANT names the tenant. The last line is the token, which is printed only once. The tenant's change log has
the entry \`tenant.init\` of the operator. The audit log, which servers write, has no record.

Example:
  postern init --tenant acme --admin alice`,
    )
    .action(
      run(
        shared,
        async (
          options: { output: Format; admin: string; ttl?: string; config?: string } & Shared,
        ) => (await import('./init.ts')).init(options),
      ),
    );
}
