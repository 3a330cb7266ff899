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
    .action(async (directory: string, _own: object, self: Command) => {
      const { validate } = await import('./validate.ts');
      const { output } = self.optsWithGlobals<GlobalOptions>();
      process.exitCode = await validate(directory, { output, ...shared });
    });
}

/** Adds `postern test`. */
export function addTest(program: Command, shared: Shared): void {
  program
    .command('test')
    .description('run the policy tests of a directory')
    .argument('<dir>', 'directory, or one file; - reads standard input')
    .option('--junit <file>', 'write a JUnit report')
    .option('--verbose', 'show the tests that pass, too')
    .option('--run <regex>', 'only tests whose `suite: name` it matches')
    .option('--coverage', 'tell which rules, permissions, grants and owners no test exercises')
    .option('--coverage-min <percent>', 'exit with 1 where less is exercised; implies --coverage')
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
    .description('decide recorded requests again by candidate policies, roles and facts')
    .requiredOption(
      '--log <file>',
      'the file of an audit log, with what was rotated from it, may be repeated; or redis://…',
      collect,
    )
    .option('--stream <key>', 'the stream in that Redis', 'postern:audit')
    .option('--config <file>', 'candidate settings: of them the catalog, and the store')
    .option(
      '--state <file>',
      "candidate facts of a tenant, instead of the store's; may be repeated",
      collect,
      [],
    )
    .option('--policy-set <file>', 'a set to try in their place; may be repeated', collect, [])
    .option('--attach <key>', 'a key that gets these sets; may be repeated', collect, [])
    .option('--from <time>', 'decisions from then on: 2030-01-31T12:00:00Z, or 15m, 24h, 7d ago')
    .option('--to <time>', 'decisions before then, likewise')
    .option('--junit <file>', 'write a JUnit report')
    .addOption(
      new Option('--fail-on <difference>', 'which differences end with exit code 1')
        .choices(['any', 'allow-to-deny', 'deny-to-allow'])
        .default('any'),
    )
    .addHelpText(
      'after',
      `
The records need the inputs of requests: \`audit.attributes: true\`. What they leave out is not guessed at: decisions that
depend on it are counted as not replayable, with the cause.

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
    .description('create a first tenant and its owner, on the store itself, and print a token')
    .requiredOption('--admin <user>', "the tenant's first owner, a superuser")
    .option('--ttl <time>', 'how long its session is good, for example 30m; without it 12h')
    .option('--config <file>', 'settings that name the store')
    .addHelpText(
      'after',
      `
The tenant is the one that --tenant or POSTERN_TENANT names. The token is the last line, and is printed once. What was
done is in the tenant's change feed as \`tenant.init\` of the operator; the audit log is the servers'.

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
