/** What a long command is at, on stderr: on a terminal, and wherever there is much to do. */

/** Inputs from here on take long, bytes. */
const LARGE = 8 * 1024 * 1024;
/** Lines at most so often, ms; a new step is always printed. */
const INTERVAL_MS = 1_000;

/** @param bytes of what is worked on @returns what prints a step */
export function progress(bytes: number): (step: string) => void {
  if (!process.stderr.isTTY && bytes < LARGE) return () => {};
  const startedAt = performance.now();
  let last = -Infinity;
  let kind = '';
  return (step) => {
    const now = performance.now();
    const of = step.split(':')[0] ?? '';
    if (of === kind && now - last < INTERVAL_MS) return;
    last = now;
    kind = of;
    const seconds = ((now - startedAt) / 1_000).toFixed(1);
    process.stderr.write(`${seconds.padStart(6)} s  ${step}\n`);
  };
}

/** The part of a terminal that a bar needs. */
interface Terminal {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

const BAR_WIDTH = 30;
const BAR_INTERVAL_MS = 100;

/** A line that is drawn again and again while a log is read; nothing where stderr is no terminal. */
export interface Bar {
  /** One more piece of the work is done, of so many bytes. */
  step(bytes: number): void;
  /** Takes the line away. */
  end(): void;
}

/** @param bytes of all the work @param what is counted: `records` */
export function progressBar(bytes: number, what: string, to: Terminal = process.stderr): Bar {
  if (to.isTTY !== true) return { step: () => {}, end: () => {} };
  const startedAt = performance.now();
  let [last, done, steps] = [startedAt, 0, 0];
  const draw = (now: number): void => {
    const part = Math.min(1, done / bytes);
    const full = '█'.repeat(Math.round(part * BAR_WIDTH)).padEnd(BAR_WIDTH, '░');
    const rate = Math.round((steps * 1_000) / Math.max(1, now - startedAt));
    to.write(
      `\r${full} ${String(Math.floor(part * 100)).padStart(3)} %  ${steps} ${what}, ${rate}/s\u001b[K`,
    );
  };
  return {
    step(size): void {
      steps++;
      done += size;
      // The clock is asked now and then only.
      if (steps % 256 !== 0) return;
      const now = performance.now();
      if (now - last < BAR_INTERVAL_MS) return;
      last = now;
      draw(now);
    },
    end: () => void to.write('\r\u001b[K'),
  };
}

/** The same items, each counted on the bar as it passes. */
export async function* onBar<T extends { readonly text: string }>(
  bar: Bar,
  items: AsyncIterable<T>,
): AsyncGenerator<T> {
  try {
    for await (const item of items) {
      bar.step(item.text.length + 1);
      yield item;
    }
  } finally {
    bar.end();
  }
}
