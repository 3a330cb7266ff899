/** What a long command is at, on stderr: on a terminal, and wherever there is much to do. */

/** Inputs from here on take long, bytes. */
const LARGE = 8 * 1024 * 1024;
/** Lines at most so often, ms; a new step is always told. */
const INTERVAL_MS = 1_000;

/** @param bytes of what is worked on @returns what is told of each step */
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
