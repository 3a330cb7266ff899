/** The sink `stdout`. */
import * as z from 'zod';
import { openStdout } from '../file.ts';
import { common, sinkKind } from './sink-kind.ts';

export const stdoutSink = sinkKind({
  schema: z.strictObject({ type: z.literal('stdout'), ...common }),
  files: [],
  problem: ({ mode }, { workers }) =>
    mode === 'strict' && workers > 1
      ? [
          'mode',
          '`strict` on stdout needs `workers: 1`: records of several pass through a process that may end with them; use a file',
        ]
      : undefined,
  open: () => openStdout(),
});
