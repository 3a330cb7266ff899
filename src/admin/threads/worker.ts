/** The thread that `pool.ts` starts: one task after the other. */
import { parentPort } from 'node:worker_threads';
import { errorData } from './errors.ts';
import { readPolicySet } from './read-document.ts';
import { runApply, runExport } from './state-tasks.ts';
import { ABORT, type Answer, type Task } from './tasks.ts';

let running: AbortController | undefined;

async function valueOf(task: Task, signal: AbortSignal): Promise<Answer> {
  switch (task.name) {
    case 'policy_set':
      return { value: readPolicySet(task.document, task.catalog, task.limits) };
    case 'apply':
      return { value: await runApply(task, task.flag, signal) };
    case 'export': {
      const exported = await runExport(task);
      return { value: exported, transfer: exported.pieces.map(({ buffer }) => buffer) };
    }
  }
}

async function answer(task: Task): Promise<void> {
  running = new AbortController();
  const answer: Answer = await valueOf(task, running.signal).catch((error: unknown) => ({
    error: errorData(error),
  }));
  const transfer = 'value' in answer ? (answer.transfer ?? []) : [];
  const message = 'value' in answer ? { value: answer.value } : answer;
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
  parentPort?.postMessage(message, [...transfer]);
}

parentPort?.on('message', (task: Task | typeof ABORT) => {
  if (task === ABORT) running?.abort();
  else void answer(task);
});
