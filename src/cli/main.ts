#!/usr/bin/env node
/** `postern`: one command a file, each loaded when it is used. The only place that knows argv and exit codes. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Argument, Command, CommanderError, Option } from 'commander';
import { collect } from './kit/arguments.ts';
import type { ConnectionOptions } from './kit/client.ts';
import { applyContext } from './context/resolve.ts';
import type { Shell } from './completion.ts';
import { tellFailure } from './kit/failure.ts';
import { NOUNS } from './nouns/nouns.ts';
import { CliError, EXIT, type Format } from './kit/output.ts';
import type { ReplayOptions } from './offline/replay.ts';
import { endAtOnce, holdHangUp, withoutInspector } from './serve/signals.ts';
import { usageError } from './kit/usage-error.ts';

interface GlobalOptions extends Omit<ConnectionOptions, 'packageRoot'> {
  readonly output: Format;
  readonly tenant?: string;
  readonly as?: string;
  readonly token?: string;
  readonly tokenFile?: string;
}

// What Node thinks of a library is no news for whoever runs a command.
process.noDeprecation = true;
const given = process.argv.slice(2);
withoutInspector();
// An empty variable is as if unset, for every option that has one.
for (const [name, value] of Object.entries(process.env))
  if (name.startsWith('POSTERN_') && value === '') delete process.env[name];

const NODE_MAJOR = 24;
if (Number(process.versions.node.split('.')[0]) < NODE_MAJOR) {
  process.stderr.write(
    `postern needs Node ${NODE_MAJOR} or newer, this is ${process.version}: run it with \`npx postern\` or install a newer Node\n`,
  );
  process.exit(EXIT.usage);
}

const packageRoot = findPackageRoot(dirname(fileURLToPath(import.meta.url)));
const { version } = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as {
  version: string;
};

function findPackageRoot(from: string): string {
  return existsSync(join(from, 'package.json')) ? from : findPackageRoot(dirname(from));
}

/** Runs a command with the options of the program and its own, and ends with its exit code. */
function run<Options extends object>(
  command: (
    options: Options & GlobalOptions & { packageRoot: string; version: string },
  ) => Promise<number>,
) {
  return async (options: Options, self: Command): Promise<void> => {
    const globals = self.optsWithGlobals<GlobalOptions & Options>();
    process.exitCode = await command({ ...globals, ...options, packageRoot, version });
  };
}

const program = new Command('postern')
  .description(
    'Sidecar authorization decision service: RBAC, tree grants, object ACLs and ABAC in one answer.',
  )
  // Before any command is added: commands inherit these.
  .exitOverride()
  .configureHelp({ showGlobalOptions: true })
  .addOption(
    new Option('-o, --output <format>', 'how to print')
      .choices(['table', 'json', 'yaml'])
      .default('table'),
  )
  .addOption(
    new Option('--address <host:port>', 'the gRPC listener, or unix:/path')
      .env('POSTERN_ADDRESS')
      .default('127.0.0.1:4700'),
  )
  .addOption(new Option('--tenant <name>', 'the tenant').env('POSTERN_TENANT'))
  .addOption(
    new Option('--as <principal>', 'the principal on whose behalf to manage facts').env(
      'POSTERN_AS',
    ),
  )
  .addOption(
    new Option(
      '--token <token>',
      'who manages facts (else POSTERN_TOKEN, else POSTERN_ADMIN_TOKEN); the process list shows it: prefer the environment or --token-file',
    ).conflicts('tokenFile'),
  )
  .option('--token-file <file>', 'a file with the token')
  .option('--tls', 'speak TLS to the gRPC listener')
  .option('--ca <file>', 'PEM file of the authorities to trust; implies --tls')
  .option('--cert <file>', 'PEM file of a client certificate; implies --tls')
  .option('--key-file <file>', 'PEM file of its key')
  .configureOutput({ outputError: (text, write) => write(usageError(text, given, program)) })
  .addHelpText(
    'after',
    '\nExit codes: 0 ok or allowed, 1 understood and refused or denied, 2 malformed or no answer.\nDocumentation: docs/ in the package.',
  );

