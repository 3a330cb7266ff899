/**
 * Records that are read on demand, with what was compiled from them. Each plane finds its own by id, without a key
 * being put together; all planes share one bound, and the least recently used go first, whosever they are.
 */
import { bounded, type Memory } from './bounded.ts';

export interface Entry<Record, Compiled> {
  readonly id: string;
  /** `undefined`: there is none. */
  readonly record: Record | undefined;
  /** Where it is found. */
  readonly shelf: Shelf<Record, Compiled>;
  /** Of the plane when it was compiled. */
  generation: number;
  compiled: Compiled;
  /** In which tick it was last used. */
  tick: number;
}

/** What is kept of one plane, by id. Filled and emptied by its `Shelves` alone. */
export type Shelf<Record, Compiled> = Map<string, Entry<Record, Compiled>>;

export interface Shelves<Record, Compiled> {
  /** An entry that is kept, and the use of it noted. @param at ms, on a clock that does not go back */
  find(shelf: Shelf<Record, Compiled>, id: string, at: number): Entry<Record, Compiled> | undefined;
  /** In place of what was kept under the id; counted anew. */
  put(
    shelf: Shelf<Record, Compiled>,
    entry: Pick<Entry<Record, Compiled>, 'id' | 'record' | 'generation' | 'compiled'>,
  ): Entry<Record, Compiled>;
  remove(shelf: Shelf<Record, Compiled>, id: string): void;
  /** Takes everything of a plane away that is no more: it counts no longer. A large one goes in parts, over some turns. */
  abandon(shelf: Shelf<Record, Compiled>): void;
  /** Those that are there, without the ids that have no record. */
  readonly present: number;
  /** What those take, by the estimate. */
  readonly bytes: number;
  clear(): void;
}

/**
 * Uses of an entry within so many milliseconds count as one for which go first: to note each would touch as much of a
 * large cache again as to find the entry.
 */
const TICK_MS = 50;
/** Entries that are taken away in one turn: about a millisecond. */
const PART = 1_000;

/** @param absent how many ids without a record are remembered */
export function openShelves<Record, Compiled>(
  entries: number,
  absent: number,
  memory: Memory<Entry<Record, Compiled>>,
): Shelves<Record, Compiled> {
  type Kept = Entry<Record, Compiled>;
  const gone = (entry: Kept): void => {
    const { shelf, id } = entry;
    if (shelf.get(id) === entry) shelf.delete(id);
  };
  const presents = bounded<Kept, Kept>(entries, memory, gone);
  const absents = bounded<Kept, Kept>(absent, undefined, gone);
  const cacheOf = ({ record }: Kept): typeof presents =>
    record === undefined ? absents : presents;
  const remove = (shelf: Kept['shelf'], id: string): void => {
    const entry = shelf.get(id);
    if (entry === undefined) return;
    // Not left to the cache: what a change has passed must not be found, whatever else is wrong.
    shelf.delete(id);
    cacheOf(entry).delete(entry);
  };
  const abandon = (shelf: Kept['shelf'], left = shelf.keys()): void => {
    for (let n = 0; n < PART; n++) {
      const { value, done } = left.next();
      if (done === true) return;
      remove(shelf, value);
    }
    setImmediate(abandon, shelf, left);
  };
  return {
    find(shelf, id, at): Kept | undefined {
      const entry = shelf.get(id);
      const tick = Math.trunc(at / TICK_MS);
      if (entry !== undefined && entry.tick !== tick) {
        entry.tick = tick;
        cacheOf(entry).get(entry);
      }
      return entry;
    },
    put(shelf, { id, record, generation, compiled }): Kept {
      remove(shelf, id);
      const entry: Kept = { id, record, shelf, generation, compiled, tick: 0 };
      cacheOf(entry).set(entry, entry);
      shelf.set(id, entry);
      return entry;
    },
    remove,
    abandon: (shelf) => abandon(shelf),
    get present(): number {
      return presents.size;
    },
    get bytes(): number {
      return presents.calculatedSize;
    },
    clear(): void {
      presents.clear();
      absents.clear();
    },
  };
}
