/** `postern completion`: scripts for shells, made from the commands themselves, so that they are never out of date. */
import type { Argument, Command, Option } from 'commander';

export type Shell = 'bash' | 'zsh' | 'fish';

/** The commands, and the options that all of them take. */
interface Grammar {
  readonly entries: readonly Entry[];
  readonly everywhere: readonly Flag[];
}

/** One command as a shell needs it. */
interface Entry {
  /** `key create`; `''`: the program. */
  readonly path: string;
  readonly commands: readonly Named[];
  /** Its own. */
  readonly options: readonly Flag[];
  readonly arguments: Values;
}

interface Named {
  readonly name: string;
  readonly description: string;
}

interface Flag {
  /** `--output` and, if there is one, `-o`. */
  readonly names: readonly string[];
  readonly description: string;
  /** What follows it; `undefined`: nothing does. */
  readonly values: Values | undefined;
}

/** What completes a word. */
interface Values {
  readonly choices: readonly string[];
  readonly files: boolean;
}

/** The script of a shell for a program whose commands are all there. */
export function completionScript(shell: Shell, program: Command): string {
  const [top, ...below] = entriesOf(program, '');
  if (top === undefined) return '';
  const isOwn = ({ names }: Flag): boolean => names.some((name) => OWN_OPTIONS.has(name));
  const grammar = {
    entries: [{ ...top, options: top.options.filter(isOwn) }, ...below],
    everywhere: top.options.filter((option) => !isOwn(option)),
  };
  switch (shell) {
    case 'bash':
      return bash(grammar);
    case 'zsh':
      return zsh(grammar);
    case 'fish':
      return fish(grammar);
  }
}

/** Options of the program that are for itself: each command has help of its own. */
const OWN_OPTIONS: ReadonlySet<string> = new Set(['--help', '--version']);

function entriesOf(command: Command, path: string): Entry[] {
  const help = command.createHelp();
  const entry: Entry = {
    path,
    // With the help command, which is none of `command.commands`.
    commands: help
      .visibleCommands(command)
      .map((one) => ({ name: one.name(), description: one.description() })),
    options: help.visibleOptions(command).map(flagOf),
    arguments: argumentsOf(command.registeredArguments),
  };
  return [
    entry,
    ...command.commands.flatMap((one) => entriesOf(one, `${path} ${one.name()}`.trim())),
  ];
}

function flagOf(option: Option): Flag {
  const { long, short, argChoices, description, flags } = option;
  const takesValue = option.required || option.optional;
  return {
    names: [long, short].filter((name) => typeof name === 'string'),
    description,
    values: takesValue ? { choices: argChoices ?? [], files: namesFile(flags) } : undefined,
  };
}

function argumentsOf(all: readonly Argument[]): Values {
  return {
    choices: all.flatMap(({ argChoices }) => argChoices ?? []),
    files: all.some((argument) => namesFile(`<${argument.name()}>`)),
  };
}

/** `--file <state>`, `<dir>`: what is meant stands in the brackets. */
function namesFile(flags: string): boolean {
  return /[<[](file|state|dir)[\]>]/.test(flags);
}

/** Within single quotes of any shell. */
function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** Fish knows two escapes within single quotes. */
function quoteFish(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}

/** Options with a value, and where: `key create:--role`, or `*:--output` for all commands. */
function withValues({ entries, everywhere }: Grammar): { at: string; values: Values }[] {
  return [...entries, { path: '*', options: everywhere }].flatMap(({ path, options }) =>
    options.flatMap(({ names, values }) =>
      values === undefined ? [] : names.map((name) => ({ at: `${path}:${name}`, values })),
    ),
  );
}

/** All commands, by where they stand: `key:create`. */
function commandPaths({ entries }: Grammar): string[] {
  return entries.flatMap(({ path, commands }) => commands.map(({ name }) => `${path}:${name}`));
}

/** A branch of `case` in bash and zsh; a `*` in front stands for anything. */
function branch(words: readonly string[], body: string): string {
  const patterns = words.map((word) =>
    word.startsWith('*') ? `*${quote(word.slice(1))}` : quote(word),
  );
  return words.length === 0 ? '' : `    ${patterns.join(' | \\\n      ')}) ${body} ;;\n`;
}

/** The words before the cursor: which of them are commands, and whether the last one is an option without its value. */
function walk(grammar: Grammar, words: string): string {
  const valued = withValues(grammar).map(({ at }) => at);
  return `  for word in ${words}; do
    if [[ $word == '=' ]]; then continue; fi
    if [[ -n $skip ]]; then skip=''; continue; fi
    case "$at:$word" in
${branch(valued, 'skip=$word')}${branch(commandPaths(grammar), 'at="${at:+$at }$word"')}    esac
  done
`;
}

/** What completes the value of an option, where something does. */
function valueBranches(
  grammar: Grammar,
  choose: (choices: readonly string[]) => string,
  files: string,
): string {
  const valued = withValues(grammar);
  const chosen = valued
    .filter(({ values }) => values.choices.length > 0)
    .map(({ at, values }) => branch([at], choose(values.choices)));
  const filed = valued.filter(({ values }) => values.files).map(({ at }) => at);
  return `${chosen.join('')}${branch(filed, files)}`;
}

