/** Who exists by a state file: users, roles, workspaces, their memberships, and what references lead to. */
import type { StateFile } from '../../config/state.ts';
import { foldCase } from '../../engine/fold.ts';
import type { Subject } from '../../engine/model.ts';
import type { TombstoneRecord } from '../../engine/records.ts';
import type { Edges } from '../closure.ts';
import { readings } from '../principals.ts';
import type { Group } from '../rules/tombstones.ts';
import { eachEntry, isTombstone, type BaseRole, type Entry, type Find } from './tenant-facts.ts';

/** Groups that a principal is a direct member of. */
interface MutableEdges {
  readonly roles: Set<string>;
  readonly workspaces: Set<string>;
}

export function newEdges(): MutableEdges {
  return { roles: new Set(), workspaces: new Set() };
}

export function sortEdges({ roles, workspaces }: MutableEdges): Edges {
  return { roles: [...roles].sort(), workspaces: [...workspaces].sort() };
}

/** What the sections of a state file say of who exists. */
export class Directory {
  readonly #find: Find;
  /** Direct memberships of all users and roles. */
  readonly edges = {
    user: new Map<string, MutableEdges>(),
    role: new Map<string, MutableEdges>(),
  };
  readonly workspaces = new Set<string>();
  readonly tombstones = new Map<string, TombstoneRecord>();
  readonly #deleted = new Set<string>();

  /** @param base roles that exist without being listed */
  constructor(state: StateFile, base: readonly BaseRole[], find: Find) {
    this.#find = find;
    this.#addUsers(state);
    this.#addRoles(state, base);
    eachEntry(state, 'workspaces', ({ id }, path) => {
      if (this.workspaces.has(id)) find(path, `workspace \`${id}\` is listed twice: keep one`);
      this.workspaces.add(id);
    });
    this.#addTombstones(state, 'roles', 'role', this.edges.role);
    this.#addTombstones(state, 'workspaces', 'workspace', this.workspaces);
  }

  #addUsers(state: StateFile): void {
    /** The user of each name. */
    const users = new Map<string, string>();
    eachEntry(state, 'users', (user, path) => {
      const { id, deleted, roles = [], workspaces = [] } = user;
      if (this.edges.user.has(id)) this.#find(path, `user \`${id}\` is listed twice: keep one`);
      for (const [name, problem] of namesOf(user)) {
        const twin = users.get(name);
        if (twin !== undefined && twin !== id) this.#find(path, problem(twin));
        users.set(name, id);
      }
      this.edges.user.set(id, newEdges());
      if (deleted !== true) return;
      this.#deleted.add(id);
      if (roles.length + workspaces.length > 0)
        this.#find(path, `user \`${id}\` is deleted: a tombstone is in no group (ADM-8)`);
    });
  }

  #addRoles(state: StateFile, base: readonly BaseRole[]): void {
    for (const { id } of base) this.edges.role.set(id, newEdges());
    const listed = new Set<string>();
    eachEntry(state, 'roles', ({ id }, path) => {
      if (listed.has(id)) this.#find(path, `role \`${id}\` is listed twice: keep one`);
      listed.add(id);
      this.edges.role.set(id, newEdges());
    });
    for (const id of this.edges.role.keys())
      if (this.edges.user.has(id))
        this.#find(
          ['users', (state.users ?? []).findIndex((user) => user.id === id)],
          `\`${id}\` is a user and a role: rename one, they share one name space`,
        );
  }

  /** Groups that once existed: they are there by their names alone (ADM-4). */
  #addTombstones(
    state: StateFile,
    section: 'roles' | 'workspaces',
    type: Group,
    there: { has(id: string): boolean },
  ): void {
    for (const [index, entry] of (state[section] ?? []).entries()) {
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
      this.tombstones.set(name, { id: name });
    }
  }

  /** Makes a principal a member of a group that exists. */
  join(
    member: Subject,
    group: Subject & { readonly type: Group },
    path: readonly PropertyKey[],
  ): void {
    const groups = group.type === 'role' ? this.edges.role : this.workspaces;
    if (!groups.has(group.id)) {
      this.#find(path, `unknown ${group.type} \`${group.id}\`: list it under ${group.type}s`);
      return;
    }
    const edges = member.type === 'workspace' ? undefined : this.edges[member.type].get(member.id);
    edges?.[group.type === 'role' ? 'roles' : 'workspaces'].add(group.id);
  }

  roleEdges(): Map<string, Edges> {
    return new Map([...this.edges.role].map(([id, edges]) => [id, sortEdges(edges)]));
  }

  /** The principal that a reference means; bare ids must mean exactly one. */
  resolve(
    ref: string,
    path: readonly PropertyKey[],
    types: readonly Subject['type'][],
  ): Subject | undefined {
    const candidates = readings(ref)
      .filter(({ type }) => types.includes(type))
      .filter(({ type, id }) =>
        type === 'workspace' ? this.workspaces.has(id) : this.edges[type].has(id),
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
}

/** What a user is called, and what is wrong where another is called so (ID-2, ADM-4). */
function namesOf({
  id,
  external_id,
  email,
}: Entry<'users'>): (readonly [name: string, problem: (twin: string) => string])[] {
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
              `user \`${id}\` has the external id of user \`${twin}\`: keep one (ID-2)`,
          ] as const,
        ]),
    ...(email === undefined
      ? []
      : [
          [
            name('email', foldCase(email)),
            (twin: string) =>
              `user \`${id}\` has the e-mail of user \`${twin}\`, case aside: keep one (ADM-4)`,
          ] as const,
        ]),
  ];
}
