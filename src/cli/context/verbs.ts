/** `postern context`: servers by name. */
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { suggest } from '../../config/problem.ts';
import { addressProblem } from '../../util/address.ts';
import { CliError, EXIT, print, visible, type Format } from '../kit/output.ts';
import { listing } from '../kit/results.ts';
import { contextsFile, readContexts, writeContexts, type Context } from './file.ts';
import { applyContext, CONTEXT_OPTIONS, contextInUse, VARIABLES } from './resolve.ts';

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
/** Fields that name files: kept as absolute paths, for they are used from anywhere. */
const PATHS: ReadonlySet<string> = new Set(['token_file', 'ca', 'cert', 'key_file']);

/** Options of all commands. */
interface Globals {
  readonly output: Format;
}

/** Adds the verbs of `postern context`. */
export function contextVerbs(noun: Command): void {
  // A noun is always added to the program.
  const program = noun.parent ?? noun;
  const run =
    <Args extends readonly unknown[]>(verb: (output: Format, ...args: Args) => void) =>
    (...given: unknown[]): void => {
      // Commander gives the declared arguments, then the options, then the command.
      const args = given.slice(0, -2) as unknown as Args;
      verb(program.opts<Globals>().output, ...args);
      process.exitCode = EXIT.ok;
    };
  noun.addHelpText(
    'after',
    `
A context stores address, tenant, token file and TLS files under a name, in ${contextsFile()}. It never stores a token.
Options have priority, then POSTERN_ADDRESS, POSTERN_TENANT, POSTERN_TOKEN and POSTERN_ADMIN_TOKEN, then the current context.
POSTERN_CONTEXT selects another context for a shell.

Examples:
  postern context set prod --address postern.example.com:4700 --tenant acme --tls --token-file ~/.postern-token
  postern context use prod
  postern context show`,
  );
  noun.command('list').description('list the contexts').action(run(list));
  noun
    .command('use')
    .description('select the current context')
    .argument('<name>', 'its name')
    .action(run(use));
  noun
    .command('set')
    .description(
      'create or change a context: --address, --tenant, --token-file, --tls, --ca, --cert, --key-file',
    )
    .argument('<name>', 'its name')
    .action(run((output, name: string) => set(output, program, name)));
  noun
    .command('delete')
    .description('delete a context')
    .argument('<name>', 'its name')
    .action(run(remove));
  noun
    .command('show')
    .description('print the values in use, and where each one comes from')
    .action(run((output) => show(output, program)));
}

function list(output: Format): void {
  const { current, contexts } = readContexts();
  const shown = [...contexts].map(([name, context]) => ({
    name,
    current: name === current,
    ...context,
  }));
  print(output, { contexts: shown }, () =>
    listing(
      ['', 'NAME', 'ADDRESS', 'TENANT', 'TLS', 'TOKEN FILE'],
      [...contexts].map(([name, context]) => [
        name === current ? '*' : '',
        name,
        context.address ?? '',
        context.tenant ?? '',
        isTls(context) ? 'yes' : '',
        context.token_file ?? '',
      ]),
      'no contexts: make one with `postern context set NAME --address HOST:PORT`',
    ),
  );
}

function isTls({ tls, ca, cert }: Context): boolean {
  return tls === true || ca !== undefined || cert !== undefined;
}

function use(output: Format, name: string): void {
  const { contexts } = readContexts();
  mustBeThere(name, contexts);
  writeContexts({ current: name, contexts });
  print(output, { current: name }, () => `context ${name} is in use`);
}

function remove(output: Format, name: string): void {
  const { current, contexts } = readContexts();
  mustBeThere(name, contexts);
  const others = new Map([...contexts].filter(([one]) => one !== name));
  writeContexts({ current: current === name ? undefined : current, contexts: others });
  print(output, { deleted: name }, () => `context ${name} is forgotten`);
}

