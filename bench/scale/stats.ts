/** Latencies, and how they are said. */
import { readFileSync } from 'node:fs';

export interface Spread {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

export function spread(samples: readonly number[]): Spread {
  const sorted = samples.toSorted((a, b) => a - b);
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
  return { p50: at(0.5), p99: at(0.99), max: sorted.at(-1) ?? NaN };
}

/** Nanoseconds since some moment, the same for all processes of this machine. */
export function nowNs(): number {
  return Number(process.hrtime.bigint());
}

/** @returns what share of the processors' time the host of this virtual machine has kept from it since the call */
export function watchStolen(): () => number {
  const before = processorTimes();
  return () => {
    const spent = processorTimes().map((time, kind) => time - (before[kind] ?? 0));
    return (spent[STOLEN] ?? 0) / spent.reduce((sum, time) => sum + time, 0);
  };
}

/** user, nice, system, idle, iowait, irq, softirq, steal; what follows is part of user and nice. */
const TIMES = 8;
const STOLEN = 7;

function processorTimes(): number[] {
  const [all = ''] = readFileSync('/proc/stat', 'utf8').split('\n');
  const [, ...times] = all.split(/\s+/);
  return times.slice(0, TIMES).map(Number);
}

export function count(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toLocaleString('en-US', { maximumFractionDigits: 1 })} MB`;
}

export function sleep(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}
