/**
 * What follows from a tenant's records and is stored beside them, so that management need not read all of them: who
 * refers to whom, and users by their other names. A record's links depend on that record alone, save for whether a
 * role is an owner role, which never changes.
 */
import { foldCase } from '../engine/fold.ts';
import type {
  GrantRow,
  NameRecord,
  Records,
  RefsRecord,
  RoleRecord,
  StateKind,
} from '../engine/records.ts';

/** One entry of a derived record: an item of one of its lists, or one more member. */
export interface Link {
  readonly kind: 'refs' | 'name';
  readonly id: string;
  readonly field: 'members' | 'owners' | 'given' | 'keys' | 'appointed' | 'users';
  readonly item: string;
}

/** The role whose last active user may not be removed (ADM-5): a system role of the highest level (RBAC-4). */
export function isOwnerRole(role: RoleRecord | undefined): boolean {
  return role?.system === true && role.level === 100;
}

/**
 * Two records of one principal without the grant rows that both have, as objects: nothing follows from these anew.
 */
export function withoutShared<R extends object>(
  before: R | undefined,
  after: R | undefined,
): readonly [before: R | undefined, after: R | undefined] {
  if (before === undefined || after === undefined) return [before, after];
  if (!('grants' in before) || !('grants' in after)) return [before, after];
  // Records with this field have rows there.
  const [had, has] = [before.grants, after.grants] as [readonly GrantRow[], readonly GrantRow[]];
  const stays = new Set(had).intersection(new Set(has));
  if (stays.size === 0) return [before, after];
  const others = (rows: readonly GrantRow[]): readonly GrantRow[] =>
    rows.filter((row) => !stays.has(row));
  return [
    { ...before, grants: others(had) },
    { ...after, grants: others(has) },
  ];
}

/** @param roleOf knows the role of an id: whether its members are owners */
export function linksOf<K extends StateKind>(
  kind: K,
  record: Records[K] | undefined,
  roleOf: (id: string) => RoleRecord | undefined,
): Link[] {
  if (record === undefined) return [];
  const any: { readonly kind: StateKind; readonly record: Records[StateKind] } = { kind, record };
  switch (any.kind) {
    case 'user':
      return userLinks(any.record as Records['user'], roleOf);
    case 'role': {
      const { id, roles, workspaces, grants } = any.record as RoleRecord;
      return [...memberLinks(roles, workspaces), ...givenLinks(`role:${id}`, grants)];
    }
    case 'workspace': {
      const { id, grants } = any.record as Records['workspace'];
      return givenLinks(`workspace:${id}`, grants);
    }
    case 'key': {
      const { id, user, policySets } = any.record as Records['key'];
      return [
        ...(user === undefined ? [] : [refs(`user:${user}`, 'keys', id)]),
        ...policySets.map((set) => refs(`policy_set:${set}`, 'keys', id)),
      ];
    }
    case 'owner': {
      const { path, grantor } = any.record as Records['owner'];
      return grantor === undefined ? [] : [refs(grantor, 'appointed', path)];
    }
    case 'tenant':
    case 'policy_set':
    case 'tombstone':
      return [];
  }
}

function userLinks(
  user: Records['user'],
  roleOf: (id: string) => RoleRecord | undefined,
): readonly Link[] & Link[] {
  const { id, externalId, email, roles, workspaces, grants, suspended, deleted } = user;
  const links = [...memberLinks(roles, workspaces), ...givenLinks(`user:${id}`, grants)];
  // Most ids are their own folding: a look at the user itself finds those.
  const folded = foldCase(id);
  if (folded !== id) links.push(name('fold', folded, id));
  if (externalId !== undefined) links.push(name('external_id', externalId, id));
  if (email !== undefined) links.push(name('email', foldCase(email), id));
  if (!suspended && !deleted)
    for (const role of roles)
      if (isOwnerRole(roleOf(role))) links.push(refs(`role:${role}`, 'owners', id));
  return links;
}

/**
 * That all of a tenant's names are indexed by full case folding (ID-2). Where it is missing, they were written when
 * texts were folded by their lower case alone.
 */
