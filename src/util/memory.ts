/** Watches the memory of this process: if it is low, caches are emptied first, then new calls are refused. */
import { getHeapStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

export interface MemoryOptions {
  /** Limit of bytes of objects and buffers. */
  readonly bound: number;
  /** Empties the caches. */
  readonly shed: () => void;
  /** Called after the caches were emptied, with the bytes still in use. */
  readonly onShed: (usedBytes: number) => void;
  /** Called when memory becomes too low for new calls, or is sufficient again. */
  readonly onOver: (over: boolean, usedBytes: number) => void;
}

export interface MemoryWatch {
  /** Memory is too low for new calls. */
  readonly isOver: () => boolean;
  close(): void;
}

const LOOK_MS = 500;
/** Largest share of time for collections, which block everything else. */
const SHARE = 0.1;
/** Longest interval between two checks, ms. */
const LONGEST_MS = 2_000;
/** Share of the limit below which memory is sufficient: a higher share would cause one collection after the other. */
const ROOM = 0.9;

/** @param options `undefined`: no limit */
export function watchMemory(options: MemoryOptions | undefined): MemoryWatch {
  if (options === undefined) return { isOver: () => false, close: () => {} };
  const { bound, shed, onShed, onOver } = options;
  const room = bound * ROOM;
  let over = false;
  /** Bytes in use after collection and emptied caches. */
  const relieved = (): number => {
    if (!over && usedAfterCollection() <= room) return usedBytes();
    shed();
    const used = usedAfterCollection();
    if (!over) onShed(used);
    return used;
  };
  const look = (): void => {
    const startedAt = performance.now();
    const tight = usedBytes() > (over ? room : bound);
    const used = tight ? relieved() : usedBytes();
    const still = tight && used > room;
    if (still !== over) {
      over = still;
      onOver(over, used);
    }
    lookAgain((performance.now() - startedAt) / SHARE);
  };
  let timer: NodeJS.Timeout;
  const lookAgain = (ms: number): void => {
    timer = setTimeout(look, Math.min(Math.max(LOOK_MS, ms), LONGEST_MS)).unref();
  };
  lookAgain(0);
  return { isOver: () => over, close: () => clearTimeout(timer) };
}

/** Share of V8's heap limit, above which V8 ends the process. */
const OF_HEAP = 0.85;
/** Share of the container's memory; the rest is for code, stacks, native memory and garbage. */
const OF_CONTAINER = 0.6;

/**
 * The default limit. Above it V8 or the kernel would end the process, with all calls in flight and all caches; a refused
 * call can be repeated.
 * @param processes number of processes that share the container
 */
export function defaultMemoryBound(processes: number): number {
  const heap = getHeapStatistics().heap_size_limit;
  // Larger than all memory if there is no limit, 0 if the limit is unknown.
  const container = process.constrainedMemory() || Infinity;
  return Math.floor(Math.min(heap * OF_HEAP, (container / processes) * OF_CONTAINER));
}

/** Memory used by V8. Resident memory would include what the allocator keeps, which a refusal does not free. */
function usedBytes(): number {
  const { used_heap_size: heap, external_memory: buffers } = getHeapStatistics();
  return heap + buffers;
}

function usedAfterCollection(): number {
  collectGarbage();
  return usedBytes();
}

type Flavor = 'regular' | 'last-resort';
type Collect = (options: {
  readonly type: 'major';
  readonly execution: 'sync';
  readonly flavor: Flavor;
}) => void;

let collect: Collect | undefined;

/**
 * Runs one full garbage collection.
 * @param flavor `last-resort` returns memory to the system, and takes four times as long
 */
export function collectGarbage(flavor: Flavor = 'last-resort'): void {
  collect ??= exposedCollector();
  collect({ type: 'major', execution: 'sync', flavor });
}

function exposedCollector(): Collect {
  setFlagsFromString('--expose-gc');
  // After start the function is available only in a new context.
  const exposed = runInNewContext('gc') as Collect;
  setFlagsFromString('--no-expose-gc');
  return exposed;
}
