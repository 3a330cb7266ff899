/** What the process and its runtime tell of themselves, by the names that Prometheus' client libraries use. */
import { readdirSync, readFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';

/** One number that is looked up when it is asked for; `undefined`: this system does not tell it. */
export interface Reading {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge';
  readonly value: () => number | undefined;
}

export interface Runtime {
  readonly readings: readonly Reading[];
}

type IntervalHistogram = ReturnType<typeof monitorEventLoopDelay>;

/** How often the event loop is looked at, ms; what comes later than that is its lag. */
const RESOLUTION_MS = 20;

/** How long a reading of the lag looks back, at least; at most twice as long where it is read often, ms. */
const WINDOW_MS = 60_000;

/**
 * Costs nothing until the first reading is taken: a process that nobody watches does not watch itself.
 * @param now monotonic milliseconds
 */
export function openRuntime(now: () => number = () => performance.now()): Runtime {
  /** The newest comes last. A stall stays in them for a window, however often, and by whomever, it is looked at. */
  let windows: readonly { readonly since: number; readonly seen: IntervalHistogram }[] = [];
  const watched = (): readonly IntervalHistogram[] => {
    const newest = windows.at(-1);
    if (newest === undefined || now() - newest.since >= WINDOW_MS) {
      const seen = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
      seen.enable();
      newest?.seen.disable();
      windows = [...windows.slice(-1), { since: now(), seen }];
    }
    return windows.map(({ seen }) => seen).filter(({ count }) => count > 0);
  };
  /** Seconds; 0 until something was seen. */
  const late = (nanoseconds: number): number =>
    Math.max(0, nanoseconds / 1e6 - RESOLUTION_MS) / 1e3;
  const worst = (of: (histogram: IntervalHistogram) => number) => (): number =>
    late(Math.max(0, ...watched().map(of)));
  const mean = (): number => {
    const all = watched();
    const count = all.reduce((sum, one) => sum + one.count, 0);
    return count === 0 ? 0 : late(all.reduce((sum, one) => sum + one.mean * one.count, 0) / count);
  };
  const startedAt = Date.now() / 1e3 - process.uptime();
  const help = (what: string): string =>
    `Lag of the event loop over the last one to two minutes, ${what}.`;
  return {
    readings: [
      counter('process_cpu_seconds_total', 'CPU time, user and system.', cpuSeconds),
      gauge(
        'process_start_time_seconds',
        'When the process began, since the epoch.',
        () => startedAt,
      ),
      gauge('process_resident_memory_bytes', 'Resident memory.', () => process.memoryUsage.rss()),
      gauge('process_open_fds', 'Open file descriptors.', openFiles),
      gauge('process_max_fds', 'File descriptors that may be open.', mostFiles),
      ...HEAP.map(([name, help, part]) => gauge(name, help, () => process.memoryUsage()[part])),
      gauge('nodejs_eventloop_lag_mean_seconds', help('mean'), mean),
      gauge(
        'nodejs_eventloop_lag_p99_seconds',
        help('99th percentile'),
        worst((seen) => seen.percentile(99)),
      ),
      gauge(
        'nodejs_eventloop_lag_max_seconds',
        help('longest'),
        worst(({ max }) => max),
      ),
    ],
  };
}

const HEAP = [
  ['nodejs_heap_size_total_bytes', 'Size of the heap.', 'heapTotal'],
  ['nodejs_heap_size_used_bytes', 'The part of the heap that is in use.', 'heapUsed'],
  ['nodejs_external_memory_bytes', 'Memory outside the heap that objects hold.', 'external'],
] as const;

function counter(name: string, help: string, value: Reading['value']): Reading {
  return { name, help, type: 'counter', value };
}

function gauge(name: string, help: string, value: Reading['value']): Reading {
  return { name, help, type: 'gauge', value };
}

function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

/** Linux alone tells it in files. */
function openFiles(): number | undefined {
  try {
    return readdirSync('/proc/self/fd').length;
  } catch {
    return undefined;
  }
}

function mostFiles(): number | undefined {
  try {
    const limits = readFileSync('/proc/self/limits', 'utf8');
    const soft = /^Max open files\s+(\d+|unlimited)/m.exec(limits)?.[1];
    if (soft === undefined) return undefined;
    return soft === 'unlimited' ? Infinity : Number(soft);
  } catch {
    return undefined;
  }
}
