/** The program: options that all commands have, and what is settled before a command runs. */
import { Command, Option } from 'commander';
import { connectionOf } from './commands.ts';
import { applyContext } from './context/resolve.ts';
import { CliError } from './kit/output.ts';
import { usageError } from './kit/usage-error.ts';

/** Options that only commands with a connection to a server have a use for. */
const CONNECTION = new Set('as token tokenFile tls ca cert keyFile'.split(' '));

/** @param given the arguments of the process */
export function createProgram(given: readonly string[]): Command {
  const program = new Command('postern')
    .description(
      'Sidecar authorization decision service: RBAC, tree grants, object ACLs and ABAC in one answer.',
    )
    // Before any command is added: commands inherit these.
    .exitOverride()
    .configureHelp({ showGlobalOptions: true })
    .addOption(
      new Option('-o, --output <format>', 'output format')
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
      new Option('--as <principal>', 'the principal that the operator acts as').env('POSTERN_AS'),
    )
    .addOption(
      new Option(
        '--token <token>',
        'the token for management (default: POSTERN_TOKEN, then POSTERN_ADMIN_TOKEN); visible in the process list, so prefer a variable or --token-file',
      ).conflicts('tokenFile'),
    )
    .option('--token-file <file>', 'a file with the token')
    .option('--tls', 'use TLS for the gRPC listener')
    .option('--ca <file>', 'PEM file of the trusted authorities; implies --tls')
    .option('--cert <file>', 'PEM file of a client certificate; implies --tls')
    .option('--key-file <file>', 'PEM file of the key of --cert')
    .configureOutput({ outputError: (text, write) => write(usageError(text, given, program)) })
    .addHelpText(
      'after',
      '\nExit codes: 0 done or allowed, 1 refused or denied, 2 malformed or no answer.\nDocumentation: docs/ in the package.',
    );
  program.hook('preAction', (_program, command) => settleConnection(program, command));
  return program;
}

/** Gives a command what the context in use says, or refuses options that it would pass over. @throws CliError */
function settleConnection(program: Command, command: Command): void {
  const noun = command.parent === program ? command : command.parent;
  if (noun === null) return;
  const isOffline = command.opts()['offline'] === true;
  switch (connectionOf(noun.name())) {
    case 'own':
      return;
    case 'server':
      if (isOffline) mustHaveNoConnection(program, noun, command);
      else applyContext(program);
      return;
    case 'none':
      mustHaveNoConnection(program, noun, command);
  }
}

function mustHaveNoConnection(program: Command, noun: Command, command: Command): void {
  const wrong = program.options.find(
    (option) =>
      CONNECTION.has(option.attributeName()) &&
      program.getOptionValueSource(option.attributeName()) === 'cli',
  );
  if (wrong === undefined) return;
  const name = noun === command ? command.name() : `${noun.name()} ${command.name()}`;
  throw new CliError(`${wrong.long ?? ''}: \`postern ${name}\` does not use this option: omit it`);
}
