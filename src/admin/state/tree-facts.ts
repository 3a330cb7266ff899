/** Grant rows and owners of a state file (TREE-2, TREE-3). */
import type { StateFile } from '../../config/state.ts';
import { actionOfVerb, type TreeVerb } from '../../engine/action.ts';
import type { TreeAction } from '../../engine/model.ts';
import type { GrantRow, OwnerRecord } from '../../engine/records.ts';
import { inOrder, inRowOrder, rowOf } from '../tree/rows.ts';
import type { Directory } from './directory.ts';
import { eachEntry, type Find } from './tenant-facts.ts';

/** Tree actions as records have them. */
function treeActions(verbs: readonly TreeVerb[]): readonly TreeAction[] {
  return inOrder(verbs.map(actionOfVerb));
}

/** @returns the rows of each principal, by its name (`user:alice`), in the order of records */
export function grantRowsOf(
  state: StateFile,
  directory: Directory,
  find: Find,
): ReadonlyMap<string, readonly GrantRow[]> {
  const rows = new Map<string, GrantRow[]>();
  /** The index of the entry of each row. */
  const entries = new Map<string, number>();
  eachEntry(state, 'grants', ({ principal, path: at, actions, grantor, grant_option }, path) => {
    const types = ['user', 'role', 'workspace'] as const;
    const holder = directory.resolve(principal, [...path, 'principal'], types);
    const giver =
      grantor === undefined ? undefined : directory.resolve(grantor, [...path, 'grantor'], types);
    if (holder === undefined || (grantor !== undefined && giver === undefined)) return;
    const name = `${holder.type}:${holder.id}`;
    const from = giver === undefined ? '' : `${giver.type}:${giver.id}`;
    const row = JSON.stringify([name, at, from]);
    const first = entries.get(row);
    if (first !== undefined)
      find(
        path,
        `\`${principal}\` on '${at}' is granted by the same grantor in grants[${first}]: merge the two rows (TREE-3)`,
      );
    entries.set(row, Number(path[1]));
    const held = treeActions(actions);
    const options = Array.isArray(grant_option) ? treeActions(grant_option) : [];
    const beyond = options.filter((action) => !held.includes(action));
    if (beyond.length > 0)
      find(
        [...path, 'grant_option'],
        `has ${beyond.join(', ')}, which \`actions\` has not: add it there, or leave it out here (TREE-3)`,
      );
    const given = rows.get(name) ?? [];
    rows.set(name, given);
    given.push(rowOf({ path: at, grantor: from }, held, grant_option === true ? held : options));
  });
  return new Map([...rows].map(([name, given]) => [name, given.toSorted(inRowOrder)]));
}

/** Owners by path, and the paths of each user that owns some. */
export interface Owners {
  readonly records: ReadonlyMap<string, OwnerRecord>;
  readonly owns: ReadonlyMap<string, readonly string[]>;
}

export function ownersOf(state: StateFile, directory: Directory, find: Find): Owners {
  const records = new Map<string, OwnerRecord>();
  const owns = new Map<string, string[]>();
  eachEntry(state, 'owners', ({ path: at, owner, grantor }, path) => {
    const user = directory.resolve(owner, [...path, 'owner'], ['user']);
    const giver =
      grantor === undefined
        ? undefined
        : directory.resolve(grantor, [...path, 'grantor'], ['user']);
    if (user === undefined || (grantor !== undefined && giver === undefined)) return;
    const other = records.get(at);
    if (other !== undefined)
      find(
        path,
        `'${at}' is owned by \`${other.owner}\` already: a path has at most one owner (TREE-2)`,
      );
    records.set(at, {
      path: at,
      owner: user.id,
      ...(giver === undefined ? {} : { grantor: `user:${giver.id}` }),
    });
    const owned = owns.get(user.id) ?? [];
    owned.push(at);
    owns.set(user.id, owned);
  });
  return { records, owns: new Map([...owns].map(([id, paths]) => [id, paths.toSorted()])) };
}
