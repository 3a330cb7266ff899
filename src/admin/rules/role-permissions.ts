/** Single permissions of a role, added and taken away without a look at the others (RBAC-1, ADM-5). */
import type { Context } from '../context.ts';
import { existingRole, setRole, viewOfRole } from './groups.ts';
import { permissionsOf } from '../input.ts';
import { invalid, notFound } from '../refused.ts';

export interface ChangePermissions {
  /** The role's id. */
  readonly id: string;
  readonly permissions: readonly string[];
}

/** Adds permissions to a role; a warning names those that it has already. @throws Refused */
export function grantPermission(context: Context, request: ChangePermissions): object {
  const { world, warnings } = context;
  const role = existingRole(world, request.id);
  const given = namedOf(request);
  const there = new Set(role.permissions);
  setRole(context, role, { permissions: [...new Set([...role.permissions, ...given])].sort() });
  for (const permission of given)
    if (there.has(permission))
      warnings.push(`role \`${role.id}\` carries ${permission} already: nothing changes by it`);
  return viewOfRole(world, role.id);
}

/** Takes permissions from a role, and tells those that are not there. @throws Refused NOT_FOUND: none is there */
export function revokePermission(context: Context, request: ChangePermissions): object {
  const { world, warnings } = context;
  const role = existingRole(world, request.id);
  const named = namedOf(request);
  const there = new Set(role.permissions);
  const kept = role.permissions.filter((permission) => !named.includes(permission));
  // Who may not change the role does not learn what it carries.
  setRole(context, role, { permissions: kept });
  const absent = named.filter((permission) => !there.has(permission));
  if (absent.length === named.length)
    throw notFound(
      `role \`${role.id}\` carries none of ${named.join(', ')}: look at what it carries by GetRole`,
    );
  for (const permission of absent)
    warnings.push(`role \`${role.id}\` does not carry ${permission}: nothing changes by it`);
  return viewOfRole(world, role.id);
}

function namedOf({ permissions }: ChangePermissions): readonly string[] {
  if (permissions.length === 0)
    throw invalid('permissions', 'is empty: give at least one, for example kb:read');
  return permissionsOf('permissions', permissions);
}