function mustBeThere(name: string, contexts: ReadonlyMap<string, Context>): void {
  if (!contexts.has(name))
    throw new CliError(
      `there is no context \`${visible(name)}\`${suggest(name, [...contexts.keys()])}`,
      EXIT.refused,
    );
}

function set(output: Format, program: Command, name: string): void {
  if (!NAME.test(name))
    throw new CliError(
      `\`${visible(name)}\` is not a valid context name: use letters, digits, \`.\`, \`_\` and \`-\`, at most 64`,
    );
  if (program.getOptionValueSource('token') === 'cli')
    throw new CliError(
      '--token: a context keeps no token: put it in a file that you alone can read, and name that by --token-file',
    );
  const given = givenFields(program);
  if (Object.keys(given).length === 0)
    throw new CliError('nothing to set: give --address, --tenant, --token-file, --tls, --ca, …');
  const { current, contexts } = readContexts();
  const next = new Map(contexts).set(name, { ...contexts.get(name), ...given });
  writeContexts({ current: current ?? name, contexts: next });
  print(output, { name, ...next.get(name) }, () =>
    current === undefined
      ? `context ${name} is set, and in use`
      : `context ${name} is set${current === name ? '' : `: use it with \`postern context use ${name}\``}`,
  );
}

/** What flags say; variables are of the shell, and stay there. */
function givenFields(program: Command): Context {
  const fields = Object.keys(CONTEXT_OPTIONS).flatMap((field) => {
    const option = field === 'token_file' ? 'tokenFile' : field === 'key_file' ? 'keyFile' : field;
    if (program.getOptionValueSource(option) !== 'cli') return [];
    // The program's options are texts, and `tls` a flag.
    const value = program.getOptionValue(option) as string | boolean;
    return [[field, PATHS.has(field) ? resolve(String(value)) : value]];
  });
  const given = Object.fromEntries(fields) as Context;
  const problem =
    given.address === undefined ? undefined : addressProblem(given.address, '127.0.0.1:4700');
  if (problem !== undefined)
    throw new CliError(`--address: \`${visible(given.address ?? '')}\` ${problem}`);
  return given;
}

function show(output: Format, program: Command): void {
  const used = contextInUse();
  applyContext(program);
  const from = (option: string): string => {
    const source = program.getOptionValueSource(option);
    if (source === 'cli') return 'flag';
    if (source === 'env') return VARIABLES[option] ?? 'environment';
    return source === 'context' ? `context ${used?.name ?? ''}` : 'default';
  };
  const value = (option: string): string => {
    const found: unknown = program.getOptionValue(option);
    return typeof found === 'string' ? found : found === true ? 'yes' : '';
  };
  const rows = [
    [
      'context',
      used?.name ?? '',
      used === undefined ? '' : used.by === 'file' ? contextsFile() : used.by,
    ],
    ...['address', 'tenant', 'tls', 'ca', 'cert', 'keyFile'].map((option) => [
      option === 'keyFile' ? 'key file' : option,
      value(option),
      value(option) === '' ? '' : from(option),
    ]),
    ['token', ...tokenRow(program, used?.name)],
  ];
  const shown = rows.map(([name = '', what = '', where = '']) => ({
    name,
    value: what,
    from: where,
  }));
  print(output, { values: shown }, () => listing(['NAME', 'VALUE', 'FROM'], rows, ''));
}

/** Where the token is, never what it is. */
function tokenRow(program: Command, name: string | undefined): readonly [string, string] {
  const file: unknown = program.getOptionValue('tokenFile');
  const kept: unknown = program.getOptionValue('contextTokenFile');
  if (program.getOptionValue('token') !== undefined) return ['given', 'flag'];
  if (typeof file === 'string') return [file, 'flag'];
  for (const variable of ['POSTERN_TOKEN', 'POSTERN_ADMIN_TOKEN'])
    if ((process.env[variable] ?? '') !== '') return ['set', variable];
  return typeof kept === 'string' ? [kept, `context ${name ?? ''}`] : ['', ''];
}