function namesOf(options: readonly Flag[]): string {
  return options.flatMap(({ names }) => names).join(' ');
}

function bash(grammar: Grammar): string {
  const own = grammar.entries.map(({ path, commands, options, arguments: args }) => {
    const names = namesOf([...options, ...grammar.everywhere]);
    const words = [...commands.map(({ name }) => name), ...args.choices].join(' ');
    return `    ${quote(path)}) options=${quote(names)}; words=${quote(words)}; files=${args.files ? '1' : "''"} ;;\n`;
  });
  return `# Completion of postern for bash: source <(postern completion bash)
_postern() {
  local at='' skip='' word='' words='' options='' files='' cur="\${COMP_WORDS[COMP_CWORD]}"
  local before=("\${COMP_WORDS[@]:1:COMP_CWORD-1}")
  COMPREPLY=()
  # \`--output=json\` comes as three words.
  if [[ $cur == '=' ]]; then cur=''; fi
${walk(grammar, '"${before[@]}"')}  if [[ -n $skip ]]; then
    case "$at:$skip" in
${valueBranches(grammar, (choices) => `words=${quote(choices.join(' '))}`, 'files=1')}    esac
  else
    case "$at" in
${own.join('')}    esac
    if [[ $cur == -* ]]; then words=$options; files=''; fi
  fi
  # One word a line, so that none is taken for a pattern.
  while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -W "$words" -- "$cur")
  if [[ -n $files ]]; then
    compopt -o filenames 2>/dev/null
    while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -f -- "$cur")
  fi
}
complete -F _postern postern
`;
}

function zsh(grammar: Grammar): string {
  const describe = ({ name, description }: Named): string =>
    quote(`${name.replaceAll(':', '\\:')}:${description}`);
  const list = (named: readonly Named[]): string =>
    named.map((one) => `\n        ${describe(one)}`).join('');
  const flags = (options: readonly Flag[]): string =>
    list(options.flatMap(({ names, description }) => names.map((name) => ({ name, description }))));
  const own = grammar.entries.map(({ path, commands, options, arguments: args }) => {
    const words = [...commands, ...args.choices.map((name) => ({ name, description: name }))];
    return `    ${quote(path)})
      options=(${flags(options)})
      verbs=(${list(words)})
      files=${args.files ? '1' : "''"}
      ;;
`;
  });
  return `#compdef postern
# Completion of postern for zsh: postern completion zsh > "\${fpath[1]}/_postern"
_postern() {
  local at='' skip='' word='' files='' cur="\${words[CURRENT]}"
  local -a before options
  before=("\${(@)words[2,CURRENT-1]}")
${walk(grammar, '"${(@)before}"')}  if [[ -n $skip ]]; then
    case "$at:$skip" in
${valueBranches(grammar, (choices) => `compadd -- ${choices.map(quote).join(' ')}`, '_files')}    esac
    return
  fi
  local -a verbs
  case "$at" in
${own.join('')}  esac
  if [[ $cur == -* ]]; then
    options+=(${flags(grammar.everywhere)})
    _describe -o option options
    return
  fi
  (( \${#verbs} )) && _describe command verbs
  [[ -n $files ]] && _files
}
if [[ \${zsh_eval_context[-1]} == loadautofunc ]]; then _postern "$@"; else compdef _postern postern; fi
`;
}

function fish(grammar: Grammar): string {
  const lines = grammar.entries.flatMap(({ path, commands, options, arguments: args }) => {
    const here = `complete -c postern -n ${quoteFish(`__postern_at ${quoteFish(path)}`)}`;
    return [
      ...commands.map(
        ({ name, description }) => `${here} -f -a ${quoteFish(name)} -d ${quoteFish(description)}`,
      ),
      ...args.choices.map((choice) => `${here} -f -a ${quoteFish(choice)}`),
      ...(args.files ? [`${here} -F`] : []),
      ...options.map((option) => `${here} ${fishOption(option)}`),
    ];
  });
  const everywhere = grammar.everywhere.map(
    (option) => `complete -c postern ${fishOption(option)}`,
  );
  const valued = withValues(grammar).map(({ at }) => quoteFish(at));
  const paths = commandPaths(grammar).map(quoteFish);
  return `# Completion of postern for fish: postern completion fish > ~/.config/fish/completions/postern.fish
function __postern_at
    set -l at ''
    set -l skip ''
    for word in (commandline -opc)[2..-1]
        if test -n "$skip"
            set skip ''
            continue
        end
        switch "$at:$word"
            case ${valued.join(' ')}
                set skip $word
            case ${paths.join(' ')}
                set at (string trim -- "$at $word")
        end
    end
    test "$at" = "$argv[1]"
end
complete -c postern -f
${everywhere.join('\n')}
${lines.join('\n')}
`;
}

function fishOption({ names, description, values }: Flag): string {
  const switches = names.map((name) =>
    name.startsWith('--') ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`,
  );
  const taken =
    values === undefined
      ? []
      : values.files
        ? ['-r -F']
        : [`-x${values.choices.length === 0 ? '' : ` -a ${quoteFish(values.choices.join(' '))}`}`];
  return [...switches, ...taken, `-d ${quoteFish(description)}`].join(' ');
}
