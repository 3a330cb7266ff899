/** Membership closures, computed when facts are written and stored with each role (ADM-6). */

export interface Edges {
  readonly roles: readonly string[];
  readonly workspaces: readonly string[];
}

/** A cycle over role membership as the roles on it, first and last the same; `undefined`: there is none. */
export function findCycle(roles: ReadonlyMap<string, Edges>): readonly string[] | undefined {
  const done = new Set<string>();
  for (const start of roles.keys()) {
    // An explicit stack: a chain of roles may be longer than the call stack.
    const path: string[] = [];
    const onPath = new Set<string>();
    const stack: { readonly id: string; readonly leave: boolean }[] = [{ id: start, leave: false }];
    for (let step = stack.pop(); step !== undefined; step = stack.pop()) {
      const { id, leave } = step;
      if (leave) {
        path.pop();
        onPath.delete(id);
        done.add(id);
        continue;
      }
      if (onPath.has(id)) return [...path.slice(path.indexOf(id)), id];
      if (done.has(id)) continue;
      path.push(id);
      onPath.add(id);
      stack.push({ id, leave: true });
      for (const parent of roles.get(id)?.roles ?? []) stack.push({ id: parent, leave: false });
    }
  }
  return undefined;
}

/** Every group that a role reaches, itself not counted, sorted. The roles must be acyclic. */
export function closureOf(id: string, roles: ReadonlyMap<string, Edges>): Edges {
  const reached = new Set<string>();
  const workspaces = new Set<string>();
  const visit = (edges: Edges | undefined): void => {
    edges?.roles.forEach((role) => reached.add(role));
    edges?.workspaces.forEach((workspace) => workspaces.add(workspace));
  };
  visit(roles.get(id));
  for (const role of reached) visit(roles.get(role));
  return { roles: [...reached].sort(), workspaces: [...workspaces].sort() };
}

/** Groups that a role may reach: a longer closure would make each record that holds it, and each check of it, slow. */
export const MAX_CLOSURE = 1_000;
