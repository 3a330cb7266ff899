/** Options of the program, and commands that end with their exit code. */
import type { Command } from 'commander';
import type { ConnectionOptions } from './client.ts';
import type { Format } from './output.ts';

/** What every command has besides its options. */
export interface Shared {
  readonly packageRoot: string;
  readonly version: string;
}

export interface GlobalOptions extends Omit<ConnectionOptions, 'packageRoot'> {
  readonly output: Format;
  readonly tenant?: string;
  readonly as?: string;
  readonly token?: string;
  readonly tokenFile?: string;
}

/**
 * What a command needs to reach a server's API. `server`: options, variables and the context in use say how;
 * `none`: it has no use for those options, and passing over them, `serve --tls` above all, would mislead; `own`: it keeps
 * contexts itself.
 */
export type Connection = 'server' | 'none' | 'own';

/** Adds a command to the program. */
export type AddCommand = (program: Command, shared: Shared) => void;

/** A Commander action that runs a command with the options of the program and its own, and ends with its exit code. */
export function run<Options extends object>(
  shared: Shared,
  command: (options: Options & GlobalOptions & Shared) => Promise<number>,
) {
  return async (options: Options, self: Command): Promise<void> => {
    const globals = self.optsWithGlobals<GlobalOptions & Options>();
    process.exitCode = await command({ ...globals, ...options, ...shared });
  };
}
