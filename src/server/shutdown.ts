/** What a server has opened, closed in reverse order within the time that the settings give. */

/** Kept of the time for calls in flight, so that their last records reach the sinks: a fifth of it, and no more, ms. */
const MAX_FLUSH_MS = 500;

export class Shutdown {
  readonly #graceMs: number;
  readonly #steps: (() => Promise<void> | void)[] = [];
  /** When everything has to be closed, ms of the monotonic clock; `Infinity`: the time has not begun. */
  #endsAt = Infinity;

  /** @param graceMs how long calls in flight may take once the server closes */
  constructor(graceMs: number) {
    this.#graceMs = graceMs;
  }

  /** Adds a step that is run before those that were added earlier. */
  add(close: () => Promise<void> | void): void {
    this.#steps.push(close);
  }

  /** The time for calls in flight begins. */
  begin(): void {
    this.#endsAt = performance.now() + this.#graceMs;
  }

  /** Time that is left, ms. */
  leftMs(): number {
    return Math.max(0, this.#endsAt - performance.now());
  }

  /** The part of the time in which the last records reach the sinks, ms. */
  flushMs(): number {
    return Math.min(MAX_FLUSH_MS, this.#graceMs / 5);
  }

  async run(): Promise<void> {
    for (const close of this.#steps.toReversed()) await close();
  }
}
