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
  /** All readings were taken: those that are of an interval begin anew. */
  taken(): void;
}

type IntervalHistogram = ReturnType<typeof monitorEventLoopDelay>;

/** How often the event loop is looked at, ms; what comes later than that is its lag. */
const RESOLUTION_MS = 20;

/** Costs nothing until the first reading is taken: a process that nobody watches does not watch itself. */
export function openRuntime(): Runtime {
  let watching: IntervalHistogram | undefined;
  /** Seconds; 0 until something was seen. */
  const lag = (of: (histogram: IntervalHistogram) => number) => (): number => {
    if (watching === undefined) {
      watching = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
      watching.enable();
    }
    return watching.count === 0 ? 0 : Math.max(0, of(watching) / 1e6 - RESOLUTION_MS) / 1e3;
  };
  const startedAt = Date.now() / 1e3 - process.uptime();
  const late = (what: string): string => `Lag of the event loop since the last scrape, ${what}.`;
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
      gauge(
        'nodejs_eventloop_lag_mean_seconds',
        late('mean'),
        lag(({ mean }) => mean),
      ),
      gauge(
        'nodejs_eventloop_lag_p99_seconds',
        late('99th percentile'),
        lag((h) => h.percentile(99)),
      ),
      gauge(
        'nodejs_eventloop_lag_max_seconds',
        late('longest'),
        lag(({ max }) => max),
      ),
    ],
    taken: () => watching?.reset(),
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
