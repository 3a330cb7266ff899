/** Users (ID-2, ADM-4, ADM-5, ADM-8). */
import { isDeepStrictEqual } from 'node:util';
import { USER_TYPES } from '../../engine/model.ts';
import type { UserRecord } from '../../engine/records.ts';
import { printable } from '../../engine/validate.ts';
import type { FactKey } from '../../store/store.ts';
import { highest, isAdministrator, requireAll, type Authority } from '../actor.ts';
import type { Context } from '../context.ts';
import { idOf, metadataOf, oneOf, signInOf } from '../input.ts';
import { emailTwin, externalTwin, idTwin, indexNames, keysOfNames } from './names.ts';
import { existingUser, groupsOf, nameOf, principalOf } from '../principals.ts';
import { alreadyExists, denied, invalid, Refused } from '../refused.ts';
import { addMember } from './members.ts';
import { createRoleInGroups } from './new-role.ts';
import { mustLeaveOut, OF_A_NEW_USER, OF_A_USER_WITHOUT_LOGIN } from './taken.ts';
import { buriedPrincipals, mayCreateAgain } from './tombstones.ts';
import { userView } from '../read/view.ts';
import type { World } from '../world.ts';

export interface UserInput {
  readonly id: string;
  readonly type: string;
  readonly external_id: string;
  readonly email: string;
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
  readonly superuser: boolean;
  readonly createrole: boolean;
  readonly no_login: boolean;
  readonly roles: readonly string[];
  readonly workspaces: readonly string[];
  readonly suspended?: boolean;
  /** Groups that it becomes a member of with the admin option, `role:team`; each is in `roles` or `workspaces`. */
  readonly admin_of?: readonly string[];
}

export function createUser(context: Context, { user }: { readonly user: UserInput }): object {
  mustLeaveOut('user', user, OF_A_NEW_USER);
  if (user.no_login) return createWithoutLogin(context, user);
  const { world, authority } = context;
  mayCreateUsers(authority);
  const id = idOf('user.id', user.id);
  if (user.superuser) requireAll(authority, 'ADM-4', 'create a superuser');
  if (user.createrole) requireAll(authority, 'ADM-4', 'create a user with createrole');
  world.prefetch(keysOfNewUser(user));
  const stored = world.get('user', id);
  if (stored !== undefined && !stored.deleted) throw alreadyExists(`user \`${id}\` exists already`);
  if (world.get('role', id) !== undefined)
    throw alreadyExists(`\`${id}\` is a role: users and roles share one name space`);
  indexNames(world);
  const twin = idTwin(world, id);
  if (twin !== undefined)
    throw alreadyExists(`user \`${id}\` differs from \`${twin}\` only in case`, 'ID-2');
  mayCreateAgain(context, buriedPrincipals(world, id));
  const externalId = signInOf('user.external_id', user.external_id);
  const email = signInOf('user.email', user.email);
  const metadata = metadataOf('user.metadata', user.metadata);
  maySetProfile(authority, { externalId, email, metadata });
  mustBeFree(world, id, { externalId, email });
  world.put('user', id, {
    id,
    type: user.type === '' ? 'user' : oneOf('user.type', user.type, USER_TYPES),
    ...(externalId === undefined ? {} : { externalId }),
    ...(email === undefined ? {} : { email }),
    ...(metadata === undefined ? {} : { metadata }),
    superuser: user.superuser,
    createrole: user.createrole,
    suspended: user.suspended ?? false,
    deleted: false,
    roles: [],
    workspaces: [],
    grants: [],
    owns: [],
  });
  joinGroups(context, id, user);
  return { user: userView(existingUser(world, 'user.id', `user:${id}`)) };
}

function joinGroups(
  context: Context,
  id: string,
  { roles, workspaces, admin_of: managed = [] }: UserInput,
): void {
  const groups = [...roles.map((id) => `role:${id}`), ...workspaces.map((id) => `workspace:${id}`)];
  for (const group of managed)
    if (!groups.includes(group))
      throw invalid(
        'user.admin_of',
        `\`${printable(group)}\` is none of its groups: list it under roles or workspaces, too`,
      );
  for (const group of groups)
    addMember(context, { group, member: `user:${id}`, admin_option: managed.includes(group) });
}

/** A user that cannot log in and has members is a role: it is stored as one. */
function createWithoutLogin(context: Context, user: UserInput): object {
  mustLeaveOut('user', user, OF_A_USER_WITHOUT_LOGIN);
  const { id, roles, workspaces } = user;
  createRoleInGroups(context, { role: { id, level: 0, permissions: [], roles, workspaces } });
  context.warnings.push(`\`${user.id}\` is a role: a user that cannot log in is one`);
  return { user: { id: user.id, no_login: true } };
}

