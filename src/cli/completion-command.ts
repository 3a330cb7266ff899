/** `postern completion`, as it is invoked. */
import { Argument, type Command } from 'commander';
import type { Shell } from './completion.ts';

/** Adds `postern completion`, in a group of its own. */
export function addCompletion(program: Command): void {
  program
    .commandsGroup('Shell:')
    .command('completion')
    .description('print a script that completes commands in a shell')
    .addArgument(new Argument('<shell>', 'the shell').choices(['bash', 'zsh', 'fish']))
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
}
