/**
 * Tenants of any size that are alike but for their number of users: 320 roles in chains of eight, policy sets, keys,
 * and users with grants of their own. All of it follows from a user's number, so that nothing has to be kept.
 */
import { compileCatalog, type CatalogEntries } from '../../src/engine/action.ts';
import type { Request, TreeAction } from '../../src/engine/model.ts';
import type { GrantRow } from '../../src/engine/records.ts';
import type { Change, Head, Store } from '../../src/store/store.ts';
import { role, user } from '../../test/support/records.ts';
import type { BareMaps } from '../floor.ts';

export interface Size {
  /** Also before the names of its keys in Redis, so that an instance sees no other. */
  readonly tenant: string;
  readonly users: number;
  readonly grantsEach: number;
}

const ACTION = 'document.read';
const TYPE = 'document';
const CHAINS = 40;
const DEPTH = 8;
const SETS = 20;
/** Keys that act for whoever is named, and as many that act for a user of their own. */
const KEYS = 1_000;
const USERS_A_COMMIT = 1_000;
const EVENT = { actor: 'bench', operation: 'bench.load' };

/** A document asks for the permission, which the roles carry, and for a grant, which the user has itself. */
export const CATALOG_ENTRIES: CatalogEntries = {
  actions: [{ name: ACTION, readonly: true, permission: 'document:read', tree: 'read' }],
  resource_types: { [TYPE]: { access: { all: ['rbac', 'tree'] } } },
};
export const CATALOG = compileCatalog(CATALOG_ENTRIES);

export function grantsOf({ users, grantsEach }: Size): number {
  return users * grantsEach;
}

function userId(n: number): string {
  return `user-${n}`;
}

function keyId(n: number): string {
  return `key-${n % KEYS}`;
}

function agentKeyId(n: number): string {
  return `agent-${n}`;
}

export function agentKeys({ users }: Size): number {
  return Math.min(users, KEYS);
}

/** The n-th user of a tenant. @param fields what is different from when it was loaded */
export function userChange(
  { users, grantsEach }: Size,
  n: number,
  fields: Parameters<typeof user>[1] = {},
): Change {
  const grants = Array.from({ length: grantsEach }, (_, grant) => grantRow(n, grant, users));
  return user(userId(n), { roles: [roleOf(n)], grants, ...fields });
}

function grantRow(n: number, grant: number, users: number): GrantRow {
  const actions: readonly TreeAction[] = grant % 3 === 0 ? ['read'] : ['read', 'write'];
  const grantor = grant % 4 === 3 ? `user:${userId((n * 31 + grant) % users)}` : '';
  return { path: pathOf(n, grant), actions, grantor, grantOption: false };
}

function pathOf(n: number, grant: number): string {
  return `org.team-${n % 97}.project-${(n * 7 + grant) % 1_009}.area-${grant % 10}`;
}

function roleOf(n: number): string {
  return roleId(n % CHAINS, n % DEPTH);
}

function roleId(chain: number, depth: number): string {
  return `role-${chain}-${depth}`;
}

function rolesFrom(chain: number, depth: number): string[] {
  return Array.from({ length: DEPTH - depth }, (_, n) => roleId(chain, depth + n));
}

function planeChanges(size: Size): Change[] {
  const roles = Array.from({ length: CHAINS * DEPTH }, (_, n) => {
    const [chain, depth] = [Math.floor(n / DEPTH), n % DEPTH];
    const [id = '', ...above] = rolesFrom(chain, depth);
    return role(id, permissionsOf(chain, depth), {
      level: 10 + depth,
      roles: above.slice(0, 1),
      grants: [
        { path: `shared.${id}`, actions: ['read', 'write'], grantor: '', grantOption: false },
      ],
      closure: { roles: above.toSorted(), workspaces: [] },
    });
  });
  const sets = Array.from({ length: SETS }, (_, n): Change => {
    const name = setId(n);
    const rules = [
      { id: 'reads', effect: 'allow' as const, actions: [ACTION] },
      ...Array.from({ length: 9 }, (_unused, rule) => ({
        id: `rule-${rule}`,
        effect: 'deny' as const,
        actions: [`note-${rule}:write`],
      })),
    ];
    return {
      kind: 'policy_set',
      id: name,
      value: { name, mode: 'enforce', version: 1, rules },
    };
  });
  const key = (id: string, n: number, forUser: boolean): Change => ({
    kind: 'key',
    id,
    value: {
      id,
      role: 'default_deny',
      mode: 'enforce',
      policySets: [setId(n)],
      ...(forUser ? { user: userId(n) } : {}),
    },
  });
  return [
    { kind: 'tenant', id: '', value: { id: size.tenant } },
    ...roles,
    ...sets,
    ...Array.from({ length: KEYS }, (_, n) => key(keyId(n), n, false)),
    ...Array.from({ length: agentKeys(size) }, (_, n) => key(agentKeyId(n), n, true)),
  ];
}

