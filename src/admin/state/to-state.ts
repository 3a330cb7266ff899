/** Records as a state file, sorted, so that equal facts give equal files and applying it changes nothing. Pure. */
import type { Json } from '../../config/common.ts';
import type { StateFile } from '../../config/state.ts';
import type { GrantRow, KeyRecord, PolicySetRecord, UserRecord } from '../../engine/records.ts';
import { LAST_TIME } from '../../util/time.ts';
import type { Edges } from '../closure.ts';
import { readings } from '../principals.ts';
import type { Group } from '../rules/tombstones.ts';
import type { Entry, TenantFacts } from './tenant-facts.ts';

/** Records as a state file, sorted, so that equal facts give equal files and applying it changes nothing. */
export function toState(tenant: string, facts: TenantFacts): StateFile {
  const users = sorted(facts.user);
  const roles = sorted(facts.role);
  const workspaces = sorted(facts.workspace);
  const grantsOf = (type: string, holders: readonly Holder[]): Entry<'grants'>[] =>
    holders.flatMap(({ id, grants }) =>
      grants.map(({ path, actions, grantor, grantOption, options }) => ({
        principal: `${type}:${id}`,
        path,
        actions: [...actions],
        ...(grantor === '' ? {} : { grantor }),
        ...(grantOption ? { grant_option: true } : {}),
        ...(options === undefined ? {} : { grant_option: [...options] }),
      })),
    );
  return {
    tenant,
    users: users.map(userEntry),
    roles: [
      ...roles.map(({ id, description, level, permissions, system, creator, ...edges }) => ({
        id,
        ...(description === undefined ? {} : { description }),
        level,
        permissions: [...permissions],
        ...(system ? { system } : {}),
        ...edgeEntry(edges),
        ...creatorEntry(creator),
      })),
      ...tombstonesOf(facts, 'role'),
    ],
    workspaces: [
      ...workspaces.map(({ id, description, creator }) => ({
        id,
        ...(description === undefined ? {} : { description }),
        ...creatorEntry(creator),
      })),
      ...tombstonesOf(facts, 'workspace'),
    ],
    grants: [
      ...grantsOf('user', users),
      ...grantsOf('role', roles),
      ...grantsOf('workspace', workspaces),
    ],
    owners: sorted(facts.owner).map(({ path, owner, grantor }) => ({
      path,
      // An id that looks like a reference would be read as one.
      owner: readings(owner).length === 1 ? `user:${owner}` : owner,
      ...(grantor === undefined ? {} : { grantor }),
    })),
    policy_sets: sorted(facts.policy_set).map(policySetEntry),
    keys: sorted(facts.key).map(keyEntry),
  };
}

/** Groups that once existed, so that whoever restores the tenant knows of them. */
function tombstonesOf(
  { tombstone }: TenantFacts,
  type: Group,
): { readonly id: string; readonly deleted: true }[] {
  const prefix = `${type}:`;
  return sorted(tombstone)
    .filter(({ id }) => id.startsWith(prefix))
    .map(({ id }) => ({ id: id.slice(prefix.length), deleted: true }));
}

/** Without its secrets: an apply leaves those of a key that is there as they are. */
function keyEntry(key: KeyRecord): Entry<'keys'> {
  const { id, description, role, mode, policySets, user, expiresAt, revoked, rateLimit } = key;
  return {
    id,
    ...(description === undefined ? {} : { description }),
    role,
    mode,
    policy_sets: [...policySets],
    ...(user === undefined ? {} : { user }),
    ...(expiresAt === undefined
      ? {}
      : { expires_at: new Date(Math.min(expiresAt, LAST_TIME)).toISOString() }),
    ...(revoked === true ? { revoked } : {}),
    ...(rateLimit === undefined
      ? {}
      : { rate_limit: { requests: rateLimit.requests, per_seconds: rateLimit.seconds } }),
  };
}

function creatorEntry(creator: string | undefined): { creator?: string } {
  return creator === undefined ? {} : { creator: creator.slice('user:'.length) };
}

interface Holder {
  readonly id: string;
  readonly grants: readonly GrantRow[];
}

function userEntry(user: UserRecord): Entry<'users'> {
  return {
    id: user.id,
    ...(user.externalId === undefined ? {} : { external_id: user.externalId }),
    ...(user.email === undefined ? {} : { email: user.email }),
    ...(user.type === 'user' ? {} : { type: user.type }),
    ...(user.metadata === undefined
      ? {}
      : {
          // It was checked to be JSON when it was written.
          metadata: { ...user.metadata } as Record<string, Json>,
        }),
    ...(user.superuser ? { superuser: true } : {}),
    ...(user.createrole ? { createrole: true } : {}),
    ...(user.suspended ? { suspended: true } : {}),
    ...(user.deleted ? { deleted: true } : {}),
    ...edgeEntry(user),
    ...(user.adminOf === undefined ? {} : { admin_of: [...user.adminOf] }),
  };
}

function edgeEntry({ roles, workspaces }: Edges): { roles?: string[]; workspaces?: string[] } {
  return {
    ...(roles.length > 0 ? { roles: [...roles] } : {}),
    ...(workspaces.length > 0 ? { workspaces: [...workspaces] } : {}),
  };
}

function policySetEntry(set: PolicySetRecord): Entry<'policy_sets'> {
  return {
    name: set.name,
    ...(set.description === undefined ? {} : { description: set.description }),
    mode: set.mode,
    rules: set.rules.map(({ id, description, effect, actions, attributes }) => ({
      id,
      ...(description === undefined ? {} : { description }),
      effect,
      actions: [...actions],
      ...(attributes === undefined
        ? {}
        : // Own properties even for `__proto__` (ID-3).
          {
            attributes: Object.fromEntries(attributes.map(([key, values]) => [key, [...values]])),
          }),
    })),
  };
}

function sorted<T>(records: ReadonlyMap<string, T>): readonly T[] {
  return [...records].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, record]) => record);
}
