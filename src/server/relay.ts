/** Passes on what workers write to stdout, whole lines at a time: on one pipe, long lines of several would mix. */
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { openStdout } from '../audit/sinks/file.ts';
import { GoneError } from '../audit/sinks/queue.ts';

const LINE_FEED = 0x0a;
/** Stdout that takes nothing just now is tried again after this time, ms. */
const RETRY_MS = 100;

/**
 * @param onLost called for lines that are lost: stdout is closed (`isGone`), or a worker ended in the middle of one
 * @param over once it is aborted, nothing is waited for
 * @returns what passes on one worker's; it reads no faster than stdout takes, and resolves when there is no more
 */
export function openRelay(
  onLost: (error: unknown, isGone: boolean) => void,
  over: AbortSignal,
): (from: Readable) => Promise<void> {
  const stdout = openStdout();
  let id = 0;
  let turn = Promise.resolve();

  const keep = async (text: string): Promise<void> => {
    const batch = { id: ++id, lines: [text] };
    for (;;)
      try {
        return await stdout.keep(batch);
      } catch (error) {
        if (error instanceof GoneError || over.aborted) throw error;
        await sleep(RETRY_MS);
      }
  };

  return async (from) => {
    let rest: Buffer[] = [];
    try {
      for await (const chunk of from as AsyncIterable<Buffer>) {
        const end = chunk.lastIndexOf(LINE_FEED);
        if (end < 0) {
          rest.push(chunk);
          continue;
        }
        const lines = Buffer.concat([...rest, chunk.subarray(0, end)]).toString();
        rest = [chunk.subarray(end + 1)];
        turn = turn.then(() => keep(lines));
        await turn;
      }
      if (rest.some(({ length }) => length > 0)) onLost(new Error('a line has no end'), false);
    } catch (error) {
      // The worker's own writes fail from now on, and it counts what is lost.
      onLost(error, error instanceof GoneError);
    }
  };
}
