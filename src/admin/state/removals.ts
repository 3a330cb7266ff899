/**
 * What applying a state would take away (ADM-10). Pure. That is what is stored and not listed (records, items of
 * lists, values of fields), and what a listed value takes the place of where that gave a right or a name: the owner of a
 * path, a key's user or base role, `superuser`. What a later state can take back is a change: a suspension, an end.
 */
import type { GrantRow, Records, RuleRecord, StateKind } from '../../engine/records.ts';
import { bodyOf, type StateFile } from '../../config/state.ts';
import type { FactValue } from '../../store/store.ts';
import { isGone } from '../record-kinds.ts';
import { optionsOf } from '../tree/rows.ts';

/** One thing that is stored and that would not be any more. */
export interface Removal {
  readonly kind: StateKind;
  readonly id: string;
  /** `''`: the record itself; else what it loses: `permission kb:read`. */
  readonly what: string;
}

/** A record that a plan changes. */
interface Changed {
  readonly kind: StateKind;
  readonly id: string;
  readonly before: FactValue | undefined;
  readonly value: FactValue | undefined;
}

/** A record of any kind, field by field. */
type Fields = Readonly<Record<string, unknown>>;

/** Removals that an error lists. */
const MAX_LISTED = 10;

/** @param state as the file has it: what it says itself of some fields is no removal, `suspended: false` for example */
export function removalsOf(changes: readonly Changed[], state: StateFile): Removal[] {
  const entryOf = entriesOf(state);
  return changes.flatMap(({ kind, id, before, value }): Removal[] => {
    // A tombstone goes where what it stands for is created again: that takes nothing away.
    if (isGone(before) || kind === 'tombstone') return [];
    if (isGone(value)) return [{ kind, id, what: '' }];
    return lost(kind, before as unknown as Fields, value as unknown as Fields, () =>
      entryOf(kind, id),
    ).map((what) => ({ kind, id, what }));
  });
}

/** `removes 12 things: user \`bob\`; role \`team\`: permission kb:read; and 10 more` */
export function describeRemovals(removals: readonly Removal[]): string {
  const listed = removals
    .slice(0, MAX_LISTED)
    .map(({ kind, id, what }) => `${kind} \`${id}\`${what === '' ? '' : `: ${what}`}`);
  const more = removals.length - listed.length;
  return [...listed, ...(more > 0 ? [`and ${more} more`] : [])].join('; ');
}

/** What of a field is lost; `isStated`: the file has the field. */
type Loss = (before: unknown, after: unknown, isStated: boolean) => readonly string[];

const nothing: Loss = () => [];

/** The value is gone, or another one stands in its place. */
const replaced =
  (name: string): Loss =>
  (before, after) =>
    isSet(before) && before !== after ? [`\`${name}\``] : [];

/** The value is gone; another one in its place is a change and no removal. */
const emptied =
  (name: string): Loss =>
  (before, after) =>
    isSet(before) && !isSet(after) ? [`\`${name}\``] : [];

/** The value is gone and the file does not say so. */
const unlisted =
  (name: string): Loss =>
  (before, after, isStated) =>
    !isStated && isSet(before) && before !== after ? [`\`${name}\``] : [];

/** Items of a list that are gone. */
const items =
  (tell: (item: string) => string): Loss =>
  (before, after) =>
    missing(before, after).map(tell);

const ROLES = items((id) => `membership in role \`${id}\``);
const WORKSPACES = items((id) => `membership in workspace \`${id}\``);
const GRANTS: Loss = (before, after) => lostRows(before, after);
/** `enforce` is gone: rules stop to count. */
const MODE: Loss = (before, after) =>
  before === 'enforce' && after !== 'enforce' ? ['`mode` enforce'] : [];

