/**
 * Long work on the event loop, a slice at a time, so that other calls are answered between (ADM-11). All work that
 * is under way shares one slice a turn of the loop: many long calls together hold nobody longer than one does.
 */

/** Work in steps of about a millisecond or less. `next(true)` tells it that its time is over. */
export type SteppedWork<T> = Generator<undefined, T, boolean>;

/** How long all sliced work may hold the event loop at a time, ms. */
const SLICE_MS = 8;
/** How long a call may go on before it has to wait for its slices, ms. */
const FIRST_SLICE_MS = 4;

interface Task {
  /** Takes one step. @returns whether it was the last */
  step(now: number): boolean;
}

const tasks: Task[] = [];
let isScheduled = false;

/**
 * Runs work to its end: at once if it is short, else in slices.
 * @param deadline on the clock of `performance.now()`, ms: from then on the work is told to end
 */
export function inSlices<T>(work: SteppedWork<T>, deadline: number): T | Promise<T> {
  const until = performance.now() + FIRST_SLICE_MS;
  for (let now = 0; now < until; now = performance.now()) {
    const { done, value } = work.next(now >= deadline);
    if (done === true) return value;
  }
  return new Promise<T>((resolve, reject) => {
    tasks.push({
      step(now): boolean {
        try {
          const { done, value } = work.next(now >= deadline);
          if (done === true) resolve(value);
          return done === true;
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)));
          return true;
        }
      },
    });
    schedule();
  });
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
    if (task !== undefined && !task.step(now)) tasks.push(task);
  }
  if (tasks.length > 0) schedule();
}
