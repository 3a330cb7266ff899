/**
 * Who may give what on a path (ADM-2), and which grants fall when somebody loses it (ADM-3). A row stands as long as
 * its grantor could give it today; each action of a row stands or falls for itself.
 */
import { covers } from '../engine/path.ts';
import type { GrantRow, TreeAction } from '../engine/records.ts';
import type { Subject } from '../engine/model.ts';
import { parseGiven } from './links.ts';
import { grantsOf, groupsOf, nameOf, parseName, putGrants, userIn } from './principals.ts';
import type { World } from './world.ts';

/** Whether an action of a holder's row may be relied on: rows that may fall are looked at one by one. */
type Evidence = (holder: string, row: GrantRow, action: TreeAction) => boolean;

const EVERYTHING: Evidence = () => true;

/** By what a user may give an action at a path; `undefined`: by nothing. */
export type Right = 'superuser' | 'owner' | 'admin' | 'grant_option';

/** ADM-2, whole. @param relied which rows count */
export function rightToGive(
  world: World,
  id: string,
  path: string,
  action: TreeAction,
  relied: Evidence = EVERYTHING,
): Right | undefined {
  const user = userIn(world, id);
  if (user === undefined) return undefined;
  if (user.superuser) return 'superuser';
  if (user.owns.some((owned) => covers(owned, path))) return 'owner';
  const holders: (readonly [name: string, rows: readonly GrantRow[]])[] = [
    [nameOf({ type: 'user', id }), user.grants],
  ];
  // The option counts only where it was given to the user itself.
  const own = holders[0];
  const { roles, workspaces } = groupsOf(world, user);
  for (const role of roles.values()) holders.push([`role:${role.id}`, role.grants]);
  for (const one of workspaces.values()) holders.push([`workspace:${one.id}`, one.grants]);
  const holds = (wanted: TreeAction): boolean =>
    holders.some(([name, rows]) =>
      rows.some(
        (row) =>
          row.actions.includes(wanted) && covers(row.path, path) && relied(name, row, wanted),
      ),
    );
  if (holds('admin') && holds(action)) return 'admin';
  const optional = own?.[1].some(
    (row) =>
      row.grantOption &&
      row.actions.includes(action) &&
      covers(row.path, path) &&
      relied(own[0], row, action),
  );
  return optional === true ? 'grant_option' : undefined;
}

/** Whether a user manages grants and ownership at a path: owner, or holder of `admin` (TREE-4). */
export function managesPath(world: World, id: string, path: string): boolean {
  return (
    rightToGive(world, id, path, 'admin') !== undefined &&
    rightToGive(world, id, path, 'admin') !== 'grant_option'
  );
}

/** A row that was revoked, or the actions that it lost. */
export interface RevokedRow {
  readonly holder: string;
  readonly row: GrantRow;
}

/** Somebody who may have lost authority at a path and below. */
export interface Loss {
  /** A user loses for itself, a group for all its members. */
  readonly of: Subject;
  readonly path: string;
}

/** A row under suspicion, with those of its actions that are known to stand. */
interface Suspect {
  readonly holder: Subject;
  readonly name: string;
  readonly row: GrantRow;
  readonly standing: Set<TreeAction>;
}

/**
 * Takes away every row, or action of a row, that nobody may give any more after some losses. What remains is the
 * least that stands on firm ground: rows that only justify each other in a circle fall.
 */
export function cascade(world: World, losses: readonly Loss[]): RevokedRow[] {
  const suspects = suspectsOf(world, losses);
  findStanding(world, suspects);
  const revoked: RevokedRow[] = [];
  for (const { holder, name, row, standing } of suspects) {
    const lost = row.actions.filter((action) => !standing.has(action));
    if (lost.length === 0) continue;
    revoked.push({ holder: name, row: { ...row, actions: lost } });
    const kept = row.actions.filter((action) => standing.has(action));
    const rows = grantsOf(world, holder).filter((other) => !sameRow(other, row));
    putGrants(world, holder, kept.length === 0 ? rows : [...rows, { ...row, actions: kept }]);
  }
  return revoked;
}

