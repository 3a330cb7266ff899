/**
 * Threads for what is large: parsing and linting a policy set, planning a state. Each task has a deadline and its
 * thread a memory limit, the number of threads and of tasks that wait is bounded, and a thread without work ends, so
 * that the thread of decisions is never held (ADM-11).
 */
import { Worker } from 'node:worker_threads';
import { Refused } from '../refused.ts';
import { newCommitFlag, outcomeOf } from './commit-flag.ts';
import { errorOf } from './errors.ts';
import { ABORT, type Answer, type Task, type Tasks } from './tasks.ts';

export interface PoolOptions {
  /** Threads at most. */
  readonly threads: number;
  /** Tasks that wait for one at most. */
  readonly maxWaiting: number;
  /** Of one task, ms. */
  readonly deadlineMs: number;
  /** Heap of one thread, MiB. */
  readonly heapMiB: number;
}

export interface Pool {
  /**
   * @throws Refused where the task takes too long or too much memory, or too many wait; UnknownOutcomeError where its
   *   thread ended in the middle of a commit; what the task throws
   */
  run<N extends keyof Tasks>(
    name: N,
    task: Tasks[N]['task'],
    how?: { readonly signal?: AbortSignal | undefined; readonly transfer?: readonly ArrayBuffer[] },
  ): Promise<Tasks[N]['answer']>;
  close(): Promise<void>;
}

/** A thread without work is kept so long, ms. */
const IDLE_MS = 10_000;

/** In the package one file stands beside this one, in the sources it is a module of its own. */
const SCRIPT = import.meta.url.endsWith('.ts')
  ? new URL('./worker.ts', import.meta.url)
  : new URL('./admin-worker.js', import.meta.url);

interface Waiting {
  readonly task: Task;
  readonly transfer: readonly ArrayBuffer[];
  readonly signal: AbortSignal | undefined;
  readonly done: (answer: Answer) => void;
  readonly failed: (error: Error) => void;
}

class Thread {
  readonly #worker: Worker;
  readonly #options: PoolOptions;
  readonly #onFree: (thread: Thread, isDead: boolean) => void;
  #current: Waiting | undefined;
  #deadline: NodeJS.Timeout | undefined;
  #idle: NodeJS.Timeout | undefined;

  constructor(options: PoolOptions, onFree: (thread: Thread, isDead: boolean) => void) {
    this.#options = options;
    this.#onFree = onFree;
    this.#worker = new Worker(SCRIPT, {
      resourceLimits: { maxOldGenerationSizeMb: options.heapMiB },
      // Nothing of it is for a person.
      stdout: true,
      execArgv: [],
    });
    this.#worker.unref();
    this.#worker.on('message', (answer: Answer) => this.#settle((one) => one.done(answer)));
    this.#worker.on('error', (error) => this.#die(threadError(error, options)));
    this.#worker.on('exit', () => this.#die(new Error('a thread ended in the middle of its task')));
  }

  run(waiting: Waiting): void {
    clearTimeout(this.#idle);
    this.#current = waiting;
    this.#worker.ref();
    this.#deadline = setTimeout(() => {
      const { deadlineMs } = this.#options;
      this.#die(refusal(`takes longer than ${deadlineMs} ms`));
    }, this.#options.deadlineMs);
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
    this.#worker.postMessage(waiting.task, [...waiting.transfer]);
    waiting.signal?.addEventListener('abort', () => this.#abort(waiting));
    if (waiting.signal?.aborted === true) this.#abort(waiting);
  }

  #abort(waiting: Waiting): void {
    if (this.#current !== waiting) return;
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
    this.#worker.postMessage(ABORT);
  }

  async end(): Promise<void> {
    this.#die(new Error('the server ends'));
    await this.#worker.terminate();
  }

  #settle(answer: (waiting: Waiting) => void): void {
    const current = this.#current;
    clearTimeout(this.#deadline);
    this.#current = undefined;
    this.#worker.unref();
    this.#idle = setTimeout(() => void this.end(), IDLE_MS).unref();
    this.#onFree(this, false);
    if (current !== undefined) answer(current);
  }

  #die(error: Error): void {
    clearTimeout(this.#deadline);
    clearTimeout(this.#idle);
    const current = this.#current;
    this.#current = undefined;
    this.#worker.removeAllListeners();
    // A thread that ends on its own reports its cause once more.
    this.#worker.on('error', () => {});
    void this.#worker.terminate();
    this.#onFree(this, true);
    current?.failed(outcomeOf(current.task.flag, error));
  }
}

export function openPool(options: PoolOptions): Pool {
  const threads = new Set<Thread>();
  const free: Thread[] = [];
  const waiting: Waiting[] = [];
  const onFree = (thread: Thread, isDead: boolean): void => {
    const at = free.indexOf(thread);
    if (at >= 0) free.splice(at, 1);
    if (isDead) threads.delete(thread);
    else free.push(thread);
    next();
  };
  const next = (): void => {
    const [first] = waiting;
    if (first === undefined) return;
    let thread = free.pop();
    if (thread === undefined && threads.size < options.threads) {
      thread = new Thread(options, onFree);
      threads.add(thread);
    }
    if (thread === undefined) return;
    waiting.shift();
    thread.run(first);
  };
  return {
    async run(name, task, { signal, transfer = [] } = {}) {
      if (waiting.length >= options.maxWaiting)
        throw new Refused(
          'unavailable',
          `${waiting.length} documents wait to be read already: retry later`,
        );
      const answer = await new Promise<Answer>((done, failed) => {
        // A task of that name is one of the union.
        const named = { name, ...task, flag: newCommitFlag() } as unknown as Task;
        waiting.push({ task: named, transfer, signal, done, failed });
        next();
      });
      if ('error' in answer) throw errorOf(answer.error);
      // The thread answers a task by its name.
      return answer.value as Tasks[typeof name]['answer'];
    },
    async close(): Promise<void> {
      for (const one of waiting.splice(0)) one.failed(new Error('the server ends'));
      await Promise.all([...threads].map((thread) => thread.end()));
    },
  };
}

function refusal(what: string): Refused {
  return new Refused(
    'failed_precondition',
    `the document ${what} to read and check: nothing was changed; split it`,
    'ADM-11',
  );
}

function threadError(error: Error, { heapMiB }: PoolOptions): Error {
  const code = 'code' in error ? error.code : undefined;
  return code === 'ERR_WORKER_OUT_OF_MEMORY'
    ? refusal(`takes more than ${heapMiB} MiB of memory`)
    : error;
}
