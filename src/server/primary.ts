/**
 * The process that keeps several workers going: each is a whole server but for HTTP, which is served here for all. It
 * hands connections to them in turn (SCHED_RR): connections of HTTP/2 live long, and left to the kernel most of them end
 * up with the same few.
 */
import cluster, { type Worker } from 'node:cluster';
import { once } from 'node:events';
import { pino } from 'pino';
import { counts, together, type Snapshot } from '../telemetry/exposition.ts';
import { createPrimaryMetrics } from '../telemetry/metrics.ts';
import { openRelay } from './relay.ts';
import type { Running, ServerOptions } from './compose.ts';
import { listenOps, type Readiness } from '../transport/ops/server.ts';
import { withoutTokens } from '../util/tokens.ts';
import { clearStaleSocket } from '../transport/unix-socket.ts';

/** What workers are told. */
export type ToWorker =
  | { readonly do: 'start'; readonly options: ServerOptions }
  | { readonly do: 'reload' }
  | { readonly do: 'tell'; readonly id: number; readonly what: keyof Told };

/** What they tell. */
export type FromWorker =
  | 'listening'
  | { readonly started: Started }
  | { readonly id: number; readonly told: Told[keyof Told] };

export interface Told {
  readonly readiness: Readiness;
  readonly snapshot: Snapshot;
}

export interface Started {
  readonly grpc: string;
  readonly tenants: readonly string[];
  readonly waiting: boolean;
}

export interface RunningWorkers extends Pick<Running, 'addresses' | 'tenants' | 'waiting' | 'log'> {
  /** Every worker reads catalog and routes again. */
  reload(): void;
  /** All workers drain. @returns whether all ended in order */
  close(): Promise<boolean>;
  /** Resolves when a worker ends again and again: it was told why, and going on is of no use. */
  readonly gaveUp: Promise<void>;
}

/** A worker ended before it served; it has said why. */
export class WorkerError extends Error {
  readonly code: number;

  constructor(worker: number, code: number | null, signal: string | null) {
    super(`worker ${worker} ended with ${signal ?? `exit code ${code}`} before it served`);
    this.code = code ?? 1;
  }
}

/** A worker that does not answer in this time is not ready, ms. */
const ANSWER_MS = 1_000;
/** Before a worker is started again, ms; twice as long each time. */
const FIRST_DELAY_MS = 100;
/** A worker that ends so often in so long, ms, is not started again. */
const ENDS = 5;
const ENDS_MS = 60_000;
/** What a worker may take to end beyond its times for draining, ms: it ends by itself before that. */
const CLOSE_MS = 500;

interface Slot {
  readonly number: number;
  worker: Worker | undefined;
  /** `undefined`: it does not serve, or not yet. */
  started: Started | undefined;
  /** When it ended, of late. */
  ends: readonly number[];
  /** What it counted when it was last asked. */
  last: Snapshot;
}

/**
 * @param script the file that a worker runs
 * @throws WorkerError where a worker cannot start, Error where HTTP cannot be bound
 */
