/** Records with every field that a test does not care about filled in, and commits in one line. */
import { compileCatalog, type Catalog } from '../../src/engine/action.ts';
import type {
  KeyRecord,
  PolicySetRecord,
  RoleRecord,
  UserRecord,
} from '../../src/engine/records.ts';
import { openFacts, type FactsOptions, type FactsRoom } from '../../src/facts/facts.ts';
import { StoreError, type Change, type Head, type Store } from '../../src/store/store.ts';

export function user(id: string, fields: Partial<UserRecord> = {}): Change & { value: UserRecord } {
  const value: UserRecord = {
    id,
    type: 'user',
    superuser: false,
    createrole: false,
    suspended: false,
    deleted: false,
    roles: [],
    workspaces: [],
    grants: [],
    owns: [],
    ...fields,
  };
  return { kind: 'user', id, value };
}

export function role(
  id: string,
  permissions: readonly string[],
  fields: Partial<RoleRecord> = {},
): Change & { value: RoleRecord } {
  const value: RoleRecord = {
    id,
    level: 10,
    permissions,
    system: false,
    roles: [],
    workspaces: [],
    grants: [],
    closure: { roles: [], workspaces: [] },
    ...fields,
  };
  return { kind: 'role', id, value };
}

export function policySet(
  name: string,
  effect: 'allow' | 'deny',
  actions: readonly string[],
): Change & { value: PolicySetRecord } {
  const rules = [{ id: 'rule', effect, actions }];
  return { kind: 'policy_set', id: name, value: { name, mode: 'enforce', version: 1, rules } };
}

export function key(id: string, fields: Partial<KeyRecord> = {}): Change & { value: KeyRecord } {
  const value: KeyRecord = { id, role: 'default_deny', mode: 'enforce', policySets: [], ...fields };
  return { kind: 'key', id, value };
}

export function gone(kind: Change['kind'], id: string): Change {
  return { kind, id, value: undefined };
}

export const EVENT = { actor: 'test', operation: 'test.commit' };

/** Commits on top of whatever is there. @throws StoreError when somebody else commits in between. */
export async function put(store: Store, tenant: string, ...changes: Change[]): Promise<Head> {
  const { head } = await store.get(tenant, []);
  const expected = head?.revision ?? 0;
  const result = await store.commit({ tenant, expected, changes, event: EVENT });
  if (!result.committed) throw new StoreError('somebody else committed');
  return result.head;
}

/** A catalog without entries: `doc:read` is enough to ask. */
export const CATALOG: Catalog = compileCatalog({ actions: [] });

/** Longest interval that a timer takes: never, for a test. */
export const NEVER_MS = 2 ** 31 - 1;

export interface TestRoom extends FactsRoom {
  readonly errors: unknown[];
  /** Each as `tenant: cause`. */
  readonly resyncCauses: string[];
  /** Each as `tenant: after..upTo`. */
  readonly lost: string[];
}

/** Facts on a store, with a heartbeat that never comes unless it is asked for. */
export function openRoom(
  store: Store,
  {
    cache,
    ...options
  }: Omit<Partial<FactsOptions>, 'cache'> & {
    readonly cache?: Partial<FactsOptions['cache']>;
  } = {},
): TestRoom {
  const errors: unknown[] = [];
  const resyncCauses: string[] = [];
  const lost: string[] = [];
  const room = openFacts(store, CATALOG, {
    maxStalenessMs: 30_000,
    heartbeatMs: NEVER_MS,
    storeTimeoutMs: 1_000,
    maxWaiting: 10_000,
    now: () => performance.now(),
    wallNow: () => Date.now(),
    onResync: (tenant, cause) => void resyncCauses.push(`${tenant}: ${cause}`),
    onHistoryLost: (tenant, after, upTo) => void lost.push(`${tenant}: ${after}..${upTo}`),
    onStore: () => {},
    onEntries: () => {},
    onError: (error) => void errors.push(error),
    ...options,
    cache: {
      subjects: 1_000,
      keys: 1_000,
      absent: 1_000,
      groups: 100,
      tenants: 100,
      bytes: 2 ** 26,
      ...cache,
    },
  });
  return Object.assign(room, { errors, resyncCauses, lost });
}

/** How many records of a kind `counters` writes. */
const COUNTERS = 5;

/** Records that hold the revision of their commit: some that stay, and two that move with every commit. */
export function counters(revision: number): Change[] {
  const email = String(revision);
  const same = Array.from({ length: COUNTERS }, (_, at) => user(`counter-${at}`, { email }));
  return [
    ...same,
    { kind: 'owner', id: '', value: { path: '', owner: email } },
    gone('role', `at-${revision - 1}`),
    role(`at-${revision}`, [], { level: revision }),
  ];
}
