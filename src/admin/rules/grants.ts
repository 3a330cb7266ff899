/** Tree grants: given and revoked row by row (TREE-3, ADM-2, ADM-3). */
import type { TreeAction, Subject } from '../../engine/model.ts';
import type { GrantRow } from '../../engine/records.ts';
import type { Context } from '../context.ts';
import { actionsOf, pathOf } from '../input.ts';
import { grantsOf, nameOf, principalOf, putGrants } from '../principals.ts';
import { denied, invalid, notFound } from '../refused.ts';
import { remaining } from '../tree/remaining.ts';
import { mustFit } from '../tree/row-limits.ts';
import { Rights, whoManages } from '../tree/rights.ts';
import { inOrder, onlyActions, optionsOf, rowOf, sameRow, withMore } from '../tree/rows.ts';
import { grantView } from '../read/view.ts';
import type { World } from '../world.ts';

export interface CreateGrant {
  readonly principal: string;
  readonly path: string;
  readonly actions: readonly string[];
  /** All the actions may be granted on. */
  readonly grant_option: boolean;
  /** These of them may be granted on. */
  readonly grant_options: readonly string[];
  /** The row is these actions and options and no others. */
  readonly replace: boolean;
}

const OTHERS = ['a holder of admin who holds it there', 'a holder of the grant option for it'];

export function createGrant(context: Context, request: CreateGrant): object {
  const { world, authority } = context;
  const path = pathOf('path', request.path);
  const actions = actionsOf('actions', request.actions);
  if (actions.length === 0)
    throw invalid('actions', 'is empty: give some of read, write, create, delete, admin');
  const options = optionsAsked(request, actions);
  const holder = principalOf(world, 'principal', request.principal);
  const name = nameOf(holder);
  if (!authority.all) mustBeAbleToGive(context, path, actions);
  if (name === authority.name && !authority.all)
    throw denied('ADM-2', `\`${name}\` may not grant to itself`, 'another who may grant there');
  const place = { path, grantor: authority.grantor };
  const rows = grantsOf(world, holder);
  const fresh = rowOf(place, actions, options);
  const before = rows.find((other) => sameRow(other, fresh));
  if (before === undefined)
    mustFit(
      { name, rows: rows.length },
      { name: authority.name, given: givenBy(world, authority.grantor) },
    );
  const row = before === undefined || request.replace ? fresh : withMore(before, actions, options);
  putGrants(world, holder, [...rows.filter((other) => other !== before), row]);
  const takenActions = (before?.actions ?? []).filter((one) => !row.actions.includes(one));
  const kept = optionsOf(row);
  const takenOptions =
    before === undefined ? [] : optionsOf(before).filter((one) => !kept.includes(one));
  // A weaker row in the place of a stronger one takes away what others were given by it.
  if (takenActions.length + takenOptions.length > 0)
    context.follows.losses.push({ of: holder, path });
  return {
    grant: grantView(name, row),
    taken_actions: takenActions,
    taken_options: takenOptions,
  };
}

function givenBy(world: World, grantor: string): number {
  return grantor === '' ? 0 : (world.get('refs', grantor)?.given.length ?? 0);
}

function optionsAsked(request: CreateGrant, actions: readonly TreeAction[]): readonly TreeAction[] {
  const options = actionsOf('grant_options', request.grant_options);
  if (request.grant_option && options.length > 0)
    throw invalid(
      'grant_options',
      'goes with `grant_option` false: that one means all the actions',
    );
  const beyond = options.filter((option) => !actions.includes(option));
  if (beyond.length > 0)
    throw invalid(
      'grant_options',
      `has ${beyond.join(', ')}, which \`actions\` has not: add it there`,
    );
  return request.grant_option ? actions : options;
}

/** @throws Refused with who could (ADM-2) */
function mustBeAbleToGive(
  { world, authority }: Context,
  path: string,
  actions: readonly TreeAction[],
): void {
  const rights = new Rights(world);
  for (const action of actions)
    if (rights.mayGive(authority.user?.id ?? '', path, action) === undefined)
      throw denied(
        'ADM-2',
        `\`${authority.name}\` may not grant ${action} on '${path}'`,
        whoManages(world, path, OTHERS),
      );
}

export interface RevokeGrant {
  readonly principal: string;
  readonly path: string;
  /** Empty: all. */
  readonly actions: readonly string[];
  /** Empty: the actor. */
  readonly grantor: string;
  readonly all_grantors: boolean;
  /** The actions stay, and may no longer be granted on. */
  readonly grant_option_only: boolean;
}

