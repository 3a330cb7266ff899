/** Lets others have their turn between the steps of long asynchronous work (ADM-11). */

/** How long such work may hold the event loop, ms. */
const BREATH_MS = 5;

export class Breath {
  #since = performance.now();

  /** Between two steps: others have a turn where this has taken a while. */
  async take(): Promise<void> {
    if (performance.now() - this.#since < BREATH_MS) return;
    await new Promise((go) => setImmediate(go));
    this.#since = performance.now();
  }
}
