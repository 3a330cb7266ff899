/**
 * A whole state as records, and records as a whole state. `toFacts` is where references become principals,
 * memberships become closures, and everything that the state may not be is refused.
 */
import { bodyOf, type Finding, type StateFile } from '../../config/state.ts';
import type { DefaultRole } from '../../config/roles.ts';
import type { Json } from '../../config/common.ts';
import { toPolicySet } from '../../config/policy-set.ts';
import { foldCase } from '../../engine/fold.ts';
import { idProblem } from '../../engine/id.ts';
import type { TreeAction } from '../../engine/model.ts';
import type {
  GrantRow,
  KeyRecord,
  StateKind,
  PolicySetRecord,
  Records,
  RoleRecord,
  TombstoneRecord,
  UserRecord,
} from '../../engine/records.ts';
import { printable } from '../../engine/validate.ts';
import { LAST_TIME } from '../../util/time.ts';
import { closureOf, findCycle, MAX_CLOSURE, type Edges } from '../closure.ts';
import { readings } from '../principals.ts';
import type { Group } from '../rules/tombstones.ts';
import { inOrder, inRowOrder, rowOf } from '../tree/rows.ts';

/** All records of one tenant. */
export type TenantFacts = { readonly [K in StateKind]: ReadonlyMap<string, Records[K]> };

type MutableFacts = { readonly [K in StateKind]: Map<string, Records[K]> };
type Section = Exclude<keyof StateFile, 'tenant'>;
type Entry<K extends Section> = NonNullable<StateFile[K]>[number];

/** Tree actions as records have them; `update` is `write` (ACT-1). */
function treeActions(verbs: readonly (TreeAction | 'update')[]): readonly TreeAction[] {
  return inOrder(verbs.map((verb) => (verb === 'update' ? 'write' : verb)));
}

/**
 * The records of a state file.
 * @param base roles that the tenant has besides the state's: the default roles of a new tenant, or the
 *   system roles of a stored one (RBAC-4)
 * @param isStored whether a record is there already: its id may break a rule that is newer (ID-1)
 */
export function toFacts(
  state: StateFile,
  base: readonly BaseRole[],
  isStored: IsStored = () => false,
): { readonly facts: TenantFacts } | { readonly findings: readonly Finding[] } {
  const builder = new Builder(state, base, isStored);
  return builder.build();
}

export type IsStored = (kind: StateKind, id: string) => boolean;

/** A role that exists without being listed. A system role may be listed, for its members, but not changed. */
export type BaseRole = Pick<RoleRecord, 'id' | 'level' | 'permissions' | 'system' | 'description'>;

export function fromDefaults(roles: readonly DefaultRole[]): BaseRole[] {
  return roles.map(({ id, level, permissions, system = true, description }) => ({
    id,
    level,
    permissions: [...new Set(permissions)].sort(),
    system,
    ...(description === undefined ? {} : { description }),
  }));
}

type Ref = { readonly type: 'user' | 'role' | 'workspace'; readonly id: string };