program
  .command('serve')
  .description('serve decisions until SIGTERM; SIGHUP reads the catalog again')
  .option('--config <file>', 'settings (else POSTERN_CONFIG, else config/postern.yaml)')
  .option('--state <file>', 'create this tenant if it is absent; may be repeated', collect, [])
  .option('--demo', 'serve the demo tenant (the same as --state config/demo.yaml)')
  .action(
    run(async (options: { config?: string; state: string[]; demo?: boolean }) => {
      // Before what it takes to serve is loaded.
      const onServing = endAtOnce();
      const hungUp = holdHangUp();
      const { serve } = await import('./serve/serve.ts');
      return serve({ ...options, packageRoot, version, onServing, hungUp });
    }),
  );

program
  .command('check')
  .description('ask for one decision: a running server, or files with --offline')
  .argument('[subject]', 'alice, user:alice, role:team, workspace:w1, or - for a key alone')
  .argument('[action]', 'graph.search, kb:read, or a bare verb such as read')
  .argument('[path]', 'tree path; "" is the root')
  .option('--batch', 'ask the questions of a file in one call; subject and action are defaults')
  .option(
    '-f, --file <file>',
    'with --batch: a list of { id, subject, key, action, resource }, or -',
  )
  .option('--resource <type/id>', 'the resource')
  .option(
    '--attr <k=v>',
    'metadata of the resource: k=text or k:=JSON; may be repeated',
    collect,
    [],
  )
  .option('--source <json>', 'metadata of one contributing source; may be repeated', collect, [])
  .option('--key <id>', 'the API key that acts')
  .option('--min-revision <n>', 'answer from this revision or newer')
  .option(
    '--consistency-token <token>',
    'answer from the revision that a write (`-o json`) returned this token for, or newer',
  )
  .option('--explain', 'tell all the evidence, and what is missing')
  .option('--offline', 'ask no server: decide on the facts of --state')
  .option(
    '--state <file>',
    "with --offline: the facts of a tenant; may be repeated, for others' facts",
    collect,
    [],
  )
  .option(
    '--config <dir>',
    'with --offline: where postern.yaml or actions.yaml and roles.yaml are (else POSTERN_CONFIG, else config/postern.yaml)',
  )
  .addHelpText(
    'after',
    `
Examples:
  postern check alice read work.projects.api --tenant demo
  postern check carol kb:write --tenant demo --explain
  postern check - graph.search --key acme-agent --attr tenant=acme --tenant demo
  postern check --batch -f questions.yaml --tenant demo
  postern check alice read work.projects.api --offline --config config --state acme.yaml`,
  )
  .action(
    async (
      subject: string | undefined,
      action: string | undefined,
      path: string | undefined,
      own: { batch?: boolean; file?: string },
      self: Command,
    ) => {
      if (own.batch === true) {
        if (own.file === undefined)
          throw new CliError('--batch needs a file of questions: give -f FILE');
        const { batch } = await import('./ask/many.ts');
        const options = self.optsWithGlobals<GlobalOptions & { key?: string; file: string }>();
        process.exitCode = await batch(subject, action, {
          ...options,
          tenant: options.tenant,
          packageRoot,
        });
        return;
      }
      if (subject === undefined || action === undefined) {
        const missing = subject === undefined ? 'subject' : 'action';
        throw new CliError(
          `missing required argument \`${missing}\` (postern check --help tells more)`,
        );
      }
      const { check } = await import('./ask/check.ts');
      const options = self.optsWithGlobals<
        GlobalOptions & { attr: string[]; source: string[]; resource?: string; key?: string }
      >();
      process.exitCode = await check(subject, action, path, {
        ...options,
        tenant: options.tenant,
        packageRoot,
      });
    },
  );

