/** Lists of the AdminService: page by page over the store, whatever the tenant's size. */
import { createHash } from 'node:crypto';
import { covers } from '../../engine/path.ts';
import type { Kind, Records } from '../../engine/records.ts';
import type { FactValue, Store } from '../../store/store.ts';
import { capabilitiesOf } from '../rules/capabilities.ts';
import { pathOf } from '../input.ts';
import { foldCase } from '../../engine/fold.ts';
import { Breath } from '../../util/breath.ts';
import { nameId } from '../links.ts';
import { Rights } from '../tree/rights.ts';
import { nameOf, principalOf } from '../principals.ts';
import { mustReadAll, type ReadContext } from './reads.ts';
import { invalid } from '../refused.ts';
import {
  grantView,
  keyView,
  ownerView,
  policySetView,
  roleView,
  userView,
  workspaceView,
} from './view.ts';

interface Paged {
  readonly page_size: number;
  readonly page_token: string;
}

/** What a list looks at, kind by kind, and what it makes of a record: any number of items. */
export interface Scan {
  /** The name of the list in its answer. */
  readonly list: string;
  readonly kinds: readonly Kind[];
  readonly items: (kind: Kind, id: string, record: FactValue) => readonly object[];
  /** Ids to look at instead of all, of the first kind. */
  readonly only?: readonly string[];
  /** What the items need besides, for a page of records at once. */
  readonly beside?: (
    entries: readonly (readonly [id: string, record: FactValue])[],
  ) => readonly { kind: Kind; id: string }[];
}

/** What stands beside records, by kind and id. */
export type Beside = <K extends Kind>(kind: K, id: string) => Records[K] | undefined;

type ListRule<Request> = (context: ReadContext, request: Request, beside: Beside) => Scan;

interface ListUsers extends Paged {
  readonly external_id: string;
  readonly email: string;
  readonly include_deleted: boolean;
}

const listUsers: ListRule<ListUsers> = ({ world, authority }, request) => {
  mustReadAll(authority, 'list users');
  const { external_id: externalId, email } = request;
  const named = (what: 'external_id' | 'email', text: string): readonly string[] =>
    world.get('name', nameId(what, text))?.users ?? [];
  const only =
    externalId !== ''
      ? named('external_id', externalId)
      : email !== ''
        ? named('email', foldCase(email))
        : undefined;
  return {
    list: 'users',
    kinds: ['user'],
    ...(only === undefined ? {} : { only }),
    items: (_kind, _id, record) => {
      const user = record as Records['user'];
      if (user.deleted && !request.include_deleted) return [];
      if (externalId !== '' && user.externalId !== externalId) return [];
      if (email !== '' && foldCase(user.email ?? '') !== foldCase(email)) return [];
      return [userView(user)];
    },
  };
};

const listRoles: ListRule<Paged> = ({ authority }, _request, beside) => {
  mustReadAll(authority, 'list roles');
  return {
    list: 'roles',
    kinds: ['role'],
    beside: (entries) => entries.map(([id]) => ({ kind: 'refs', id: `role:${id}` })),
    items: (_kind, id, record) => [
      roleView(record as Records['role'], beside('refs', `role:${id}`)),
    ],
  };
};

const listWorkspaces: ListRule<Paged> = ({ authority }, _request, beside) => {
  mustReadAll(authority, 'list workspaces');
  return {
    list: 'workspaces',
    kinds: ['workspace'],
    beside: (entries) => entries.map(([id]) => ({ kind: 'refs', id: `workspace:${id}` })),
    items: (_kind, id, record) => [
      workspaceView(record as Records['workspace'], beside('refs', `workspace:${id}`)),
    ],
  };
};

const listMembers: ListRule<Paged & { readonly group: string }> = (
  { world, authority },
  request,
) => {
  const group = principalOf(world, 'group', request.group, ['role', 'workspace']);
  const name = nameOf(group);
  const manages = authority.user?.adminOf?.includes(name) === true;
  if (!manages) mustReadAll(authority, 'list members');
  const list = group.type === 'role' ? 'roles' : 'workspaces';
  return {
    list: 'members',
    kinds: ['role', 'user'],
    items: (kind, id, record) => {
      const member = record as Records['user'] | Records['role'];
      if (!member[list].includes(group.id)) return [];
      const option = 'owns' in member && member.adminOf?.includes(name) === true;
      return [{ principal: `${kind}:${id}`, admin_option: option }];
    },
  };
};

interface ListGrants extends Paged {
  readonly principal: string;
  readonly path?: string;
  readonly grantor: string;
}

