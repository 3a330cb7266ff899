/** Every read of the AdminService, by the name of its call. Small ones are rules over facts, long ones scan the store. */
import { resolveAction, type Action, type Catalog } from '../../engine/action.ts';
import { covers } from '../../engine/path.ts';
import type { GrantRow } from '../../engine/records.ts';
import { mayReadAll, type Authority } from '../actor.ts';
import { capabilitiesOf } from '../rules/capabilities.ts';
import type { Context } from '../context.ts';
import { actionsOf, pathOf } from '../input.ts';
import { existingRole, existingWorkspace, viewOfRole, viewOfWorkspace } from '../rules/groups.ts';
import { existingKey } from '../rules/policies.ts';
import { KEPT_VERSIONS, versionId } from '../rules/policy-versions.ts';
import { existingUser, groupsOf, nameOf, principalOf, userIn } from '../principals.ts';
import { denied, invalid, notFound } from '../refused.ts';
import { grantView, keyView, ownerView, policySetView, userView } from './view.ts';
import { goodSessions, sessionUser } from '../rules/sessions.ts';
import { sessionView } from './view.ts';
import { Rights } from '../tree/rights.ts';
import type { World } from '../world.ts';

export type ReadContext = Pick<Context, 'world' | 'authority' | 'catalog' | 'now'>;

/** @throws Refused where the actor may not see all facts */
export function mustReadAll(authority: Authority, what: string): void {
  if (mayReadAll(authority)) return;
  throw denied(
    'ADM-1',
    `\`${authority.name}\` may not ${what}`,
    'a superuser, a user with createrole, or a holder of postern:read or postern:admin',
  );
}

function getTenant({ world }: ReadContext): object {
  return { info: tenantView(world) };
}

function tenantView(world: World): object {
  const record = world.get('tenant', '');
  return {
    name: world.tenant,
    revision: world.head?.revision ?? 0,
    migrations: (record?.migrations ?? []).map(({ name }) => name),
  };
}

function getUser({ world, authority }: ReadContext, { id }: { readonly id: string }): object {
  if (authority.user?.id !== id) mustReadAll(authority, 'look at other users');
  const stored = world.get('user', id);
  if (stored?.deleted === true) throw notFound(`user \`${id}\` is deleted`);
  if (stored === undefined && world.get('role', id) !== undefined)
    throw notFound(`\`${id}\` is a role, no user: look at it as a role`);
  return { user: userView(existingUser(world, 'id', `user:${id}`)) };
}

function getRole({ world, authority }: ReadContext, { id }: { readonly id: string }): object {
  if (!authority.groups.roles.has(id)) mustReadAll(authority, 'look at roles');
  existingRole(world, id);
  return viewOfRole(world, id);
}

function getWorkspace({ world, authority }: ReadContext, { id }: { readonly id: string }): object {
  if (!authority.groups.workspaces.has(id)) mustReadAll(authority, 'look at workspaces');
  existingWorkspace(world, id);
  return viewOfWorkspace(world, id);
}

interface CheckGrant {
  readonly principal: string;
  readonly path: string;
  readonly action: string;
}

/** TREE-1, TREE-2: what grants and ownership alone say; no inactive user holds anything. */
function checkGrant({ world, authority }: ReadContext, request: CheckGrant): object {
  const path = pathOf('path', request.path);
  const [action] = actionsOf('action', [request.action]);
  if (action === undefined) throw invalid('action', 'is empty');
  const subject = principalOf(world, 'principal', request.principal);
  const self = nameOf(subject) === authority.name;
  if (!self && !new Rights(world).manages(authority.user?.id ?? '', path))
    mustReadAll(authority, 'check the grants of others');
  const user = subject.type === 'user' ? userIn(world, subject.id) : undefined;
  if (user?.suspended === true) return { allowed: false, grants: [], owned: false, owned_path: '' };
  const direct =
    user ??
    (subject.type === 'role'
      ? { roles: [subject.id], workspaces: [] }
      : { roles: [], workspaces: [subject.id] });
  const { roles, workspaces } = groupsOf(world, direct);
  const holders: (readonly [string, readonly GrantRow[]])[] = [
    ...(user === undefined ? [] : [[nameOf(subject), user.grants] as const]),
    ...[...roles.values()].map((role) => [`role:${role.id}`, role.grants] as const),
    ...[...workspaces.values()].map((one) => [`workspace:${one.id}`, one.grants] as const),
  ];
  const grants = holders.flatMap(([name, rows]) =>
    rows
      .filter((row) => covers(row.path, path) && row.actions.includes(action))
      .map((row) => grantView(name, row)),
  );
  const owned = user?.owns.find((at) => covers(at, path));
  return {
    allowed: grants.length > 0 || owned !== undefined || user?.superuser === true,
    grants,
    owned: owned !== undefined,
    owned_path: owned ?? '',
  };
}