/** What of each field of each record a state file can take away: a new field does not compile without its rule. */
const LOSSES: { readonly [K in StateKind]: { readonly [F in keyof Records[K]]-?: Loss } } = {
  // Kept as they are by every apply.
  tenant: {
    id: nothing,
    migrations: nothing,
    deleted: nothing,
    deletedBy: nothing,
    deletedAt: nothing,
  },
  tombstone: { id: nothing },
  user: {
    id: nothing,
    type: (before, after, isStated) =>
      before === 'user' ? [] : unlisted('type')(before, after, isStated),
    // Who was known by it is not any more.
    externalId: replaced('external_id'),
    email: replaced('email'),
    metadata: (before, after) => lostValues('metadata', before, after),
    superuser: replaced('superuser'),
    createrole: replaced('createrole'),
    suspended: unlisted('suspended'),
    // The whole record is listed.
    deleted: nothing,
    roles: ROLES,
    workspaces: WORKSPACES,
    grants: GRANTS,
    // Told of the path.
    owns: nothing,
    adminOf: items((name) => `admin option of \`${name}\``),
    // Left by every apply.
    sessions: nothing,
  },
  role: {
    id: nothing,
    description: emptied('description'),
    level: (before, after) => (Number(before) > Number(after) ? ['`level`'] : []),
    permissions: items((name) => `permission \`${name}\``),
    // A system role cannot be changed.
    system: nothing,
    roles: ROLES,
    workspaces: WORKSPACES,
    grants: GRANTS,
    // It follows from the memberships.
    closure: nothing,
    creator: replaced('creator'),
  },
  workspace: {
    id: nothing,
    description: emptied('description'),
    grants: GRANTS,
    creator: replaced('creator'),
  },
  owner: {
    path: nothing,
    owner: (before, after) => (before === after ? [] : [`owner \`${String(before)}\``]),
    grantor: replaced('grantor'),
  },
  policy_set: {
    name: nothing,
    description: emptied('description'),
    mode: MODE,
    version: nothing,
    rules: (before, after) => lostRules(before, after),
  },
  key: {
    id: nothing,
    description: emptied('description'),
    role: (before, after) => (before === after ? [] : [`base role ${String(before)}`]),
    mode: MODE,
    policySets: items((name) => `attached policy set \`${name}\``),
    user: replaced('user'),
    // Left by every apply.
    createdAt: nothing,
    expiresAt: emptied('expires_at'),
    // It cannot be taken back, and ends its secrets.
    revoked: (before, after) =>
      before !== true && after === true ? ['its use, for good (`revoked`)'] : [],
    rateLimit: emptied('rate_limit'),
    secrets: nothing,
  },
};

/** The names in state files of fields where it counts whether a file has them. */
const STATED: Readonly<Record<string, string>> = { type: 'type', suspended: 'suspended' };

function lost(
  kind: StateKind,
  before: Fields,
  after: Fields,
  entry: () => Fields | undefined,
): string[] {
  return Object.entries<Loss>(LOSSES[kind]).flatMap(([field, loss]) => {
    const name = STATED[field];
    return loss(before[field], after[field], name !== undefined && has(entry(), name));
  });
}

function isSet(value: unknown): boolean {
  return value !== undefined && value !== null && value !== false && value !== '';
}

function has(entry: Fields | undefined, name: string): boolean {
  return entry !== undefined && Object.hasOwn(entry, name);
}

/** Rules of a policy set that are gone, and what those that stay have lost. */
function lostRules(before: unknown, after: unknown): string[] {
  const rulesOf = (value: unknown): readonly RuleRecord[] =>
    // Lists of this name are rules in every record that has one.
    Array.isArray(value) ? (value as RuleRecord[]) : [];
  const kept = new Map(rulesOf(after).map((rule) => [rule.id, rule]));
  return rulesOf(before).flatMap((rule) => {
    const next = kept.get(rule.id);
    if (next === undefined) return [`rule \`${rule.id}\``];
    const of = ` of rule \`${rule.id}\``;
    if (next.effect !== rule.effect) return [`effect ${rule.effect}${of}`];
    const keys = ({ attributes = [] }: RuleRecord): string[] => attributes.map(([key]) => key);
    return [
      ...emptied('description')(rule.description, next.description, false),
      ...missing(rule.actions, next.actions).map((action) => `action \`${action}\``),
      ...missing(keys(rule), keys(next)).map((key) => `attribute \`${key}\``),
    ].map((what) => what + of);
  });
}