function setId(n: number): string {
  return `set-${n % SETS}`;
}

/** The last role of each chain has the permission that is asked for. */
function permissionsOf(chain: number, depth: number): string[] {
  const own = Array.from({ length: 4 }, (_, n) => `thing-${chain}-${depth}:verb-${n}`);
  return depth === DEPTH - 1 ? [...own, 'document:read'] : own;
}

/** Writes a new tenant. @param onUsers told after each commit how many users are there */
export async function load(
  store: Store,
  size: Size,
  onUsers: (users: number) => void,
): Promise<void> {
  let expected = (await commitTo(store, size.tenant, 0, planeChanges(size))).revision;
  for (let from = 0; from < size.users; from += USERS_A_COMMIT) {
    const length = Math.min(USERS_A_COMMIT, size.users - from);
    const changes = Array.from({ length }, (_, n) => userChange(size, from + n));
    expected = (await commitTo(store, size.tenant, expected, changes)).revision;
    onUsers(from + length);
  }
}

/** @throws Error where somebody else has committed */
export async function commitTo(
  store: Store,
  tenant: string,
  expected: number,
  changes: readonly Change[],
): Promise<Head> {
  const result = await store.commit({ tenant, expected, changes, event: EVENT });
  if (!result.committed) throw new Error(`somebody else has committed to ${tenant}`);
  return result.head;
}

/** A question that is allowed by one of the user's own grants. */
export function requestOf(
  { tenant, grantsEach }: Size,
  n: number,
  by: 'user' | 'user and key' | 'key for its user' = 'user and key',
): Request {
  const path = `${pathOf(n, n % grantsEach)}.page-${n % 50}`;
  return {
    tenant: received(tenant),
    subject: by === 'key for its user' ? undefined : { type: 'user', id: received(userId(n)) },
    keyId: keyOf(n, by),
    action: ACTION,
    resource: {
      type: TYPE,
      id: received(`doc-${n}`),
      path: received(path),
      attributes: new Map(),
      sources: [],
    },
  };
}

function keyOf(n: number, by: 'user' | 'user and key' | 'key for its user'): string | undefined {
  if (by === 'user') return undefined;
  return received(by === 'user and key' ? keyId(n) : agentKeyId(n));
}

/** A string as a decoder makes it: one flat piece of memory, not the parts that it was joined from. */
function received(text: string): string {
  return Buffer.from(text).toString();
}

/** The same facts in plain Maps, by user: what no engine can do without. */
export function floorOf(size: Size, users: readonly number[]): ReadonlyMap<string, BareMaps> {
  const permissions = new Map(
    Array.from({ length: CHAINS * DEPTH }, (_, n) => {
      const [chain, depth] = [Math.floor(n / DEPTH), n % DEPTH];
      return [roleId(chain, depth), new Set(permissionsOf(chain, depth))];
    }),
  );
  const rules = new Map([[ACTION, new Map()]]);
  const permissionOf = new Map([[ACTION, 'document:read']]);
  return new Map(
    users.map((n) => {
      const roles = rolesFrom(n % CHAINS, n % DEPTH);
      const rows = Array.from({ length: size.grantsEach }, (_, grant) => pathOf(n, grant));
      const grants = new Map(rows.map((path) => [path, 1]));
      const maps = { roles, groups: new Set(roles), permissions, permissionOf, grants, rules };
      return [userId(n), { user: userId(n), ...maps }];
    }),
  );
}
