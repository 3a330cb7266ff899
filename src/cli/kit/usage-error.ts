/** What Commander says of a command that is wrong, as one sentence that names the help of that command. */
import type { Command } from 'commander';

/** @param given the arguments of the program: they say whose help tells more */
export function usageError(text: string, given: readonly string[], program: Command): string {
  const sentence = text
    .trim()
    .replace(/^error: /, '')
    .replace(
      /\s*\(Did you mean (?:one of )?(.*?)\?\)$/s,
      (_, names: string) =>
        `: did you mean ${names
          .split(', ')
          .map((name) => `\`${name}\``)
          .join(' or ')}?`,
    )
    .replace(/\s+/g, ' ')
    .replace(/\.$/, '')
    .replace('. Allowed choices are ', ': allowed are ')
    .replace(/\. Expected (\d+) arguments? but got (\d+)/, ': it takes $1, and got $2')
    .replace(/'([^']*)'/g, '`$1`');
  return `postern: ${sentence} (${[...commandOf(given, program), '--help'].join(' ')} for help)\n`;
}

/** The names of the command that was called, as far as there are such commands. */
function commandOf(given: readonly string[], program: Command): readonly string[] {
  const names = [program.name()];
  let command = program;
  for (const word of given) {
    const next = command.commands.find((one) => one.name() === word);
    if (next === undefined) continue;
    names.push(word);
    command = next;
  }
  return names;
}
