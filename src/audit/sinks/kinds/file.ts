/** The sink `file`. */
import * as z from 'zod';
import { abandonedLogs, workerName } from '../../logs/names.ts';
import { openFile } from '../file.ts';
import { amount, common, HOUR_MS, MAX_HOURS, sinkKind } from './sink-kind.ts';

const DAY_MS = 24 * HOUR_MS;
const MAX_DAYS = 36_500;
/** 1 PiB. */
const MAX_BYTES = 2 ** 50;

export const fileSink = sinkKind({
  schema: z.strictObject({
    type: z.literal('file'),
    path: z.string().min(1).meta({ description: 'The file that is appended to' }),
    ...common,
    rotate_bytes: amount(104_857_600, MAX_BYTES, 'Size at which a file is rotated; 0: never'),
    rotate_hours: amount(
      0,
      MAX_HOURS,
      'Age at which a file is rotated; 0: never, or daily where keep_days is set',
    ),
    keep_files: amount(0, 1_000_000, 'Rotated files that stay; 0: all'),
    keep_days: amount(0, MAX_DAYS, 'Age of rotated files that stay; 0: all'),
    keep_bytes: amount(0, MAX_BYTES, 'Size of all rotated files that stay; 0: all'),
  }),
  files: ['path'],
  owns: 'path',
  open: (sink, { worker, workers, onError }) =>
    openFile({
      path: worker === undefined ? sink.path : workerName(sink.path, worker),
      // One process removes the files of those that have ended.
      abandoned:
        worker === undefined || worker === 1
          ? (): Promise<readonly string[]> => abandonedLogs(sink.path, workers)
          : undefined,
      durable: sink.mode === 'strict',
      rotateBytes: sink.rotate_bytes,
      // Else what is old would stay as long as the file is small.
      rotateMs: (sink.rotate_hours || (sink.keep_days > 0 ? 24 : 0)) * HOUR_MS,
      keepFiles: sink.keep_files,
      keepMs: sink.keep_days * DAY_MS,
      keepBytes: sink.keep_bytes,
      onError,
    }),
});
