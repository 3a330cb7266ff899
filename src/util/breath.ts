/** Yields to the event loop between the steps of long asynchronous work (ADM-11). */

/** Longest time that such work may block the event loop, ms. */
const BREATH_MS = 5;

export class Breath {
  #since = performance.now();

  /** Call it between two steps: it yields if the work has blocked the loop for that time. */
  async take(): Promise<void> {
    if (performance.now() - this.#since < BREATH_MS) return;
    await new Promise((go) => setImmediate(go));
    this.#since = performance.now();
  }
}
