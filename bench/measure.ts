/** Timing: warm up, many short rounds that alternate between a subject and its floor, then medians. */

/** A piece of work; what it returns is looked at, so that the compiler cannot leave it out. */
export type Work = () => unknown;

export interface Timing {
  /** Median time of one call, nanoseconds. */
  readonly medianNs: number;
  /** 99th percentile over the rounds; a round is one call, or as many as take `ROUND_NS` together. */
  readonly p99Ns: number;
}

export interface Compared extends Timing {
  readonly floor: Timing;
  /** Median over the pairs of rounds of subject : floor. */
  readonly ratio: number;
}

export interface Effort {
  readonly warmUpMs: number;
  readonly rounds: number;
}

export const FULL: Effort = { warmUpMs: 400, rounds: 600 };
export const QUICK: Effort = { warmUpMs: 100, rounds: 80 };

/** Long enough that reading the clock does not count. */
const ROUND_NS = 200_000;

let seen = 0;

export function measure(work: Work, effort: Effort): Timing {
  const calls = prepare(work, effort);
  return timing(Array.from({ length: effort.rounds }, () => round(work, calls)));
}

/** Measures a subject and its floor in turns, so that noise of the machine meets both. */
export function compare(work: Work, floor: Work, effort: Effort): Compared {
  const calls = prepare(work, effort);
  const floorCalls = prepare(floor, effort);
  const pairs = Array.from({ length: effort.rounds }, () => ({
    work: round(work, calls),
    floor: round(floor, floorCalls),
  }));
  return {
    ...timing(pairs.map((pair) => pair.work)),
    floor: timing(pairs.map((pair) => pair.floor)),
    ratio: median(pairs.map((pair) => pair.work / pair.floor)),
  };
}

/** Warms up, and finds how many calls make a round. */
function prepare(work: Work, { warmUpMs }: Effort): number {
  const until = performance.now() + warmUpMs;
  let calls = 1;
  while (performance.now() < until) {
    const ns = round(work, calls);
    calls = Math.max(1, Math.min(calls * 2, Math.round(ROUND_NS / ns)));
  }
  return calls;
}

/** Time of one call, nanoseconds. */
function round(work: Work, calls: number): number {
  const start = process.hrtime.bigint();
  let truthy = 0;
  for (let i = 0; i < calls; i++) if (work()) truthy++;
  const end = process.hrtime.bigint();
  seen += truthy;
  return Math.max(1, Number(end - start) / calls);
}

/** How many results were truthy over all rounds: keeps the work observable. */
export function observed(): number {
  return seen;
}

function timing(samples: readonly number[]): Timing {
  return { medianNs: median(samples), p99Ns: percentile(samples, 0.99) };
}

export function median(samples: readonly number[]): number {
  const sorted = samples.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? NaN) + upper) / 2;
}

function percentile(samples: readonly number[], share: number): number {
  const sorted = samples.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
}
