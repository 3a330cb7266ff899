/** Several workers as one server: they are started, started again, asked together, and ended. */
import type { Readable } from 'node:stream';
import type { Logger } from 'pino';
import { together, type Snapshot } from '../telemetry/exposition.ts';
import { createPrimaryMetrics } from '../telemetry/metrics.ts';
import type { Readiness } from '../transport/ops/server.ts';
import { openRelay } from './relay.ts';
import type { ServerOptions } from './running.ts';
import type { Started } from './worker-messages.ts';
import { MAX_ENDS, WorkerRestarts } from './worker-restarts.ts';
import { WorkerSlot, type WorkerEnd } from './worker-slot.ts';

/** What a worker may take to end beyond its times for draining, ms: it ends by itself before that. */
const CLOSE_MS = 500;

export class WorkerPool {
  readonly #server: ServerOptions;
  readonly #log: Logger;
  readonly #slots: readonly WorkerSlot[];
  readonly #restartDelays = new WorkerRestarts();
  readonly #own = createPrimaryMetrics({
    restarts: () => this.#restarts,
    ready: () =>
      this.#phase === 'running' && this.#slots.every(({ serving }) => serving !== undefined),
  });
  readonly #relay: (from: Readable) => Promise<void>;
  /** Each ends with the standard output of one worker. */
  readonly #relays: Promise<void>[] = [];
  readonly #relayDeadline = new AbortController();
  readonly #gaveUp = Promise.withResolvers<void>();
  #phase: 'starting' | 'running' | 'closing' = 'starting';
  #restarts = 0;
  /** The sum of the counters of all workers that have ended. */
  #endedCounters: Promise<Snapshot> = Promise.resolve([]);
  #lostAtEnd = false;

  constructor(server: ServerOptions, log: Logger) {
    this.#server = server;
    this.#log = log;
    this.#relay = openRelay((error, isGone) => {
      log.error({ err: error }, 'records of a worker are lost');
      // A reader that went away has wanted no more of them.
      this.#lostAtEnd ||= this.#phase === 'closing' && !isGone;
    }, this.#relayDeadline.signal);
    const events = {
      onStdout: (stdout: Readable) => void this.#relays.push(this.#relay(stdout)),
      onError: ({ number }: WorkerSlot, error: Error) =>
        log.error({ err: error, worker: number }, 'a worker fails'),
      onEnd: (slot: WorkerSlot, end: WorkerEnd) => this.#onEnd(slot, end),
    };
    this.#slots = Array.from(
      { length: server.settings.workers },
      (_, index) => new WorkerSlot(index + 1, events),
    );
  }

  /** Resolves when a worker ends again and again: it has written why, and going on is of no use. */
  get gaveUp(): Promise<void> {
    return this.#gaveUp.promise;
  }

  /** The store was away when a worker started. */
  get isWaiting(): boolean {
    return this.#slots.some(({ started }) => started?.waiting === true);
  }

  /** Starts all workers. @returns what the first says @throws WorkerError where one cannot start */
  async start(): Promise<Started> {
    const [first, ...others] = this.#slots;
    if (first === undefined) throw new Error('there are no workers');
    // Alone, so that an error is reported once, and tenants are created once.
    const started = await this.#launch(first, this.#server.states);
    await Promise.all(others.map((slot) => this.#launch(slot, [])));
    this.#phase = 'running';
    return started;
  }

  /** Every worker reads catalog and routes again. */
  reload(): void {
    for (const slot of this.#slots) slot.reload();
  }

  async readiness(): Promise<Readiness> {
    const reports = await Promise.all(this.#slots.map((slot) => slot.request('readiness')));
    const answered = reports.filter((report) => report !== undefined);
    const ready = answered.filter((report) => report.ready).length;
    const names = new Set(answered.flatMap(({ checks }) => Object.keys(checks)));
    const checks = [...names].map(
      (name) => [name, answered.every((report) => report.checks[name] === true)] as const,
    );
    const count = this.#slots.length;
    return {
      ready: this.#phase === 'running' && ready === count,
      checks: { workers: `${ready} of ${count} are ready`, ...Object.fromEntries(checks) },
    };
  }

  /**
   * The metrics of all workers together, as Prometheus text.
   * @throws Error where one does not answer: a sum that goes back would look as if all had begun anew
   */
  async metrics(): Promise<string> {
    const requests = this.#slots.map(async (slot) => {
      const worker = slot.serving;
      return { slot, worker, report: await slot.request('snapshot') };
    });
    for (const { slot, worker, report } of await Promise.all(requests)) {
      // The counters of a worker that has ended since are in the sum of those that have ended.
      if (slot.serving === undefined || slot.serving !== worker) continue;
      if (report === undefined) throw new Error(`worker ${slot.number} does not answer`);
      slot.counters = report;
    }
    const own = await this.#own.snapshot();
    const ended = await this.#endedCounters;
    return together([own, ended, ...this.#slots.map(({ counters }) => counters)]).render();
  }

  /** All workers drain. @returns whether all ended in order, and no record was lost */
  async close(): Promise<boolean> {
    this.#phase = 'closing';
    const { lame_duck_ms: lameDuckMs, grace_ms: graceMs } = this.#server.settings.shutdown;
    const drainMs = lameDuckMs + graceMs;
    const endsAt = performance.now() + drainMs;
    const ends = this.#slots.map((slot) =>
      slot.end(drainMs + CLOSE_MS, () =>
        this.#log.error({ worker: slot.number }, 'a worker does not end: it is killed'),
      ),
    );
    const inOrder = (await Promise.all(ends)).every(Boolean);
    // Records that stdout does not take in this time are lost, and logged.
    const relayMs = Math.max(endsAt - performance.now(), CLOSE_MS);
    const timer = setTimeout(() => this.#relayDeadline.abort(), relayMs);
    await Promise.all(this.#relays);
    clearTimeout(timer);
    return inOrder && !this.#lostAtEnd;
  }

  #launch(slot: WorkerSlot, states: readonly string[]): Promise<Started> {
    return slot.launch({ ...this.#server, states, worker: slot.number });
  }

  #onEnd(slot: WorkerSlot, end: WorkerEnd): void {
    this.#endedCounters = this.#endedCounters.then((sum) =>
      together([sum, end.counters]).snapshot(),
    );
    switch (this.#phase) {
      case 'starting':
        if (end.hadServed) this.#restart(slot, end);
        return;
      case 'running':
        this.#restart(slot, end);
        return;
      case 'closing':
        return;
    }
  }

  #restart(slot: WorkerSlot, { code, signal }: WorkerEnd): void {
    const worker = slot.number;
    const delay = this.#restartDelays.delayAfterEnd(worker);
    if (delay === undefined) {
      this.#log.fatal({ worker, code, signal, times: MAX_ENDS }, 'a worker ends again and again');
      this.#gaveUp.resolve();
      return;
    }
    this.#log.error({ worker, code, signal, again_in_ms: delay }, 'a worker has ended');
    setTimeout(() => {
      if (this.#phase === 'closing') return;
      this.#restarts++;
      this.#launch(slot, []).then(
        () => this.#log.info({ worker }, 'a worker serves again'),
        // `#onEnd` logs its end, and starts it again.
        () => {},
      );
    }, delay);
  }
}
