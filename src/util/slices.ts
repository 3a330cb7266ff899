/**
 * Long work on the event loop, a slice at a time, so that other calls are answered between (ADM-11). All work that
 * is under way shares one slice a turn of the loop: many long calls together hold nobody longer than one does.
 */

/**
 * Work in steps of about a millisecond or less. `next(true)` tells it that its time is over. It may yield a promise:
 * then its next step is taken when that has settled.
 */
export type SteppedWork<T> = Generator<Promise<unknown> | undefined, T, boolean>;

/** How long all sliced work may hold the event loop at a time, ms. */
const SLICE_MS = 8;
/** How long a call may go on before it has to wait for its slices, ms. */
const FIRST_SLICE_MS = 4;

interface Task {
  /** Takes one step. @returns whether the next one is to be taken in turn */
  step(now: number): boolean;
}

const tasks: Task[] = [];
let isScheduled = false;

/**
 * Runs work to its end: at once if it is short, else in slices.
 * @param deadline on the clock of `performance.now()`, ms: from then on the work is told to end
 */
export function inSlices<T>(work: SteppedWork<T>, deadline: number): T | Promise<T> {
  let waitsFor: Promise<unknown> | undefined;
  const until = performance.now() + FIRST_SLICE_MS;
  for (let now = 0; now < until && waitsFor === undefined; now = performance.now()) {
    const { done, value } = work.next(now >= deadline);
    if (done === true) return value;
    waitsFor = value;
  }
  return new Promise<T>((resolve, reject) => {
    const task: Task = {
      step(now): boolean {
        try {
          const { done, value } = work.next(now >= deadline);
          if (done === true) resolve(value);
          else if (value === undefined) return true;
          else addAfter(value, task, reject);
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)));
        }
        return false;
      },
    };
    if (waitsFor === undefined) add(task);
    else addAfter(waitsFor, task, reject);
  });
}

function add(task: Task): void {
  tasks.push(task);
  schedule();
}

function addAfter(settled: Promise<unknown>, task: Task, reject: (error: unknown) => void): void {
  settled.then(() => add(task), reject);
}

function schedule(): void {
  if (isScheduled) return;
  isScheduled = true;
  setImmediate(runSlice);
}

/** One slice of a turn of the loop: each task in turn takes a step. */
function runSlice(): void {
  isScheduled = false;
  const until = performance.now() + SLICE_MS;
  for (let now = 0; tasks.length > 0 && now < until; now = performance.now()) {
    const task = tasks.shift();
    if (task?.step(now) === true) tasks.push(task);
  }
  if (tasks.length > 0) schedule();
}
