/** Who manages, and with what authority (ADM-1, ADM-4, ADM-5): nothing here looks at what is to be done. */
import { actionLayer } from '../engine/abac.ts';
import { resolveAction, type Catalog } from '../engine/action.ts';
import { compilePermissions, type Permissions } from '../engine/permissions.ts';
import type { RoleRecord, UserRecord } from '../engine/records.ts';
import { usableKey } from '../engine/resolve-key.ts';
import { groupsOf, nameOf, userIn, type Groups } from './principals.ts';
import { denied, Refused } from './refused.ts';
import type { World } from './world.ts';

/** Who a credential says it is; what this one may do is in the facts. */
export interface Actor {
  /** `undefined`: the operator, who holds the admin token or the store itself. */
  readonly user: string | undefined;
  /** The API key that acts for the user. */
  readonly keyId: string | undefined;
  /** For the log: how the actor was known, for example `admin token` or `session s1`. */
  readonly via: string;
}

export interface Authority {
  /** `user:alice` or `operator`. */
  readonly name: string;
  /** As grants record it: `''` is the operator. */
  readonly grantor: string;
  /** Operator or superuser: everything but the rules that bind everybody. */
  readonly all: boolean;
  readonly operator: boolean;
  readonly user: UserRecord | undefined;
  readonly viaKey: boolean;
  readonly groups: Groups;
  readonly permissions: Permissions;
  /** Highest level among its roles; -1 without roles (RBAC-3). */
  readonly level: number;
}

/** Whether an actor is the operator. */
export function isOperator({ user, keyId }: Actor): boolean {
  return user === undefined && keyId === undefined;
}

export const OPERATOR: Actor = { user: undefined, keyId: undefined, via: 'operator' };

/**
 * What the actor is in the tenant.
 * @param action that an API key must be permitted by its policies, for example `postern:admin`
 * @throws Refused UNAUTHENTICATED where there is no such active user, PERMISSION_DENIED where the key is not permitted
 */
export function authorityOf(
  world: World,
  actor: Actor,
  catalog: Catalog,
  action: string,
): Authority {
  if (actor.user === undefined && actor.keyId === undefined)
    return {
      name: 'operator',
      grantor: '',
      all: true,
      operator: true,
      user: undefined,
      viaKey: false,
      groups: { roles: new Map(), workspaces: new Map() },
      permissions: compilePermissions(['*:*']),
      level: 101,
    };
  const user = actor.user === undefined ? undefined : userIn(world, actor.user);
  if (user === undefined || user.suspended)
    throw new Refused(
      'unauthenticated',
      `\`user:${actor.user ?? ''}\` is no active user of \`${world.tenant}\``,
    );
  if (actor.keyId !== undefined) keyPermits(world, actor.keyId, user.id, catalog, action);
  const groups = groupsOf(world, user);
  const name = nameOf({ type: 'user', id: user.id });
  return {
    name,
    grantor: name,
    all: user.superuser,
    operator: false,
    user,
    viaKey: actor.keyId !== undefined,
    groups,
    permissions: compilePermissions(
      [...groups.roles.values()].flatMap(({ permissions }) => permissions),
    ),
    level: highest(groups.roles.values()),
  };
}

/**
 * A key never does more than its policies permit, whoever's it is (COMB-4). What it is stands in the same facts: it may
 * have been revoked since its secret was looked at.
 */
function keyPermits(
  world: World,
  keyId: string,
  user: string,
  catalog: Catalog,
  name: string,
): void {
  const record = world.get('key', keyId);
  const key = usableKey(record, (set) => world.get('policy_set', set));
  if (key === undefined || record?.user !== user)
    throw denied(
      'ADM-1',
      `\`${keyId}\` is no key of \`user:${user}\``,
      'its user with another credential',
    );
  const action = resolveAction(catalog, name, '');
  if (action !== undefined && key !== 'lost_set') {
    const { actionRule } = actionLayer(key.enforced, action);
    if (actionRule.effect === 'allow' && actionRule.constraints.length === 0) return;
  }
  throw denied(
    'ADM-1',
    `key \`${keyId}\` is not permitted \`${name}\` by its policies`,
    'its user with another credential',
  );
}

export function highest(roles: Iterable<RoleRecord>): number {
  let level = -1;
  for (const role of roles) level = Math.max(level, role.level);
  return level;
}

/** Whether what is held covers a permission, wildcards included: `kb:*` covers `kb:read`, `kb:read` not `kb:*`. */
export function covers(held: Permissions, permission: string): boolean {
  const colon = permission.indexOf(':');
  const resource = permission.slice(0, colon);
  const verb = permission.slice(colon + 1);
  const has = (verbs: ReadonlySet<string> | undefined): boolean =>
    verbs !== undefined && (verbs.has('*') || verbs.has(verb));
  return has(held.get('*')) || (resource !== '*' && has(held.get(resource)));
}

/** A tenant administrator: superuser, operator, or holder of `postern:admin` (ADM-1). */
export function isAdministrator({ all, permissions }: Authority): boolean {
  return all || covers(permissions, 'postern:admin');
}

/** May see all facts of the tenant. */
export function mayReadAll(authority: Authority): boolean {
  return (
    isAdministrator(authority) ||
    covers(authority.permissions, 'postern:read') ||
    authority.user?.createrole === true
  );
}

/** @throws Refused where the actor is no administrator, or acts by an API key (ADM-1) */
export function requireAdministrator(authority: Authority, what: string): void {
  if (authority.viaKey)
    throw denied(
      'ADM-1',
      `an API key may not ${what}`,
      'a superuser or a holder of postern:admin with another credential',
    );
  if (!isAdministrator(authority))
    throw denied(
      'ADM-1',
      `\`${authority.name}\` may not ${what}`,
      'a superuser or a holder of postern:admin',
    );
}

/** @throws Refused where the actor is neither operator nor superuser */
export function requireAll(authority: Authority, rule: string, what: string): void {
  if (authority.viaKey)
    throw denied(rule, `an API key may not ${what}`, 'a superuser with another credential');
  if (!authority.all) throw denied(rule, `\`${authority.name}\` may not ${what}`, 'a superuser');
}

/** As the change log and the audit log name it. */
export function actorName({ user }: Actor): string {
  return user === undefined ? 'operator' : `user:${user}`;
}