const listGrants: ListRule<ListGrants> = ({ world, authority }, request) => {
  const path = request.path === undefined ? undefined : pathOf('path', request.path);
  const holder =
    request.principal === '' ? undefined : principalOf(world, 'principal', request.principal);
  const grantor =
    request.grantor === ''
      ? undefined
      : request.grantor === 'operator'
        ? ''
        : nameOf(principalOf(world, 'grantor', request.grantor));
  const self = holder !== undefined && nameOf(holder) === authority.name;
  const manages = path !== undefined && new Rights(world).manages(authority.user?.id ?? '', path);
  if (!self && !manages) mustReadAll(authority, 'list the grants of others');
  return {
    list: 'grants',
    kinds: holder === undefined ? ['user', 'role', 'workspace'] : [holder.type],
    ...(holder === undefined ? {} : { only: [holder.id] }),
    items: (kind, id, record) =>
      (record as Records['user']).grants
        .filter(
          (row) =>
            (grantor === undefined || row.grantor === grantor) &&
            (path === undefined || covers(path, row.path) || covers(row.path, path)),
        )
        .map((row) => grantView(`${kind}:${id}`, row)),
  };
};

interface ListOwners extends Paged {
  readonly owner: string;
  readonly path?: string;
}

const listOwners: ListRule<ListOwners> = ({ world, authority }, request) => {
  const path = request.path === undefined ? undefined : pathOf('path', request.path);
  const owner =
    request.owner === '' ? undefined : principalOf(world, 'owner', request.owner, ['user']);
  const self = owner !== undefined && nameOf(owner) === authority.name;
  const manages = path !== undefined && new Rights(world).manages(authority.user?.id ?? '', path);
  if (!self && !manages) mustReadAll(authority, 'list the ownerships of others');
  return {
    list: 'owners',
    kinds: ['owner'],
    ...(owner === undefined ? {} : { only: world.get('user', owner.id)?.owns ?? [] }),
    items: (_kind, _id, record) => {
      const one = record as Records['owner'];
      return path === undefined || covers(path, one.path) ? [ownerView(one)] : [];
    },
  };
};

const listPolicySets: ListRule<Paged> = ({ authority }) => {
  mustReadAll(authority, 'list policy sets');
  return {
    list: 'policy_sets',
    kinds: ['policy_set'],
    items: (_kind, _id, record) => [policySetView(record as Records['policy_set'])],
  };
};

interface ListKeys extends Paged {
  readonly user: string;
  readonly policy_set: string;
}

const listKeys: ListRule<ListKeys> = ({ world, authority, catalog }, request, beside) => {
  const self = request.user !== '' && request.user === authority.user?.id;
  if (!self) mustReadAll(authority, 'list keys');
  const named =
    request.user !== ''
      ? `user:${request.user}`
      : request.policy_set !== ''
        ? `policy_set:${request.policy_set}`
        : undefined;
  return {
    list: 'keys',
    kinds: ['key'],
    ...(named === undefined ? {} : { only: world.get('refs', named)?.keys ?? [] }),
    beside: (entries) =>
      entries.flatMap(([id, record]) => [
        { kind: 'usage', id },
        ...(record as Records['key']).policySets.map((set) => ({
          kind: 'policy_set' as const,
          id: set,
        })),
      ]),
    items: (_kind, id, record) => {
      const key = record as Records['key'];
      if (request.user !== '' && key.user !== request.user) return [];
      if (request.policy_set !== '' && !key.policySets.includes(request.policy_set)) return [];
      const sets = key.policySets.flatMap((name) => beside('policy_set', name) ?? []);
      return [
        { ...keyView(key, beside('usage', id)?.at), ...capabilitiesOf(key, sets, catalog, []) },
      ];
    },
  };
};

/** Lists, by the name of their call. */
export const LISTS = {
  ListUsers: listUsers,
  ListRoles: listRoles,
  ListWorkspaces: listWorkspaces,
  ListMembers: listMembers,
  ListGrants: listGrants,
  ListOwners: listOwners,
  ListPolicySets: listPolicySets,
  ListKeys: listKeys,
} as const;

export type ListName = keyof typeof LISTS;

export function isList(name: string): name is ListName {
  return Object.hasOwn(LISTS, name);
}

/** Where the next page begins. */
interface Cursor {
  /** Which of the kinds. */
  readonly stage: number;
  readonly after: string | undefined;
  /** Items of the records after `after` that were listed already. */
  readonly skip: number;
}

const DEFAULT_SIZE = 100;
const MAX_SIZE = 1_000;
/** Records that one call looks at: a filter that fits few answers with a short page, and where to go on. */
const MAX_LOOKED = 20_000;
const SCAN = 500;

