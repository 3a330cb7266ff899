/** What applying a state would take away: records, and what is in records that the state lists (ADM-10). Pure. */
import type { GrantRow, RuleRecord, StateKind } from '../../engine/records.ts';
import { bodyOf, type StateFile } from '../../config/state.ts';
import type { FactValue } from '../../store/store.ts';
import { isGone } from '../record-kinds.ts';
import { optionsOf } from '../tree/rows.ts';

/** One thing that is stored and that the state does not list. */
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
const MAX_TOLD = 10;

/** @param state as the file has it: what it says itself is no removal, `superuser: false` for example */
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
  const told = removals
    .slice(0, MAX_TOLD)
    .map(({ kind, id, what }) => `${kind} \`${id}\`${what === '' ? '' : `: ${what}`}`);
  const more = removals.length - told.length;
  return [...told, ...(more > 0 ? [`and ${more} more`] : [])].join('; ');
}

/** Lists in records, and how an item of each is told. */
const LISTS: Readonly<Record<string, (item: string) => string>> = {
  roles: (id) => `membership in role \`${id}\``,
  workspaces: (id) => `membership in workspace \`${id}\``,
  permissions: (name) => `permission \`${name}\``,
  adminOf: (name) => `admin option of \`${name}\``,
  policySets: (name) => `attached policy set \`${name}\``,
};

/** Single values in records, by the name that a state file has for them. */
const FIELDS: Readonly<Record<string, string>> = {
  description: 'description',
  externalId: 'external_id',
  email: 'email',
  metadata: 'metadata',
  superuser: 'superuser',
  createrole: 'createrole',
  suspended: 'suspended',
  level: 'level',
  creator: 'creator',
  user: 'user',
  expiresAt: 'expires_at',
  rateLimit: 'rate_limit',
};

function lost(
  kind: StateKind,
  before: Fields,
  after: Fields,
  entry: () => Fields | undefined,
): string[] {
  // An owner is one fact: another one in its place is no removal.
  if (kind === 'owner' || kind === 'tenant') return [];
  const items = Object.entries(LISTS).flatMap(([field, tell]) =>
    missing(before[field], after[field]).map(tell),
  );
  const values = Object.entries(FIELDS)
    .filter(([field, name]) => isSet(before[field]) && !isSet(after[field]) && !has(entry(), name))
    .map(([, name]) => `\`${name}\``);
  const rules = missing(idsOf(before['rules']), idsOf(after['rules'])).map(
    (id) => `rule \`${id}\``,
  );
  return [...items, ...values, ...rules, ...lostRows(before['grants'], after['grants'])];
}

function isSet(value: unknown): boolean {
  return value !== undefined && value !== false && value !== 0;
}

function has(entry: Fields | undefined, name: string): boolean {
  return entry !== undefined && Object.hasOwn(entry, name);
}

/** The ids of a policy set's rules. */
function idsOf(rules: unknown): string[] {
  // Lists of this name are rules in every record that has one.
  return Array.isArray(rules) ? (rules as RuleRecord[]).map(({ id }) => id) : [];
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

/** Finds what the file says of a record; its lists are indexed when they are first asked for. */
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