export async function startWorkers(server: ServerOptions, script: string): Promise<RunningWorkers> {
  const { grpc, http, log: logging, shutdown, audit, workers } = server.settings;
  const hooks = { streamWrite: withoutTokens };
  const log = pino({ level: logging.level, base: null, hooks }, pino.destination(2));
  const slots: readonly Slot[] = Array.from({ length: workers }, (_, index) => ({
    number: index + 1,
    worker: undefined,
    started: undefined,
    ends: [],
    last: [],
  }));
  const shares = audit.sinks.some(({ type }) => type === 'stdout');
  let lostAtEnd = false;
  const late = new AbortController();
  const relay = openRelay((error, isGone) => {
    log.error({ err: error }, 'records of a worker are lost');
    // A reader that went away has wanted no more of them.
    lostAtEnd ||= phase === 'closing' && !isGone;
  }, late.signal);
  const relays: Promise<void>[] = [];
  const answers = new Map<number, (told: Told[keyof Told] | undefined) => void>();
  const gaveUp = Promise.withResolvers<void>();
  let phase: 'starting' | 'running' | 'closing' = 'starting';
  let asked = 0;
  let restarts = 0;
  let ended: Promise<Snapshot> = Promise.resolve([]);

  cluster.schedulingPolicy = cluster.SCHED_RR;
  cluster.setupPrimary({
    exec: script,
    args: [],
    serialization: 'advanced',
    stdio: ['ignore', shares ? 'pipe' : 'inherit', 'inherit', 'ipc'],
  });

  const launch = (slot: Slot, states: readonly string[]): Promise<Started> =>
    new Promise((done, failed) => {
      const worker = cluster.fork();
      slot.worker = worker;
      const { stdout } = worker.process;
      if (shares && stdout !== null) relays.push(relay(stdout));
      worker.on('message', (message: FromWorker) => {
        if (message === 'listening')
          send(worker, { do: 'start', options: { ...server, states, worker: slot.number } });
        else if ('started' in message) {
          slot.started = message.started;
          done(message.started);
        } else answers.get(message.id)?.(message.told);
      });
      let isOver = false;
      const over = (code: number | null, signal: string | null): void => {
        if (isOver) return;
        isOver = true;
        const counted = counts(slot.last);
        const served = phase === 'running' || slot.started !== undefined;
        ended = ended.then((sum) => together([sum, counted]).snapshot());
        Object.assign(slot, { worker: undefined, started: undefined, last: [] });
        failed(new WorkerError(slot.number, code, signal));
        if (served && phase !== 'closing') again(slot, code, signal);
      };
      worker.on('exit', over);
      // It could not even begin: there were no descriptors, no memory, or no processes left.
      worker.on('error', (error: NodeJS.ErrnoException) => {
        log.error({ err: error, worker: slot.number }, 'a worker fails');
        if (worker.process.pid === undefined) over(null, error.code ?? 'ERROR');
      });
    });

  const again = (slot: Slot, code: number | null, signal: string | null): void => {
    const now = performance.now();
    slot.ends = [...slot.ends.filter((at) => now - at < ENDS_MS), now];
    const worker = slot.number;
    if (slot.ends.length >= ENDS) {
      log.fatal({ worker, code, signal, times: ENDS }, 'a worker ends again and again');
      gaveUp.resolve();
      return;
    }
    const delay = FIRST_DELAY_MS * 2 ** (slot.ends.length - 1);
    log.error({ worker, code, signal, again_in_ms: delay }, 'a worker has ended');
    setTimeout(() => {
      if (phase === 'closing') return;
      restarts++;
      launch(slot, []).then(
        () => log.info({ worker }, 'a worker serves again'),
        // Its end starts it again, and is told.
        () => {},
      );
    }, delay);
  };

  const ask = <What extends keyof Told>(
    { worker, started }: Slot,
    what: What,
  ): Promise<Told[What] | undefined> =>
    new Promise((done) => {
      if (worker === undefined || started === undefined) {
        done(undefined);
        return;
      }
      const id = ++asked;
      const over = (told: Told[keyof Told] | undefined): void => {
        clearTimeout(late);
        answers.delete(id);
        // It tells what it was asked for.
        done(told as Told[What] | undefined);
      };
      const late = setTimeout(over, ANSWER_MS, undefined);
      answers.set(id, over);
      send(worker, { do: 'tell', id, what });
    });

  const readiness = async (): Promise<Readiness> => {
    const told = await Promise.all(slots.map((slot) => ask(slot, 'readiness')));
    const known = told.filter((one) => one !== undefined);
    const ready = known.filter((one) => one.ready).length;
    const names = new Set(known.flatMap(({ checks }) => Object.keys(checks)));
    const checks = [...names].map(
      (name) => [name, known.every((one) => one.checks[name] === true)] as const,
    );
    return {
      ready: phase === 'running' && ready === workers,
      checks: { workers: `${ready} of ${workers} are ready`, ...Object.fromEntries(checks) },
    };
  };

  const own = createPrimaryMetrics({
    restarts: () => restarts,
    ready: () => phase === 'running' && slots.every(({ started }) => started !== undefined),
  });
  /** @throws Error where one does not tell: a sum that goes back would look as if all had begun anew */
  const render = async (): Promise<string> => {
    const asked = slots.map(async (slot) => {
      const { worker } = slot;
      return { slot, worker, told: await ask(slot, 'snapshot') };
    });
    for (const { slot, worker, told } of await Promise.all(asked)) {
      // What one told that has ended since is in the sum of those that have ended.
      if (slot.started === undefined || slot.worker !== worker) continue;
      if (told === undefined) throw new Error(`worker ${slot.number} does not answer`);
      slot.last = told;
    }
    const all = [await own.snapshot(), await ended, ...slots.map(({ last }) => last)];
    return together(all).render();
  };

  await clearStaleSocket(grpc.address);
  const { contentType } = together([]);
  const ops = await listenOps({
    address: http.address,
    socketMode: http.socket_mode,
    readiness,
    metrics: () => ({ render, contentType }),
    onError: (error) => log.error({ err: error }, 'a connection for HTTP could not be taken'),
  });

  const close = async (): Promise<boolean> => {
    phase = 'closing';
    const { lame_duck_ms: lameDuckMs, grace_ms: graceMs } = shutdown;
    const endsAt = performance.now() + lameDuckMs + graceMs;
    const ends = slots.map(async ({ number, worker, started }) => {
      if (worker === undefined) return true;
      const code = await end(worker, lameDuckMs + graceMs + CLOSE_MS, () =>
        log.error({ worker: number }, 'a worker does not end: it is killed'),
      );
      // One that did not serve yet owes nothing to anybody.
      return code === 0 || started === undefined;
    });
    const inOrder = (await Promise.all(ends)).every(Boolean);
    // What stdout does not take in this time is lost, and told.
    const timer = setTimeout(() => late.abort(), Math.max(endsAt - performance.now(), CLOSE_MS));
    await Promise.all(relays);
    clearTimeout(timer);
    await ops.close();
    return inOrder && !lostAtEnd;
  };

  try {
    const [first, ...others] = slots;
    if (first === undefined) throw new Error('there are no workers');
    // Alone, so that what is wrong is told once, and tenants are created once.
    const started = await launch(first, server.states);
    await Promise.all(others.map((slot) => launch(slot, [])));
    phase = 'running';
    return {
      addresses: { grpc: started.grpc, http: ops.address },
      tenants: started.tenants,
      waiting: slots.some((slot) => slot.started?.waiting === true),
      log,
      gaveUp: gaveUp.promise,
      reload(): void {
        for (const { worker } of slots) if (worker !== undefined) send(worker, { do: 'reload' });
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** One that has just ended is told nothing; its end is what counts. */
function send(worker: Worker, message: ToWorker): void {
  worker.send(message, () => {});
}

/** @returns its exit code; `null` after a signal */
async function end(worker: Worker, ms: number, onLate: () => void): Promise<number | null> {
  const over = once(worker, 'exit');
  worker.process.kill('SIGTERM');
  const late = setTimeout(() => {
    onLate();
    worker.process.kill('SIGKILL');
  }, ms);
  const [code] = (await over) as [number | null];
  clearTimeout(late);
  return code;
}
