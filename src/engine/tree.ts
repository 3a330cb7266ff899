/** Tree grants and ownership: a right on a path holds there and below (TREE-1 to TREE-5). */
import { ALL_TREE_ACTIONS, TREE_BIT, type Action } from './action.ts';
import type { GrantRow } from './records.ts';

/** path → bits of the tree actions that are held there and below. */
export type Grants = ReadonlyMap<string, number>;

/** Adds up grant rows and owned paths (TREE-2, TREE-3). */
export function compileGrants(rows: Iterable<GrantRow>, owns: Iterable<string> = []): Grants {
  const masks = new Map<string, number>();
  for (const { path, actions } of rows)
    for (const action of actions)
      masks.set(path, (masks.get(path) ?? 0) | (TREE_BIT.get(action) ?? 0));
  for (const path of owns) masks.set(path, ALL_TREE_ACTIONS);
  return masks;
}

/** Whether one of the two maps holds the action's bit at the path or at an ancestor (TREE-1). */
export function treeAllows(
  own: Grants,
  shared: Grants,
  action: Action,
  path: string | undefined,
): boolean {
  const bit = action.treeBit;
  if (path === undefined || bit === 0 || own.size + shared.size === 0) return false;
  for (let at = path; ; at = parent(at)) {
    if ((((own.get(at) ?? 0) | (shared.get(at) ?? 0)) & bit) !== 0) return true;
    if (at === '') return false;
  }
}

function parent(path: string): string {
  const dot = path.lastIndexOf('.');
  return dot < 0 ? '' : path.slice(0, dot);
}
