/** Gives the memory of start-up back before the first call, and lets pauses be pauses. */
import { setFlagsFromString } from 'node:v8';
import { collectGarbage } from '../../util/memory.ts';

/** V8's optimizing compilers, each of which has a filter for the names of functions. */
const OPTIMIZERS = ['maglev', 'turbo'];

function optimize(names: '*' | '-*'): void {
  for (const optimizer of OPTIMIZERS) setFlagsFromString(`--${optimizer}-filter=${names}`);
}

/**
 * Keeps V8 from optimizing what is hot while a server starts, such as finding its modules: little of it is called
 * again, and V8's optimizing compilers are 5 MiB of code that would be read into memory. Until `tendMemory`. A limit
 * of size would do the same, but what was hot in the meantime would never be optimized afterwards.
 */
export function startLean(): void {
  optimize('-*');
}

/** What a start leaves behind has been collected by then. */
const SETTLED_MS = 10_000;

/**
 * Reading settings, schemas and policies leaves a heap twice as large as serving needs, which V8 would keep as long
 * as a server is idle. One full collection, once, costs about 50 ms and gives a fifth of the resident memory back.
 */
function releaseStartupMemory(): void {
  // Thrown away on another thread, what V8 compiled from waits there: up to 35 MB under load, instead of 5.
  setFlagsFromString('--no-maglev-destroy-on-background');
  optimize('*');
  collectGarbage();
  // Once it has settled, a pause must not cost compiled code: what the engine's own collections in a pause find dead
  // are the shapes of the calls before, and with these goes the code for the calls after.
  setTimeout(() => setFlagsFromString('--no-memory-reducer'), SETTLED_MS).unref();
}

/** Bytes of caches from which on what is evicted from them makes most of the garbage that lives long. */
const LARGE_CACHES = 8 * 1024 * 1024;
/**
 * How far the heap may then grow beyond what is in use; 0 leaves it to V8. It is overshot while the dead are looked for,
 * and V8 keeps the pages: 30 instead of 15 takes 10 MB more, for a tenth more questions about users who are not cached.
 */
const GROWTH_PERCENT = 15;

/**
 * Keeps a server whose caches turn over small: left alone, V8 lets the heap grow to four times what is in use before
 * it collects. More collections cost throughput, so that a server with small caches keeps V8's own measure.
 * @returns what is told the size of the caches now and then
 */
function heapLimiter(): (cachedBytes: number) => void {
  let limited = false;
  return (cachedBytes) => {
    // Caches about as large as that must not cost one collection after the other.
    if (cachedBytes > (limited ? LARGE_CACHES / 2 : LARGE_CACHES) === limited) return;
    limited = !limited;
    setFlagsFromString(`--heap-growing-percent=${limited ? GROWTH_PERCENT : 0}`);
    // V8 measures after a collection: it would first grow once more as far as it had meant to, and keep the pages.
    if (limited) collectGarbage('regular');
  };
}

/** How often the size of the caches is looked at, ms: they may be filled within a second. */
const LOOK_MS = 250;

/** Keeps the memory of a server that has just started as small as it may be. */
export function tendMemory({ cachedBytes }: { readonly cachedBytes: () => number }): void {
  releaseStartupMemory();
  const limitHeap = heapLimiter();
  setInterval(() => limitHeap(cachedBytes()), LOOK_MS).unref();
}
