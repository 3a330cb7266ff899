/**
 * The engine's floor: the same facts in plain Maps, looked up without an engine. No reasons, no modes, no
 * report-only answers, no validation: only the look-ups that nobody can do without.
 */
import type { Attributes, Request, Scalar } from '../src/engine/model.ts';
import type { TenantFacts } from '../src/admin/state/tenant-facts.ts';
import { ROLES, USER } from './world.ts';

export interface BareMaps {
  readonly user: string;
  readonly roles: readonly string[];
  readonly groups: ReadonlySet<string>;
  /** role → permissions */
  readonly permissions: ReadonlyMap<string, ReadonlySet<string>>;
  /** action → permission */
  readonly permissionOf: ReadonlyMap<string, string>;
  /** path → actions as bits */
  readonly grants: ReadonlyMap<string, number>;
  /** action → attribute → the value that it must have */
  readonly rules: ReadonlyMap<string, ReadonlyMap<string, Scalar>>;
}

const READ = 1;

export function bareMaps(records: TenantFacts): BareMaps {
  const grants = new Map<string, number>();
  const holders = [...ROLES.map((id) => records.role.get(id)), records.user.get(USER)];
  for (const holder of holders)
    for (const { path, actions } of holder?.grants ?? [])
      if (actions.includes('read')) grants.set(path, READ);
  const set = records.policy_set.get('reads');
  const rules = new Map<string, ReadonlyMap<string, Scalar>>();
  for (const { effect, actions, attributes } of set?.rules ?? [])
    if (effect === 'allow')
      for (const action of actions)
        rules.set(
          action,
          new Map((attributes ?? []).map(([key, values]) => [key, values[0] ?? ''])),
        );
  return {
    user: USER,
    roles: ROLES,
    groups: new Set(ROLES),
    permissions: new Map(ROLES.map((id) => [id, new Set(records.role.get(id)?.permissions ?? [])])),
    permissionOf: new Map([...rules.keys()].map((action) => [action, action.replace('.', ':')])),
    grants,
    rules,
  };
}

/** The permission, role by role until one carries it. */
export function lookRbac(maps: BareMaps, { action }: Request): boolean {
  const permission = maps.permissionOf.get(action);
  if (permission === undefined) return false;
  for (const role of maps.roles)
    if (maps.permissions.get(role)?.has(permission) === true) return true;
  return false;
}

/** The path, then its ancestors. */
export function lookTree(maps: BareMaps, { resource }: Request): boolean {
  let path = resource.path;
  while (path !== undefined) {
    if (((maps.grants.get(path) ?? 0) & READ) !== 0) return true;
    const dot = path.lastIndexOf('.');
    path = dot < 0 ? undefined : path.slice(0, dot);
  }
  return false;
}

/** The owner, and the three lists of the reading side. */
export function lookAcl({ user, groups }: BareMaps, { resource }: Request): boolean {
  const { attributes } = resource;
  return (
    attributes.get('user_id')?.includes(user) === true ||
    attributes.get('user_read_access')?.includes(user) === true ||
    names(attributes, 'workspace_read_access', groups) ||
    names(attributes, 'role_read_access', groups)
  );
}

function names(attributes: Attributes, list: string, groups: ReadonlySet<string>): boolean {
  const values = attributes.get(list);
  if (values !== undefined)
    for (const value of values) if (typeof value === 'string' && groups.has(value)) return true;
  return false;
}

/** The rule of the action, and the attributes that it asks for. */
export function lookRule({ rules }: BareMaps, { action, resource }: Request): boolean {
  const required = rules.get(action);
  if (required === undefined) return false;
  for (const [key, value] of required) {
    const values = resource.attributes.get(key);
    if (values === undefined || values.length !== 1 || values[0] !== value) return false;
  }
  return true;
}

export function lookRuleAndAcl(maps: BareMaps, request: Request): boolean {
  return lookRule(maps, request) && lookAcl(maps, request);
}

export function lookAll(maps: BareMaps, request: Request): boolean {
  return (
    lookRule(maps, request) &&
    lookRbac(maps, request) &&
    lookTree(maps, request) &&
    lookAcl(maps, request)
  );
}