/** One page. @throws Refused where size or token are not ours */
export async function pageOf(
  store: Store,
  tenant: string,
  name: ListName,
  request: Paged,
  scan: Scan,
  read: (keys: readonly { kind: Kind; id: string }[]) => Promise<void>,
): Promise<{ readonly revision: number; readonly answer: object }> {
  const size = request.page_size === 0 ? DEFAULT_SIZE : request.page_size;
  if (size > MAX_SIZE) throw invalid('page_size', `\`${size}\` is too large: at most ${MAX_SIZE}`);
  const query = digest(JSON.stringify([name, { ...request, page_size: 0, page_token: '' }]));
  let cursor = request.page_token === '' ? START : parseToken(request.page_token, query, scan);
  const items: object[] = [];
  let revision = 0;
  let looked = 0;
  const breath = new Breath();
  while (cursor.stage < scan.kinds.length && items.length < size && looked < MAX_LOOKED) {
    const kind = scan.kinds[cursor.stage];
    if (kind === undefined) break;
    const page = await recordsOf(store, tenant, kind, cursor.after, scan.only);
    revision = page.revision;
    looked += page.entries.length;
    await breath.take();
    if (scan.beside !== undefined) await read(scan.beside(page.entries));
    await breath.take();
    const found = page.entries.flatMap(([id, record]) => scan.items(kind, id, record));
    const fitting = found.slice(cursor.skip, cursor.skip + size - items.length);
    items.push(...fitting);
    const listed = cursor.skip + fitting.length;
    if (listed < found.length) cursor = { stage: cursor.stage, after: cursor.after, skip: listed };
    else if (page.next === undefined)
      cursor = { stage: cursor.stage + 1, after: undefined, skip: 0 };
    else cursor = { stage: cursor.stage, after: page.next, skip: 0 };
  }
  const next = cursor.stage < scan.kinds.length ? tokenOf(cursor, query) : '';
  return { revision, answer: { [scan.list]: items, next_page_token: next } };
}

const START: Cursor = { stage: 0, after: undefined, skip: 0 };

async function recordsOf(
  store: Store,
  tenant: string,
  kind: Kind,
  after: string | undefined,
  only: readonly string[] | undefined,
): Promise<{
  readonly revision: number;
  readonly entries: readonly (readonly [string, FactValue])[];
  readonly next: string | undefined;
}> {
  if (only === undefined) {
    const { head, entries, next } = await store.scan(tenant, kind, after, SCAN);
    return { revision: head?.revision ?? 0, entries, next };
  }
  const from = after === undefined ? 0 : Number(after);
  const ids = only.slice(from, from + SCAN);
  const { head, values } = await store.get(
    tenant,
    ids.map((id) => ({ kind, id })),
  );
  const entries = ids.flatMap((id, index) => {
    const value = values[index];
    return value === undefined ? [] : [[id, value] as const];
  });
  const next = from + SCAN < only.length ? String(from + SCAN) : undefined;
  return { revision: head?.revision ?? 0, entries, next };
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('base64url').slice(0, 16);
}

/**
 * Opaque to callers. Its check shows that it came whole and was made for the same question; it is no secret, since a
 * token opens nothing by itself.
 */
function tokenOf({ stage, after, skip }: Cursor, query: string): string {
  const place = [stage, after ?? null, skip];
  const check = digest(JSON.stringify([query, place]));
  return Buffer.from(JSON.stringify([check, ...place])).toString('base64url');
}

function parseToken(token: string, query: string, scan: Scan): Cursor {
  const wrong = (): Error =>
    invalid(
      'page_token',
      'is not one of this list: send `next_page_token` as it came, with the same filters',
    );
  let parts: unknown;
  try {
    parts = JSON.parse(Buffer.from(token, 'base64url').toString());
  } catch {
    throw wrong();
  }
  if (!Array.isArray(parts) || parts.length !== 4) throw wrong();
  const [, stage, after, skip]: unknown[] = parts;
  const natural = (value: unknown): value is number =>
    Number.isSafeInteger(value) && Number(value) >= 0;
  if (!natural(stage) || !natural(skip) || stage >= scan.kinds.length) throw wrong();
  if (after !== null && typeof after !== 'string') throw wrong();
  if (scan.only !== undefined && after !== null && !/^\d{1,9}$/.test(after)) throw wrong();
  const cursor = { stage, after: after ?? undefined, skip };
  // Made anew it is the same, letter by letter.
  if (tokenOf(cursor, query) !== token) throw wrong();
  return cursor;
}