export function revokeGrant(context: Context, request: RevokeGrant): object {
  const { world, catalog } = context;
  const path = pathOf('path', request.path);
  const named = actionsOf('actions', request.actions);
  const holder = principalOf(world, 'principal', request.principal);
  const rows = grantsOf(world, holder);
  const { grant_option_only: optionOnly } = request;
  const meant = rowsMeant(
    context,
    request,
    holder,
    rows.filter((row) => row.path === path),
  );
  const held = optionOnly ? optionsOf : ({ actions }: GrantRow): readonly TreeAction[] => actions;
  const takenOf = (row: GrantRow): readonly TreeAction[] =>
    held(row).filter((action) => named.length === 0 || named.includes(action));
  const revoked = inOrder(meant.flatMap(takenOf));
  const missing = named.filter((action) => !revoked.includes(action));
  if (revoked.length === 0)
    throw notFound(
      `\`${nameOf(holder)}\` has no ${optionOnly ? 'grant option for ' : ''}${missing.length === 0 ? 'anything' : missing.join(', ')} on '${path}'${fromWhom(request, context)} (TREE-3)`,
    );
  const chosen = new Set(meant);
  const left = (row: GrantRow): GrantRow | undefined => {
    const gone = takenOf(row);
    const stays = (action: TreeAction): boolean => !gone.includes(action);
    if (optionOnly) return rowOf(row, row.actions, optionsOf(row).filter(stays));
    return onlyActions(row, row.actions.filter(stays));
  };
  putGrants(
    world,
    holder,
    rows.flatMap((row) => (chosen.has(row) ? (left(row) ?? []) : [row])),
  );
  context.follows.losses.push({ of: holder, path });
  // What the answer looks at once all has fallen is read with the rest.
  remaining(world, catalog, holder, path, revoked);
  context.follows.later = (then) => ({
    revoked: meant
      .filter((row) => takenOf(row).length > 0)
      .map((row) => grantView(nameOf(holder), rowOf(row, takenOf(row), optionsOf(row)))),
    missing_actions: missing,
    ...(optionOnly
      ? { remaining: [], remaining_more: 0 }
      : remaining(then, catalog, holder, path, revoked)),
  });
  return {};
}

/** The rows of the actor, of a named grantor, or of all (TREE-3, ADM-3). @throws Refused */
function rowsMeant(
  context: Context,
  request: RevokeGrant,
  holder: Subject,
  rows: readonly GrantRow[],
): readonly GrantRow[] {
  const { world, authority } = context;
  const { grantor, all_grantors: all } = request;
  if (all && grantor !== '')
    throw invalid('all_grantors', 'goes without `grantor`: leave one of the two out');
  const none = (from: string): Error =>
    notFound(`\`${nameOf(holder)}\` has no grant on '${request.path}'${from} (ADM-3)`);
  if (all) {
    mayRevokeAll(context, request.path);
    if (rows.length === 0) throw none('');
    return rows;
  }
  if (grantor !== '') {
    const from = grantor === 'operator' ? '' : grantorName(world, rows, grantor);
    const theirs = rows.filter((row) => row.grantor === from);
    if (theirs.length === 0) throw none(` from \`${grantor}\``);
    for (const row of theirs) mayRevoke(context, row);
    return theirs;
  }
  const own = rows.filter((row) => row.grantor === authority.grantor);
  if (own.length > 0) return own;
  const [other] = rows;
  if (other === undefined) throw none('');
  // Whoever may revoke what others gave says whose; everybody else learns only that it may not.
  mayRevoke(context, other);
  const givers = [...new Set(rows.map((row) => shown(row.grantor)))];
  throw none(
    ` from \`${authority.name}\`, but from ${givers.slice(0, 5).join(', ')}${givers.length > 5 ? ` and ${givers.length - 5} others` : ''}: name the grantor, or say all grantors`,
  );
}

function shown(grantor: string): string {
  return `\`${grantor === '' ? 'operator' : grantor}\``;
}

function fromWhom(request: RevokeGrant, { authority }: Context): string {
  if (request.all_grantors) return '';
  return ` from \`${request.grantor === '' ? authority.name : request.grantor}\``;
}

/** A grantor may be gone by now: its name in a row is enough. */
function grantorName(world: World, rows: readonly GrantRow[], grantor: string): string {
  return rows.some((row) => row.grantor === grantor)
    ? grantor
    : nameOf(principalOf(world, 'grantor', grantor));
}

/** TREE-3: an owner there or above, and superusers. */
function mayRevokeAll({ world, authority }: Context, path: string): void {
  if (authority.all || new Rights(world).owns(authority.user?.id ?? '', path)) return;
  throw denied(
    'TREE-3',
    `\`${authority.name}\` may not revoke what all grantors gave on '${path}'`,
    `${whoManages(world, path, [])}; a holder of admin there names one grantor after the other, and so`,
  );
}

function mayRevoke({ world, authority }: Context, row: GrantRow): void {
  if (authority.all || row.grantor === authority.grantor) return;
  if (new Rights(world).manages(authority.user?.id ?? '', row.path)) return;
  throw denied(
    'ADM-3',
    `\`${authority.name}\` may not revoke a grant of ${shown(row.grantor)} on '${row.path}'`,
    `its grantor, or ${whoManages(world, row.path, ['a holder of admin there'])}`,
  );
}
