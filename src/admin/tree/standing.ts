/**
 * Which grants and ownerships stand (ADM-3): those whose grantor could give them today. What only justifies itself in a
 * circle does not. Work is in proportion to what is looked at: a fact that comes to stand calls up only those that may
 * stand by it.
 */
import { PRINCIPAL_TYPES, type Subject, type TreeAction } from '../../engine/model.ts';
import type { GrantRow } from '../../engine/records.ts';
import type { World } from '../world.ts';
import { sortedInSteps } from '../../util/sorted.ts';
import { Rights, type Relied } from './rights.ts';

/** A row that may fall, with those of its actions that are known to stand. */
export interface RowSuspect {
  readonly holder: Subject;
  readonly row: GrantRow;
  readonly standing: Set<TreeAction>;
}

/** An ownership that may fall. */
export interface OwnerSuspect {
  readonly path: string;
  readonly owner: string;
  /** As rows have it: `user:alice`. */
  readonly grantor: string;
  standing: boolean;
}

export interface Suspects {
  readonly rows: readonly RowSuspect[];
  readonly owners: readonly OwnerSuspect[];
}

/** Sorts paths so that what is below a path follows it directly. */
function pathKey(path: string): string {
  // Below every character of a label.
  return path === '' ? '' : `${path.replaceAll('.', '\u0001')}\u0001`;
}

/** Items that are read in one step. */
const STEP = 256;

/** Things with a path, in the order of `pathKey`, so that those at a path and below are found at once. */
export class Below<T> {
  readonly #keys: readonly string[];
  readonly #items: readonly T[];

  private constructor(sorted: readonly (readonly [key: string, item: T])[]) {
    this.#keys = sorted.map(([key]) => key);
    this.#items = sorted.map(([, item]) => item);
  }

