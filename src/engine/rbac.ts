/** RBAC: `resource:verb` permissions of the roles in a closure (RBAC-1, RBAC-2), and their level (RBAC-3). */
import type { Action } from './action.ts';

/** resource (or `*`) → verbs (or `*`). */
export type Permissions = ReadonlyMap<string, ReadonlySet<string>>;

export function compilePermissions(permissions: Iterable<string>): Permissions {
  const byResource = new Map<string, Set<string>>();
  for (const permission of permissions) {
    const colon = permission.indexOf(':');
    const resource = permission.slice(0, colon);
    const verbs = byResource.get(resource) ?? new Set();
    byResource.set(resource, verbs.add(permission.slice(colon + 1)));
  }
  return byResource;
}

/** Whether the closure's highest level is the one that the action asks for, or above it (RBAC-3). */
export function reachesLevel(closure: { readonly level: number }, action: Action): boolean {
  return closure.level >= action.minLevel;
}

/** Whether one of the roles' permissions satisfies the action (RBAC-2). */
export function rbacAllows(permissions: Permissions, action: Action): boolean {
  if (action.verbs.length === 0) return false;
  return (
    holdsVerb(permissions.get(action.resource), action.verbs) ||
    holdsVerb(permissions.get('*'), action.verbs)
  );
}

function holdsVerb(held: ReadonlySet<string> | undefined, verbs: readonly string[]): boolean {
  if (held === undefined) return false;
  if (held.has('*')) return true;
  for (const verb of verbs) if (held.has(verb)) return true;
  return false;
}

const SEGMENT = /^[A-Za-z0-9_.-]+$/;

/** What is wrong with a permission as it is written, or `undefined` if nothing is (RBAC-1). */
export function permissionProblem(permission: string): string | undefined {
  const [resource, verb, ...rest] = permission.split(':');
  if (resource === undefined || verb === undefined || rest.length > 0)
    return 'is not `resource:verb`: give one `:`, for example `kb:read`';
  for (const segment of [resource, verb]) {
    if (segment === '*' || SEGMENT.test(segment)) continue;
    return segment.includes('*')
      ? 'has a `*` inside a segment: `*` stands for a whole segment only, as in `*:read` or `kb:*`'
      : 'has a segment with other characters than A-Z a-z 0-9 _ . -: rename it';
  }
  return undefined;
}