/** What is looked at before a user is created. */
function keysOfNewUser({ id, email, external_id }: UserInput): FactKey[] {
  return [
    { kind: 'user', id },
    { kind: 'role', id },
    { kind: 'tombstone', id: `role:${id}` },
    ...keysOfNames({ id, email, externalId: external_id }),
  ];
}

/** What conditions and sign-in read of a user; `undefined`: not there. */
interface Profile {
  readonly externalId: string | undefined;
  readonly email: string | undefined;
  readonly metadata: UserRecord['metadata'];
}

/** ADM-4: by an e-mail or an external id whoever signs in is somebody, and conditions read metadata. */
function maySetProfile(authority: Authority, { externalId, email, metadata }: Profile): void {
  if (isAdministrator(authority)) return;
  const given = [
    ...(email === undefined ? [] : ['an e-mail']),
    ...(externalId === undefined ? [] : ['an external id']),
    ...(metadata === undefined ? [] : ['metadata']),
  ];
  if (given.length > 0)
    throw denied(
      'ADM-4',
      `\`${authority.name}\` may not give a user ${given.join(' or ')}`,
      'a holder of postern:admin, or a superuser',
    );
}

/** ADM-4: nobody changes its own. */
function mustBeAnothers(authority: Authority, user: UserRecord, next: Profile): void {
  if (authority.user?.id !== user.id) return;
  const { externalId, email, metadata } = user;
  if (isDeepStrictEqual({ externalId, email, metadata }, next)) return;
  throw denied(
    'ADM-4',
    `\`${authority.name}\` may not change its own e-mail, external id or metadata`,
    'another who may manage it, or the operator',
  );
}

/** ID-2, ADM-4: no two users have one external id, or e-mails that differ only in case. */
function mustBeFree(
  world: World,
  id: string,
  { externalId, email }: Pick<Profile, 'externalId' | 'email'>,
): void {
  const same = externalId === undefined ? undefined : externalTwin(world, id, externalId);
  if (same !== undefined)
    throw alreadyExists(
      `external id \`${printable(externalId ?? '')}\` is that of user \`${same}\``,
      'ID-2',
    );
  const twin = email === undefined ? undefined : emailTwin(world, id, email);
  if (twin !== undefined)
    throw alreadyExists(
      `e-mail \`${printable(email ?? '')}\` is that of user \`${twin}\`, case aside`,
      'ADM-4',
    );
}

function mayCreateUsers(authority: Authority): void {
  if (isAdministrator(authority) || authority.user?.createrole === true) return;
  throw denied(
    'ADM-4',
    `\`${authority.name}\` may not create users`,
    'a user with createrole, a holder of postern:admin, or a superuser',
  );
}

/** Items of one BatchCreateUsers. */
const MAX_BATCH = 1_000;

/** Each item for itself: a refusal stands in its place of the answer. */
export function batchCreateUsers(
  context: Context,
  { users }: { readonly users: readonly UserInput[] },
): object {
  if (users.length > MAX_BATCH)
    throw invalid('users', `has ${users.length} items: at most ${MAX_BATCH} are allowed`);
  mayCreateUsers(context.authority);
  context.world.prefetch(users.flatMap(keysOfNewUser));
  return {
    items: users.map((user) => {
      try {
        if (user.roles.length + user.workspaces.length + (user.admin_of ?? []).length > 0)
          throw invalid('roles', 'cannot be given in a batch: add members afterwards');
        return { ...createUser(context, { user }), error: '', rule: '' };
      } catch (error) {
        // Checked before anything is written: a refused item has left nothing.
        if (!(error instanceof Refused)) throw error;
        return { error: error.message, rule: error.rule };
      }
    }),
  };
}

export interface UpdateUser {
  readonly id: string;
  readonly external_id?: string;
  readonly email?: string;
  readonly type?: string;
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
  readonly superuser?: boolean;
  readonly createrole?: boolean;
  readonly suspended?: boolean;
}

