/**
 * Records as text, in little room: a user with ten grants takes a third of its JSON. Whatever is not of the usual
 * shape is kept as JSON, so that nothing is ever lost.
 */
import type { FactValue } from '../store.ts';
import { TREE_ACTIONS, type TreeAction } from '../../engine/model.ts';
import type { GrantRow, UserRecord } from '../../engine/records.ts';

/** In the order that records list them; a grant's actions are a mask of these. */
const ACTIONS: readonly TreeAction[] = TREE_ACTIONS;
const FLAGS = ['superuser', 'createrole', 'suspended', 'deleted'] as const;

/** @throws TypeError where a value is no JSON */
export function encodeRecord(value: FactValue): string {
  const json = JSON.stringify(value);
  const compact = isUser(value) ? JSON.stringify(shorten(value)) : json;
  // The proof, instead of a list of all that could be different: shape, order and values come back the same.
  return compact !== json && JSON.stringify(decodeRecord(compact)) === json ? compact : json;
}

/** @throws Error where the text is none of ours */
export function decodeRecord(text: string): FactValue {
  const value: unknown = JSON.parse(text);
  // An array is what `shorten` made; a record is never one.
  return Array.isArray(value) ? lengthen(value as ShortUser) : (value as FactValue);
}

type Rest = Pick<UserRecord, 'externalId' | 'email' | 'metadata'>;
/** What stands at the end of a record. */
type More = Pick<UserRecord, 'adminOf' | 'sessions'>;
/**
 * Path, mask of actions, grantor, and 1 with the grant option for all actions. Where it is for some of them, twice their
 * mask: whoever knows only the 1 reads that as no option.
 */
type ShortGrant = [path: string, actions: number, grantor: string, option?: number];
type ShortUser = [
  id: string,
  type: UserRecord['type'],
  flags: number,
  roles: readonly string[],
  workspaces: readonly string[],
  grants: readonly ShortGrant[],
  owns: readonly string[],
  rest?: Rest,
  more?: More,
];

function isUser(value: FactValue): value is UserRecord {
  return 'grants' in value && 'owns' in value;
}

function shorten(user: UserRecord): ShortUser {
  const { id, type, roles, workspaces, grants, owns, externalId, email, metadata } = user;
  const short: ShortUser = [
    id,
    type,
    FLAGS.reduce((flags, name, bit) => flags | (user[name] ? 1 << bit : 0), 0),
    roles,
    workspaces,
    grants.map(shortGrant),
    owns,
  ];
  const { adminOf, sessions } = user;
  const more = adminOf !== undefined || sessions !== undefined;
  if (more || externalId !== undefined || email !== undefined || metadata !== undefined)
    short.push({
      ...(externalId === undefined ? {} : { externalId }),
      ...(email === undefined ? {} : { email }),
      ...(metadata === undefined ? {} : { metadata }),
    });
  if (more)
    short.push({
      ...(adminOf === undefined ? {} : { adminOf }),
      ...(sessions === undefined ? {} : { sessions }),
    });
  return short;
}

function lengthen(short: ShortUser): UserRecord {
  const [id, type, flags, roles, workspaces, grants, owns, rest, more] = short;
  // Coerced, a text of a number would be believed.
  if (!isMask(flags, FLAGS.length))
    throw new Error(`its flags are no number below ${1 << FLAGS.length}`);
  return {
    id,
    type,
    ...rest,
    superuser: (flags & 1) !== 0,
    createrole: (flags & 2) !== 0,
    suspended: (flags & 4) !== 0,
    deleted: (flags & 8) !== 0,
    roles,
    workspaces,
    grants: grants.map(longGrant),
    owns,
    ...more,
  };
}

/** The lists of all masks: grants that are kept by the thousand share them. */
const LISTS = Array.from({ length: 1 << ACTIONS.length }, (_unused, mask) =>
  Object.freeze(ACTIONS.filter((_, bit) => (mask & (1 << bit)) !== 0)),
);

function actionsOf(mask: number): readonly TreeAction[] {
  return LISTS[mask] ?? [];
}

function maskOf(actions: readonly TreeAction[]): number {
  return actions.reduce((bits, action) => bits | (1 << ACTIONS.indexOf(action)), 0);
}

function shortGrant({ path, actions, grantor, grantOption, options }: GrantRow): ShortGrant {
  const short: ShortGrant = [path, maskOf(actions), grantor];
  if (grantOption) short.push(1);
  else if (options !== undefined) short.push(maskOf(options) << 1);
  return short;
}

function isMask(value: unknown, bits: number): boolean {
  return Number.isInteger(value) && Number(value) >= 0 && Number(value) < 1 << bits;
}

function longGrant([path, mask, grantor, option]: ShortGrant): GrantRow {
  const some = option !== undefined && option !== 1;
  const isTwice = isMask(option, ACTIONS.length + 1) && Number(option) % 2 === 0;
  if (!isMask(mask, ACTIONS.length) || (some && !isTwice))
    throw new Error('a grant is not one of ours');
  const row = { path, actions: actionsOf(mask), grantor, grantOption: option === 1 };
  return some ? { ...row, options: actionsOf(option / 2) } : row;
}
