/** `resource:verb` permissions: validation, and compilation for look-up (RBAC-1). */

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

const SEGMENT = /^[A-Za-z0-9_.-]+$/;

/** The problem of a written permission, or `undefined` if it is valid (RBAC-1). */
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
