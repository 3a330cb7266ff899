/** What the tests of management share: whole dumps of a tenant, and random calls by random actors. */
import type { Kind, Records } from '../../src/engine/records.ts';
import { readAll, type Store } from '../../src/store/store.ts';
import { TENANT } from '../support/admin.ts';

const KINDS = [
  'tenant',
  'user',
  'role',
  'workspace',
  'owner',
  'policy_set',
  'key',
  'refs',
  'name',
  'policy_version',
  'usage',
  'receipt',
  'tombstone',
] as const satisfies readonly Kind[];

type Maps = { readonly [K in Kind]: ReadonlyMap<string, Records[K]> };

/** All records of a tenant at one revision. */
export interface Dump extends Maps {
  /** Of the newest commit; 0: the tenant does not exist. */
  readonly revision: number;
  /** `revision` with its nonce: equal only where nobody has committed. */
  readonly head: string;
}

export async function dumpOf(store: Store, tenant: string = TENANT): Promise<Dump> {
  const { head, records } = await readAll(store, tenant, KINDS);
  return { ...records, revision: head?.revision ?? 0, head: JSON.stringify(head ?? null) };
}

/** The records alone as text, equal where they are; random parts can be taken out of each. */
export function textOf(dump: Maps, plain: (record: object) => object = (record) => record): string {
  return JSON.stringify(
    KINDS.map((kind) => [
      kind,
      [...dump[kind]]
        .toSorted(([a], [b]) => (a < b ? -1 : 1))
        .map(([id, record]) => [id, plain(record)]),
    ]),
  );
}

/** A record without the random parts of secrets and sessions. */
export function withoutRandom(record: object): object {
  if ('sessions' in record && Array.isArray(record.sessions))
    return { ...record, sessions: record.sessions.length };
  if ('secrets' in record && Array.isArray(record.secrets))
    return { ...record, secrets: record.secrets.length };
  return record;
}

// ── random calls ────────────────────────────────────────────────────────────────────────────────

export interface Random {
  /** 0 ≤ x < 1. */
  next(): number;
  below(count: number): number;
  chance(probability: number): boolean;
  /** @throws where there is none */
  pick<T>(items: readonly T[]): T;
  some<T>(items: readonly T[]): T[];
}

/** Mulberry32: the same calls for the same seed, everywhere. */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (count: number): number => Math.floor(next() * count);
  return {
    next,
    below,
    chance: (probability) => next() < probability,
    pick(items) {
      const item = items[below(items.length)];
      if (item === undefined) throw new Error('nothing to pick from');
      return item;
    },
    some: (items) => items.filter(() => next() < 0.4),
  };
}

export interface Call {
  /** `operator`, `alice`, `key:k0/alice`. */
  readonly who: string;
  readonly call: string;
  readonly request: Readonly<Record<string, unknown>>;
}

const USERS = ['u0', 'u1', 'u2', 'u3', 'u4', 'u5', 'U1', 'user:u2', '__proto__', 'w0'] as const;
const ROLES = ['r0', 'r1', 'r2', 'r3', 'r4', 'r5'] as const;
const WORKSPACES = ['w0', 'w1', 'w2'] as const;
export const PATHS = ['', 'a', 'a.b', 'a.b.c', 'a.bc', 'd'] as const;
const SETS = ['p0', 'p1'] as const;
const KEYS = ['k0', 'k1', 'k2', 'k3'] as const;
export const VERBS = ['read', 'write', 'create', 'delete', 'admin'] as const;
const PERMISSIONS = [
  'kb:read',
  'kb:write',
  'postern:admin',
  'postern:read',
  '*:*',
  'doc:*',
] as const;

/** What is there to be managed; calls that name something else are nearly always refused. */
export interface Seen {
  readonly users: readonly string[];
  readonly superusers: readonly string[];
  readonly roles: readonly string[];
  readonly workspaces: readonly string[];
  readonly sets: readonly string[];
  readonly keys: readonly (readonly [id: string, user: string])[];
  readonly attached: readonly (readonly [key: string, set: string])[];
  readonly rows: readonly (readonly [holder: string, path: string, grantor: string])[];
  readonly owned: readonly string[];
  readonly members: readonly (readonly [group: string, member: string])[];
  /** Who has something to give: the others are refused nearly everything. */
  readonly powers: readonly string[];
}

