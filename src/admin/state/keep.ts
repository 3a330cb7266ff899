/**
 * A state file over what is stored, for `--keep` (ADM-10): what the file lists is stated, what it does not list stays.
 * Entries of the file keep their places, so that a finding names the line that it is about. Pure.
 */
import { bodyOf, type StateFile } from '../../config/state.ts';
import { readings } from '../principals.ts';

type Entry = Readonly<Record<string, unknown>>;

/** @param stored the tenant's state as `toState` writes it */
export function keepUnlisted(state: StateFile, stored: StateFile): StateFile {
  const deleted = deletedBy(state);
  const left = withoutDeleted(stored, deleted);
  const users = over(state.users, left.users, ({ id }) => id);
  const roles = over(state.roles, left.roles, ({ id }) => id);
  const workspaces = over(state.workspaces, left.workspaces, ({ id }) => id);
  const ids = {
    user: new Set(users.map(({ id }) => id)),
    role: new Set(roles.map(({ id }) => id)),
    workspace: new Set(workspaces.map(({ id }) => id)),
  };
  /** `user:alice` for `alice`, where one such principal exists; what means none or two is found wrong later. */
  const full = (ref: string): string => {
    const [one, other] = readings(ref).filter(({ type, id }) => isIn(ids, type, id));
    return one === undefined || other !== undefined ? ref : `${one.type}:${one.id}`;
  };
  return {
    ...state,
    users,
    roles,
    workspaces,
    grants: over(
      state.grants,
      left.grants,
      ({ principal, path, grantor }) =>
        JSON.stringify([full(principal), path, grantor === undefined ? '' : full(grantor)]),
      mergeGrants,
    ),
    owners: over(
      state.owners,
      left.owners,
      ({ path }) => path,
      // By whose right it is goes with the owner.
      (stored, listed) =>
        full(stored.owner) === full(listed.owner) ? merge(stored, listed) : listed,
    ),
    policy_sets: over(
      state.policy_sets?.map(bodyOf),
      left.policy_sets?.map(bodyOf),
      ({ name }) => name,
    ),
    keys: over(state.keys, left.keys, ({ id }) => id),
  };
}

/** Ids by the kind of principal. */
type Ids = Readonly<Record<'user' | 'role' | 'workspace', ReadonlySet<string>>>;

function isIn(ids: Ids, type: string, id: string): boolean {
  // A subject of another type is in none.
  return type in ids && ids[type as keyof Ids].has(id);
}

/** What the file says is deleted. */
function deletedBy({ users, roles, workspaces }: StateFile): Ids {
  const gone = (
    entries: readonly { readonly id: string; readonly deleted?: boolean | undefined }[] = [],
  ) => new Set(entries.filter((entry) => entry.deleted === true).map(({ id }) => id));
  return { user: gone(users), role: gone(roles), workspace: gone(workspaces) };
}

/** What is deleted holds, gives and is a member of nothing any more (ADM-8). */
function withoutDeleted(stored: StateFile, deleted: Ids): StateFile {
  const isGone = (ref: string | undefined): boolean =>
    ref !== undefined && readings(ref).some(({ type, id }) => isIn(deleted, type, id));
  const groups = <T extends Member>(entry: T): T => {
    const { creator, ...rest } = entry;
    return {
      // Without its creator it is an entry of the same section.
      ...(creator !== undefined && deleted.user.has(creator) ? (rest as T) : entry),
      ...(entry.roles && { roles: entry.roles.filter((id) => !deleted.role.has(id)) }),
      ...(entry.workspaces && {
        workspaces: entry.workspaces.filter((id) => !deleted.workspace.has(id)),
      }),
      ...(entry.admin_of && { admin_of: entry.admin_of.filter((ref) => !isGone(ref)) }),
    };
  };
  return {
    ...stored,
    users: stored.users?.map(groups),
    roles: stored.roles?.map(groups),
    workspaces: stored.workspaces?.map(groups),
    grants: stored.grants?.filter(
      ({ principal, grantor }) => !isGone(principal) && !isGone(grantor),
    ),
    owners: stored.owners?.filter(({ owner, grantor }) => !isGone(owner) && !isGone(grantor)),
    keys: stored.keys?.filter(({ user }) => user === undefined || !deleted.user.has(user)),
  };
}

