/** The server's log, and loggers that write the same problem no more often than people can read it. */
import { pino, type Logger } from 'pino';
import type { CredentialProblem } from '../engine/credential-problem.ts';
import { withoutTokens } from '../util/tokens.ts';

/** A log line of one kind of error at most so often, ms: a store that is down fails every call. */
const ERROR_INTERVAL_MS = 1_000;
/** The same problem of a connection or a credential at most so often, ms. */
const PROBLEM_INTERVAL_MS = 10 * ERROR_INTERVAL_MS;
/** Problems of connections whose time is remembered. */
const MAX_PROBLEMS = 100;

/** Writes to stderr, without tokens. @param worker `undefined`: the only process, or the one that starts the others */
export function openLogger(level: string, worker: number | undefined): Logger {
  const base = worker === undefined ? null : { worker };
  const hooks = { streamWrite: withoutTokens };
  return pino({ level, base, hooks }, pino.destination(2));
}

/** Lets one line pass in each interval, and counts the others. */
class Throttle {
  readonly #intervalMs: number;
  #passedAt = -Infinity;
  #silenced = 0;

  constructor(intervalMs: number) {
    this.#intervalMs = intervalMs;
  }

  /** @returns how many lines were held back since the last one; `undefined`: this one is held back, too */
  pass(): number | undefined {
    const now = performance.now();
    if (now - this.#passedAt < this.#intervalMs) {
      this.#silenced++;
      return undefined;
    }
    const silenced = this.#silenced;
    this.#passedAt = now;
    this.#silenced = 0;
    return silenced;
  }
}

/** @param message of every line; the error stands beside it */
export function errorLogger(log: Logger, message: string): (error: unknown) => void {
  const throttle = new Throttle(ERROR_INTERVAL_MS);
  return (error) => {
    const silenced = throttle.pass();
    if (silenced !== undefined) log.error({ err: error, silenced }, message);
  };
}

/** Why credentials prove nobody, for operators; each problem on its own, with how many there were. */
export function credentialLogger(log: Logger): (problem: CredentialProblem, via: string) => void {
  const throttles = new Map<CredentialProblem, Throttle>();
  return (problem, via) => {
    const throttle = throttles.get(problem) ?? new Throttle(PROBLEM_INTERVAL_MS);
    throttles.set(problem, throttle);
    const silenced = throttle.pass();
    if (silenced === undefined) return;
    const caller = via === '' ? {} : { via };
    log.warn({ problem, ...caller, silenced }, 'a credential proves nobody');
  };
}

/** Problems of the connections to the store: each is met at every attempt. @param store its address, without secrets */
export function connectionLogger(log: Logger, store: string): (problem: string) => void {
  const loggedAt = new Map<string, number>();
  return (problem) => {
    const last = loggedAt.get(problem) ?? -Infinity;
    if (performance.now() - last < PROBLEM_INTERVAL_MS) return;
    if (loggedAt.size > MAX_PROBLEMS) loggedAt.clear();
    loggedAt.set(problem, performance.now());
    log.warn({ store, problem }, 'a connection to the store has a problem');
  };
}