/** Values of a JSON tree that are gone, by where they stood: `metadata.team`. A value in place of another is a change. */
function lostValues(where: string, before: unknown, after: unknown): string[] {
  if (isEmpty(before)) return [];
  if (isEmpty(after)) return [`\`${where}\``];
  if (isObject(before))
    return isObject(after)
      ? Object.entries(before).flatMap(([key, value]) =>
          lostValues(`${where}.${key}`, value, Object.hasOwn(after, key) ? after[key] : undefined),
        )
      : [`\`${where}\``];
  if (!Array.isArray(before)) return [];
  if (!Array.isArray(after)) return [`\`${where}\``];
  const kept = new Set(after.map((item) => JSON.stringify(item)));
  const gone = before.filter((item) => !kept.has(JSON.stringify(item))).length;
  // The values stay out of what is recorded: they may be personal.
  return gone === 0 ? [] : [`\`${where}\` ${gone} item(s)`];
}

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Nothing, or a list or map of nothing. A flag that is false is a value. */
function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null || value === '') return true;
  return typeof value === 'object' && Object.keys(value).length === 0;
}

/** Items of a list of texts that another one lacks. */
function missing(before: unknown, after: unknown): string[] {
  if (!Array.isArray(before)) return [];
  const kept = new Set<unknown>(Array.isArray(after) ? after : []);
  return before.filter((item): item is string => typeof item === 'string' && !kept.has(item));
}

/** Grant rows, actions of rows, and options that are gone (TREE-3). */
function lostRows(before: unknown, after: unknown): string[] {
  const rowsOf = (value: unknown): readonly GrantRow[] =>
    // Lists of this name are grants in every record that has one.
    Array.isArray(value) ? (value as GrantRow[]) : [];
  const name = ({ path, grantor }: GrantRow): string => JSON.stringify([path, grantor]);
  const kept = new Map(rowsOf(after).map((row) => [name(row), row]));
  return rowsOf(before).flatMap((row) => {
    const where = `on '${row.path}'${row.grantor === '' ? '' : ` by \`${row.grantor}\``}`;
    const next = kept.get(name(row));
    if (next === undefined) return [`grant of ${row.actions.join(', ')} ${where}`];
    const actions = missing(row.actions, next.actions);
    // The option of an action that goes, goes with it.
    const options = missing(optionsOf(row), optionsOf(next)).filter(
      (one) => !actions.includes(one),
    );
    return [
      ...(actions.length === 0 ? [] : [`grant of ${actions.join(', ')} ${where}`]),
      ...(options.length === 0 ? [] : [`grant option for ${options.join(', ')} ${where}`]),
    ];
  });
}

const SECTIONS = { user: 'users', role: 'roles', workspace: 'workspaces', key: 'keys' } as const;

type Listed = Fields & { readonly id: string };

/** Finds what the file says of a record; its lists are indexed at their first use. */
function entriesOf(state: StateFile): (kind: StateKind, id: string) => Fields | undefined {
  const indexes = new Map<StateKind, ReadonlyMap<string, Fields>>();
  return (kind, id) => {
    if (kind === 'policy_set')
      return state.policy_sets?.map(bodyOf).find(({ name }) => name === id);
    if (!(kind in SECTIONS)) return undefined;
    // One of the kinds of SECTIONS, as just looked at.
    const entries: readonly Listed[] = state[SECTIONS[kind as keyof typeof SECTIONS]] ?? [];
    const index = indexes.get(kind) ?? new Map(entries.map((entry) => [entry.id, entry]));
    indexes.set(kind, index);
    return index.get(id);
  };
}
