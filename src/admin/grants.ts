/** Grants and ownership (TREE-1 to TREE-4, ADM-2, ADM-3). */
import { TREE_BIT } from '../engine/action.ts';
import type { GrantRow, TreeAction } from '../engine/records.ts';
import type { Context } from './context.ts';
import { actionsOf, pathOf } from './input.ts';
import { cascade, givenBelow, managesPath, rightToGive, sameRow } from './justify.ts';
import {
  existingUser,
  grantsOf,
  nameOf,
  parseName,
  principalOf,
  putGrants,
  userIn,
} from './principals.ts';
import { denied, invalid, notFound } from './refused.ts';
import { grantView, ownerView } from './view.ts';
import type { World } from './world.ts';

export interface CreateGrant {
  readonly principal: string;
  readonly path: string;
  readonly actions: readonly string[];
  readonly grant_option: boolean;
}

export function createGrant(context: Context, request: CreateGrant): object {
  const { world, authority } = context;
  const path = pathOf('path', request.path);
  const actions = actionsOf('actions', request.actions);
  if (actions.length === 0)
    throw invalid('actions', 'is empty: give some of read, write, create, delete, admin');
  const holder = principalOf(world, 'principal', request.principal);
  const name = nameOf(holder);
  if (!authority.all) mustBeAbleToGive(context, path, actions);
  if (name === authority.name && !authority.all)
    throw denied('ADM-2', `\`${name}\` may not grant to itself`, 'another who may grant there');
  const row: GrantRow = {
    path,
    actions,
    grantor: authority.grantor,
    grantOption: request.grant_option,
  };
  const rows = grantsOf(world, holder);
  const before = rows.find((other) => sameRow(other, row));
  putGrants(world, holder, [...rows.filter((other) => other !== before), row]);
  // A weaker row in the place of a stronger one takes away what others were given by it.
  if (before !== undefined && isWeaker(row, before))
    context.revoked.push(...cascade(world, [{ of: holder, path }]));
  return { grant: grantView(name, row) };
}

function isWeaker(row: GrantRow, before: GrantRow): boolean {
  return (
    (before.grantOption && !row.grantOption) ||
    before.actions.some((action) => !row.actions.includes(action))
  );
}

/** @throws Refused with who could (ADM-2) */
function mustBeAbleToGive(
  { world, authority }: Context,
  path: string,
  actions: readonly TreeAction[],
): void {
  const id = authority.user?.id ?? '';
  for (const action of actions)
    if (rightToGive(world, id, path, action) === undefined)
      throw denied(
        'ADM-2',
        `\`${authority.name}\` may not grant ${action} on '${path}'`,
        whoManages(world, path),
      );
}

/** Who could change grants at a path: its owners by name, and the kinds of others. */
function whoManages(world: World, path: string): string {
  const labels = path === '' ? [] : path.split('.');
  const ancestors = [...labels.keys(), labels.length].map((count) =>
    labels.slice(0, count).join('.'),
  );
  const owners = ancestors.flatMap((at) => {
    const owner = world.get('owner', at)?.owner;
    return owner === undefined ? [] : [`user:${owner}, who owns '${at}'`];
  });
  return [...owners, 'a holder of admin who holds it there', 'a superuser'].join(', or ');
}

export interface RevokeGrant {
  readonly principal: string;
  readonly path: string;
  readonly actions: readonly string[];
  readonly grantor: string;
}

export function revokeGrant(context: Context, request: RevokeGrant): object {
  const { world } = context;
  const path = pathOf('path', request.path);
  const actions = actionsOf('actions', request.actions);
  const holder = principalOf(world, 'principal', request.principal);
  const rows = grantsOf(world, holder).filter((row) => row.path === path);
  const wanted = rowsMeant(context, rows, request.grantor, path);
  if (wanted.length === 0)
    throw notFound(
      `\`${nameOf(holder)}\` has no grant on '${path}'${request.grantor === '' ? '' : ` from \`${request.grantor}\``} (ADM-3)`,
    );
  for (const row of wanted) mayRevoke(context, row);
  const missing = actions.filter((action) => !wanted.some((row) => row.actions.includes(action)));
  if (missing.length > 0)
    throw notFound(`\`${nameOf(holder)}\` has no ${missing.join(', ')} on '${path}' (ADM-3)`);
  const others = grantsOf(world, holder).filter((row) => !wanted.includes(row));
  const rest = wanted.flatMap((row): GrantRow[] => {
    const kept = actions.length === 0 ? [] : row.actions.filter((one) => !actions.includes(one));
    return kept.length === 0 ? [] : [{ ...row, actions: kept }];
  });
  putGrants(world, holder, [...others, ...rest]);
  context.revoked.push(...cascade(world, [{ of: holder, path }]));
  return {};
}

/** The rows of a named grantor; without one the actor's own row, else all. */
function rowsMeant(
  { world, authority }: Context,
  rows: readonly GrantRow[],
  grantor: string,
  path: string,
): readonly GrantRow[] {
  if (grantor !== '') {
    const from = grantor === 'operator' ? '' : grantorName(world, rows, grantor);
    return rows.filter((row) => row.grantor === from);
  }
  const own = rows.filter((row) => row.grantor === authority.grantor);
  if (own.length > 0) return own;
  // Others' rows fall to whoever manages the path; `mayRevoke` looks at each.
  return managesPath(world, authority.user?.id ?? '', path) || authority.all || rows.length === 0
    ? rows
    : rows.slice(0, 1);
}

