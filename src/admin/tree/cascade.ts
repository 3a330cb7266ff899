/**
 * What falls with what was taken away (ADM-3). A grant or ownership stands as long as its grantor could give it today;
 * each action of a row stands or falls for itself, and what only justifies itself in a circle falls.
 */
import type { GrantRow, RefsRecord } from '../../engine/records.ts';
import type { Subject } from '../../engine/model.ts';
import type { FactKey } from '../../store/store.ts';
import { parseGiven } from '../links.ts';
import { grantsOf, groupsOf, nameOf, parseName, putGrantsInTurns, userIn } from '../principals.ts';
import type { Reading } from '../world.ts';
import { upwards } from './rights.ts';
import { onlyActions, optionsOf, rowOf } from './rows.ts';
import {
  Below,
  findStanding,
  lostActions,
  type OwnerSuspect,
  type RowSuspect,
  type Suspects,
} from './standing.ts';

/** Somebody who may have lost authority at a path and below. */
export interface Loss {
  /** A user loses for itself, a group for all its members. */
  readonly of: Subject;
  readonly path: string;
}

/** A row that was revoked, or the actions that it lost. */
export interface RevokedRow {
  readonly holder: string;
  readonly row: GrantRow;
}

export interface RevokedOwner {
  readonly path: string;
  readonly owner: string;
  readonly grantor: string;
}

/** What fell. */
export interface Fallen {
  readonly rows: readonly RevokedRow[];
  readonly owners: readonly RevokedOwner[];
}

/** Takes away every row, action of a row and ownership that nobody may give any more after some losses. */
export async function cascade(world: Reading, losses: readonly Loss[]): Promise<Fallen> {
  const suspects = await new Search(world).from(losses);
  if (suspects.rows.length + suspects.owners.length === 0) return { rows: [], owners: [] };
  await needRights(world, giversOf(suspects));
  await inTurns(world, findStanding(world, suspects));
  return takeAway(world, suspects);
}

/** Takes all steps of some work, with turns for others between. */
export async function inTurns<T>(world: Reading, work: Generator<undefined, T>): Promise<T> {
  for (;;) {
    const { done, value } = work.next();
    if (done === true) return value;
    await world.breathe();
  }
}

function giversOf({ rows, owners }: Suspects): ReadonlySet<string> {
  return new Set([...rows.map(({ row }) => row.grantor), ...owners.map(({ grantor }) => grantor)]);
}

const userKey = (name: string): FactKey => ({ kind: 'user', id: parseName(name).id });
const refsKey = (name: string): FactKey => ({ kind: 'refs', id: name });
const recordKey = ({ type, id }: Subject): FactKey => ({ kind: type, id });

/** Reads all that tells what some users may give: themselves and their groups. @param givers as `user:alice` */
export async function needRights(world: Reading, givers: Iterable<string>): Promise<void> {
  const names = [...givers];
  await world.need(names.map(userKey));
  const users = names.flatMap((name) => userIn(world, parseName(name).id) ?? []);
  const roles = new Set(users.flatMap((user) => user.roles));
  await world.need([...roles].map((id) => ({ kind: 'role', id })));
  const beyond = new Set<string>();
  const workspaces = new Set(users.flatMap((user) => user.workspaces));
  for (const id of roles) {
    const closure = world.get('role', id)?.closure;
    for (const above of closure?.roles ?? []) beyond.add(above);
    for (const one of closure?.workspaces ?? []) workspaces.add(one);
    await world.breathe();
  }
  await world.need([
    ...[...beyond].map((id) => ({ kind: 'role' as const, id })),
    ...[...workspaces].map((id) => ({ kind: 'workspace' as const, id })),
  ]);
}

/** What one user has given, by path. */
interface Given {
  readonly rows: Below<readonly [holder: string, path: string]>;
  readonly appointed: Below<string>;
}

