/** A destination with spools: what earlier processes have left in them is kept first. */
import type { Batch, Destination } from './queue.ts';
import type { Spool } from './spool.ts';

export interface SpooledOptions {
  /** That of this process, and what is left in it for the next one. */
  readonly own: Spool;
  /** Those of processes that are no more: of workers above their number. */
  readonly others: readonly Spool[];
  /** Called with the number of records of earlier processes that were sent. */
  readonly onSent: (count: number) => void;
}

export function withSpools(destination: Destination, options: SpooledOptions): Destination {
  return new SpooledDestination(destination, options);
}

class SpooledDestination implements Destination {
  readonly #destination: Destination;
  readonly #own: Spool;
  /** Of earlier processes, then of this one. */
  readonly #spools: readonly Spool[];
  readonly #onSent: (count: number) => void;
  /** Batches have numbers of their own: those of spools come between. */
  #ids = 0;
  /** The batch that is tried, under which number. */
  #trying: { readonly lines: readonly string[]; readonly id: number } | undefined;

  constructor(destination: Destination, { own, others, onSent }: SpooledOptions) {
    this.#destination = destination;
    this.#own = own;
    this.#spools = [...others, own];
    this.#onSent = onSent;
  }

  async keep({ lines }: Batch): Promise<void> {
    await this.#drain();
    if (lines.length > 0) await this.#keepLines(lines);
  }

  isWaiting(): boolean {
    return this.#spools.some((spool) => spool.isWaiting());
  }

  leave(lines: readonly string[]): number {
    return this.#own.leave(lines);
  }

  counts(): ReturnType<NonNullable<Destination['counts']>> {
    return this.#destination.counts?.() ?? {};
  }

  async close(): Promise<void> {
    await this.#destination.close();
    for (const spool of this.#spools) spool.close();
  }

  async #keepLines(lines: readonly string[]): Promise<void> {
    // What comes again is the same list, and the same batch for the destination.
    if (this.#trying?.lines !== lines) this.#trying = { lines, id: ++this.#ids };
    await this.#destination.keep({ id: this.#trying.id, lines });
    this.#trying = undefined;
  }

  async #drain(): Promise<void> {
    for (const spool of this.#spools) {
      if (!spool.isWaiting()) continue;
      const sent = await spool.drain((lines) => this.#keepLines(lines));
      if (sent > 0) this.#onSent(sent);
      if (spool !== this.#own) spool.remove();
    }
  }
}
