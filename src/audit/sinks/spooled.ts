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

/** Batches have numbers of their own: those of spools come between. */
export function withSpools(destination: Destination, options: SpooledOptions): Destination {
  const { own, others, onSent } = options;
  let ids = 0;
  /** The batch that is tried, under which number. */
  let trying: { readonly of: readonly string[]; readonly id: number } | undefined;

  const keep = async (lines: readonly string[]): Promise<void> => {
    // What comes again is the same list, and the same batch for the destination.
    if (trying?.of !== lines) trying = { of: lines, id: ++ids };
    await destination.keep({ id: trying.id, lines });
    trying = undefined;
  };
  const drain = async (): Promise<void> => {
    for (const spool of [...others, own]) {
      if (!spool.isWaiting()) continue;
      const sent = await spool.drain(keep);
      if (sent > 0) onSent(sent);
      if (spool !== own) spool.remove();
    }
  };

  return {
    ...destination,
    async keep({ lines }: Batch): Promise<void> {
      await drain();
      if (lines.length > 0) await keep(lines);
    },
    isWaiting: () => [...others, own].some((spool) => spool.isWaiting()),
    leave: (lines) => own.leave(lines),
    async close(): Promise<void> {
      await destination.close();
      for (const spool of [...others, own]) spool.close();
    },
  };
}