export function updateUser(context: Context, request: UpdateUser): object {
  const { world, authority } = context;
  const user = existingUser(world, 'id', `user:${request.id}`);
  const { superuser, createrole, suspended } = request;
  if (superuser !== undefined && superuser !== user.superuser)
    requireAll(authority, 'ADM-5', superuser ? 'make a superuser' : 'unmake a superuser');
  if (createrole !== undefined && createrole !== user.createrole)
    requireAll(authority, 'ADM-4', 'give or take createrole');
  mayManageUser(world, authority, user);
  const { externalId, email, metadata, ...rest } = user;
  const text = (
    field: string,
    given: string | undefined,
    old: string | undefined,
  ): string | undefined => (given === undefined ? old : signInOf(field, given));
  const nextExternal = text('external_id', request.external_id, externalId);
  const nextEmail = text('email', request.email, email);
  const nextMetadata =
    request.metadata === undefined ? metadata : metadataOf('metadata', request.metadata);
  const profile = { externalId: nextExternal, email: nextEmail, metadata: nextMetadata };
  mustBeAnothers(authority, user, profile);
  indexNames(world);
  // What is as it was may be a twin from before this rule.
  mustBeFree(world, user.id, {
    externalId: nextExternal === externalId ? undefined : nextExternal,
    email: nextEmail === email ? undefined : nextEmail,
  });
  world.put('user', user.id, {
    ...rest,
    type: request.type === undefined ? user.type : oneOf('type', request.type, USER_TYPES),
    ...(nextExternal === undefined ? {} : { externalId: nextExternal }),
    ...(nextEmail === undefined ? {} : { email: nextEmail }),
    ...(nextMetadata === undefined ? {} : { metadata: nextMetadata }),
    superuser: superuser ?? user.superuser,
    createrole: createrole ?? user.createrole,
    suspended: suspended ?? user.suspended,
  });
  if (user.superuser && superuser === false)
    context.follows.losses.push({ of: { type: 'user', id: user.id }, path: '' });
  return { user: userView(existingUser(world, 'id', `user:${user.id}`)) };
}

/** ADM-5: administrators manage users strictly below their own level; superusers are managed by superusers. */
function mayManageUser(world: World, authority: Authority, user: UserRecord): void {
  if (authority.all) return;
  const name = nameOf({ type: 'user', id: user.id });
  if (!isAdministrator(authority))
    throw denied(
      'ADM-5',
      `\`${authority.name}\` may not manage \`${name}\``,
      'a holder of postern:admin at a higher level, or a superuser',
    );
  if (user.superuser || user.createrole)
    throw denied(
      'ADM-4',
      `\`${name}\` has superuser or createrole: \`${authority.name}\` may not manage it`,
      'a superuser',
    );
  const level = highest(groupsOf(world, user).roles.values());
  if (level >= authority.level)
    throw denied(
      'ADM-5',
      `\`${name}\` has level ${level} and \`${authority.name}\` has level ${authority.level}`,
      'an administrator of a level strictly above it, or a superuser',
    );
}

export interface DeleteUser {
  readonly id: string;
  readonly reassign_to: string;
}

/** ADM-8, in one commit. */
export function deleteUser(context: Context, request: DeleteUser): object {
  const { world, authority } = context;
  const user = existingUser(world, 'id', `user:${request.id}`);
  mayManageUser(world, authority, user);
  const name = nameOf({ type: 'user', id: user.id });
  const heir =
    request.reassign_to === ''
      ? undefined
      : principalOf(world, 'reassign_to', request.reassign_to, ['user']);
  if (heir?.id === user.id)
    throw invalid('reassign_to', `\`${request.reassign_to}\` is the user that is deleted`);
  const keys = world.get('refs', name)?.keys ?? [];
  world.prefetch([
    ...keys.map((id) => ({ kind: 'key' as const, id })),
    ...user.owns.map((id) => ({ kind: 'owner' as const, id })),
  ]);
  world.prefetch(
    keys.flatMap((id) =>
      (world.get('key', id)?.policySets ?? []).map((set) => ({
        kind: 'refs' as const,
        id: `policy_set:${set}`,
      })),
    ),
  );
  for (const key of keys) world.put('key', key, undefined);
  for (const path of user.owns) world.put('owner', path, undefined);
  forgetCreator(world, name);
  const { losses, successions, deleted } = context.follows;
  deleted.push({
    id: user.id,
    type: user.type,
    superuser: false,
    createrole: false,
    suspended: false,
    deleted: true,
    roles: [],
    workspaces: [],
    grants: [],
    owns: [],
  });
  if (heir !== undefined) successions.push({ from: user.id, to: heir.id, path: '' });
  losses.push({ of: { type: 'user', id: user.id }, path: '' });
  return {};
}

/** Who is created again under the same id manages nothing of the old one's (ADM-4). */
function forgetCreator(world: World, name: string): void {
  for (const role of world.all('role'))
    if (role.creator === name) {
      const { creator: _gone, ...rest } = role;
      world.put('role', role.id, rest);
    }
  for (const workspace of world.all('workspace'))
    if (workspace.creator === name) {
      const { creator: _gone, ...rest } = workspace;
      world.put('workspace', workspace.id, rest);
    }
}
