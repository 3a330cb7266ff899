/** The state file that `apply` is given: a file, or standard input. */
import { fstatSync, readFileSync } from 'node:fs';
import { errorText } from '../../util/system-error.ts';
import { CliError } from '../kit/output.ts';

/** The name that problems of standard input are told under. */
const STDIN = 'stdin';

export interface StateInput {
  /** As problems name it. */
  readonly name: string;
  readonly bytes: Buffer;
}

/** @throws CliError where it cannot be read */
export function readState(file: string): StateInput {
  try {
    return file === '-'
      ? { name: STDIN, bytes: readFileSync(0) }
      : { name: file, bytes: readFileSync(file) };
  } catch (error) {
    throw new CliError(`--file: \`${file}\` cannot be read: ${errorText(error)}`);
  }
}

/**
 * A pipe ends in the same way whether its writer was done or was killed, and what came of a state may parse: with
 * `--prune` all that did not come would be removed (CONS-5). So a state from a pipe must tell where it ends.
 * @throws CliError
 */
export function mustEnd(file: string, { bytes }: StateInput): void {
  if (file !== '-' || fstatSync(0).isFile()) return;
  const isJson = /^\s*[{[]/.test(bytes.subarray(0, 1_024).toString());
  const hasEnd = /(?:^|\n)\.\.\.\s*$/.test(bytes.subarray(-1_024).toString());
  if (!isJson && !hasEnd)
    throw new CliError(
      '--file: the state from the pipe has no end mark and may be truncated: with --prune, end it with a line `...`, or send JSON',
    );
}

/** What is to become of what is stored and not listed (ADM-10). */
export interface UnlistedFlags {
  readonly prune?: boolean;
  readonly keep?: boolean;
}