program
  .command('filter')
  .description('ask a running server which objects of a file are visible')
  .argument('<subject>', 'alice, user:alice, role:team, workspace:w1, or - for a key alone')
  .argument('<action>', 'graph.search, kb:read, or a bare verb such as read')
  .requiredOption('-f, --file <file>', 'a list of { type, id, path, attributes, sources }, or -')
  .option('--key <id>', 'the API key that acts')
  .option('--limit <n>', 'visible objects to return at most')
  .option('--offset <n>', 'index of the first object to look at')
  .action(async (subject: string, action: string, _own: object, self: Command) => {
    const { filter } = await import('./ask/many.ts');
    const options = self.optsWithGlobals<GlobalOptions & { key?: string; file: string }>();
    process.exitCode = await filter(subject, action, {
      ...options,
      tenant: options.tenant,
      packageRoot,
    });
  });

program
  .command('validate')
  .description('check and lint all files of a configuration directory')
  .argument('<dir>', 'directory, or one file; - reads standard input')
  .action(async (directory: string, _own: object, self: Command) => {
    const { validate } = await import('./offline/validate.ts');
    const { output } = self.optsWithGlobals<GlobalOptions>();
    process.exitCode = await validate(directory, { output, packageRoot });
  });

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
      const { test } = await import('./offline/test.ts');
      const { output } = self.optsWithGlobals<GlobalOptions>();
      process.exitCode = await test(directory, { ...own, output, packageRoot });
    },
  );

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
    run(async (options: ReplayOptions) =>
      (await import('./offline/replay.ts')).replayCommand({ ...options, packageRoot }),
    ),
  );

/** What `apply` and `export` work on. */
const WHERE = `
With a token (--token-file, POSTERN_TOKEN or POSTERN_ADMIN_TOKEN) the running server at --address does it, with the
authority of whoever asks. Without one, or with --config, it is done on the store that the settings name.`;

/** ADM-10, CONS-5 */
const UNLISTED = `
A record that the file lists is stated whole. A file that leaves out anything that the tenant has (records, members,
permissions, rows of grants) is refused with a list of it, unless --prune or --keep says what becomes of it.

Exit codes: 0 applied, or nothing to do; 1 refused, nothing is applied; 2 usage, interrupted or no answer: the message
says whether the state was applied, or that this is not known.`;

interface ApplyFlags {
  readonly file: string;
  readonly dryRun?: boolean;
  readonly verbose?: boolean;
  readonly prune?: boolean;
  readonly keep?: boolean;
  readonly idempotencyKey?: string;
  readonly expectedRevision?: string;
  readonly config?: string;
}

program
  .command('apply')
  .description("make a tenant's facts what a state file says, in one commit")
  .requiredOption('-f, --file <state>', 'the state file, YAML or JSON; - reads standard input')
  .option('--dry-run', 'show what would change, change nothing')
  .option('--verbose', 'list each fact that changed, the first 10,000 of very many')
  .addOption(
    new Option('--prune', 'remove what the tenant has and the file does not list').conflicts(
      'keep',
    ),
  )
  .option('--keep', 'leave what the tenant has and the file does not list')
  .option('--idempotency-key <key>', 'do it at most once under this key, kept for a day')
  .option('--expected-revision <n>', 'on a server: refuse it where the tenant is at another one')
  .option('--config <file>', 'settings that name the store, to work on without a server')
  .addHelpText('after', WHERE)
  .addHelpText('after', UNLISTED)
  .action(
    run(async (options: ApplyFlags & GlobalOptions) => {
      if (options.config === undefined && (await import('./kit/admin-client.ts')).hasToken(options))
        return (await import('./state/apply-remote.ts')).applyRemote({ ...options, packageRoot });
      return (await import('./state/apply.ts')).apply({ ...options, packageRoot });
    }),
  );

