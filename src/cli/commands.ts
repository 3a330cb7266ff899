/** All commands of `postern`, in the order of its help: a command is its file and a row here, a noun its file and a row of NOUNS. */
import type { Command } from 'commander';
import { addCheck, addFilter } from './ask/ask-commands.ts';
import { addCompletion } from './completion-command.ts';
import type { AddCommand, Connection, Shared } from './kit/run.ts';
import { FACT_NOUNS, FILE_NOUNS, type Noun } from './nouns/nouns.ts';
import { addInit, addReplay, addTest, addValidate } from './offline/offline-commands.ts';
import { addHealthcheck, addServe } from './serve/serve-commands.ts';
import { addApply, addExport } from './state/state-commands.ts';

const COMMANDS: readonly (readonly [name: string, connection: Connection, add: AddCommand])[] = [
  ['serve', 'none', addServe],
  ['check', 'server', addCheck],
  ['filter', 'server', addFilter],
  ['validate', 'none', addValidate],
  ['test', 'none', addTest],
  ['replay', 'none', addReplay],
  ['apply', 'server', addApply],
  ['export', 'server', addExport],
  ['init', 'none', addInit],
  ['healthcheck', 'none', addHealthcheck],
];

/** @param given the arguments of the process: verbs of nouns that it does not name are not loaded */
export async function addCommands(
  program: Command,
  shared: Shared,
  given: readonly string[],
): Promise<void> {
  for (const [, , add] of COMMANDS) add(program, shared);
  for (const noun of FILE_NOUNS) await addNoun(program, shared, given, noun);
  program.commandsGroup('Facts of a running server:');
  for (const noun of FACT_NOUNS) await addNoun(program, shared, given, noun);
  addCompletion(program);
}

/** Whether all verbs are loaded: a script that completes commands names them. */
export function needsAllVerbs(given: readonly string[]): boolean {
  return given.includes('completion');
}

async function addNoun(
  program: Command,
  { packageRoot }: Shared,
  given: readonly string[],
  { name, description, load }: Noun,
): Promise<void> {
  const noun = program.command(name).description(description);
  if (needsAllVerbs(given) || given.includes(name)) (await load())(noun, packageRoot);
}

/** Of a command or noun by its name. */
export function connectionOf(name: string): Connection {
  const noun = [...FILE_NOUNS, ...FACT_NOUNS].find((one) => one.name === name);
  const command = COMMANDS.find(([own]) => own === name);
  return noun?.connection ?? command?.[1] ?? 'none';
}
