/** What a command works with, and where each value comes from: flags, then the environment, then the context in use. */
import type { Command } from 'commander';
import { suggest } from '../../config/problem.ts';
import { CliError, visible } from '../kit/output.ts';
import { readContexts, type Context } from './file.ts';

/** Options of the program that a context may give, by their names there. */
export const CONTEXT_OPTIONS = {
  address: 'address',
  tenant: 'tenant',
  token_file: 'contextTokenFile',
  tls: 'tls',
  ca: 'ca',
  cert: 'cert',
  key_file: 'keyFile',
} as const satisfies Readonly<Record<keyof Context, string>>;

/** Variables in which options are looked for. */
export const VARIABLES: Readonly<Record<string, string>> = {
  address: 'POSTERN_ADDRESS',
  tenant: 'POSTERN_TENANT',
};

const DEFAULT_ADDRESS = '127.0.0.1:4700';

export interface InUse {
  readonly name: string;
  readonly context: Context;
  /** Why it is this one: the variable, or the file. */
  readonly by: 'POSTERN_CONTEXT' | 'file';
}

/** @throws CliError where the one that is named is not there */
export function contextInUse(): InUse | undefined {
  const { current, contexts } = readContexts();
  const named = process.env['POSTERN_CONTEXT'];
  const isNamed = named !== undefined && named !== '';
  const name = isNamed ? named : current;
  if (name === undefined) return undefined;
  const context = contexts.get(name);
  if (context === undefined)
    throw new CliError(
      `${isNamed ? 'POSTERN_CONTEXT: ' : ''}there is no context \`${visible(name)}\`${suggest(name, [...contexts.keys()])}`,
    );
  return { name, context, by: isNamed ? 'POSTERN_CONTEXT' : 'file' };
}

/** Gives the options that neither a flag nor a variable has set, from the context in use. */
export function applyContext(program: Command): void {
  // A variable that is empty is as if it were not set.
  for (const option of Object.keys(VARIABLES))
    if (program.getOptionValueSource(option) === 'env' && program.getOptionValue(option) === '')
      program.setOptionValueWithSource(
        option,
        option === 'address' ? DEFAULT_ADDRESS : undefined,
        'default',
      );
  const used = contextInUse();
  if (used === undefined) return;
  for (const [field, option] of Object.entries(CONTEXT_OPTIONS)) {
    // The names are those of a context's fields.
    const value = used.context[field as keyof Context];
    const source = program.getOptionValueSource(option);
    if (value !== undefined && source !== 'cli' && source !== 'env')
      program.setOptionValueWithSource(option, value, 'context');
  }
  program.setOptionValueWithSource('contextName', used.name, 'context');
}
