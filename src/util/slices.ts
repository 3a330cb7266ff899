/**
 * Long work on the event loop in slices, so that other calls are answered between (ADM-11). All work in progress shares
 * one slice per turn of the loop, so many long calls block others no longer than one does.
 */

/**
 * Work in steps of about a millisecond or less. `next(true)` means that its time is over. If it yields a promise, the next
 * step runs when the promise has settled.
 */
export type SteppedWork<T> = Generator<Promise<unknown> | undefined, T, boolean>;

/** Longest time that all sliced work may block the event loop, ms. */
const SLICE_MS = 8;
/** Time that a call may run before it has to wait for slices, ms. */
const FIRST_SLICE_MS = 4;

interface Task {
  /** Runs one step. @returns whether the next one runs in turn */
  step(now: number): boolean;
}

const tasks: Task[] = [];
let isScheduled = false;

/**
 * Runs work to its end: at once if it is short, otherwise in slices.
 * @param deadline on the clock of `performance.now()`, ms: from then on the work is asked to end
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

/** One slice of a turn of the loop: the tasks run a step each, in turn. */
function runSlice(): void {
  isScheduled = false;
  const until = performance.now() + SLICE_MS;
  for (let now = 0; tasks.length > 0 && now < until; now = performance.now()) {
    const task = tasks.shift();
    if (task?.step(now) === true) tasks.push(task);
  }
  if (tasks.length > 0) schedule();
}