/** What entries of principals may have. */
interface Member {
  readonly creator?: string | undefined;
  readonly roles?: string[] | undefined;
  readonly workspaces?: string[] | undefined;
  readonly admin_of?: string[] | undefined;
}

/** The listed entries, each with what it does not say of the stored one, then the stored ones that are not listed. */
function over<T extends object>(
  listed: readonly T[] = [],
  stored: readonly T[] = [],
  nameOf: (entry: T) => string,
  joined: (stored: T, listed: T) => T = merge,
): T[] {
  const old = new Map(stored.map((entry) => [nameOf(entry), entry]));
  const merged = listed.map((entry) => {
    const name = nameOf(entry);
    const before = old.get(name);
    // A second entry of the same name is found to be a mistake later.
    old.delete(name);
    return before === undefined ? entry : joined(before, entry);
  });
  return [...merged, ...old.values()];
}

type Grant = NonNullable<StateFile['grants']>[number];

/** An option is of the actions of its own entry: joined, it is for no others (TREE-3). */
function mergeGrants(stored: Grant, listed: Grant): Grant {
  const options = ({ actions, grant_option: option = false }: Grant): Grant['actions'] =>
    option === true ? actions : option === false ? [] : option;
  const joined = [...new Set([...options(stored), ...options(listed)])];
  const { grant_option: _option, ...rest } = merge(stored, listed);
  return joined.length === 0 ? rest : { ...rest, grant_option: joined };
}

/** Lists are joined; other fields are those of the listed entry where it has them. */
function merge<T extends object>(stored: T, listed: T): T {
  // Entries of one section have the same fields.
  const [before, now] = [stored as Entry, listed as Entry];
  // A tombstone keeps nothing.
  if (now['deleted'] === true) return listed;
  // A user that is listed again lives again.
  const { deleted: _deleted, ...rest } = before;
  const joined = Object.fromEntries(
    Object.entries(now).map(([field, value]) => [field, join(field, value, rest[field])]),
  );
  return { ...rest, ...joined } as T;
}

function join(field: string, listed: unknown, stored: unknown): unknown {
  if (field === 'metadata') return joinValues(listed, stored);
  if (!Array.isArray(listed) || !Array.isArray(stored)) return listed;
  if (field !== 'rules') return [...new Set<unknown>([...listed, ...stored])];
  // Lists of this name are rules.
  return over(listed as Rule[], stored as Rule[], ({ id }) => id, mergeRules);
}

type Rule = NonNullable<ReturnType<typeof bodyOf>['rules']>[number];

/** A rule of the other effect is another rule: nothing of the stored one is left in it. */
function mergeRules(stored: Rule, listed: Rule): Rule {
  if (stored.effect !== listed.effect) return listed;
  const rule = merge(stored, listed);
  if (stored.attributes === undefined || listed.attributes === undefined) return rule;
  // An attribute's values are one set, which the file states (ABAC-3).
  return { ...rule, attributes: { ...stored.attributes, ...listed.attributes } };
}

/** JSON over JSON: maps by their keys, lists joined, other values those that are listed. */
function joinValues(listed: unknown, stored: unknown): unknown {
  if (Array.isArray(listed) && Array.isArray(stored)) {
    const names = new Set(listed.map((item) => JSON.stringify(item)));
    return [
      ...(listed as unknown[]),
      ...(stored as unknown[]).filter((item) => !names.has(JSON.stringify(item))),
    ];
  }
  if (!isMap(listed) || !isMap(stored)) return listed;
  // Own properties even for `__proto__` (ID-3).
  return Object.fromEntries([
    ...Object.entries(stored),
    ...Object.entries(listed).map(([key, value]) => [
      key,
      Object.hasOwn(stored, key) ? joinValues(value, stored[key]) : value,
    ]),
  ]);
}

function isMap(value: unknown): value is Entry {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
