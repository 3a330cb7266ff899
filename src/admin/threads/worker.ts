/** The thread that `pool.ts` starts: one task after the other. */
import { parentPort } from 'node:worker_threads';
import { readPolicySet } from './policy-set.ts';
import type { Answer, Task } from './tasks.ts';

function answer(task: Task): Answer {
  try {
    return { value: readPolicySet(task.document, task.catalog, task.limits) };
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) };
  }
}

parentPort?.on('message', (task: Task) => {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
  parentPort?.postMessage(answer(task));
});