export function seenIn(dump: Dump): Seen {
  const users = [...dump.user.values()].filter(({ deleted }) => !deleted);
  const holders = [
    ...users.map((user) => [`user:${user.id}`, user.grants] as const),
    ...[...dump.role.values()].map((role) => [`role:${role.id}`, role.grants] as const),
    ...[...dump.workspace.values()].map((one) => [`workspace:${one.id}`, one.grants] as const),
  ];
  const edges = [
    ...users.map((user) => [`user:${user.id}`, user] as const),
    ...[...dump.role.values()].map((role) => [`role:${role.id}`, role] as const),
  ];
  return {
    users: users.map(({ id }) => id),
    superusers: users.filter(({ superuser }) => superuser).map(({ id }) => id),
    roles: [...dump.role.keys()],
    workspaces: [...dump.workspace.keys()],
    sets: [...dump.policy_set.keys()],
    keys: [...dump.key.values()].map(({ id, user }) => [id, user ?? ''] as const),
    attached: [...dump.key.values()].flatMap(({ id, policySets }) =>
      policySets.map((set) => [id, set] as const),
    ),
    rows: holders.flatMap(([holder, rows]) =>
      rows.map(({ path, grantor }) => [holder, path, grantor] as const),
    ),
    owned: [...dump.owner.keys()],
    members: edges.flatMap(([name, { roles, workspaces }]) => [
      ...roles.map((id) => [`role:${id}`, name] as const),
      ...workspaces.map((id) => [`workspace:${id}`, name] as const),
    ]),
    powers: users
      .filter(
        ({ superuser, createrole, roles, grants, owns }) =>
          superuser ||
          createrole ||
          owns.length > 0 ||
          roles.some((id) => id === 'owner' || id === 'admin') ||
          grants.some(
            ({ grantOption, options, actions }) =>
              grantOption || options !== undefined || actions.includes('admin'),
          ),
      )
      .map(({ id }) => id),
  };
}

/** The calls that make a tenant in which there is something to manage. */
export const BEGINNING: readonly Call[] = [
  { who: 'operator', call: 'CreateTenant', request: { owner: 'root' } },
  ...[
    { id: 'olga', roles: ['owner'] },
    { id: 'adam', roles: ['admin'] },
    { id: 'cara', createrole: true },
    { id: 'u0' },
    { id: 'u1', roles: ['member'] },
    { id: 'u3' },
  ].map((user) => ({ who: 'root', call: 'CreateUser', request: { user } })),
  ...['r0', 'r1'].map((id) => ({ who: 'cara', call: 'CreateRole', request: { role: { id } } })),
  {
    who: 'root',
    call: 'CreateRole',
    request: { role: { id: 'r2', level: 30, permissions: ['kb:read'] } },
  },
  { who: 'cara', call: 'CreateWorkspace', request: { workspace: { id: 'w0' } } },
  { who: 'root', call: 'SetOwner', request: { path: 'a', owner: 'user:u0' } },
  {
    who: 'u0',
    call: 'CreateGrant',
    request: { principal: 'user:u1', path: 'a.b', actions: ['read', 'admin'], grant_option: true },
  },
];

const document = (random: Random, name: string): string => {
  const attributes = random.chance(0.4) ? ', attributes: { tenant: [acme] }' : '';
  const effect = random.pick(['allow', 'deny']);
  const actions = random.pick([
    'readonly',
    'graph.search',
    'thread.get, thread.create',
    'wrong.one',
  ]);
  return `policy_set: { name: ${name}, mode: ${random.pick(['enforce', 'report_only', 'off'])}, rules: [{ id: r, effect: ${effect}, actions: [${actions}]${attributes} }] }`;
};

/** A call that could be right: about half of them are refused. */
export function randomCall(random: Random, seen: Seen): Call {
  const { call, request } = randomRequest(random, seen);
  const options = random.chance(0.04) ? { options: { dry_run: true } } : {};
  return { who: randomActor(random, seen, request), call, request: { ...request, ...options } };
}

function randomActor(
  random: Random,
  { superusers, users, powers, keys }: Seen,
  request: Readonly<Record<string, unknown>>,
): string {
  const dice = random.next();
  const of = (names: readonly string[]): string =>
    names.length === 0 ? 'operator' : random.pick(names);
  if (dice < 0.04) return 'operator';
  if (dice < 0.34) return of(superusers);
  if (dice < 0.42 && keys.length > 0) {
    const [id, user] = random.pick(keys);
    return `key:${id}/${user === '' ? of(users) : user}`;
  }
  // Whoever gave a row is who takes it away.
  const { grantor } = request;
  if (typeof grantor === 'string' && grantor.startsWith('user:') && random.chance(0.4))
    return grantor.slice('user:'.length);
  if (dice < 0.8) return of(powers);
  return dice < 0.82 ? random.pick(USERS) : of(users);
}

