/** Tells what a command failed with, as people read it: one sentence, no stack, no words of a library. */
import { Refused, type RefusalKind } from '../../admin/refused.ts';
import { ConfigError } from '../../config/problem.ts';
import { errorText } from '../../util/system-error.ts';
import { CliError, EXIT } from './output.ts';

/** @returns the exit code: 1 for what was understood and refused, 2 for what was malformed or had no answer */
export function tellFailure(error: unknown): number {
  if (error instanceof ConfigError) {
    process.stderr.write(`${error.message}\n`);
    return error.isContradiction ? EXIT.refused : EXIT.usage;
  }
  process.stderr.write(`postern: ${describe(error)}\n`);
  if (error instanceof CliError) return error.code;
  return error instanceof Refused ? REFUSALS[error.kind] : EXIT.usage;
}

/** Without a server the same codes as with one. */
const REFUSALS: Readonly<Record<RefusalKind, number>> = {
  permission_denied: EXIT.refused,
  failed_precondition: EXIT.refused,
  not_found: EXIT.refused,
  already_exists: EXIT.refused,
  aborted: EXIT.refused,
  invalid_argument: EXIT.usage,
  unauthenticated: EXIT.usage,
  unavailable: EXIT.usage,
};

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause instanceof Error ? `: ${errorText(error.cause)}` : '';
  return `${errorText(error)}${cause}`;
}