/** The least set of actions that stand on firm ground, whatever the suspects say of each other. */
function findStanding(world: World, suspects: readonly Suspect[]): void {
  const named = new Map(suspects.map((suspect) => [keyOf(suspect.name, suspect.row), suspect]));
  const relied: Evidence = (holder, row, action) => {
    const suspect = named.get(keyOf(holder, row));
    return suspect === undefined || suspect.standing.has(action);
  };
  for (let grew = true; grew;) {
    grew = false;
    for (const { row, standing } of suspects)
      for (const action of row.actions) {
        if (standing.has(action)) continue;
        const { type, id } = parseName(row.grantor);
        if (type !== 'user') continue;
        if (rightToGive(world, id, row.path, action, relied) === undefined) continue;
        standing.add(action);
        grew = true;
      }
  }
}

/** Rows of a whole state that name a grantor who could not give them, with the actions that they should not have. */
export function unjustified(world: World): RevokedRow[] {
  const suspects = (['user', 'role', 'workspace'] as const).flatMap((type) =>
    world.all(type).flatMap(({ id, grants }) =>
      grants
        .filter(({ grantor }) => grantor !== '')
        .map((row): Suspect => {
          const holder: Subject = { type, id };
          return { holder, name: nameOf(holder), row, standing: new Set() };
        }),
    ),
  );
  findStanding(world, suspects);
  return suspects.flatMap(({ name, row, standing }) => {
    const lost = row.actions.filter((action) => !standing.has(action));
    return lost.length === 0 ? [] : [{ holder: name, row: { ...row, actions: lost } }];
  });
}

/** All rows that may depend on what was lost, one step after the other. */
function suspectsOf(world: World, losses: readonly Loss[]): Suspect[] {
  const found = new Map<string, Suspect>();
  // Step by step, so that each step's facts come at once.
  for (let step = [...losses]; step.length > 0;) {
    world.prefetch(
      step.flatMap(({ of }) =>
        of.type === 'user' ? [{ kind: 'refs' as const, id: `user:${of.id}` }] : [],
      ),
    );
    const next: Loss[] = [];
    for (const loss of step)
      for (const giver of giversOf(world, loss.of))
        for (const [name, path] of givenBelow(world, giver, loss.path)) {
          const holder = parseName(name);
          const row = grantsOf(world, holder).find(
            (one) => one.path === path && one.grantor === giver,
          );
          if (row === undefined || found.has(keyOf(name, row))) continue;
          found.set(keyOf(name, row), { holder, name, row, standing: new Set() });
          next.push({ of: holder, path });
        }
    step = next;
  }
  return [...found.values()];
}

/** What a principal has given at a path and below: holders and paths. */
export function givenBelow(
  world: World,
  giver: string,
  path: string,
): readonly (readonly [holder: string, path: string])[] {
  const given = (world.get('refs', giver)?.given ?? [])
    .map(parseGiven)
    .filter(([, at]) => covers(path, at));
  world.prefetch(
    given.map(([holder]) => {
      const { type, id } = parseName(holder);
      return { kind: type, id };
    }),
  );
  return given;
}

/** The users who may have given something by what a principal holds. */
function giversOf(world: World, { type, id }: Subject): string[] {
  if (type === 'user') return [`user:${id}`];
  const givers = world
    .all('refs')
    .filter(({ id: giver, given }) => given.length > 0 && giver.startsWith('user:'));
  world.prefetch(givers.map(({ id: giver }) => ({ kind: 'user', id: parseName(giver).id })));
  return givers
    .filter(({ id: giver }) => {
      const user = userIn(world, parseName(giver).id);
      if (user === undefined) return false;
      const groups = groupsOf(world, user);
      return (type === 'role' ? groups.roles : groups.workspaces).has(id);
    })
    .map(({ id: giver }) => giver);
}

export function sameRow(one: GrantRow, other: GrantRow): boolean {
  return one.path === other.path && one.grantor === other.grantor;
}

function keyOf(holder: string, { path, grantor }: GrantRow): string {
  return JSON.stringify([holder, path, grantor]);
}
