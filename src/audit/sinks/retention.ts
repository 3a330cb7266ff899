/** Removes rotated files of audit logs by number, age and size. */
import { stat, unlink } from 'node:fs/promises';
import { absent, filesOf } from '../logs/names.ts';

export interface Retention {
  /** The file that is written to. */
  readonly path: string;
  /** Of rotated files, so many stay, so old ones, ms, and so many bytes in all; 0: all. */
  readonly keepFiles: number;
  readonly keepMs: number;
  readonly keepBytes: number;
  /** Other logs that this retention is also for, by the files that were written to; absent: none. */
  readonly abandoned?: (() => Promise<readonly string[]>) | undefined;
  /** Called with an error that does not lose a record: a file that cannot be removed. */
  readonly onError: (error: unknown) => void;
}

/** Removes what retention no longer wants, log by log; never the file that is written to. */
export async function prune(options: Retention): Promise<void> {
  const { path, keepFiles, keepMs, keepBytes } = options;
  if (keepFiles === 0 && keepMs === 0 && keepBytes === 0) return;
  try {
    await pruneLog(
      (await filesOf(path)).filter((name) => name !== path),
      options,
    );
    for (const log of (await options.abandoned?.()) ?? [])
      await pruneLog(await filesOf(log), options);
  } catch (error) {
    options.onError(error);
  }
}

/** @param files oldest first */
async function pruneLog(files: readonly string[], options: Retention): Promise<void> {
  const { keepFiles, keepMs, keepBytes } = options;
  let bytes = 0;
  for (const [index, name] of files.toReversed().entries()) {
    const status = await stat(name).catch(absent);
    if (status === undefined) continue;
    const { size, mtimeMs } = status;
    bytes += size;
    const tooMany = keepFiles > 0 && index >= keepFiles;
    const tooOld = keepMs > 0 && Date.now() - mtimeMs > keepMs;
    const tooMuch = keepBytes > 0 && bytes > keepBytes;
    if (tooMany || tooOld || tooMuch) await unlink(name).catch(absent);
  }
}
