/** Grant rows and owned paths, compiled for look-up by path (TREE-2, TREE-3). */
import { ALL_TREE_ACTIONS, TREE_BIT } from './action.ts';
import type { GrantRow } from './records.ts';

/** Rights on paths: what a principal, or a closure of groups, holds there and below. */
export interface Grants {
  /** path → bits of the tree actions. */
  readonly masks: ReadonlyMap<string, number>;
  /** The lengths that the paths have, ascending: no other prefix of a path need be looked up. */
  readonly lengths: readonly number[];
}

/** Adds up grant rows and owned paths (TREE-2, TREE-3). */
export function compileGrants(rows: Iterable<GrantRow>, owns: Iterable<string> = []): Grants {
  const masks = new Map<string, number>();
  for (const { path, actions } of rows)
    for (const action of actions)
      masks.set(path, (masks.get(path) ?? 0) | (TREE_BIT.get(action) ?? 0));
  for (const path of owns) masks.set(path, ALL_TREE_ACTIONS);
  const lengths = [...new Set([...masks.keys()].map((path) => path.length))];
  return { masks, lengths: lengths.sort((a, b) => a - b) };
}

export const NO_GRANTS: Grants = compileGrants([]);
