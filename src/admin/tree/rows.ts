/** Grant rows as values: actions, and those of them that were given with the option (TREE-3). */
import { TREE_ACTIONS, type TreeAction } from '../../engine/model.ts';
import type { GrantRow } from '../../engine/records.ts';

/** Each once, in the order of records. */
export function inOrder(actions: Iterable<TreeAction>): readonly TreeAction[] {
  const given = new Set(actions);
  return TREE_ACTIONS.filter((action) => given.has(action));
}

/** The actions of a row that may be granted on. A row of an earlier version has the option for all of them or none. */
export function optionsOf({ actions, grantOption, options }: GrantRow): readonly TreeAction[] {
  return grantOption ? actions : (options ?? []);
}

/** A row of some actions; options on other actions are left out. */
export function rowOf(
  { path, grantor }: Pick<GrantRow, 'path' | 'grantor'>,
  actions: Iterable<TreeAction>,
  options: Iterable<TreeAction>,
): GrantRow {
  const held = inOrder(actions);
  const optional = inOrder(options).filter((action) => held.includes(action));
  const all = optional.length === held.length && held.length > 0;
  return {
    path,
    actions: held,
    grantor,
    grantOption: all,
    ...(all || optional.length === 0 ? {} : { options: optional }),
  };
}

/** The row with more actions and options. */
export function withMore(
  row: GrantRow,
  actions: readonly TreeAction[],
  options: readonly TreeAction[],
): GrantRow {
  return rowOf(row, [...row.actions, ...actions], [...optionsOf(row), ...options]);
}

/** The row with some of its actions only, and their options; `undefined`: none is left. */
export function onlyActions(row: GrantRow, kept: readonly TreeAction[]): GrantRow | undefined {
  const rest = rowOf(
    row,
    row.actions.filter((action) => kept.includes(action)),
    optionsOf(row),
  );
  return rest.actions.length === 0 ? undefined : rest;
}

/** Whether two rows are one (TREE-3). */
export function sameRow(one: GrantRow, other: GrantRow): boolean {
  return one.path === other.path && one.grantor === other.grantor;
}

/**
 * As the JSON of path and grantor is ordered, for a sort: a quote is below every character of a path, so that a path
 * comes before those below it.
 */
export function inRowOrder(one: GrantRow, other: GrantRow): number {
  if (one.path !== other.path) return one.path < other.path ? -1 : 1;
  const [a, b] = [JSON.stringify(one.grantor), JSON.stringify(other.grantor)];
  return a < b ? -1 : a > b ? 1 : 0;
}
