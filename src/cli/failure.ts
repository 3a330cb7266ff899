/** Tells what a command failed with, as people read it. */
import { ConfigError } from '../config/problem.ts';
import { CliError, EXIT } from './output.ts';

/** @returns the exit code */
export function tellFailure(error: unknown): number {
  if (error instanceof ConfigError) {
    process.stderr.write(`${error.message}\n`);
    return EXIT.refused;
  }
  process.stderr.write(`postern: ${describe(error)}\n`);
  return error instanceof CliError ? error.code : EXIT.usage;
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause instanceof Error ? `: ${error.cause.message}` : '';
  return `${error.message}${cause}`;
}
