/** Watches the memory of this process: want of it costs caches first, then new calls, and never the process. */
import { getHeapStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

export interface MemoryOptions {
  /** Bytes of objects and buffers from which on something has to go. */
  readonly bound: number;
  /** Empties what is there only to be quicker. */
  readonly shed: () => void;
  /** That was done; so much is still in use. */
  readonly onShed: (usedBytes: number) => void;
  /** It did not help, or there is room again. */
  readonly onOver: (over: boolean, usedBytes: number) => void;
}

export interface MemoryWatch {
  /** There is no room for new calls. */
  readonly isOver: () => boolean;
  close(): void;
}

const LOOK_MS = 500;
/** Of the time, for collections: they stop everything else. */
const SHARE = 0.1;
/** But memory never goes unwatched for longer. */
const LONGEST_MS = 2_000;
/** There is room where no more of the bound is in use: with less, one collection would follow the other. */
const ROOM = 0.9;

/** @param options `undefined`: however much is used */
export function watchMemory(options: MemoryOptions | undefined): MemoryWatch {
  if (options === undefined) return { isOver: () => false, close: () => {} };
  const { bound, shed, onShed, onOver } = options;
  const room = bound * ROOM;
  let over = false;
  /** What is in use after all that can be done. */
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

/** Of the least that V8 lets the heap grow to before it ends the process. */
const OF_HEAP = 0.85;
/** Of what a container may use: the rest is for code, stacks, native memory, and garbage that is still to be collected. */
const OF_CONTAINER = 0.6;

/**
 * The bound that holds where the settings name none. Whoever goes beyond is ended, by V8 or by the kernel, and loses all
 * calls in flight with all caches; a call that is refused is asked again.
 * @param processes those that share the container
 */
export function defaultMemoryBound(processes: number): number {
  const heap = getHeapStatistics().heap_size_limit;
  // A number beyond all memory where nothing constrains it, 0 where that is not known.
  const container = process.constrainedMemory() || Infinity;
  return Math.floor(Math.min(heap * OF_HEAP, (container / processes) * OF_CONTAINER));
}

/** What the engine holds. Resident memory would tell what an allocator keeps for later, too, which no refusal brings back. */
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
 * One full collection, at once.
 * @param flavor the last resort gives the memory back to the system, and takes four times as long
 */
export function collectGarbage(flavor: Flavor = 'last-resort'): void {
  collect ??= exposedCollector();
  collect({ type: 'major', execution: 'sync', flavor });
}

function exposedCollector(): Collect {
  setFlagsFromString('--expose-gc');
  // A fresh context is the only place where the function shows after start.
  const exposed = runInNewContext('gc') as Collect;
  setFlagsFromString('--no-expose-gc');
  return exposed;
}
