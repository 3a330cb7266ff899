/** Tenants (RBAC-4). */
import { newTenant } from '../migrations/baseline.ts';
import type { Context } from '../context.ts';
import { denied, alreadyExists, invalid } from '../refused.ts';
import { addMember } from './members.ts';
import { fromDefaults } from '../state/tenant-facts.ts';
import { createUser } from './users.ts';
import { INDEXED, isOwnerRole } from '../links.ts';
import { idOf } from '../input.ts';
import { mustNotBeDeleted } from '../tenant/deleted.ts';

/** A tenant with the default roles, and its first owner. For the operator. */
export function createTenant(context: Context, { owner }: { readonly owner: string }): object {
  const { world, authority, defaults, baseline, now } = context;
  if (!authority.operator)
    throw denied('ADM-1', `\`${authority.name}\` may not create tenants`, 'the operator');
  idOf('tenant', world.tenant);
  const stored = world.get('tenant', '');
  mustNotBeDeleted(stored);
  if (stored !== undefined) throw alreadyExists(`tenant \`${world.tenant}\` exists already`);
  world.put('name', INDEXED.id, INDEXED);
  world.put('tenant', '', newTenant(world.tenant, baseline, now));
  for (const role of fromDefaults(defaults))
    world.put('role', role.id, {
      ...role,
      roles: [],
      workspaces: [],
      grants: [],
      closure: { roles: [], workspaces: [] },
    });
  if (owner === '') return {};
  const role = world.all('role').find(isOwnerRole);
  if (role === undefined)
    throw invalid(
      'owner',
      'has no role to get: the default roles have no system role of level 100',
    );
  createUser(context, {
    user: {
      id: owner,
      type: '',
      external_id: '',
      email: '',
      superuser: true,
      createrole: false,
      no_login: false,
      roles: [],
      workspaces: [],
    },
  });
  addMember(context, { group: `role:${role.id}`, member: `user:${owner}`, admin_option: false });
  return {};
}