/** A grantor may be gone by now: its name in a row is enough. */
function grantorName(world: World, rows: readonly GrantRow[], grantor: string): string {
  return rows.some((row) => row.grantor === grantor)
    ? grantor
    : nameOf(principalOf(world, 'grantor', grantor));
}

function mayRevoke({ world, authority }: Context, row: GrantRow): void {
  if (authority.all || row.grantor === authority.grantor) return;
  if (managesPath(world, authority.user?.id ?? '', row.path)) return;
  throw denied(
    'ADM-3',
    `\`${authority.name}\` may not revoke a grant of \`${row.grantor === '' ? 'operator' : row.grantor}\` on '${row.path}'`,
    `its grantor, or ${whoManages(world, row.path)}`,
  );
}

export interface SetOwner {
  readonly path: string;
  readonly owner: string;
}

/** Makes a user the owner; what the owner before had given there becomes the new owner's (TREE-2). */
export function setOwner(context: Context, request: SetOwner): object {
  const { world } = context;
  const path = pathOf('path', request.path);
  const user = existingUser(world, 'owner', request.owner);
  mustManageOwnership(context, path);
  mustHoldAll(context, path);
  const before = world.get('owner', path)?.owner;
  if (before !== user.id) {
    if (before !== undefined) disown(world, before, path);
    world.put('owner', path, { path, owner: user.id });
    // Its grants may have changed nothing yet: the record is read again.
    const record = userIn(world, user.id) ?? user;
    world.put('user', user.id, { ...record, owns: [...record.owns, path].sort() });
    if (before !== undefined) {
      reassign(world, before, user.id, path);
      context.revoked.push(...cascade(world, [{ of: { type: 'user', id: before }, path }]));
    }
  }
  return { owner: ownerView({ path, owner: user.id }) };
}

export function removeOwner(context: Context, request: { readonly path: string }): object {
  const { world } = context;
  const path = pathOf('path', request.path);
  const before = world.get('owner', path)?.owner;
  if (before === undefined) throw notFound(`'${path}' has no owner`);
  mustManageOwnership(context, path);
  disown(world, before, path);
  world.put('owner', path, undefined);
  context.revoked.push(...cascade(world, [{ of: { type: 'user', id: before }, path }]));
  return {};
}

/** TREE-4: owners of the path or above, holders of `admin`, superusers. */
function mustManageOwnership({ world, authority }: Context, path: string): void {
  if (authority.all || managesPath(world, authority.user?.id ?? '', path)) return;
  throw denied(
    'ADM-2',
    `\`${authority.name}\` may not change who owns '${path}'`,
    whoManages(world, path),
  );
}

/** ADM-2: an owner has all five actions, so that a holder of `admin` who makes one must hold all five itself. */
function mustHoldAll({ world, authority }: Context, path: string): void {
  if (authority.all) return;
  const id = authority.user?.id ?? '';
  const lacking = TREE_ORDER.filter((action) => {
    const right = rightToGive(world, id, path, action);
    return right === undefined || right === 'grant_option';
  });
  if (lacking.length > 0)
    throw denied(
      'ADM-2',
      `\`${authority.name}\` does not hold ${lacking.join(', ')} on '${path}' itself, which an owner has`,
      whoManages(world, path),
    );
}

function disown(world: World, id: string, path: string): void {
  const user = world.get('user', id);
  if (user !== undefined)
    world.put('user', id, { ...user, owns: user.owns.filter((owned) => owned !== path) });
}

/**
 * What a user has given at a path and below, and could not give any more, becomes another's who could. Rows that
 * depend on it stand on. What the other could not give either is left for `cascade`.
 */
export function reassign(world: World, from: string, to: string, path: string): void {
  for (const [holder, at] of givenBelow(world, `user:${from}`, path)) {
    if (holder === `user:${to}`) continue;
    const subject = parseName(holder);
    const rows = grantsOf(world, subject);
    const row = rows.find((one) => one.path === at && one.grantor === `user:${from}`);
    const moved = (row?.actions ?? []).filter(
      (action) =>
        rightToGive(world, from, at, action) === undefined &&
        rightToGive(world, to, at, action) !== undefined,
    );
    if (row === undefined || moved.length === 0) continue;
    const left = row.actions.filter((action) => !moved.includes(action));
    const own = rows.find((one) => one.path === at && one.grantor === `user:${to}`);
    const taken: GrantRow = {
      path: at,
      actions: inOrder([...moved, ...(own?.actions ?? [])]),
      grantor: `user:${to}`,
      grantOption: row.grantOption || own?.grantOption === true,
    };
    const others = rows.filter((one) => one !== row && one !== own);
    putGrants(world, subject, [
      ...others,
      taken,
      ...(left.length === 0 ? [] : [{ ...row, actions: left }]),
    ]);
  }
}

const TREE_ORDER: readonly TreeAction[] = [...TREE_BIT.keys()];

function inOrder(actions: readonly TreeAction[]): readonly TreeAction[] {
  return TREE_ORDER.filter((action) => actions.includes(action));
}
