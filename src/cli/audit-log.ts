/** The audit log that a command reads: its files, or what else keeps records. */
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { filesOf, linesOf, type Line } from '../audit/files.ts';
import type { Selection } from '../audit/selection.ts';
import { parseTime } from './arguments.ts';
import { CliError } from './output.ts';

export interface AuditLog {
  /** Of everything that there is to read. */
  readonly bytes: number;
  /** All lines, each log's oldest first. May be read again. */
  lines(): AsyncIterable<Line>;
}

/**
 * The files of some logs: of each also those that were rotated out beside it.
 * @param option what the files were given with, for messages
 */
export async function openFiles(option: string, named: readonly string[]): Promise<AuditLog> {
  const found: string[] = [];
  for (const file of named) {
    const files = await filesOf(file).catch((error: unknown) => {
      throw new CliError(
        `${option}: \`${file}\` cannot be read: ${error instanceof Error ? error.message : String(error)}`,
      );
    });
    if (files.length === 0)
      throw new CliError(
        `${option}: \`${file}\` is not there, nor a file that was rotated out of it: give the file of the audit log`,
      );
    found.push(...files);
  }
  // A log and one of its rotated files may both be named: no record counts twice.
  const files = [...new Set(found.map((file) => resolve(file)))];
  const sizes = await Promise.all(files.map((file) => stat(file)));
  return {
    bytes: sizes.reduce((sum, { size }) => sum + size, 0),
    async *lines(): AsyncGenerator<Line> {
      for (const file of files) yield* linesOf(file);
    },
  };
}

export interface SourceOptions {
  readonly file?: readonly string[];
}

/** Where `--file` says that the log is. */
export async function sourceOf({ file = [] }: SourceOptions): Promise<AuditLog> {
  if (file.length === 0)
    throw new CliError('no audit log: give --file PATH, the file that the server writes');
  return openFiles('--file', file);
}

export interface WindowOptions {
  readonly from?: string;
  readonly to?: string;
}

/** `--from` and `--to`. */
export function windowOf({ from, to }: WindowOptions): Pick<Selection, 'from' | 'to'> {
  return {
    from: from === undefined ? undefined : Date.parse(parseTime('--from', from)),
    to: to === undefined ? undefined : Date.parse(parseTime('--to', to)),
  };
}
