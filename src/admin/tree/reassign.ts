/** What somebody has given becomes another's, who takes its place (TREE-2, ADM-8). */
import type { GrantRow } from '../../engine/records.ts';
import { covers } from '../../engine/path.ts';
import type { FactKey } from '../../store/store.ts';
import { parseGiven } from '../links.ts';
import { grantsOf, parseName, putGrantsInTurns } from '../principals.ts';
import type { Reading } from '../world.ts';
import { inTurns, needRights, needWrites, type Loss } from './cascade.ts';
import { Rights } from './rights.ts';
import { onlyActions, optionsOf, rowOf, withMore } from './rows.ts';

/** Ids of users, and the path at and below which one takes the place of the other. */
export interface Succession {
  readonly from: string;
  readonly to: string;
  readonly path: string;
}

/**
 * What a user has given at a path and below, and could not give any more, becomes another's who could. What depends on
 * it stands on. What the other could not give either is left for the cascade.
 * @returns what the other one has taken over, to be looked at: it may be all that it could give it by
 */
export async function reassign(world: Reading, { from, to, path }: Succession): Promise<Loss[]> {
  const giver = `user:${from}`;
  const heir = `user:${to}`;
  await world.need([giver, heir].map((id): FactKey => ({ kind: 'refs', id })));
  await needRights(world, [giver, heir]);
  const refs = world.get('refs', giver);
  const given: (readonly [holder: string, at: string])[] = [];
  for (const item of refs?.given ?? []) {
    const one = parseGiven(item);
    if (covers(path, one[1])) given.push(one);
    await world.breathe();
  }
  const appointed = (refs?.appointed ?? []).filter((at) => covers(path, at));
  const holders = Map.groupBy(given, ([holder]) => holder);
  holders.delete(heir);
  await needWrites(world, [...holders.keys()].map(parseName));
  await world.need(appointed.map((id) => ({ kind: 'owner', id })));
  // As it was before anything is moved: what is moved gives nothing by itself.
  const rights = new Rights(world);
  const moved: [name: string, rows: readonly GrantRow[]][] = [];
  for (const [name, items] of holders) {
    const rows = await inTurns(
      world,
      movedRows(
        rights,
        grantsOf(world, parseName(name)),
        { from, to },
        items.map(([, at]) => at),
      ),
    );
    if (rows !== undefined) moved.push([name, rows]);
    await world.breathe();
  }
  const owners: string[] = [];
  for (const at of appointed) {
    const owner = world.get('owner', at)?.owner;
    const free = owner !== to && rights.mayAppoint(from, at) === undefined;
    if (free && rights.mayAppoint(to, at) !== undefined) owners.push(at);
    await world.breathe();
  }
  for (const [name, rows] of moved) {
    await putGrantsInTurns(world, parseName(name), rows);
    await world.breathe();
  }
  for (const at of owners) {
    const record = world.get('owner', at);
    if (record !== undefined) world.put('owner', at, { ...record, grantor: heir });
    await world.breathe();
  }
  return moved.length + owners.length > 0 ? [{ of: { type: 'user', id: to }, path }] : [];
}

/** A holder's rows with those actions moved that one can no longer give and the other can; `undefined`: none. */
function* movedRows(
  rights: Rights,
  rows: readonly GrantRow[],
  { from, to }: { readonly from: string; readonly to: string },
  paths: readonly string[],
): Generator<undefined, readonly GrantRow[] | undefined> {
  const at = new Set(paths);
  const key = ({ path, grantor }: GrantRow): string => `${path} ${grantor}`;
  const kept = new Map(rows.map((row) => [key(row), row]));
  let any = false;
  for (const row of rows) {
    if (row.grantor !== `user:${from}` || !at.has(row.path)) continue;
    yield;
    const actions = row.actions.filter(
      (action) =>
        rights.mayGive(from, row.path, action) === undefined &&
        rights.mayGive(to, row.path, action) !== undefined,
    );
    if (actions.length === 0) continue;
    any = true;
    const rest = onlyActions(
      row,
      row.actions.filter((action) => !actions.includes(action)),
    );
    if (rest === undefined) kept.delete(key(row));
    else kept.set(key(row), rest);
    const place = { path: row.path, grantor: `user:${to}` };
    const own = kept.get(`${place.path} ${place.grantor}`) ?? rowOf(place, [], []);
    const options = optionsOf(row).filter((action) => actions.includes(action));
    kept.set(key(own), withMore(own, actions, options));
  }
  return any ? [...kept.values()] : undefined;
}