/** Finds all that may depend on what was lost, one step after the other, with all facts of a step read at once. */
class Search {
  readonly #world: Reading;
  readonly #given = new Map<string, Given>();
  readonly #rowsOf = new Map<string, ReadonlyMap<string, GrantRow>>();
  readonly #rows = new Map<GrantRow, RowSuspect>();
  readonly #owners = new Map<string, OwnerSuspect>();
  /** Paths at which a principal's losses were followed already. */
  readonly #followed = new Map<string, Set<string>>();
  #members: ReadonlyMap<string, readonly string[]> | undefined;

  constructor(world: Reading) {
    this.#world = world;
  }

  async from(losses: readonly Loss[]): Promise<Suspects> {
    let step = losses.filter((loss) => this.#follow(nameOf(loss.of), loss.path));
    while (step.length > 0) step = await this.#next(step);
    return { rows: [...this.#rows.values()], owners: [...this.#owners.values()] };
  }

  /** Whether a loss is new: one above it says all of it. */
  #follow(name: string, path: string): boolean {
    const followed = this.#followed.get(name) ?? new Set<string>();
    this.#followed.set(name, followed);
    if (upwards(path).some((at) => followed.has(at))) return false;
    followed.add(path);
    return true;
  }

  async #next(step: readonly Loss[]): Promise<Loss[]> {
    const world = this.#world;
    if (step.some(({ of }) => of.type !== 'user')) await this.#findMembers();
    const losers: (readonly [giver: string, path: string])[] = [];
    for (const { of, path } of step) {
      const givers = of.type === 'user' ? [nameOf(of)] : (this.#members?.get(nameOf(of)) ?? []);
      for (const giver of givers)
        // A group's loss was followed for the group; each member may have lost it before.
        if (of.type === 'user' || this.#follow(giver, path)) losers.push([giver, path]);
      await world.breathe();
    }
    await world.need(losers.map(([giver]) => refsKey(giver)));
    const given: (readonly [giver: string, holder: string, path: string])[] = [];
    const appointed: string[] = [];
    for (const [giver, path] of losers) {
      const theirs = await this.#givenBy(giver);
      for (const [holder, at] of theirs?.rows.at(path) ?? []) given.push([giver, holder, at]);
      for (const at of theirs?.appointed.at(path) ?? []) appointed.push(at);
      await world.breathe();
    }
    await world.need([
      ...given.map(([, holder]) => recordKey(parseName(holder))),
      ...appointed.map((id) => ({ kind: 'owner' as const, id })),
    ]);
    const next: Loss[] = [];
    for (const [giver, holder, path] of given) {
      if (this.#suspectRow(giver, holder, path) && this.#follow(holder, path))
        next.push({ of: parseName(holder), path });
      await world.breathe();
    }
    for (const path of appointed) {
      const owner = this.#suspectOwner(path);
      if (owner !== undefined && this.#follow(`user:${owner}`, path))
        next.push({ of: { type: 'user', id: owner }, path });
    }
    return next;
  }

  /** `undefined`: nothing. */
  async #givenBy(giver: string): Promise<Given | undefined> {
    const cached = this.#given.get(giver);
    if (cached !== undefined) return cached;
    const { given: rows = [], appointed = [] } = this.#world.get('refs', giver) ?? {};
    if (rows.length + appointed.length === 0) return undefined;
    const given: Given = {
      rows: await inTurns(
        this.#world,
        Below.of(rows, (item) => {
          const one = parseGiven(item);
          return [one[1], one];
        }),
      ),
      appointed: await inTurns(
        this.#world,
        Below.of(appointed, (path) => [path, path]),
      ),
    };
    this.#given.set(giver, given);
    return given;
  }

  /** Whether the row is there, and was not suspected before. */
  #suspectRow(giver: string, name: string, path: string): boolean {
    const holder = parseName(name);
    let rows = this.#rowsOf.get(name);
    if (rows === undefined) {
      rows = new Map(grantsOf(this.#world, holder).map((row) => [rowKey(row), row]));
      this.#rowsOf.set(name, rows);
    }
    const row = rows.get(rowKey({ path, grantor: giver }));
    if (row === undefined || this.#rows.has(row)) return false;
    this.#rows.set(row, { holder, row, standing: new Set() });
    return true;
  }

  /** The owner of a path that was not suspected before. */
  #suspectOwner(path: string): string | undefined {
    const record = this.#world.get('owner', path);
    if (record?.grantor === undefined || this.#owners.has(path)) return undefined;
    const { owner, grantor } = record;
    this.#owners.set(path, { path, owner, grantor, standing: false });
    return owner;
  }

  /** Of each group, the members who have given anything. */
  async #findMembers(): Promise<void> {
    if (this.#members !== undefined) return;
    const world = this.#world;
    await world.needAll('refs');
    const givers = world.all('refs', hasGiven).map(({ id }) => id);
    await needRights(world, givers);
    const members = new Map<string, string[]>();
    for (const giver of givers) {
      const user = userIn(world, parseName(giver).id);
      const groups = user === undefined ? undefined : groupsOf(world, user);
      for (const name of [
        ...[...(groups?.roles.keys() ?? [])].map((id) => `role:${id}`),
        ...[...(groups?.workspaces.keys() ?? [])].map((id) => `workspace:${id}`),
      ]) {
        const those = members.get(name);
        if (those === undefined) members.set(name, [giver]);
        else those.push(giver);
      }
      await world.breathe();
    }
    this.#members = members;
  }
}

/** Whether a user has given anything to anybody. */
function hasGiven({ id, given, appointed = [] }: RefsRecord): boolean {
  return given.length + appointed.length > 0 && id.startsWith('user:');
}

function rowKey({ path, grantor }: Pick<GrantRow, 'path' | 'grantor'>): string {
  return `${path} ${grantor}`;
}

/** Writes what does not stand: each record once. */
async function takeAway(world: Reading, { rows, owners }: Suspects): Promise<Fallen> {
  const fallen = owners.filter(({ standing }) => !standing);
  const lost = new Map<string, RowSuspect[]>();
  for (const suspect of rows) {
    if (lostActions(suspect).length === 0) continue;
    const name = nameOf(suspect.holder);
    const those = lost.get(name);
    if (those === undefined) lost.set(name, [suspect]);
    else those.push(suspect);
    await world.breathe();
  }
  const owned = Map.groupBy(fallen, ({ owner }) => owner);
  await needWrites(world, [
    ...[...lost.keys()].map(parseName),
    ...[...owned.keys()].map((id): Subject => ({ type: 'user', id })),
  ]);
  const revoked: RevokedRow[] = [];
  for (const [name, suspects] of lost) {
    const kept = new Map<string, GrantRow | undefined>();
    for (const suspect of suspects) {
      const { row, standing } = suspect;
      kept.set(rowKey(row), onlyActions(row, [...standing]));
      revoked.push({ holder: name, row: rowOf(row, lostActions(suspect), optionsOf(row)) });
      await world.breathe();
    }
    const holder = parseName(name);
    const rest = grantsOf(world, holder).flatMap((row) =>
      kept.has(rowKey(row)) ? (kept.get(rowKey(row)) ?? []) : [row],
    );
    await world.breathe();
    await putGrantsInTurns(world, holder, rest);
    await world.breathe();
  }
  for (const [id, theirs] of owned) {
    const paths = new Set(theirs.map(({ path }) => path));
    const user = world.get('user', id);
    if (user !== undefined)
      world.put('user', id, { ...user, owns: user.owns.filter((path) => !paths.has(path)) });
    for (const path of paths) {
      world.put('owner', path, undefined);
      await world.breathe();
    }
  }
  return {
    rows: revoked,
    owners: fallen.map(({ path, owner, grantor }) => ({ path, owner, grantor })),
  };
}

/** Reads what records of some principals are written with: a user's links ask what its roles are. */
export async function needWrites(world: Reading, holders: readonly Subject[]): Promise<void> {
  await world.need(holders.map(recordKey));
  const roles = holders.flatMap(({ type, id }) =>
    type === 'user' ? (world.get('user', id)?.roles ?? []) : [],
  );
  await world.need([...new Set(roles)].map((id) => ({ kind: 'role', id })));
}
