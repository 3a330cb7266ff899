/** Principals of a tenant: by reference, with what they hold themselves and by their groups. */
import type {
  GrantRow,
  Records,
  RoleRecord,
  UserRecord,
  WorkspaceRecord,
} from '../engine/records.ts';
import { PRINCIPAL_TYPES, type PrincipalType, type Subject } from '../engine/model.ts';
import { printable } from '../engine/validate.ts';
import { invalid, notFound } from './refused.ts';
import { inRowOrder } from './tree/rows.ts';
import type { Reading, World } from './world.ts';

/** `user:alice`, as grants and derived records write principals. */
export function nameOf({ type, id }: Subject): string {
  return `${type}:${id}`;
}

/** What `nameOf` wrote. @throws Error where it did not: nobody else is taken for a user */
export function parseName(name: string): Subject {
  const colon = name.indexOf(':');
  const type = PRINCIPAL_TYPES.find((known) => known === name.slice(0, Math.max(colon, 0)));
  if (type === undefined)
    throw new Error(`\`${printable(name)}\` names no ${PRINCIPAL_TYPES.join(', ')}`);
  return { type, id: name.slice(colon + 1) };
}

/**
 * The principal that a reference means, which exists: `user:alice`, or bare where only one of that id exists.
 * @throws Refused INVALID_ARGUMENT where it may mean several, NOT_FOUND where it means none
 */
export function principalOf(
  world: World,
  field: string,
  ref: string,
  types: readonly PrincipalType[] = PRINCIPAL_TYPES,
): Subject {
  const candidates = readings(ref)
    .filter(({ type, id }) => types.includes(type) && id !== '')
    .filter((subject) => exists(world, subject));
  const [found, second] = candidates;
  if (found === undefined)
    throw ref === ''
      ? invalid(field, 'is empty: name a principal')
      : notFound(`${field}: there is no ${types.join(' or ')} \`${printable(ref)}\``, {
          kinds: types,
          id: readings(ref)[0]?.id ?? ref,
        });
  if (second !== undefined)
    throw invalid(
      field,
      `\`${printable(ref)}\` may mean ${nameOf(found)} or ${nameOf(second)}: write which`,
    );
  return found;
}

/** What a reference may mean. With a type it means that one, whoever else is called so. */
export function readings(ref: string): Subject[] {
  const typed = PRINCIPAL_TYPES.find((type) => ref.startsWith(`${type}:`));
  return typed === undefined
    ? PRINCIPAL_TYPES.map((type) => ({ type, id: ref }))
    : [{ type: typed, id: ref.slice(typed.length + 1) }];
}

function exists(world: World, { type, id }: Subject): boolean {
  return type === 'user' ? userIn(world, id) !== undefined : world.get(type, id) !== undefined;
}

/** A user that is there: a tombstone is not (ACL-4). */
export function userIn(world: World, id: string): UserRecord | undefined {
  const user = world.get('user', id);
  return user?.deleted === true ? undefined : user;
}

/** @throws Refused NOT_FOUND */
export function existingUser(world: World, field: string, ref: string): UserRecord {
  const { id } = principalOf(world, field, ref, ['user']);
  const user = userIn(world, id);
  if (user === undefined) throw notFound(`${field}: there is no user \`${printable(ref)}\``);
  return user;
}

/** A principal's record, of whichever type. */
function recordOf(
  world: World,
  { type, id }: Subject,
): UserRecord | RoleRecord | WorkspaceRecord | undefined {
  return type === 'user' ? userIn(world, id) : world.get(type, id);
}

export function grantsOf(world: World, subject: Subject): readonly GrantRow[] {
  return recordOf(world, subject)?.grants ?? [];
}

/** Writes a principal's grant rows, sorted as records have them. */
export function putGrants(world: World, subject: Subject, rows: readonly GrantRow[]): void {
  writeGrants(world, subject, rows, (...record) => world.put(...record));
}

/** As `putGrants`, for rows that may be very many. */
export async function putGrantsInTurns(
  world: Reading,
  subject: Subject,
  rows: readonly GrantRow[],
): Promise<void> {
  await writeGrants(world, subject, rows, (...record) => world.putInTurns(...record));
}

function writeGrants<T>(
  world: World,
  { type, id }: Subject,
  rows: readonly GrantRow[],
  put: <K extends PrincipalType>(kind: K, id: string, value: Records[K]) => T,
): T | undefined {
  const grants = rows.toSorted(inRowOrder);
  switch (type) {
    case 'user': {
      const record = world.get('user', id);
      return record && put('user', id, { ...record, grants });
    }
    case 'role': {
      const record = world.get('role', id);
      return record && put('role', id, { ...record, grants });
    }
    case 'workspace': {
      const record = world.get('workspace', id);
      return record && put('workspace', id, { ...record, grants });
    }
  }
  return undefined;
}

/** The groups that a principal is in, directly or not, itself not counted. */
export interface Groups {
  readonly roles: ReadonlyMap<string, RoleRecord>;
  readonly workspaces: ReadonlyMap<string, WorkspaceRecord>;
}

export function groupsOf(
  world: World,
  direct: { readonly roles: readonly string[]; readonly workspaces: readonly string[] },
): Groups {
  const roles = new Map<string, RoleRecord>();
  const workspaces = new Map<string, WorkspaceRecord>();
  const add = (id: string): void => {
    const role = world.get('role', id);
    if (role !== undefined) roles.set(id, role);
  };
  const join = (id: string): void => {
    const workspace = world.get('workspace', id);
    if (workspace !== undefined) workspaces.set(id, workspace);
  };
  world.prefetch(direct.roles.map((id) => ({ kind: 'role', id })));
  world.prefetch(
    direct.roles.flatMap((id) =>
      (world.get('role', id)?.closure.roles ?? []).map((of) => ({ kind: 'role' as const, id: of })),
    ),
  );
  for (const id of direct.roles) {
    add(id);
    const closure = world.get('role', id)?.closure;
    closure?.roles.forEach(add);
    closure?.workspaces.forEach(join);
  }
  direct.workspaces.forEach(join);
  return { roles, workspaces };
}