export const INDEXED: NameRecord = {
  id: JSON.stringify(['indexed', 'full case folding']),
  users: [],
};

export function nameId(what: 'fold' | 'external_id' | 'email', text: string): string {
  return JSON.stringify([what, text]);
}

function givenItem(holder: string, path: string): string {
  return JSON.stringify([holder, path]);
}

export function parseGiven(item: string): readonly [holder: string, path: string] {
  // Written by `givenItem` only.
  return JSON.parse(item) as [string, string];
}

function memberLinks(roles: readonly string[], workspaces: readonly string[]): Link[] {
  return [
    ...roles.map((id) => refs(`role:${id}`, 'members', '')),
    ...workspaces.map((id) => refs(`workspace:${id}`, 'members', '')),
  ];
}

function givenLinks(holder: string, grants: readonly GrantRow[]): Link[] {
  return grants
    .filter(({ grantor }) => grantor !== '')
    .map(({ path, grantor }) => refs(grantor, 'given', givenItem(holder, path)));
}

function refs(id: string, field: Link['field'], item: string): Link {
  return { kind: 'refs', id, field, item };
}

function name(what: 'fold' | 'external_id' | 'email', text: string, user: string): Link {
  return { kind: 'name', id: nameId(what, text), field: 'users', item: user };
}

/** A derived record with some links taken away and others added; `undefined`: nothing is left. */
export function relinked(
  kind: Link['kind'],
  id: string,
  old: RefsRecord | NameRecord | undefined,
  removed: readonly Link[],
  added: readonly Link[],
): RefsRecord | NameRecord | undefined {
  const list = (field: Link['field'], before: readonly string[] = []): readonly string[] => {
    const gone = removed.filter((link) => link.field === field);
    const come = added.filter((link) => link.field === field);
    if (gone.length === 0 && come.length === 0) return before;
    const items = new Set(before);
    for (const { item } of gone) items.delete(item);
    for (const { item } of come) items.add(item);
    return [...items].sort();
  };
  if (kind === 'name') {
    const users = list('users', old !== undefined && 'users' in old ? old.users : []);
    return users.length === 0 ? undefined : { id, users };
  }
  const before = old !== undefined && 'members' in old ? old : undefined;
  const count = (links: readonly Link[]): number =>
    links.filter(({ field }) => field === 'members').length;
  const appointed = list('appointed', before?.appointed);
  const next: RefsRecord = {
    id,
    members: (before?.members ?? 0) - count(removed) + count(added),
    owners: list('owners', before?.owners),
    given: list('given', before?.given),
    keys: list('keys', before?.keys),
    ...(appointed.length === 0 ? {} : { appointed }),
  };
  const empty =
    next.members === 0 &&
    next.owners.length === 0 &&
    next.given.length === 0 &&
    next.keys.length === 0 &&
    appointed.length === 0;
  return empty ? undefined : next;
}

/** All derived records of a whole state: what the stored ones must be equal to. */
export function deriveAll(facts: {
  readonly [K in StateKind]: ReadonlyMap<string, Records[K]>;
}): { readonly refs: Map<string, RefsRecord>; readonly name: Map<string, NameRecord> } {
  const byRecord = { refs: new Map<string, Link[]>(), name: new Map<string, Link[]>() };
  const roleOf = (id: string): RoleRecord | undefined => facts.role.get(id);
  for (const kind of ['user', 'role', 'workspace', 'owner', 'key'] as const)
    for (const record of facts[kind].values())
      for (const link of linksOf(kind, record, roleOf)) {
        const links = byRecord[link.kind].get(link.id);
        if (links === undefined) byRecord[link.kind].set(link.id, [link]);
        else links.push(link);
      }
  const build = <R>(kind: Link['kind']): Map<string, R> =>
    new Map(
      [...byRecord[kind]].flatMap(([id, links]) => {
        const record = relinked(kind, id, undefined, [], links);
        // `relinked` makes a record of the kind that it is given.
        return record === undefined ? [] : [[id, record as R] as const];
      }),
    );
  const names = build<NameRecord>('name');
  names.set(INDEXED.id, INDEXED);
  return { refs: build<RefsRecord>('refs'), name: names };
}
