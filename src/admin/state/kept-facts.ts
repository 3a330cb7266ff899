/** What a state file does not say and its tenant has nevertheless: roles of the system, secrets, what was deleted. Pure. */
import type { DefaultRole } from '../../config/roles.ts';
import type { StateFile } from '../../config/state.ts';
import { newTenant, type Baseline } from '../migrations/baseline.ts';
import { fromDefaults, type BaseRole, type TenantFacts } from './tenant-facts.ts';

/** A state that lists a role as `system` restores it as it was; else the default roles are given (RBAC-4). */
export function newTenantRoles(state: StateFile, defaults: readonly DefaultRole[]): BaseRole[] {
  const restored = new Set(
    (state.roles ?? []).filter(({ system }) => system === true).map(({ id }) => id),
  );
  return fromDefaults(defaults).filter(({ id }) => !restored.has(id));
}

/** System roles stay, whether the state lists them or not (RBAC-4). */
export function keptRoles({ role }: TenantFacts): BaseRole[] {
  return [...role.values()].filter(({ system }) => system);
}

/** Users that the state no longer lists become tombstones, so that no access list revives them (ACL-4, ADM-8). */
export function withTombstones(state: StateFile, stored: TenantFacts): StateFile {
  const listed = new Set((state.users ?? []).map(({ id }) => id));
  const gone = [...stored.user.keys()].filter((id) => !listed.has(id));
  return {
    ...state,
    users: [...(state.users ?? []), ...gone.map((id) => ({ id, deleted: true }))],
  };
}

/**
 * A new tenant has what the migrations have made of its default roles. One that brings system roles of its own is
 * restored as it once was: which migrations that was after is not known, and applying them all again does no harm.
 */
export function withBaseline(
  facts: TenantFacts,
  state: StateFile,
  baseline: Baseline,
): TenantFacts {
  if ((state.roles ?? []).some(({ system }) => system === true)) return facts;
  const tenant = new Map(facts.tenant);
  tenant.set('', newTenant(state.tenant, baseline, Date.now()));
  return { ...facts, tenant };
}

/** What a state file does not say and an apply leaves as it is: secrets, sessions, what was revoked, migrations. */
export function withKept(facts: TenantFacts, stored: TenantFacts): TenantFacts {
  const key = new Map(facts.key);
  for (const [id, next] of key) {
    const { createdAt, secrets, revoked } = stored.key.get(id) ?? {};
    key.set(id, {
      ...next,
      ...(createdAt === undefined ? {} : { createdAt }),
      ...(revoked === true ? { revoked } : {}),
      ...(secrets === undefined || next.revoked === true ? {} : { secrets }),
    });
  }
  const user = new Map(facts.user);
  for (const [id, next] of user) {
    const { sessions } = stored.user.get(id) ?? {};
    if (sessions !== undefined && !next.deleted) user.set(id, { ...next, sessions });
  }
  const tenant = new Map(facts.tenant);
  const { migrations } = stored.tenant.get('') ?? {};
  for (const [id, next] of tenant)
    if (migrations !== undefined) tenant.set(id, { ...next, migrations });
  return { ...facts, key, user, tenant };
}