program
  .command('export')
  .description("print a tenant's whole state as a file that apply takes")
  .option('--config <file>', 'settings that name the store, to work on without a server')
  .addHelpText('after', WHERE)
  .action(
    run(async (options: GlobalOptions & { config?: string }) => {
      if (options.config === undefined && (await import('./kit/admin-client.ts')).hasToken(options))
        return (await import('./state/apply-remote.ts')).exportRemote({ ...options, packageRoot });
      return (await import('./state/apply.ts')).exportCommand({
        ...options,
        tenant: options.tenant,
        packageRoot,
      });
    }),
  );

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
    run(async (options: { output: Format; admin: string; ttl?: string; config?: string }) =>
      (await import('./offline/init.ts')).init({ ...options, packageRoot }),
    ),
  );

program
  .command('healthcheck')
  .description('tell whether a server is ready')
  .addOption(
    new Option('--http <host:port>', 'the HTTP listener, or unix:/path')
      .env('POSTERN_HTTP_ADDRESS')
      .default('127.0.0.1:4701'),
  )
  .action(
    run(async (options: { output: Format; http: string }) =>
      (await import('./serve/healthcheck.ts')).healthcheck(options),
    ),
  );

const allVerbs = given.includes('completion');
const migrate = program
  .command('migrate')
  .description('apply changes of roles and permissions to tenants, once each');
if (allVerbs || given.includes('migrate'))
  (await import('./nouns/migrate.ts')).migrateVerbs(migrate, packageRoot);
const audit = program.command('audit').description('read, verify and erase what was recorded');
if (allVerbs || given.includes('audit'))
  (await import('./audit/audit.ts')).auditVerbs(audit, packageRoot);
const context = program.command('context').description('servers by name: address, tenant, token');
if (allVerbs || given.includes('context'))
  (await import('./context/verbs.ts')).contextVerbs(context, program);
program.commandsGroup('Facts of a running server:');
for (const { name, description, load } of NOUNS) {
  const noun = program.command(name).description(description);
  if (allVerbs || given.includes(name)) (await load())(noun, packageRoot);
}

program
  .commandsGroup('Shell:')
  .command('completion')
  .description('print a script that completes commands in a shell')
  .addArgument(new Argument('<shell>', 'which one').choices(['bash', 'zsh', 'fish']))
  .addHelpText(
    'after',
    `
Examples:
  source <(postern completion bash)                                   # in ~/.bashrc
  postern completion zsh > "\${fpath[1]}/_postern"
  postern completion fish > ~/.config/fish/completions/postern.fish`,
  )
  .action(async (shell: Shell) => {
    const { completionScript } = await import('./completion.ts');
    process.stdout.write(completionScript(shell, program));
  });

// After a command, `--version` is that command's own: `policy-set get NAME --version 3`.
const commandAt = given.findIndex((word) => program.commands.some((one) => one.name() === word));
const versionAt = given.indexOf('--version');
if (allVerbs || commandAt < 0 || (versionAt >= 0 && versionAt < commandAt))
  program.version(version);

/** These speak to no server's API: what says how to would be passed over, `serve --tls` above all. */
const OFFLINE = new Set(
  'serve validate test replay init migrate audit healthcheck completion'.split(' '),
);
const CONNECTION = new Set('as token tokenFile tls ca cert keyFile'.split(' '));
program.hook('preAction', (_program, command) => {
  const noun = command.parent === program ? command : command.parent;
  if (noun === null || noun === context) return;
  if (!OFFLINE.has(noun.name()) && command.opts()['offline'] !== true) {
    applyContext(program);
    return;
  }
  const wrong = program.options.find(
    (option) =>
      CONNECTION.has(option.attributeName()) &&
      program.getOptionValueSource(option.attributeName()) === 'cli',
  );
  if (wrong !== undefined)
    throw new CliError(
      `${wrong.long ?? ''}: \`postern ${noun === command ? '' : `${noun.name()} `}${command.name()}\` has no use for it: leave it out`,
    );
});

// A reader that has seen enough changes nothing of the answer; any other failure to print is told.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') return;
  process.stderr.write(`postern: cannot print: ${error.message}\n`);
  process.exitCode = EXIT.usage;
});

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    // Help and version are no errors; everything else is usage, and was told.
    process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  } else process.exitCode = tellFailure(error);
}
