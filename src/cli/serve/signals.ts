/** Signals that end a process: a server at once as long as it starts, in order when it serves. */
import { EXIT } from '../kit/output.ts';

const STOPPING = ['SIGTERM', 'SIGINT'] as const;

/**
 * Ends the process on the first signal to stop. The first process of a container has no default for them: without this
 * it would be deaf while it starts. Nothing was promised to anybody by then, and a store bears any end.
 * @returns what gives the signals back
 */
export function endAtOnce(): () => void {
  const end = (): void => process.exit(EXIT.ok);
  for (const signal of STOPPING) process.on(signal, end);
  return () => {
    for (const signal of STOPPING) process.off(signal, end);
  };
}

/**
 * Passes over SIGHUP, which would end the process, as long as a server starts.
 * @returns whether one came, and gives the signal back
 */
export function holdHangUp(): () => boolean {
  let came = false;
  const hold = (): void => {
    came = true;
  };
  process.on('SIGHUP', hold);
  return () => {
    process.off('SIGHUP', hold);
    return came;
  };
}

/**
 * Keeps SIGUSR1 from opening Node's inspector, by which whoever reaches its port may run any code here. What starts the
 * process says the same earlier, by `--disable-sigusr1`.
 */
export function withoutInspector(): void {
  process.on('SIGUSR1', () => {});
}

/**
 * The first signal to stop. Those after it are passed over, so that none cuts the drain short: npm sends a second to
 * what it runs, some milliseconds after the terminal's own.
 */
export function stopSignal(): Promise<NodeJS.Signals> {
  // Node takes its time to end by itself, and gives the signals back before it has: a second one would kill it.
  process.once('beforeExit', () => process.exit());
  return new Promise((done) => {
    for (const signal of STOPPING) process.on(signal, done);
  });
}

/** Aborted by the first signal to stop. */
export function untilStopped(): AbortController {
  const ending = new AbortController();
  void stopSignal().then(() => ending.abort());
  return ending;
}

/**
 * Calls back at the first signal to stop, instead of ending the process: the command tells what became of its work.
 * @returns what gives the signals back
 */
export function onStop(stop: (signal: NodeJS.Signals) => void): () => void {
  const signals = [...STOPPING, 'SIGHUP'] as const;
  for (const signal of signals) process.on(signal, stop);
  return () => {
    for (const signal of signals) process.off(signal, stop);
  };
}

/** For the log of a server that had to be ended. */
export const LATE = 'the server has not ended within `shutdown.grace_ms`: it is ended';

/** What is beyond the time that a server has to end in, ms, before it is ended. */
const LATE_MS = 250;

/**
 * Ends the process where it has not ended by itself in its time: a store or a collector that hangs must not keep it.
 * @param ms its time
 * @param onLate told before
 */
export function endWithin(ms: number, onLate: () => void): void {
  setTimeout(() => {
    onLate();
    process.exit(EXIT.refused);
  }, ms + LATE_MS).unref();
}