function getOwner({ world }: ReadContext, request: { readonly path: string }): object {
  const path = pathOf('path', request.path);
  const owner = world.get('owner', path);
  if (owner === undefined) throw notFound(`'${path}' has no owner`);
  return { owner: ownerView(owner) };
}

interface GetPolicySet {
  readonly name: string;
  readonly version: number;
}

function getPolicySet({ world, authority }: ReadContext, request: GetPolicySet): object {
  mustReadAll(authority, 'look at policy sets');
  const { name, version } = request;
  const current = world.get('policy_set', name);
  if (current === undefined)
    throw notFound(`there is no policy set \`${name}\``, { kinds: ['policy_set'], id: name });
  const first = Math.max(1, current.version - KEPT_VERSIONS + 1);
  const numbers = Array.from({ length: current.version - first + 1 }, (_, index) => first + index);
  world.prefetch(
    numbers.map((number) => ({ kind: 'policy_version', id: versionId(name, number) })),
  );
  const set =
    version === 0 || version === current.version
      ? current
      : world.get('policy_version', versionId(name, version))?.set;
  if (set === undefined)
    throw notFound(`policy set \`${name}\` has no version ${version} that is kept`);
  const kept = numbers.filter(
    (number) =>
      number === current.version ||
      world.get('policy_version', versionId(name, number)) !== undefined,
  );
  return {
    policy_set: policySetView(set),
    keys: world.get('refs', `policy_set:${name}`)?.keys ?? [],
    versions: kept,
  };
}

/** All that the catalog lists, or one of any form (ACT-2, ACT-3). */
function actionsAsked(catalog: Catalog, name: string): readonly Action[] {
  if (name === '') return [...catalog.actions.values()];
  const action = resolveAction(catalog, name, '');
  if (action === undefined)
    throw notFound(
      `action: \`${name}\` is not in the catalog: every request for it is denied (ACT-4)`,
    );
  return [action];
}

interface GetKey {
  readonly id: string;
  readonly action: string;
}

function getKey({ world, authority, catalog }: ReadContext, { id, action }: GetKey): object {
  const key = existingKey(world, id);
  if (key.user === undefined || key.user !== authority.user?.id)
    mustReadAll(authority, 'look at keys');
  const sets = key.policySets.flatMap((name) => world.get('policy_set', name) ?? []);
  return {
    key: {
      ...keyView(key, world.get('usage', id)?.at),
      ...capabilitiesOf(key, sets, catalog, actionsAsked(catalog, action)),
    },
  };
}

function listSessions(
  { world, authority, now }: ReadContext,
  { user: ref }: { readonly user: string },
): object {
  const user = sessionUser({ world, authority }, ref, 'list the sessions of');
  return { sessions: goodSessions(user, now).map((session) => sessionView(user.id, session)) };
}

/** Reads that look at a few records. */
export const READS = {
  GetTenant: getTenant,
  GetUser: getUser,
  GetRole: getRole,
  GetWorkspace: getWorkspace,
  CheckGrant: checkGrant,
  GetOwner: getOwner,
  GetPolicySet: getPolicySet,
  GetKey: getKey,
  ListSessions: listSessions,
} as const;

export type ReadName = keyof typeof READS;

export function isRead(name: string): name is ReadName {
  return Object.hasOwn(READS, name);
}
