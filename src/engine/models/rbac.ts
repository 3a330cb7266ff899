/** RBAC: the permissions of the roles in a closure (RBAC-1, RBAC-2), and their level (RBAC-3). */
import { permissionOf, type Action } from '../action.ts';
import { FactList, permissionRef } from '../explanation.ts';
import type { Permissions } from '../permissions.ts';
import type { ModelRules } from './rules.ts';

/** Whether the closure's highest level is at least the required one (RBAC-3). */
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

/** Whether a written permission satisfies the action (RBAC-1, RBAC-2). */
function permissionMatches(permission: string, action: Action): boolean {
  // An action without a permission has no verbs: not even `*:*` satisfies it (ACT-3).
  if (action.verbs.length === 0) return false;
  const [resource = '', verb = ''] = permission.split(':');
  return (
    (resource === '*' || resource === action.resource) &&
    (verb === '*' || action.verbs.includes(verb))
  );
}

export const rbac: ModelRules = {
  *facts({ subject, action }, _, chainTo, meter) {
    const facts = new FactList();
    for (const role of subject.groups.roles.values()) {
      if (meter.isStepDue(role.permissions.length + 1)) meter.isLate ||= yield;
      for (const permission of role.permissions) {
        if (!permissionMatches(permission, action) || !facts.takes('permission')) continue;
        const chain = yield* chainTo(`role:${role.id}`);
        facts.add({
          kind: 'permission',
          text: `role ${role.id} carries ${permission}`,
          ref: permissionRef(role.id, permission),
          chain,
        });
      }
    }
    return facts.all();
  },

  silence: ({ action }) =>
    action.verbs.length === 0
      ? `${action.name} has no permission`
      : `no role in the closure carries ${permissionOf(action)}`,

  // The object is not read.
  mayAllow: ({ subject, action }) => rbacAllows(subject.groups.permissions, action),

  candidates: () => [],

  missingOnRole: ({ action }, { id }) =>
    action.verbs.length === 0
      ? undefined
      : { kind: 'permission', text: `${permissionOf(action)} on role ${id}` },

  givenByGroup: (action) => (_type, _group, permissions) =>
    permissions.some((permission) => permissionMatches(permission, action)),
};
