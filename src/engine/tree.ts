/** Tree grants and ownership: a right on a path holds there and below (TREE-1 to TREE-5). */
import { ALL_TREE_ACTIONS, TREE_BIT, type Action } from './action.ts';
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

/** Who may hold grants: a subject itself, and its groups for all their members. */
interface Holder {
  readonly own: Grants;
  readonly groups: { readonly grants: Grants };
}

/** Whether the subject or one of its groups holds the action at the path or at an ancestor (TREE-1). */
export function treeAllows(
  { own, groups }: Holder,
  action: Action,
  path: string | undefined,
): boolean {
  const bit = action.treeBit;
  if (path === undefined || bit === 0) return false;
  return holdsAbove(own, bit, path) || holdsAbove(groups.grants, bit, path);
}

function holdsAbove({ masks, lengths }: Grants, bit: number, path: string): boolean {
  for (const length of lengths) {
    if (length > path.length) return false;
    // Only at a label's border is a prefix an ancestor (PATH-2).
    const border = length === 0 || length === path.length || path.charCodeAt(length) === DOT;
    if (border && ((masks.get(path.slice(0, length)) ?? 0) & bit) !== 0) return true;
  }
  return false;
}

const DOT = 0x2e;
