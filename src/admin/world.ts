/**
 * A tenant's facts as a management rule sees them: a map that is read and written at once, as if all of it were in
 * memory. What is not here yet ends the attempt, is read from the store at the same revision, and the rule runs again:
 * so the rules stay plain functions over facts, without I/O.
 */
import type { Kind, Records, StateKind } from '../engine/records.ts';
import type { Change, FactKey, FactValue, Head } from '../store/store.ts';
import { isState } from './record-kinds.ts';

export interface World {
  readonly tenant: string;
  /** Of the facts that are read here; `undefined`: the tenant does not exist. */
  readonly head: Head | undefined;
  get<K extends Kind>(kind: K, id: string): Records[K] | undefined;
  /**
   * All records of a kind: for the few, such as roles.
   * @param which only those; who asks so relies on nothing of them but that it is so
   */
  all<K extends Kind>(kind: K, which?: (record: Records[K]) => boolean): readonly Records[K][];
  /** Tells what will be read, so that it comes in one round trip. */
  prefetch(keys: readonly FactKey[]): void;
  /** Writes a record with all that follows from it; `undefined` deletes it. */
  put<K extends Kind>(kind: K, id: string, value: Records[K] | undefined): void;
}

/** A record before and after, where they differ. */
export interface Difference {
  readonly kind: Kind;
  readonly id: string;
  readonly before: FactValue | undefined;
  readonly after: FactValue | undefined;
}

/** A world whose facts can also be waited for: by what is too much for a rule to ask for one by one. */
export interface Reading extends World {
  /** Reads what is not here yet, much at once. */
  need(keys: readonly FactKey[]): Promise<void>;
  needAll(kind: Kind): Promise<void>;
  /** Lets others have their turn where this has taken a while (ADM-11). */
  breathe(): Promise<void>;
  /** As `put`, for a record of which much follows. */
  putInTurns<K extends Kind>(kind: K, id: string, value: Records[K] | undefined): Promise<void>;
}

/** Facts that are all in memory, for rules that only look. */
export function factsWorld(
  tenant: string,
  facts: { readonly [K in StateKind]: ReadonlyMap<string, Records[K]> },
): World {
  const of = <K extends Kind>(kind: K): ReadonlyMap<string, Records[K]> | undefined =>
    // The maps are by kind; derived kinds have none here.
    isState(kind) ? facts[kind] : undefined;
  return {
    tenant,
    head: undefined,
    get: (kind, id) => of(kind)?.get(id),
    all: (kind, which = () => true) => [...(of(kind)?.values() ?? [])].filter(which),
    prefetch: () => {},
    put: () => {
      throw new Error('these facts are not to be changed');
    },
  };
}

/** The differences as a commit takes them. */
export function changesOf(differences: readonly Difference[]): Change[] {
  return differences.map(({ kind, id, after }) => ({ kind, id, value: after }));
}
