/** One place for a worker process: it is started, asked, and ended here; another takes its place. */
import cluster, { type Worker } from 'node:cluster';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { counts, type Snapshot } from '../telemetry/exposition.ts';
import type { ServerOptions } from './running.ts';
import type { FromWorker, ReportName, Reports, Started, ToWorker } from './worker-messages.ts';

/** A worker ended before it served; it has written why. */
export class WorkerError extends Error {
  readonly code: number;

  constructor(worker: number, code: number | null, signal: string | null) {
    super(`worker ${worker} ended with ${signal ?? `exit code ${code}`} before it served`);
    this.code = code ?? 1;
  }
}

/** How a worker ended. */
export interface WorkerEnd {
  readonly code: number | null;
  readonly signal: string | null;
  readonly hadServed: boolean;
  /** Its counters, as it reported them last. */
  readonly counters: Snapshot;
}

export interface SlotEvents {
  /** A process was started; its standard output. */
  readonly onStdout: (stdout: Readable) => void;
  readonly onError: (slot: WorkerSlot, error: Error) => void;
  readonly onEnd: (slot: WorkerSlot, end: WorkerEnd) => void;
}

/** A worker that does not answer in this time is not ready, ms. */
const REPORT_MS = 1_000;

type State =
  | { readonly is: 'empty' }
  | { readonly is: 'starting'; readonly worker: Worker }
  | { readonly is: 'serving'; readonly worker: Worker; readonly started: Started };

export class WorkerSlot {
  /** From 1. */
  readonly number: number;
  /** What the process counted when it last reported. */
  counters: Snapshot = [];
  readonly #events: SlotEvents;
  readonly #requests = new Map<number, (report: Reports[ReportName] | undefined) => void>();
  #state: State = { is: 'empty' };
  #lastRequest = 0;

  constructor(number: number, events: SlotEvents) {
    this.number = number;
    this.#events = events;
  }

  /** The process that serves here. */
  get serving(): Worker | undefined {
    return this.#state.is === 'serving' ? this.#state.worker : undefined;
  }

  get started(): Started | undefined {
    return this.#state.is === 'serving' ? this.#state.started : undefined;
  }

  /** Starts a process. @returns once it serves @throws WorkerError where it ends before */
  async launch(options: ServerOptions): Promise<Started> {
    const worker = cluster.fork();
    this.#state = { is: 'starting', worker };
    const { stdout } = worker.process;
    if (stdout !== null) this.#events.onStdout(stdout);
    const serving = Promise.withResolvers<Started>();
    worker.on('message', (message: FromWorker) => {
      if (message === 'listening') send(worker, { do: 'start', options });
      else if ('started' in message) {
        this.#state = { is: 'serving', worker, started: message.started };
        serving.resolve(message.started);
      } else this.#requests.get(message.id)?.(message.report);
    });
    let hasEnded = false;
    const end = (code: number | null, signal: string | null): void => {
      if (hasEnded) return;
      hasEnded = true;
      const hadServed = this.#state.is === 'serving';
      const counters = counts(this.counters);
      this.#state = { is: 'empty' };
      this.counters = [];
      serving.reject(new WorkerError(this.number, code, signal));
      this.#events.onEnd(this, { code, signal, hadServed, counters });
    };
    worker.on('exit', end);
    worker.on('error', (error: NodeJS.ErrnoException) => {
      this.#events.onError(this, error);
      // It could not even begin: there were no descriptors, no memory, or no processes left.
      if (worker.process.pid === undefined) end(null, error.code ?? 'ERROR');
    });
    return serving.promise;
  }

  /** @returns `undefined`: no process serves here, or it does not answer in time */
  request<Name extends ReportName>(what: Name): Promise<Reports[Name] | undefined> {
    return new Promise((done) => {
      const worker = this.serving;
      if (worker === undefined) {
        done(undefined);
        return;
      }
      const id = ++this.#lastRequest;
      const answer = (report: Reports[ReportName] | undefined): void => {
        clearTimeout(timer);
        this.#requests.delete(id);
        // A worker answers with the report that it is asked for.
        done(report as Reports[Name] | undefined);
      };
      const timer = setTimeout(answer, REPORT_MS, undefined);
      this.#requests.set(id, answer);
      send(worker, { do: 'report', id, what });
    });
  }

  reload(): void {
    if (this.#state.is !== 'empty') send(this.#state.worker, { do: 'reload' });
  }

  /**
   * Ends its process; after `ms` it is killed.
   * @returns whether it ended in order
   */
  async end(ms: number, onKill: () => void): Promise<boolean> {
    if (this.#state.is === 'empty') return true;
    const { is, worker } = this.#state;
    const exit = once(worker, 'exit');
    worker.process.kill('SIGTERM');
    const timer = setTimeout(() => {
      onKill();
      worker.process.kill('SIGKILL');
    }, ms);
    // `exit` has the code, which is `null` after a signal.
    const [code] = (await exit) as [number | null];
    clearTimeout(timer);
    // A process that did not serve yet has nothing to finish.
    return code === 0 || is === 'starting';
  }
}

/** A process that has just ended receives nothing; `exit` reports its end. */
function send(worker: Worker, message: ToWorker): void {
  worker.send(message, () => {});
}