type Make = (random: Random, seen: Seen) => Readonly<Record<string, unknown>>;

const either = <T>(random: Random, there: readonly T[], any: readonly T[], rare = 0.05): T =>
  there.length > 0 && !random.chance(rare) ? random.pick(there) : random.pick(any);
const userOf = (random: Random, { users }: Seen): string => either(random, users, USERS);
const roleOf = (random: Random, { roles }: Seen): string =>
  either(
    random,
    roles.filter((id) => /^r\d/.test(id) || random.chance(0.3)),
    ROLES,
  );
const workspaceOf = (random: Random, { workspaces }: Seen): string =>
  either(random, workspaces, WORKSPACES);
const keyOf = (random: Random, { keys }: Seen): string =>
  either(
    random,
    keys.map(([id]) => id),
    KEYS,
  );
const setOf = (random: Random, { sets }: Seen): string => either(random, sets, SETS);
const principalOf = (random: Random, seen: Seen): string => {
  const dice = random.next();
  if (dice < 0.65) return `user:${userOf(random, seen)}`;
  return dice < 0.85 ? `role:${roleOf(random, seen)}` : `workspace:${workspaceOf(random, seen)}`;
};
const verbs = (random: Random): readonly string[] => {
  // Who holds all five may make owners (ADM-2).
  if (random.chance(0.2)) return VERBS;
  const some = random.some(VERBS);
  return some.length === 0 ? ['read'] : some;
};
const permissions = (random: Random): readonly string[] =>
  random.chance(0.5) ? [] : [random.pick(PERMISSIONS)];
const flag = (random: Random, probability: number): object =>
  random.chance(probability) ? { superuser: true } : {};

