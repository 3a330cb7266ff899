/** What a migration's steps do to the roles of a tenant: the one way by which system roles change (RBAC-4). */
import type { Step } from '../../config/migration.ts';
import { compilePermissions } from '../../engine/permissions.ts';
import type { RoleRecord } from '../../engine/records.ts';
import { covers } from '../actor.ts';
import type { Context } from '../context.ts';
import { isOwnerRole } from '../links.ts';
import { forbidden, type Refused } from '../refused.ts';
import { buriedGroups, createdAgain, raiseGroup } from '../rules/tombstones.ts';

/** What a step needs of the context of a rule. */
export type StepContext = Pick<Context, 'world' | 'warnings'>;

/** Of one verb. */
type StepOf<Verb extends Step['verb']> = Extract<Step, { readonly verb: Verb }>;

/**
 * Done again, a step changes nothing more.
 * @param where `migration 0001-export, steps[2]`
 * @throws Refused where the tenant's roles are not such that it can be done
 */
export function applyStep(context: StepContext, step: Step, where: string): void {
  const at = `${where}.${step.verb}`;
  switch (step.verb) {
    case 'add_role':
      addRole(context, step, at);
      return;
    case 'grant_permissions':
      for (const id of step.roles) grant(context, id, step.permissions, at);
      return;
    case 'revoke_permissions':
      for (const id of step.roles) revoke(context, id, step.permissions, at);
      return;
    case 'rename_permission':
      rename(context, step, at);
      return;
    case 'set_level':
      setLevel(context, step, at);
      return;
    case 'describe_role':
      describe(context, step, at);
  }
}

/**
 * A role of the tenant's own under that id is not taken over: its members would get what nobody gave them. A system
 * role is the operator's own and stays as it is, as in a tenant that was restored from a later state.
 */
function addRole({ world, warnings }: StepContext, step: StepOf<'add_role'>, at: string): void {
  const { id, level, permissions, system, description } = step;
  const role = world.get('role', id);
  if (role?.system === true) {
    const same =
      system &&
      level === role.level &&
      JSON.stringify(permissions) === JSON.stringify(role.permissions);
    if (!same) warnings.push(`${at}: \`${id}\` is a system role already and stays as it is`);
    return;
  }
  if (role !== undefined)
    throw stuck(
      at,
      `the tenant has a role \`${id}\` of its own: move its members to another and delete it first`,
    );
  if (world.get('user', id) !== undefined)
    throw stuck(at, `the tenant has a user \`${id}\`: users and roles share one name space`);
  for (const name of buriedGroups(world, { type: 'role', id }))
    warnings.push(`${at}: ${createdAgain(name)}`);
  raiseGroup(world, { type: 'role', id });
  world.put('role', id, {
    id,
    ...(description === undefined ? {} : { description }),
    level,
    permissions,
    system,
    roles: [],
    workspaces: [],
    grants: [],
    closure: { roles: [], workspaces: [] },
  });
}

function grant(
  { world }: StepContext,
  id: string,
  permissions: readonly string[],
  at: string,
): void {
  const role = systemRole({ world }, id, at);
  world.put('role', id, { ...role, permissions: sorted([...role.permissions, ...permissions]) });
}

function revoke(
  { world }: StepContext,
  id: string,
  permissions: readonly string[],
  at: string,
): void {
  const role = systemRole({ world }, id, at);
  const kept = role.permissions.filter((permission) => !permissions.includes(permission));
  // A revocation that leaves the role with what it takes away would be none.
  for (const permission of permissions) {
    const wider = kept.find((held) => covers(compilePermissions([held]), permission));
    if (wider !== undefined)
      throw stuck(
        at,
        `\`${id}\` would keep \`${permission}\` by \`${wider}\`: revoke that, and grant what shall stay`,
      );
  }
  world.put('role', id, { ...role, permissions: kept });
}

/** Whoever held the old name holds the new one, by a wildcard too; the old name is gone where it was written. */
function rename(
  { world, warnings }: StepContext,
  { from, to }: StepOf<'rename_permission'>,
  at: string,
): void {
  for (const role of world.all('role')) {
    const rest = role.permissions.filter((permission) => permission !== from);
    const written = rest.length < role.permissions.length;
    const held = compilePermissions(rest);
    if (!written && (!covers(held, from) || covers(held, to))) continue;
    world.put('role', role.id, { ...role, permissions: sorted([...rest, to]) });
  }
  for (const { name, rules } of world.all('policy_set'))
    for (const rule of rules)
      if (rule.actions.includes(from))
        warnings.push(
          `${at}: rule \`${rule.id}\` of policy set \`${name}\` names the action \`${from}\`, and says nothing of \`${to}\``,
        );
}

function setLevel(
  { world }: StepContext,
  { role: id, level }: StepOf<'set_level'>,
  at: string,
): void {
  const role = systemRole({ world }, id, at);
  // Who the owners are, and that one stays, is counted by that role (ADM-5).
  if (isOwnerRole(role)) throw stuck(at, `\`${id}\` is the owner role and keeps its level`);
  world.put('role', id, { ...role, level });
}

function describe(
  { world }: StepContext,
  { role: id, description }: StepOf<'describe_role'>,
  at: string,
): void {
  const { description: _old, ...rest } = systemRole({ world }, id, at);
  world.put('role', id, { ...rest, ...(description === '' ? {} : { description }) });
}

/** What tenants may edit is theirs: a migration that is written for all of them changes system roles by name. */
function systemRole({ world }: Pick<StepContext, 'world'>, id: string, at: string): RoleRecord {
  const role = world.get('role', id);
  if (role === undefined)
    throw stuck(at, `there is no role \`${id}\`: add it by \`add_role\` before`);
  if (!role.system)
    throw stuck(
      at,
      `\`${id}\` is a role of the tenant's own, and a migration changes system roles: change it by \`postern role update\``,
    );
  return role;
}

function sorted(permissions: readonly string[]): readonly string[] {
  return [...new Set(permissions)].sort();
}

function stuck(at: string, message: string): Refused {
  return forbidden('RBAC-4', `${at}: ${message}`);
}
