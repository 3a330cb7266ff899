/** Ownership of paths (TREE-2, ADM-2, ADM-3). */
import type { OwnerRecord } from '../../engine/records.ts';
import type { Context } from '../context.ts';
import { pathOf } from '../input.ts';
import { existingUser, userIn } from '../principals.ts';
import { denied, notFound } from '../refused.ts';
import { ownerView } from '../read/view.ts';
import type { World } from '../world.ts';
import { Rights, whoManages } from './rights.ts';

export interface SetOwner {
  readonly path: string;
  readonly owner: string;
}

const OTHERS = ['a holder of admin who holds all five actions there'];

/** Makes a user the owner; what the owner before had given there becomes the new owner's (TREE-2). */
export function setOwner(context: Context, request: SetOwner): object {
  const { world, authority } = context;
  const path = pathOf('path', request.path);
  const user = existingUser(world, 'owner', request.owner);
  mayAppoint(context, path);
  if (user.id === authority.user?.id && !authority.all)
    throw denied(
      'ADM-2',
      `\`${authority.name}\` may not make itself the owner of '${path}'`,
      'another who may set it',
    );
  const before = world.get('owner', path);
  const grantor = grantorOf(context, path, before, user.id);
  const record: OwnerRecord = { path, owner: user.id, ...(grantor === '' ? {} : { grantor }) };
  if (before === undefined || before.owner !== user.id || before.grantor !== record.grantor)
    world.put('owner', path, record);
  if (before?.owner !== user.id) {
    if (before !== undefined) {
      disown(world, before.owner, path);
      context.follows.successions.push({ from: before.owner, to: user.id, path });
      context.follows.losses.push({ of: { type: 'user', id: before.owner }, path });
    }
    // Its grants may have changed nothing yet: the record is read again.
    const heir = userIn(world, user.id) ?? user;
    world.put('user', user.id, { ...heir, owns: [...heir.owns, path].sort() });
  }
  context.follows.later = (then) => {
    const stands = then.get('owner', path);
    if (stands === undefined)
      throw denied(
        'ADM-2',
        `\`${authority.name}\` may set the owner of '${path}' only by what its owner \`user:${before?.owner ?? ''}\` has given: the new ownership would fall with it`,
        whoManages(then, path, OTHERS),
      );
    return { owner: ownerView(stands) };
  };
  return {};
}

/**
 * By whose right the ownership is from now on. Who hands over what it owns hands over the right that it owns it by;
 * to name the same owner again makes its ownership stronger, or leaves it as it is.
 */
function grantorOf(
  { world, authority }: Context,
  path: string,
  before: OwnerRecord | undefined,
  owner: string,
): string {
  const { all, grantor, user } = authority;
  if (before?.owner === owner && (!all || before.grantor === undefined))
    return before.grantor ?? '';
  if (all || before === undefined || before.owner !== user?.id) return grantor;
  const without = new Rights(world, { row: () => true, owner: (at) => at !== path });
  return without.mayAppoint(user.id, path) === undefined ? (before.grantor ?? '') : grantor;
}

/** ADM-2: owners there or above, holders of `admin` who hold all that an owner has, superusers. */
function mayAppoint({ world, authority }: Context, path: string): void {
  if (authority.all) return;
  const id = authority.user?.id ?? '';
  const rights = new Rights(world);
  if (rights.mayAppoint(id, path) !== undefined) return;
  if (!rights.manages(id, path)) throw mayNotChange({ world, authority }, path);
  throw denied(
    'ADM-2',
    `\`${authority.name}\` does not hold ${rights.lacking(id, path).join(', ')} on '${path}' itself, which an owner has`,
    whoManages(world, path, OTHERS),
  );
}

export function removeOwner(context: Context, request: { readonly path: string }): object {
  const { world, authority } = context;
  const path = pathOf('path', request.path);
  const before = world.get('owner', path)?.owner;
  if (before === undefined) throw notFound(`'${path}' has no owner`);
  // TREE-4: owners of the path or above, holders of `admin`, superusers.
  if (!authority.all && !new Rights(world).manages(authority.user?.id ?? '', path))
    throw mayNotChange(context, path);
  disown(world, before, path);
  world.put('owner', path, undefined);
  context.follows.losses.push({ of: { type: 'user', id: before }, path });
  return {};
}

function mayNotChange({ world, authority }: Pick<Context, 'world' | 'authority'>, path: string) {
  return denied(
    'ADM-2',
    `\`${authority.name}\` may not change who owns '${path}'`,
    whoManages(world, path, OTHERS),
  );
}

function disown(world: World, id: string, path: string): void {
  const user = world.get('user', id);
  if (user !== undefined)
    world.put('user', id, { ...user, owns: user.owns.filter((owned) => owned !== path) });
}