const CALLS: readonly (readonly [weight: number, call: string, make: Make])[] = [
  [
    8,
    'CreateUser',
    (random, seen) => ({
      user: {
        id: random.pick(USERS),
        ...flag(random, 0.08),
        ...(random.chance(0.12) ? { createrole: true } : {}),
        ...(random.chance(0.2) ? { email: random.pick(['A@x', 'a@x', 'b@x']) } : {}),
        ...(random.chance(0.2) ? { external_id: random.pick(['e1', 'e2']) } : {}),
        ...(random.chance(0.3) ? { roles: [roleOf(random, seen)] } : {}),
        ...(random.chance(0.2) ? { workspaces: [workspaceOf(random, seen)] } : {}),
      },
    }),
  ],
  [
    6,
    'UpdateUser',
    (random, seen) => ({
      id: userOf(random, seen),
      ...(random.chance(0.4) ? { superuser: random.chance(0.3) } : {}),
      ...(random.chance(0.2) ? { createrole: random.chance(0.6) } : {}),
      ...(random.chance(0.4) ? { suspended: random.chance(0.4) } : {}),
      ...(random.chance(0.3) ? { email: random.pick(['A@x', 'b@x', '']) } : {}),
    }),
  ],
  [
    5,
    'DeleteUser',
    (random, seen) => ({
      id: userOf(random, seen),
      reassign_to: random.chance(0.5) ? `user:${userOf(random, seen)}` : '',
    }),
  ],
  [
    4,
    'CreateRole',
    (random) => ({
      role: {
        id: random.pick(ROLES),
        level: random.chance(0.5) ? 0 : random.pick([5, 10, 30, 80, 100]),
        permissions: permissions(random),
      },
    }),
  ],
  [
    4,
    'UpdateRole',
    (random, seen) => ({
      id: roleOf(random, seen),
      ...(random.chance(0.5) ? { level: random.pick([0, 10, 30, 80]) } : {}),
      ...(random.chance(0.5) ? { permissions: { permissions: permissions(random) } } : {}),
    }),
  ],
  [
    2,
    'GrantPermission',
    (random, seen) => ({ id: roleOf(random, seen), permissions: [random.pick(PERMISSIONS)] }),
  ],
  [
    2,
    'RevokePermission',
    (random, seen) => ({ id: roleOf(random, seen), permissions: [...PERMISSIONS] }),
  ],
  [3, 'DeleteRole', (random, seen) => ({ id: roleOf(random, seen) })],
  [3, 'CreateWorkspace', (random) => ({ workspace: { id: random.pick(WORKSPACES) } })],
  [1, 'UpdateWorkspace', (random, seen) => ({ id: workspaceOf(random, seen), description: 'x' })],
  [2, 'DeleteWorkspace', (random, seen) => ({ id: workspaceOf(random, seen) })],
  [
    14,
    'AddMember',
    (random, seen) => ({
      group: random.chance(0.75)
        ? `role:${roleOf(random, seen)}`
        : `workspace:${workspaceOf(random, seen)}`,
      member: random.chance(0.55) ? `user:${userOf(random, seen)}` : `role:${roleOf(random, seen)}`,
      admin_option: random.chance(0.15),
    }),
  ],
  [
    7,
    'RemoveMember',
    (random, seen) => {
      const [group, member] = either(random, seen.members, [['role:r0', 'user:u0']] as const);
      return { group, member };
    },
  ],
  [
    22,
    'CreateGrant',
    (random, seen) => {
      const actions = verbs(random);
      const some = random.chance(0.2) ? actions.filter(() => random.chance(0.5)) : [];
      return {
        principal: principalOf(random, seen),
        path: random.pick(PATHS),
        actions,
        grant_option: some.length === 0 && random.chance(0.4),
        grant_options: some,
        replace: random.chance(0.15),
      };
    },
  ],
  [
    9,
    'RevokeGrant',
    (random, seen) => {
      const [principal, path, grantor] = either(random, seen.rows, [['user:u0', 'a', '']] as const);
      const all = random.chance(0.15);
      return {
        principal,
        path,
        all_grantors: all,
        grantor: all || random.chance(0.3) ? '' : grantor === '' ? 'operator' : grantor,
        actions: random.chance(0.4) ? [random.pick(VERBS)] : [],
        grant_option_only: random.chance(0.2),
      };
    },
  ],
  [
    7,
    'SetOwner',
    (random, seen) => ({ path: random.pick(PATHS), owner: `user:${userOf(random, seen)}` }),
  ],
  [3, 'RemoveOwner', (random, seen) => ({ path: either(random, seen.owned, PATHS) })],
  [3, 'PutPolicySet', (random) => ({ document: document(random, random.pick(SETS)) })],
  [1, 'DeletePolicySet', (random, seen) => ({ name: setOf(random, seen) })],
  [
    4,
    'CreateKey',
    (random, seen) => ({
      key: {
        id: random.pick(KEYS),
        role: random.pick(['default_allow', 'default_deny']),
        mode: random.pick(['off', 'report_only', 'enforce']),
        policy_sets: random.chance(0.5) ? [setOf(random, seen)] : [],
        user: random.chance(0.6) ? userOf(random, seen) : '',
      },
    }),
  ],
  [
    1,
    'UpdateKey',
    (random, seen) => ({
      id: keyOf(random, seen),
      role: random.pick(['default_allow', 'default_deny']),
      mode: random.pick(['off', 'enforce']),
    }),
  ],
  [1, 'RotateKey', (random, seen) => ({ id: keyOf(random, seen), overlap_seconds: 60 })],
  [1, 'RevokeKey', (random, seen) => ({ id: keyOf(random, seen) })],
  [
    2,
    'AttachPolicySet',
    (random, seen) => ({ id: keyOf(random, seen), policy_set: setOf(random, seen) }),
  ],
  [
    2,
    'DetachPolicySet',
    (random, seen) => {
      const [id, set] = either(random, seen.attached, [['k0', 'p0']] as const, 0.2);
      return { id, policy_set: set };
    },
  ],
  [2, 'CreateSession', (random, seen) => ({ user: `user:${userOf(random, seen)}` })],
  [1, 'RevokeSession', (random, seen) => ({ user: `user:${userOf(random, seen)}` })],
  [
    1,
    'BatchCreateUsers',
    (random) => ({
      users: random.some(USERS).map((id) => ({ ...BATCH_USER, id, ...flag(random, 0.1) })),
    }),
  ],
];

/** An item of a batch, as the codec makes it of one that says nothing. */
export const BATCH_USER = {
  id: '',
  type: '',
  external_id: '',
  email: '',
  superuser: false,
  createrole: false,
  no_login: false,
  roles: [],
  workspaces: [],
};

const TOTAL = CALLS.reduce((sum, [weight]) => sum + weight, 0);

function randomRequest(random: Random, seen: Seen): Omit<Call, 'who'> {
  let at = random.below(TOTAL);
  for (const [weight, call, make] of CALLS) {
    if (at < weight) return { call, request: make(random, seen) };
    at -= weight;
  }
  throw new Error('the weights do not add up');
}