class Builder {
  readonly #state: StateFile;
  readonly #base: readonly BaseRole[];
  readonly #findings: Finding[] = [];
  readonly #edges = {
    user: new Map<string, MutableEdges>(),
    role: new Map<string, MutableEdges>(),
  };
  readonly #grants = new Map<string, GrantRow[]>();
  readonly #owns = new Map<string, string[]>();
  readonly #deleted = new Set<string>();
  readonly #workspaces = new Set<string>();
  readonly #tombstones = new Map<string, TombstoneRecord>();

  readonly #isStored: IsStored;

  constructor(state: StateFile, base: readonly BaseRole[], isStored: IsStored) {
    this.#state = state;
    this.#base = base;
    this.#isStored = isStored;
  }

  build(): { readonly facts: TenantFacts } | { readonly findings: readonly Finding[] } {
    this.#checkIds();
    this.#declare();
    this.#connect();
    this.#checkCycles();
    const facts = emptyFacts();
    facts.tenant.set('', { id: this.#state.tenant });
    for (const [name, record] of this.#tombstones) facts.tombstone.set(name, record);
    this.#addGrants();
    this.#addOwners(facts);
    this.#addPrincipals(facts);
    this.#addPolicies(facts);
    return this.#findings.length > 0 ? { findings: this.#findings } : { facts };
  }

  #find(path: readonly PropertyKey[], message: string): void {
    this.#findings.push({ path, message });
  }

  /** ID-1: what is created here has an id that may be created. References lead to what is listed. */
  #checkIds(): void {
    const look = (kind: StateKind, id: string, path: readonly PropertyKey[]): void => {
      const problem = idProblem(id);
      if (problem !== undefined && !this.#isStored(kind, id))
        this.#find(path, `\`${printable(id)}\` ${problem}`);
    };
    look('tenant', this.#state.tenant, ['tenant']);
    for (const [section, kind] of [
      ['users', 'user'],
      ['roles', 'role'],
      ['workspaces', 'workspace'],
      ['keys', 'key'],
    ] as const)
      for (const [index, { id }] of (this.#state[section] ?? []).entries())
        look(kind, id, [section, index, 'id']);
    for (const [index, entry] of (this.#state.policy_sets ?? []).entries())
      look('policy_set', bodyOf(entry).name, ['policy_sets', index]);
  }

  /** Who exists. */
  #declare(): void {
    const taken = new Map<string, string>();
    this.#each('users', (user, path) => {
      const { id, deleted, roles = [], workspaces = [] } = user;
      if (this.#edges.user.has(id)) this.#find(path, `user \`${id}\` is listed twice: keep one`);
      for (const [name, found] of namesOf(user)) {
        const twin = taken.get(name);
        if (twin !== undefined && twin !== id) this.#find(path, found(twin));
        taken.set(name, id);
      }
      this.#edges.user.set(id, newEdges());
      if (deleted !== true) return;
      this.#deleted.add(id);
      if (roles.length + workspaces.length > 0)
        this.#find(path, `user \`${id}\` is deleted: a tombstone is in no group (ADM-8)`);
    });
    for (const { id } of this.#base) this.#edges.role.set(id, newEdges());
    const listed = new Set<string>();
    this.#each('roles', ({ id }, path) => {
      if (listed.has(id)) this.#find(path, `role \`${id}\` is listed twice: keep one`);
      listed.add(id);
      this.#edges.role.set(id, newEdges());
    });
    for (const id of this.#edges.role.keys())
      if (this.#edges.user.has(id))
        this.#find(
          ['users', (this.#state.users ?? []).findIndex((user) => user.id === id)],
          `\`${id}\` is a user and a role: rename one, they share one name space`,
        );
    this.#each('workspaces', ({ id }, path) => {
      if (this.#workspaces.has(id))
        this.#find(path, `workspace \`${id}\` is listed twice: keep one`);
      this.#workspaces.add(id);
    });
    this.#declareTombstones('roles', 'role', this.#edges.role);
    this.#declareTombstones('workspaces', 'workspace', this.#workspaces);
  }

  /** Groups that once existed: they are there by their names alone (ADM-4). */
  #declareTombstones(
    section: 'roles' | 'workspaces',
    type: Group,
    there: { has(id: string): boolean },
  ): void {
    for (const [index, entry] of (this.#state[section] ?? []).entries()) {
      if (!isTombstone(section, entry)) continue;
      const { id } = entry;
      if (there.has(id))
        this.#find(
          [section, index],
          `${type} \`${id}\` is deleted and exists: keep one of the two`,
        );
      if (Object.keys(entry).length > 2)
        this.#find(
          [section, index],
          `${type} \`${id}\` is deleted: a tombstone has an \`id\` and no more`,
        );
      const name = `${type}:${id}`;
      this.#tombstones.set(name, { id: name });
    }
  }

  /** Membership, from whichever side it is written. */
  #connect(): void {
    const join = (
      type: 'user' | 'role',
      entry: MemberEntry,
      path: readonly PropertyKey[],
    ): void => {
      const member: Ref = { type, id: entry.id };
      for (const [index, role] of (entry.roles ?? []).entries())
        this.#join(member, { type: 'role', id: role }, [...path, 'roles', index]);
      for (const [index, workspace] of (entry.workspaces ?? []).entries())
        this.#join(member, { type: 'workspace', id: workspace }, [...path, 'workspaces', index]);
    };
    this.#each('users', (user, path) => join('user', user, path));
    this.#each('roles', (role, path) => join('role', role, path));
    const members = (
      group: Ref,
      refs: readonly string[] | undefined,
      path: readonly PropertyKey[],
    ): void => {
      for (const [index, ref] of (refs ?? []).entries()) {
        const member = this.#resolve(ref, [...path, 'members', index], ['user', 'role']);
        if (member !== undefined) this.#join(member, group, [...path, 'members', index]);
      }
    };
    this.#each('roles', (role, path) => members({ type: 'role', id: role.id }, role.members, path));
    this.#each('workspaces', (workspace, path) =>
      members({ type: 'workspace', id: workspace.id }, workspace.members, path),
    );
  }

  #join(member: Ref, group: Ref, path: readonly PropertyKey[]): void {
    const known = group.type === 'role' ? this.#edges.role : this.#workspaces;
    if (!known.has(group.id)) {
      this.#find(path, `unknown ${group.type} \`${group.id}\`: list it under ${group.type}s`);
      return;
    }
    const edges = member.type === 'workspace' ? undefined : this.#edges[member.type].get(member.id);
    edges?.[group.type === 'role' ? 'roles' : 'workspaces'].add(group.id);
  }

  #checkCycles(): void {
    const cycle = findCycle(this.#roleEdges());
    if (cycle === undefined) return;
    const index = (this.#state.roles ?? []).findIndex(({ id }) => cycle.includes(id));
    this.#find(
      index < 0 ? ['roles'] : ['roles', index],
      `membership closes a cycle: ${cycle.join(' → ')}: remove one of its edges (ADM-6)`,
    );
  }

  #roleEdges(): Map<string, Edges> {
    return new Map([...this.#edges.role].map(([id, edges]) => [id, sortEdges(edges)]));
  }

  #addGrants(): void {
    const seen = new Map<string, number>();
    this.#each('grants', ({ principal, path: at, actions, grantor, grant_option }, path) => {
      const holder = this.#resolve(
        principal,
        [...path, 'principal'],
        ['user', 'role', 'workspace'],
      );
      const giver =
        grantor === undefined
          ? undefined
          : this.#resolve(grantor, [...path, 'grantor'], ['user', 'role', 'workspace']);
      if (holder === undefined || (grantor !== undefined && giver === undefined)) return;
      const name = `${holder.type}:${holder.id}`;
      const from = giver === undefined ? '' : `${giver.type}:${giver.id}`;
      const row = JSON.stringify([name, at, from]);
      const index = Number(path[1]);
      const first = seen.get(row);
      if (first !== undefined)
        this.#find(
          path,
          `\`${principal}\` on '${at}' is granted by the same grantor in grants[${first}]: merge the two rows (TREE-3)`,
        );
      seen.set(row, index);
      const held = treeActions(actions);
      const options = Array.isArray(grant_option) ? treeActions(grant_option) : [];
      const beyond = options.filter((action) => !held.includes(action));
      if (beyond.length > 0)
        this.#find(
          [...path, 'grant_option'],
          `has ${beyond.join(', ')}, which \`actions\` has not: add it there, or leave it out here (TREE-3)`,
        );
      const rows = this.#grants.get(name) ?? [];
      this.#grants.set(name, rows);
      rows.push(rowOf({ path: at, grantor: from }, held, grant_option === true ? held : options));
    });
  }

  #addOwners(facts: MutableFacts): void {
    this.#each('owners', ({ path: at, owner, grantor }, path) => {
      const user = this.#resolve(owner, [...path, 'owner'], ['user']);
      const giver =
        grantor === undefined ? undefined : this.#resolve(grantor, [...path, 'grantor'], ['user']);
      if (user === undefined || (grantor !== undefined && giver === undefined)) return;
      const other = facts.owner.get(at);
      if (other !== undefined)
        this.#find(
          path,
          `'${at}' is owned by \`${other.owner}\` already: a path has at most one owner (TREE-2)`,
        );
      facts.owner.set(at, {
        path: at,
        owner: user.id,
        ...(giver === undefined ? {} : { grantor: `user:${giver.id}` }),
      });
      const owned = this.#owns.get(user.id) ?? [];
      owned.push(at);
      this.#owns.set(user.id, owned);
    });
  }

  #addPrincipals(facts: MutableFacts): void {
    this.#each('users', (user) => {
      const { external_id, email, metadata } = user;
      facts.user.set(user.id, {
        id: user.id,
        type: user.type ?? 'user',
        ...(external_id === undefined ? {} : { externalId: external_id }),
        ...(email === undefined ? {} : { email }),
        ...(metadata === undefined ? {} : { metadata }),
        superuser: user.superuser ?? false,
        createrole: user.createrole ?? false,
        suspended: user.suspended ?? false,
        deleted: user.deleted ?? false,
        ...sortEdges(this.#edges.user.get(user.id) ?? newEdges()),
        grants: sortRows(this.#grants.get(`user:${user.id}`)),
        owns: (this.#owns.get(user.id) ?? []).toSorted(),
        ...this.#adminOf(user),
      });
    });
    const creators = this.#creators();
    const edges = this.#roleEdges();
    const cyclic = this.#findings.length > 0;
    for (const role of this.#roles()) {
      const direct = edges.get(role.id) ?? { roles: [], workspaces: [] };
      const closure = cyclic ? direct : closureOf(role.id, edges);
      const reached = closure.roles.length + closure.workspaces.length;
      if (reached > MAX_CLOSURE) {
        const index = (this.#state.roles ?? []).findIndex(({ id }) => id === role.id);
        this.#find(
          index < 0 ? ['roles'] : ['roles', index],
          `role \`${role.id}\` reaches ${reached} groups, ${MAX_CLOSURE} are allowed: nest fewer`,
        );
        // One is enough to tell: roles nested in a chain would each be found.
        return;
      }
      facts.role.set(role.id, {
        ...role,
        ...direct,
        grants: sortRows(this.#grants.get(`role:${role.id}`)),
        closure,
        ...creators.get(role.id),
      });
    }
    this.#each('workspaces', ({ id, description, creator }, path) => {
      facts.workspace.set(id, {
        id,
        ...(description === undefined ? {} : { description }),
        grants: sortRows(this.#grants.get(`workspace:${id}`)),
        ...this.#creator(creator, path),
      });
    });
  }

  /** The admin option is of a membership: there is none without it. */
  #adminOf({ id, admin_of: refs = [] }: Entry<'users'>): { readonly adminOf?: readonly string[] } {
    if (refs.length === 0) return {};
    const edges = this.#edges.user.get(id) ?? newEdges();
    const index = (this.#state.users ?? []).findIndex((user) => user.id === id);
    const names = refs.flatMap((ref, place) => {
      const path = ['users', index, 'admin_of', place];
      const group = this.#resolve(ref, path, ['role', 'workspace']);
      if (group === undefined) return [];
      if (!edges[group.type === 'role' ? 'roles' : 'workspaces'].has(group.id))
        this.#find(path, `user \`${id}\` is no member of \`${ref}\`: list it among its groups`);
      return [`${group.type}:${group.id}`];
    });
    return { adminOf: [...new Set(names)].sort() };
  }

  /** Who created the roles that the state lists. */
  #creators(): ReadonlyMap<string, { readonly creator?: string }> {
    const creators = new Map<string, { readonly creator?: string }>();
    this.#each('roles', ({ id, creator }, path) => creators.set(id, this.#creator(creator, path)));
    return creators;
  }

  #creator(
    creator: string | undefined,
    path: readonly PropertyKey[],
  ): { readonly creator?: string } {
    if (creator === undefined) return {};
    const user = this.#resolve(`user:${creator}`, [...path, 'creator'], ['user']);
    return user === undefined ? {} : { creator: `user:${user.id}` };
  }

  /** The base roles with the state's roles over them. */
  #roles(): BaseRole[] {
    const roles = new Map(this.#base.map((role) => [role.id, role]));
    this.#each('roles', (listed, path) => {
      const { id, level, permissions, description, system } = listed;
      const base = roles.get(id);
      const wanted: BaseRole = {
        id,
        level: level ?? base?.level ?? 0,
        permissions: [...new Set(permissions ?? base?.permissions ?? [])].sort(),
        system: system ?? base?.system ?? false,
        ...(description === undefined ? {} : { description }),
        ...(description === undefined && base?.description !== undefined
          ? { description: base.description }
          : {}),
      };
      if (base?.system === true && JSON.stringify(order(wanted)) !== JSON.stringify(order(base)))
        this.#find(
          path,
          `\`${id}\` is a system role and cannot be edited: list only its members, or use another id (RBAC-4)`,
        );
      roles.set(id, wanted);
    });
    return [...roles.values()];
  }

  #addPolicies(facts: MutableFacts): void {
    this.#each('policy_sets', (entry, path) => {
      const body = bodyOf(entry);
      if (facts.policy_set.has(body.name))
        this.#find(path, `policy set \`${body.name}\` is listed twice: keep one`);
      facts.policy_set.set(body.name, toPolicySet(body));
    });
    this.#each('keys', (key, path) => {
      const { id, description, role, mode, policy_sets = [], user } = key;
      const { expires_at, revoked, rate_limit } = key;
      if (facts.key.has(id)) this.#find(path, `key \`${id}\` is listed twice: keep one`);
      for (const [index, name] of policy_sets.entries())
        if (!facts.policy_set.has(name))
          this.#find(
            [...path, 'policy_sets', index],
            `unknown policy set \`${name}\`: list it under policy_sets`,
          );
      if (user !== undefined) this.#resolve(`user:${user}`, [...path, 'user'], ['user']);
      facts.key.set(id, {
        id,
        ...(description === undefined ? {} : { description }),
        role,
        mode,
        policySets: [...new Set(policy_sets)].sort(),
        ...(user === undefined ? {} : { user }),
        ...(expires_at === undefined ? {} : { expiresAt: Date.parse(expires_at) }),
        ...(revoked === true ? { revoked } : {}),
        ...(rate_limit === undefined
          ? {}
          : {
              rateLimit: {
                requests: rate_limit.requests,
                seconds: rate_limit.per_seconds ?? 1,
              },
            }),
      });
    });
  }

  /** The principal that a reference means; bare ids must mean exactly one. */
  #resolve(
    ref: string,
    path: readonly PropertyKey[],
    types: readonly Ref['type'][],
  ): Ref | undefined {
    const candidates = readings(ref)
      .filter(({ type }) => types.includes(type))
      .filter(({ type, id }) =>
        type === 'workspace' ? this.#workspaces.has(id) : this.#edges[type].has(id),
      );
    const [found, second] = candidates;
    if (found === undefined) {
      this.#find(path, `unknown principal \`${ref}\`: list it under ${types.join('s or ')}s`);
      return undefined;
    }
    if (second !== undefined) {
      this.#find(
        path,
        `\`${ref}\` may mean ${found.type}:${found.id} or ${second.type}:${second.id}: write which`,
      );
      return undefined;
    }
    if (found.type === 'user' && this.#deleted.has(found.id)) {
      this.#find(path, `user \`${found.id}\` is deleted: it can hold nothing`);
      return undefined;
    }
    return found;
  }

  #each<K extends Section>(
    section: K,
    visit: (entry: Entry<K>, path: readonly PropertyKey[]) => void,
  ): void {
    for (const [index, entry] of (this.#state[section] ?? []).entries())
      if (!isTombstone(section, entry)) visit(entry, [section, index]);
  }
}

/** A group that once existed: it is nowhere but among the tombstones. A user that is deleted keeps its record. */
function isTombstone(section: Section, entry: object): boolean {
  return section !== 'users' && 'deleted' in entry && entry.deleted === true;
}

interface MemberEntry {
  readonly id: string;
  readonly roles?: readonly string[] | undefined;
  readonly workspaces?: readonly string[] | undefined;
}

/** What a user is called, and what is wrong where another is called so (ID-2, ADM-4). */
function namesOf({
  id,
  external_id,
  email,
}: Entry<'users'>): (readonly [name: string, found: (twin: string) => string])[] {
  const name = (what: string, text: string): string => JSON.stringify([what, text]);
  return [
    [
      name('id', foldCase(id)),
      (twin) => `user \`${id}\` differs from \`${twin}\` only in case: rename one (ID-2)`,
    ],
    ...(external_id === undefined
      ? []
      : [
          [
            name('external_id', external_id),
            (twin: string) =>
              `user \`${id}\` has the external id \`${printable(external_id)}\` of user \`${twin}\`: keep one (ID-2)`,
          ] as const,
        ]),
    ...(email === undefined
      ? []
      : [
          [
            name('email', foldCase(email)),
            (twin: string) =>
              `user \`${id}\` has the e-mail \`${printable(email)}\` of user \`${twin}\`, case aside: keep one (ADM-4)`,
          ] as const,
        ]),
  ];
}

interface MutableEdges {
  readonly roles: Set<string>;
  readonly workspaces: Set<string>;
}

function newEdges(): MutableEdges {
  return { roles: new Set(), workspaces: new Set() };
}

function sortEdges({ roles, workspaces }: MutableEdges): Edges {
  return { roles: [...roles].sort(), workspaces: [...workspaces].sort() };
}

function sortRows(rows: readonly GrantRow[] = []): readonly GrantRow[] {
  return rows.toSorted(inRowOrder);
}

function order({ id, level, permissions, system, description }: BaseRole): unknown {
  return [id, level, permissions, system, description];
}

function emptyFacts(): MutableFacts {
  return {
    tenant: new Map(),
    user: new Map(),
    role: new Map(),
    workspace: new Map(),
    owner: new Map(),
    policy_set: new Map(),
    key: new Map(),
    tombstone: new Map(),
  };
}

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