  /** In steps: one user may have given very much. */
  static *of<I, T>(
    items: readonly I[],
    read: (item: I) => readonly [path: string, item: T],
  ): Generator<undefined, Below<T>> {
    const keyed: (readonly [key: string, item: T])[] = [];
    for (const one of items) {
      const [path, item] = read(one);
      keyed.push([pathKey(path), item]);
      if (keyed.length % STEP === 0) yield;
    }
    const sorted = yield* sortedInSteps(keyed, ([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    return new Below(sorted);
  }

  /** Those at the path and below it. */
  at(path: string): readonly T[] {
    if (path === '') return this.#items;
    const key = pathKey(path);
    return this.#items.slice(this.#first(key), this.#first(`${key.slice(0, -1)}\u0002`));
  }

  #first(key: string): number {
    let [low, high] = [0, this.#keys.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#keys[middle] ?? '') < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** What one user has given, of the suspects. */
interface Given {
  readonly rows: Below<RowSuspect>;
  readonly owners: Below<OwnerSuspect>;
}

/**
 * Finds what stands, and notes it in the suspects; a step ends after each suspect, so that others can have their turn.
 */
export function* findStanding(world: World, suspects: Suspects): Generator<undefined> {
  const byRow = new Map(suspects.rows.map((suspect) => [suspect.row, suspect]));
  const byPath = new Map(suspects.owners.map((suspect) => [suspect.path, suspect]));
  const relied: Relied = {
    row: (row, action) => byRow.get(row)?.standing.has(action) ?? true,
    owner: (path) => byPath.get(path)?.standing ?? true,
  };
  const rights = new Rights(world, relied);
  const given = yield* givenBy(suspects);
  const members = new Map<string, string[]>();
  for (const giver of given.keys()) {
    for (const group of rights.groups(giver)) {
      const those = members.get(group);
      if (those === undefined) members.set(group, [giver]);
      else those.push(giver);
    }
    yield;
  }
  /** Users who may have gained something at a path and below. */
  const waiting = new Map<string, readonly [giver: string, path: string]>();
  const call = (holder: Subject, path: string): void => {
    const name = `${holder.type}:${holder.id}`;
    for (const giver of holder.type === 'user' ? [holder.id] : (members.get(name) ?? []))
      if (given.has(giver)) waiting.set(JSON.stringify([giver, path]), [giver, path]);
  };
  const lookAtRow = (suspect: RowSuspect): void => {
    const { row, standing, holder } = suspect;
    if (standing.size === row.actions.length) return;
    const before = standing.size;
    const giver = giverOf(row.grantor);
    for (const action of row.actions)
      if (giver !== undefined && !standing.has(action))
        if (rights.mayGive(giver, row.path, action) !== undefined) standing.add(action);
    if (standing.size > before) call(holder, row.path);
  };
  const lookAtOwner = (suspect: OwnerSuspect): void => {
    if (suspect.standing) return;
    const giver = giverOf(suspect.grantor);
    if (giver === undefined || rights.mayAppoint(giver, suspect.path) === undefined) return;
    suspect.standing = true;
    call({ type: 'user', id: suspect.owner }, suspect.path);
  };
  const look = function* (rows: readonly RowSuspect[], owners: readonly OwnerSuspect[]) {
    for (const suspect of owners) {
      lookAtOwner(suspect);
      yield;
    }
    for (const suspect of rows) {
      lookAtRow(suspect);
      yield;
    }
  };
  yield* look(suspects.rows, suspects.owners);
  // What is called up while this runs is looked at in its turn.
  for (const [key, [giver, path]] of waiting) {
    waiting.delete(key);
    const theirs = given.get(giver);
    if (theirs !== undefined) yield* look(theirs.rows.at(path), theirs.owners.at(path));
  }
}

/** The user who has given; `undefined`: the operator, a group, or somebody of a type that is not known here. */
function giverOf(grantor: string): string | undefined {
  return grantor.startsWith('user:') ? grantor.slice('user:'.length) : undefined;
}

function* givenBy({ rows, owners }: Suspects): Generator<undefined, ReadonlyMap<string, Given>> {
  const rowsOf = Map.groupBy(rows, ({ row }) => giverOf(row.grantor));
  yield;
  const ownersOf = Map.groupBy(owners, ({ grantor }) => giverOf(grantor));
  yield;
  const given = new Map<string, Given>();
  for (const giver of new Set([...rowsOf.keys(), ...ownersOf.keys()])) {
    if (giver !== undefined)
      given.set(giver, {
        rows: yield* Below.of(rowsOf.get(giver) ?? [], (suspect) => [suspect.row.path, suspect]),
        owners: yield* Below.of(ownersOf.get(giver) ?? [], (suspect) => [suspect.path, suspect]),
      });
    yield;
  }
  return given;
}

/** What of a suspect does not stand. */
export function lostActions({ row, standing }: RowSuspect): readonly TreeAction[] {
  return row.actions.filter((action) => !standing.has(action));
}

/** Rows and ownerships of a whole state that name a grantor who could not give them. */
export function unjustified(world: World): {
  readonly rows: readonly (readonly [suspect: RowSuspect, lost: readonly TreeAction[]])[];
  readonly owners: readonly OwnerSuspect[];
} {
  const rows = PRINCIPAL_TYPES.flatMap((type) =>
    world
      .all(type)
      .flatMap(({ id, grants }) =>
        grants
          .filter(({ grantor }) => grantor !== '')
          .map((row): RowSuspect => ({ holder: { type, id }, row, standing: new Set() })),
      ),
  );
  const owners = world
    .all('owner')
    .flatMap(({ path, owner, grantor }): OwnerSuspect[] =>
      grantor === undefined ? [] : [{ path, owner, grantor, standing: false }],
    );
  const steps = findStanding(world, { rows, owners });
  while (steps.next().done !== true);
  return {
    rows: rows.flatMap((suspect) => {
      const lost = lostActions(suspect);
      return lost.length === 0 ? [] : [[suspect, lost] as const];
    }),
    owners: owners.filter(({ standing }) => !standing),
  };
}
