/**
 * Management, case by case: who may change what (ADM-1 to ADM-8, ID-2, RBAC-3, RBAC-4, TREE-2, TREE-3, ACL-4), allowed
 * and refused. After each refusal the tenant is as it was, and the log has exactly that refusal (ADM-7).
 */
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { OPERATOR, type Actor } from '../../src/admin/actor.ts';
import type { ChangeView } from '../../src/admin/admin-contract.ts';
import { IdempotencyError } from '../../src/admin/receipt.ts';
import { Refused, type RefusalKind } from '../../src/admin/refused.ts';
import { decide } from '../../src/engine/decide.ts';
import { staticFacts } from '../../src/offline/static-facts.ts';
import { openEmbeddedStore } from '../../src/store/embedded/store.ts';
import { parse, stringify } from 'yaml';
import {
  actorOf,
  bytesOf,
  catalog,
  manager,
  PRUNE,
  TENANT,
  type Manager,
} from '../support/admin.ts';
import { openMemoryStore, type Image, type MemoryStore } from '../support/memory-store.ts';
import { put, user as record } from '../support/records.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { BATCH_USER, dumpOf, textOf } from './cases.ts';

/** Who asks, for what. */
type Step = readonly [who: string, call: string, request?: object | undefined];

const NOW = Date.UTC(2030, 0, 1);
const DAY_MS = 24 * 60 * 60 * 1_000;

// ── requests in one line ────────────────────────────────────────────────────────────────────────

type Holder = string;

/** Rights as they are written in a case: `read,write`. */
const grant = (
  who: string,
  principal: Holder,
  path: string,
  actions: string,
  option: '' | 'option' = '',
): Step => [
  who,
  'CreateGrant',
  { principal, path, actions: actions.split(','), grant_option: option === 'option' },
];
const revoke = (
  who: string,
  principal: Holder,
  path: string,
  { grantor = '', actions = '', ...fields }: Record<string, string | boolean> = {},
): Step => [
  who,
  'RevokeGrant',
  {
    principal,
    path,
    grantor,
    actions: actions === '' ? [] : String(actions).split(','),
    ...fields,
  },
];
/** Takes what anybody gave. */
const ALL_GRANTORS = { all_grantors: true };
/** A row stated anew. */
const restate = (...step: Parameters<typeof grant>): Step => {
  const [who, call, request] = grant(...step);
  return [who, call, { ...request, replace: true }];
};
const own = (who: string, path: string, owner: string): Step => [
  who,
  'SetOwner',
  { path, owner: `user:${owner}` },
];
const disown = (who: string, path: string): Step => [who, 'RemoveOwner', { path }];
const join = (who: string, member: Holder, group: string, option: '' | 'option' = ''): Step => [
  who,
  'AddMember',
  { member, group, admin_option: option === 'option' },
];
const leave = (who: string, member: Holder, group: string): Step => [
  who,
  'RemoveMember',
  { member, group },
];
const user = (who: string, id: string, fields: object = {}): Step => [
  who,
  'CreateUser',
  { user: { id, ...fields } },
];
const change = (who: string, id: string, fields: object): Step => [
  who,
  'UpdateUser',
  { id, ...fields },
];
const remove = (who: string, id: string, heir = ''): Step => [
  who,
  'DeleteUser',
  { id, reassign_to: heir === '' ? '' : `user:${heir}` },
];
const role = (who: string, id: string, level = 0, permissions: readonly string[] = []): Step => [
  who,
  'CreateRole',
  { role: { id, level, permissions } },
];
const raise = (who: string, id: string, level: number, permissions?: readonly string[]): Step => [
  who,
  'UpdateRole',
  { id, level, ...(permissions === undefined ? {} : { permissions: { permissions } }) },
];
const workspace = (who: string, id: string): Step => [
  who,
  'CreateWorkspace',
  { workspace: { id } },
];
const key = (who: string, id: string, fields: object = {}): Step => [
  who,
  'CreateKey',
  { key: { id, ...fields } },
];
const READERS =
  'policy_set: { name: readers, mode: enforce, rules: [{ id: r, effect: allow, actions: [readonly] }] }';
const set = (who: string, name: string, rules: string, extra: object = {}): Step => [
  who,
  'PutPolicySet',
  { document: `policy_set: { name: ${name}, mode: enforce, rules: [${rules}] }`, ...extra },
];
const ALLOW = (actions: string, attributes = ''): string =>
  `{ id: allow, effect: allow, actions: [${actions}]${attributes === '' ? '' : `, attributes: ${attributes}`} }`;
const DENY = (actions: string): string => `{ id: deny, effect: deny, actions: [${actions}] }`;

// ── the tenant that every case begins with ──────────────────────────────────────────────────────

/**
 * root: superuser and owner; olga: owner; adam, amy: role admin (level 80); dean: level 60 with postern:admin;
 * mia: member; cara, carl: createrole; dora owns `work.d`; nora, ben, gus: nothing.
 */
const OFFICE: readonly Step[] = [
  ['operator', 'CreateTenant', { owner: 'root' }],
  user('root', 'olga', { roles: ['owner'], email: 'Olga@Example.com', external_id: 'ext-olga' }),
  user('root', 'adam', { roles: ['admin'] }),
  user('root', 'amy', { roles: ['admin'] }),
  user('root', 'mia', { roles: ['member'], email: 'mia@example.com' }),
  user('root', 'cara', { createrole: true }),
  user('root', 'carl', { createrole: true }),
  ...['dora', 'nora', 'ben', 'gus'].map((id) => user('root', id)),
  role('root', 'chief', 90, ['kb:read']),
  role('root', 'staff', 30, ['kb:read']),
  role('root', 'deputy', 60, ['kb:read', 'postern:admin']),
  user('root', 'dean', { roles: ['deputy'] }),
  workspace('root', 'hall'),
  role('cara', 'crew'),
  role('cara', 'team'),
  workspace('cara', 'den'),
  role('carl', 'band'),
  own('root', 'work.d', 'dora'),
  ['root', 'PutPolicySet', { document: READERS }],
  key('root', 'agent', { role: 'default_allow', user: 'adam' }),
  key('root', 'shut', { role: 'default_deny', user: 'adam' }),
  key('root', 'rootkey', { role: 'default_allow', user: 'root' }),
  key('root', 'norakey', { user: 'nora' }),
  key('root', 'lone', { policy_sets: ['readers'] }),
];

let store: MemoryStore;
let office: Image;
let room: Manager;
let clock = NOW;

beforeAll(async () => {
  store = openMemoryStore();
  room = manager(store, () => clock);
  for (const [who, call, request] of OFFICE) await room.as(who, call, request);
  office = store.image();
});

beforeEach(() => {
  store.restore(office);
  clock = NOW;
  room.events.length = 0;
});

const all = async (steps: readonly Step[]): Promise<void> => {
  for (const [who, call, request] of steps) await room.as(who, call, request);
};

interface Answer {
  readonly revision: number;
  readonly result: {
    readonly changes: readonly { change: string; kind: string; id: string }[];
    readonly revoked_grants: readonly { principal: string; path: string; actions: string[] }[];
    readonly warnings: readonly string[];
    readonly repeated: boolean;
    readonly dry_run: boolean;
  };
}

/** The answer of a write, in the form that all writes have. */
const did = async ([who, call, request]: Step): Promise<Answer & Record<string, unknown>> =>
  (await room.as(who, call, request)) as unknown as Answer & Record<string, unknown>;

/** Rows as `user:ben work.d read,write`. */
const revokedBy = async (step: Step): Promise<string[]> =>
  (await did(step)).result.revoked_grants
    .map(({ principal, path, actions }) => `${principal} ${path} ${actions.join(',')}`)
    .sort();

const rowsOf = async (...holders: readonly Holder[]): Promise<string[]> => {
  const dump = await dumpOf(store);
  return holders.flatMap((name) => {
    const [kind = '', id = ''] = name.split(':');
    const record = dump[kind as 'user' | 'role' | 'workspace'].get(id);
    return (record?.grants ?? []).map(
      ({ path, actions, grantor, grantOption, options = [] }) =>
        `${name} ${path} ${actions.join(',')}${grantOption ? '*' : options.map((one) => ` ${one}*`).join('')} by ${grantor === '' ? 'operator' : grantor}`,
    );
  });
};

// ── allowed and refused ─────────────────────────────────────────────────────────────────────────

interface Case {
  readonly name: string;
  readonly given?: readonly Step[];
  readonly when: Step;
  /** Absent: it is done. */
  readonly refused?: readonly [kind: RefusalKind, rule: string];
  /** What falls with it. */
  readonly revoked?: readonly string[];
}

const ok = (name: string, when: Step, given: readonly Step[] = []): Case => ({ name, when, given });
const no = (
  name: string,
  when: Step,
  given: readonly Step[] = [],
  refused: Case['refused'] = ['permission_denied', name.slice(0, name.indexOf(':'))],
): Case => ({ name, when, given, refused });

const forbidden = (rule: string): Case['refused'] => ['failed_precondition', rule];
const INVALID: Case['refused'] = ['invalid_argument', ''];
const NOT_FOUND: Case['refused'] = ['not_found', ''];
const EXISTS: Case['refused'] = ['already_exists', ''];
const TWIN: Case['refused'] = ['already_exists', 'ID-2'];
const TAKEN: Case['refused'] = ['already_exists', 'ADM-4'];
const NOBODY: Case['refused'] = ['unauthenticated', ''];

/** nora: admin and read on `work`; ben: read with the grant option on `work.b`. */
const HOLDERS: readonly Step[] = [
  grant('root', 'nora', 'work', 'read,admin'),
  grant('root', 'ben', 'work.b', 'read', 'option'),
];

/** rootkey and norakey act for others than adam, who may take away from them and give them nothing (ADM-1b). */
const update = (who: string, id: string, fields: object): Step => [
  who,
  'UpdateKey',
  { id, ...fields },
];
const attach = (who: string, id: string, name: string): Step => [
  who,
  'AttachPolicySet',
  { id, policy_set: name },
];
const detach = (who: string, id: string, name: string): Step => [
  who,
  'DetachPolicySet',
  { id, policy_set: name },
];
const GUARD = set('root', 'guard', DENY('user.delete'));
const GUARDED: readonly Step[] = [GUARD, attach('root', 'rootkey', 'guard')];
const NARROW = set('root', 'narrow', ALLOW('graph.search', '{ team: [a] }'));
const NARROWED: readonly Step[] = [NARROW, attach('root', 'norakey', 'narrow')];
const SOON = '2090-01-01T00:00:00Z';
const LATER = '2091-01-01T00:00:00Z';
const KEYS_OF_OTHERS: readonly Case[] = [
  no('ADM-1b: default_allow widens', update('adam', 'norakey', { role: 'default_allow' })),
  ok('ADM-1b: default_deny restricts', update('adam', 'rootkey', { role: 'default_deny' })),
  ok('ADM-1b: a superuser widens', update('root', 'norakey', { role: 'default_allow' })),
  ok('ADM-1b: so does the operator', update('operator', 'rootkey', { mode: 'off' }), GUARDED),
  ok('ADM-1b: so does the user itself', update('adam', 'shut', { role: 'default_allow' })),
  ok('ADM-1b: a description gives nothing', update('adam', 'rootkey', { description: 'x' })),
  ok('ADM-1b: of a key that acts for nobody everything', update('adam', 'lone', { mode: 'off' })),
  no(
    'ADM-1b: a mode in which denies do not count',
    update('adam', 'rootkey', { mode: 'off' }),
    GUARDED,
  ),
  no('ADM-1b: nor reports only', update('adam', 'rootkey', { mode: 'report_only' }), GUARDED),
  ok('ADM-1b: a mode that changes no rule', update('adam', 'rootkey', { mode: 'off' })),
  no('ADM-1b: a mode in which allows count', update('adam', 'norakey', { mode: 'enforce' }), [
    ...NARROWED,
    update('root', 'norakey', { mode: 'off' }),
  ]),
  ok('ADM-1b: an earlier end', update('adam', 'rootkey', { expires_at: SOON })),
  no('ADM-1b: a later end', update('adam', 'rootkey', { expires_at: LATER }), [
    update('root', 'rootkey', { expires_at: SOON }),
  ]),
  no('ADM-1b: no end', update('adam', 'rootkey', { expires_at: '' }), [
    update('root', 'rootkey', { expires_at: SOON }),
  ]),
  ok(
    'ADM-1b: a rate limit',
    update('adam', 'rootkey', { rate_limit: { requests: 5, per_seconds: 9 } }),
  ),
  ...[
    { requests: 6, per_seconds: 9 },
    { requests: 5, per_seconds: 8 },
    // Another window begins anew, so that moving it on and on limits nothing.
    { requests: 5, per_seconds: 10 },
    { requests: 0, per_seconds: 0 },
  ].map((rate_limit) =>
    no(`ADM-1b: looser: ${JSON.stringify(rate_limit)}`, update('adam', 'rootkey', { rate_limit }), [
      update('root', 'rootkey', { rate_limit: { requests: 5, per_seconds: 9 } }),
    ]),
  ),
  no('ADM-1b: attaching an allow', attach('adam', 'norakey', 'readers')),
  no('ADM-1b: a constrained one too', attach('adam', 'norakey', 'narrow'), [NARROW]),
  no('ADM-1b: beside a narrower one', attach('adam', 'norakey', 'readers'), NARROWED),
  ok('ADM-1b: attaching a deny', attach('adam', 'rootkey', 'guard'), [GUARD]),
  ok('ADM-1b: an allow that is off', attach('adam', 'norakey', 'idle'), [
    [
      'root',
      'PutPolicySet',
      {
        document:
          'policy_set: { name: idle, mode: off, rules: [{ id: r, effect: allow, actions: [readonly] }] }',
      },
    ],
  ]),
  no('ADM-1b: which is then enforced', set('adam', 'idle', ALLOW('readonly')), [
    [
      'root',
      'PutPolicySet',
      {
        document:
          'policy_set: { name: idle, mode: off, rules: [{ id: r, effect: allow, actions: [readonly] }] }',
      },
    ],
    attach('adam', 'norakey', 'idle'),
  ]),
  no('ADM-1b: detaching a deny', detach('adam', 'rootkey', 'guard'), GUARDED),
  ok('ADM-1b: detaching an allow', detach('adam', 'norakey', 'narrow'), NARROWED),
  no('ADM-1b: deleting an attached deny', ['adam', 'DeletePolicySet', { name: 'guard' }], GUARDED),
  ok(
    'ADM-1b: deleting an attached allow',
    ['adam', 'DeletePolicySet', { name: 'narrow' }],
    NARROWED,
  ),
  no('ADM-1b: an attached deny of less', set('adam', 'guard', DENY('user.create')), GUARDED),
  no(
    'ADM-1b: an attached deny of some objects',
    set(
      'adam',
      'guard',
      '{ id: d, effect: deny, actions: [user.delete], attributes: { team: [a] } }',
    ),
    GUARDED,
  ),
  no(
    'ADM-1b: an attached deny that does not count',
    [
      'adam',
      'PutPolicySet',
      {
        document:
          'policy_set: { name: guard, mode: report_only, rules: [{ id: d, effect: deny, actions: [user.delete] }] }',
      },
    ],
    GUARDED,
  ),
  ok(
    'ADM-1b: an attached deny of more',
    set('adam', 'guard', DENY('user.delete, user.create')),
    GUARDED,
  ),
  no(
    'ADM-1b: an attached allow of other objects',
    set('adam', 'narrow', ALLOW('graph.search', '{ team: [b] }')),
    NARROWED,
  ),
  no('ADM-1b: of more objects', set('adam', 'narrow', ALLOW('graph.search')), NARROWED),
  no(
    'ADM-1b: of more actions',
    set('adam', 'narrow', ALLOW('readonly', '{ team: [a] }')),
    NARROWED,
  ),
  no(
    'ADM-1b: of an action that no catalog has yet',
    set('adam', 'narrow', ALLOW('graph.search, report:read', '{ team: [a] }')),
    NARROWED,
  ),
  ok(
    'ADM-1b: of fewer objects',
    set('adam', 'narrow', ALLOW('graph.search', '{ team: [a], tier: [1] }')),
    NARROWED,
  ),
  no('ADM-1b: an old version of an attached set', set('adam', 'guard', DENY('user.delete')), [
    ...GUARDED,
    set('root', 'guard', DENY('user.delete, user.create')),
  ]),
  no('ADM-1b: sets that are put before they are attached', attach('adam', 'norakey', 'mine'), [
    set('adam', 'mine', ALLOW('readonly')),
  ]),
];

const POLICIES: readonly Case[] = [
  ok('ADM-1: a tenant administrator puts a policy set', set('adam', 'p', ALLOW('readonly'))),
  ok('ADM-1: an owner does, by *:*', set('olga', 'p', ALLOW('readonly'))),
  ok(
    'ADM-1: so does whoever holds postern:admin by another role',
    set('dean', 'p', ALLOW('readonly')),
  ),
  ok('ADM-1: an administrator deletes one', ['adam', 'DeletePolicySet', { name: 'readers' }]),
  ok('ADM-1: an administrator makes a key', key('adam', 'k')),
  ok('ADM-1: and one that acts for itself', key('adam', 'k', { user: 'adam' })),
  ok('ADM-1: a superuser makes one for another', key('root', 'k', { user: 'olga' })),
  ok('ADM-1: an administrator changes a key', ['adam', 'UpdateKey', { id: 'lone', mode: 'off' }]),
  ok('ADM-1: attaches', ['adam', 'AttachPolicySet', { id: 'shut', policy_set: 'readers' }]),
  ok('ADM-1: detaches', ['adam', 'DetachPolicySet', { id: 'lone', policy_set: 'readers' }]),
  ok('ADM-1: rotates one that acts for nobody', ['adam', 'RotateKey', { id: 'lone' }]),
  ok('ADM-1: and its own', ['adam', 'RotateKey', { id: 'agent' }]),
  ok('ADM-1: revokes', ['adam', 'RevokeKey', { id: 'lone' }]),
  ok('ADM-1: a user ends a key of its own', ['nora', 'RevokeKey', { id: 'norakey' }]),
  no('ADM-1: nobody ends that of another', ['nora', 'RevokeKey', { id: 'lone' }]),
  ...['nora', 'mia', 'cara', 'dora'].map((who) =>
    no(`ADM-1: ${who} may not put a policy set`, set(who, 'p', ALLOW('readonly'))),
  ),
  no('ADM-1: a member may not delete one', ['mia', 'DeletePolicySet', { name: 'readers' }]),
  no('ADM-1: createrole makes no key', key('cara', 'k')),
  no('ADM-1: a user makes none for itself', key('nora', 'k', { user: 'nora' })),
  no('ADM-1: an administrator makes none for a superuser', key('adam', 'k', { user: 'root' })),
  no('ADM-1: nor for a peer', key('adam', 'k', { user: 'amy' })),
  no('ADM-1: nor takes a secret that acts for another', ['adam', 'RotateKey', { id: 'rootkey' }]),
  no('ADM-1: nor one of a peer, below it', ['adam', 'RotateKey', { id: 'norakey' }]),
  ...KEYS_OF_OTHERS,
  no('ADM-1: no user changes a posture, its own neither', [
    'nora',
    'UpdateKey',
    { id: 'norakey', role: 'default_allow' },
  ]),
  // By a key whose policies permit everything, bound to whoever may do it otherwise.
  ...(
    [
      set('key:agent/adam', 'p', ALLOW('readonly')),
      ['key:agent/adam', 'DeletePolicySet', { name: 'readers' }],
      key('key:agent/adam', 'k'),
      key('key:agent/adam', 'k', { user: 'adam' }),
      ['key:agent/adam', 'UpdateKey', { id: 'agent', mode: 'off' }],
      ['key:agent/adam', 'RotateKey', { id: 'agent' }],
      ['key:agent/adam', 'RevokeKey', { id: 'shut' }],
      ['key:agent/adam', 'RevokeKey', { id: 'agent' }],
      ['key:agent/adam', 'AttachPolicySet', { id: 'agent', policy_set: 'readers' }],
      ['key:agent/adam', 'DetachPolicySet', { id: 'lone', policy_set: 'readers' }],
      ['key:agent/adam', 'CreateSession', {}],
      ['key:agent/adam', 'RevokeSession', {}],
      set('key:rootkey/root', 'p', ALLOW('readonly')),
      key('key:rootkey/root', 'k'),
      ['key:rootkey/root', 'UpdateKey', { id: 'shut', role: 'default_allow' }],
      ['key:rootkey/root', 'AttachPolicySet', { id: 'rootkey', policy_set: 'readers' }],
      ['key:rootkey/root', 'RotateKey', { id: 'rootkey' }],
      ['key:rootkey/root', 'CreateSession', { user: 'user:adam' }],
      ['key:rootkey/root', 'CreateSession', {}],
      ['key:rootkey/root', 'CreateTenant', {}],
    ] satisfies Step[]
  ).map((step: Step, index) =>
    no(`ADM-1: no key manages ABAC or sessions: ${step[1]} ${index}`, step),
  ),
  no(
    'ADM-4: no key makes a superuser, though its user could',
    user('key:rootkey/root', 'x', { superuser: true }),
  ),
  no('ADM-4: no key gives createrole', change('key:rootkey/root', 'nora', { createrole: true })),
  no(
    'ADM-5: no key gives the superuser flag',
    change('key:rootkey/root', 'nora', { superuser: true }),
  ),
  ok('ADM-1: a key that is permitted everything creates a user', user('key:agent/adam', 'x')),
  no('ADM-1: a default_deny key manages nothing', user('key:shut/adam', 'x')),
  ok('ADM-1: unless a policy permits postern:admin', user('key:shut/adam', 'x'), [
    set('root', 'managers', ALLOW('"postern:admin"')),
    ['root', 'AttachPolicySet', { id: 'shut', policy_set: 'managers' }],
  ]),
  no('ADM-1: a deny takes it away from a default_allow key', user('key:agent/adam', 'x'), [
    set('root', 'strict', DENY('"postern:admin"')),
    ['root', 'AttachPolicySet', { id: 'agent', policy_set: 'strict' }],
  ]),
  no('ADM-1: a constrained allow does not permit it (ABAC-6)', user('key:shut/adam', 'x'), [
    set('root', 'managers', ALLOW('"postern:admin"', '{ a: [b] }')),
    ['root', 'AttachPolicySet', { id: 'shut', policy_set: 'managers' }],
  ]),
  no('ADM-1: a key that does not exist manages nothing', user('key:gone/adam', 'x')),
  no('ADM-1: a key that is revoked meanwhile manages nothing', user('key:agent/adam', 'x'), [
    ['root', 'RevokeKey', { id: 'agent' }],
  ]),
  no('ADM-1: a key does not act for another than its user', user('key:agent/root', 'x')),
  no('ADM-1: only the operator makes tenants', ['root', 'CreateTenant', {}]),
  no('ADM-9: only the operator deletes tenants', ['root', 'DeleteTenant', { confirm: TENANT }]),
  no('ADM-9: no key does', ['key:rootkey/root', 'DeleteTenant', { confirm: TENANT }]),
  no('ADM-9: a superuser is not asked for the name', ['root', 'DeleteTenant', { confirm: '' }]),
  ...['', 'other', 'ACME', `${TENANT} `].map((confirm) =>
    no(
      `ADM-9: the name is asked for twice: '${confirm}'`,
      ['operator', 'DeleteTenant', { confirm }],
      [],
      INVALID,
    ),
  ),
  no('RBAC-4: a tenant is made once', ['operator', 'CreateTenant', {}], [], EXISTS),
];

const GRANTS: readonly Case[] = [
  ok(
    'ADM-2: a superuser grants anything',
    grant('root', 'gus', '', 'read,write,create,delete,admin', 'option'),
  ),
  ok('ADM-2: the operator does', grant('operator', 'role:crew', 'x', 'read')),
  ok(
    'ADM-2: an owner grants anything at its path',
    grant('dora', 'gus', 'work.d', 'delete,admin', 'option'),
  ),
  ok('ADM-2: and below', grant('dora', 'workspace:hall', 'work.d.e.f', 'admin')),
  no('ADM-2: not above', grant('dora', 'gus', 'work', 'read')),
  no('ADM-2: not beside, whatever the name (PATH-2)', grant('dora', 'gus', 'work.docs', 'read')),
  no('ADM-2: not at the root', grant('dora', 'gus', '', 'read')),
  ok(
    'ADM-2: an ancestor owner goes on granting under another owner (TREE-2)',
    grant('dora', 'gus', 'work.d.e', 'read'),
    [own('dora', 'work.d.e', 'ben')],
  ),
  no('ADM-2: ownership does not climb (TREE-2)', grant('ben', 'gus', 'work.d', 'read'), [
    own('dora', 'work.d.e', 'ben'),
  ]),
  ok(
    'ADM-2: a holder of admin grants what it holds there',
    grant('nora', 'gus', 'work', 'read'),
    HOLDERS,
  ),
  ok(
    'ADM-2: and below, admin itself included',
    grant('nora', 'gus', 'work.x.y', 'read,admin'),
    HOLDERS,
  ),
  ok('ADM-2: by a role too', grant('ben', 'gus', 'wiki', 'write'), [
    join('cara', 'user:ben', 'role:crew'),
    grant('root', 'role:crew', 'wiki', 'write,admin'),
  ]),
  ok(
    'ADM-2: admin by a role and the action by a workspace',
    grant('ben', 'gus', 'wiki.a', 'write'),
    [
      join('cara', 'user:ben', 'role:crew'),
      join('cara', 'role:crew', 'workspace:den'),
      grant('root', 'role:crew', 'wiki', 'admin'),
      grant('root', 'workspace:den', '', 'write'),
    ],
  ),
  no('ADM-2: not an action that it does not hold', grant('nora', 'gus', 'work', 'write'), HOLDERS),
  no(
    'ADM-2: not together with one that it holds',
    grant('nora', 'gus', 'work', 'read,delete'),
    HOLDERS,
  ),
  no('ADM-2: not one that it holds only below', grant('nora', 'gus', 'work', 'write'), [
    ...HOLDERS,
    grant('root', 'nora', 'work.x', 'write'),
  ]),
  no('ADM-2: not above its admin', grant('nora', 'gus', '', 'read'), HOLDERS),
  no('ADM-2: an action without admin gives nothing on', grant('gus', 'ben', 'work', 'read'), [
    grant('root', 'gus', 'work', 'read,write,create,delete'),
  ]),
  no('ADM-2: admin elsewhere is no admin here', grant('gus', 'ben', 'work', 'read'), [
    grant('root', 'gus', 'work', 'read'),
    grant('root', 'gus', 'wiki', 'admin'),
  ]),
  ok(
    'ADM-2: the grant option passes the action on',
    grant('ben', 'gus', 'work.b', 'read'),
    HOLDERS,
  ),
  ok(
    'ADM-2: below, and with the option again',
    grant('ben', 'gus', 'work.b.c', 'read', 'option'),
    HOLDERS,
  ),
  ok('ADM-2: to a role', grant('ben', 'role:band', 'work.b', 'read'), HOLDERS),
  no(
    'ADM-2: the option does not go beyond its actions',
    grant('ben', 'gus', 'work.b', 'write'),
    HOLDERS,
  ),
  no(
    'ADM-2: nor does it with another row without option',
    grant('ben', 'gus', 'work.b', 'read,write'),
    [...HOLDERS, grant('operator', 'ben', 'work.b', 'write')],
  ),
  no('ADM-2: nor beyond its path', grant('ben', 'gus', 'work', 'read'), HOLDERS),
  no('ADM-2: nor beside it', grant('ben', 'gus', 'work.bb', 'read'), HOLDERS),
  no('ADM-2: without the option nothing is passed on', grant('gus', 'ben', 'work', 'read'), [
    grant('root', 'gus', 'work', 'read'),
  ]),
  no('ADM-2: an option that a role holds does not count', grant('ben', 'gus', 'wiki', 'read'), [
    join('cara', 'user:ben', 'role:crew'),
    grant('root', 'role:crew', 'wiki', 'read', 'option'),
  ]),
  no('ADM-2: nor that of a workspace', grant('ben', 'gus', 'wiki', 'read'), [
    join('cara', 'user:ben', 'workspace:den'),
    grant('root', 'workspace:den', 'wiki', 'read', 'option'),
  ]),
  no(
    'ADM-2: nobody grants to itself by an option',
    grant('ben', 'ben', 'work.b', 'read', 'option'),
    HOLDERS,
  ),
  no('ADM-2: nor by admin', grant('nora', 'nora', 'work', 'read', 'option'), HOLDERS),
  no('ADM-2: nor as an owner', grant('dora', 'dora', 'work.d', 'read'), []),
  ok('ADM-2: a superuser may', grant('root', 'root', 'x', 'read')),
  no('ADM-2: a tenant administrator holds no data (RBAC-3)', grant('adam', 'gus', 'work', 'read')),
  no('ADM-2: nor the owner of the tenant by its role alone', grant('olga', 'gus', 'work', 'read')),
  no(
    'ADM-4: createrole gives no data access',
    grant('cara', 'role:crew', 'work', 'read'),
    [],
    ['permission_denied', 'ADM-2'],
  ),
  no('ADM-2: nor on what its own groups hold', grant('cara', 'gus', 'work', 'read'), [
    grant('root', 'role:crew', 'work', 'read,admin'),
  ]),
  no('TREE-1: no such action', grant('root', 'gus', 'work', 'fly'), [], INVALID),
  no(
    'TREE-1: no action at all',
    ['root', 'CreateGrant', { principal: 'gus', path: 'work', actions: [] }],
    [],
    INVALID,
  ),
  no('PATH-1: no such path', grant('root', 'gus', 'work..x', 'read'), [], INVALID),
  no('PATH-1: no wildcard', grant('root', 'gus', 'work.*', 'read'), [], INVALID),
  no('ADM-2: nobody of that name', grant('root', 'user:ghost', 'work', 'read'), [], NOT_FOUND),
  no(
    'ADM-2: a bare name of two',
    grant('root', 'twin', 'work', 'read'),
    [user('root', 'twin'), workspace('root', 'twin')],
    INVALID,
  ),
  ok('ADM-2: written with its type it is one', grant('root', 'user:twin', 'work', 'read'), [
    user('root', 'twin'),
    workspace('root', 'twin'),
  ]),
  ok(
    'TREE-3: granting the same again changes the row',
    grant('root', 'nora', 'work', 'write'),
    HOLDERS,
  ),
];

const REVOKING: readonly Case[] = [
  {
    ...ok('ADM-3: the grantor revokes', revoke('ben', 'gus', 'work.b'), [
      ...HOLDERS,
      grant('ben', 'gus', 'work.b', 'read'),
    ]),
    revoked: [],
  },
  ok(
    'ADM-3: an owner revokes what another gave',
    revoke('dora', 'gus', 'work.d', { grantor: 'root' }),
    [grant('root', 'gus', 'work.d', 'read')],
  ),
  ok('ADM-3: a holder of admin does', revoke('nora', 'gus', 'work.x', { grantor: 'root' }), [
    ...HOLDERS,
    grant('root', 'gus', 'work.x', 'write'),
  ]),
  ok('ADM-3: a superuser does', revoke('root', 'gus', 'work.d', { grantor: 'user:dora' }), [
    grant('dora', 'gus', 'work.d', 'read'),
  ]),
  no('ADM-3: the holder does not', revoke('gus', 'gus', 'work.d'), [
    grant('dora', 'gus', 'work.d', 'read'),
  ]),
  no('ADM-3: nobody else does', revoke('adam', 'gus', 'work.d'), [
    grant('dora', 'gus', 'work.d', 'read'),
  ]),
  no(
    'ADM-3: a holder of the option does not revoke the row of another',
    revoke('ben', 'gus', 'work.b'),
    [...HOLDERS, grant('root', 'gus', 'work.b', 'read')],
  ),
  no('ADM-3: an owner below does not', revoke('dora', 'gus', 'work'), [
    grant('root', 'gus', 'work', 'read'),
  ]),
  no('ADM-3: a row that is not there', revoke('root', 'gus', 'work'), [], NOT_FOUND),
  no(
    'ADM-3: of another grantor',
    revoke('root', 'nora', 'work', { grantor: 'user:dora' }),
    HOLDERS,
    NOT_FOUND,
  ),
  no(
    'ADM-3: an action that it has not',
    revoke('root', 'nora', 'work', { actions: 'delete' }),
    HOLDERS,
    NOT_FOUND,
  ),
  no('ADM-3: at a path above the row', revoke('root', 'ben', 'work'), HOLDERS, NOT_FOUND),
  no('ADM-3: at a path below the row', revoke('root', 'ben', 'work.b.c'), HOLDERS, NOT_FOUND),
  {
    name: 'ADM-3: a chain of four falls with its first row',
    given: [
      grant('dora', 'ben', 'work.d', 'read,write', 'option'),
      grant('ben', 'gus', 'work.d', 'read,write', 'option'),
      grant('gus', 'nora', 'work.d.e', 'read,write', 'option'),
      grant('nora', 'role:crew', 'work.d.e.f', 'read'),
    ],
    when: revoke('dora', 'ben', 'work.d'),
    revoked: [
      'role:crew work.d.e.f read',
      'user:gus work.d read,write',
      'user:nora work.d.e read,write',
    ],
  },
  {
    name: 'ADM-3: one action of a row, and that action all the way down',
    given: [
      grant('dora', 'ben', 'work.d', 'read,write', 'option'),
      grant('ben', 'gus', 'work.d', 'read,write', 'option'),
      grant('gus', 'nora', 'work.d.e', 'write', 'option'),
      grant('gus', 'mia', 'work.d.e', 'read'),
    ],
    when: revoke('dora', 'ben', 'work.d', { actions: 'write' }),
    revoked: ['user:gus work.d write', 'user:nora work.d.e write'],
  },
  {
    name: 'ADM-3: what somebody else gave as well stands',
    given: [
      grant('dora', 'ben', 'work.d', 'read', 'option'),
      grant('root', 'ben', 'work', 'read', 'option'),
      grant('ben', 'gus', 'work.d', 'read'),
    ],
    when: revoke('dora', 'ben', 'work.d'),
    revoked: [],
  },
  {
    name: 'ADM-3: an option of which only the action is left falls',
    given: [
      grant('dora', 'ben', 'work.d', 'read', 'option'),
      grant('root', 'ben', 'work', 'read'),
      grant('ben', 'gus', 'work.d', 'read'),
    ],
    when: revoke('dora', 'ben', 'work.d'),
    revoked: ['user:gus work.d read'],
  },
  {
    name: 'ADM-3: rows that only justify each other in a circle fall',
    given: [
      grant('dora', 'ben', 'work.d', 'read', 'option'),
      grant('ben', 'gus', 'work.d', 'read', 'option'),
      grant('gus', 'ben', 'work.d', 'read', 'option'),
    ],
    when: revoke('dora', 'ben', 'work.d'),
    revoked: ['user:ben work.d read', 'user:gus work.d read'],
  },
  {
    name: 'ADM-3: a circle over a group falls',
    given: [
      join('cara', 'user:ben', 'role:crew'),
      grant('dora', 'ben', 'work.d', 'read,admin'),
      grant('ben', 'role:crew', 'work.d', 'read,admin'),
      grant('ben', 'gus', 'work.d.e', 'read'),
    ],
    when: revoke('dora', 'ben', 'work.d'),
    revoked: ['role:crew work.d read,admin', 'user:gus work.d.e read'],
  },
  {
    name: 'ADM-3: a circle that another right holds stands',
    given: [
      grant('dora', 'ben', 'work.d', 'read', 'option'),
      grant('ben', 'gus', 'work.d', 'read', 'option'),
      grant('gus', 'ben', 'work.d', 'read', 'option'),
      grant('operator', 'gus', 'work.d', 'read', 'option'),
    ],
    when: revoke('dora', 'ben', 'work.d'),
    revoked: [],
  },
  {
    name: 'ADM-3: granting weaker takes what depended on the rest',
    given: [
      grant('dora', 'ben', 'work.d', 'read,write', 'option'),
      grant('ben', 'gus', 'work.d', 'read,write'),
    ],
    when: restate('dora', 'ben', 'work.d', 'read', 'option'),
    revoked: ['user:gus work.d write'],
  },
  {
    name: 'ADM-3: stating it anew without the option does',
    given: [
      grant('dora', 'ben', 'work.d', 'read', 'option'),
      grant('ben', 'gus', 'work.d', 'read'),
    ],
    when: restate('dora', 'ben', 'work.d', 'read,write'),
    revoked: ['user:gus work.d read'],
  },
  {
    name: 'ADM-3: granting stronger takes nothing',
    given: [
      grant('dora', 'ben', 'work.d', 'read', 'option'),
      grant('ben', 'gus', 'work.d', 'read'),
    ],
    when: grant('dora', 'ben', 'work.d', 'read,write', 'option'),
    revoked: [],
  },
  {
    name: 'ADM-3: losing the action takes what an admin gave of it',
    given: [
      ...HOLDERS,
      grant('root', 'nora', '', 'write'),
      grant('nora', 'gus', 'work', 'read,write'),
    ],
    when: revoke('root', 'nora', ''),
    revoked: ['user:gus work write'],
  },
  {
    name: 'ADM-3: losing admin takes all that it gave by it',
    given: [
      ...HOLDERS,
      grant('nora', 'gus', 'work', 'read'),
      grant('nora', 'mia', 'work.x', 'admin'),
    ],
    when: revoke('root', 'nora', 'work', { actions: 'admin' }),
    revoked: ['user:gus work read', 'user:mia work.x admin'],
  },
  {
    name: 'ADM-3: a role that loses admin takes what its members gave',
    given: [
      join('cara', 'user:ben', 'role:crew'),
      join('cara', 'role:crew', 'role:team'),
      grant('root', 'role:team', 'wiki', 'read,admin'),
      grant('ben', 'gus', 'wiki.x', 'read'),
    ],
    when: revoke('root', 'role:team', 'wiki'),
    revoked: ['user:gus wiki.x read'],
  },
  {
    name: 'ADM-3: who leaves the group that it administered by loses what it gave',
    given: [
      join('cara', 'user:ben', 'role:crew'),
      grant('root', 'role:crew', 'wiki', 'read,admin'),
      grant('ben', 'gus', 'wiki.x', 'read'),
    ],
    when: leave('cara', 'user:ben', 'role:crew'),
    revoked: ['user:gus wiki.x read'],
  },
  {
    name: 'ADM-3: so does who was in it over another role',
    given: [
      join('cara', 'user:ben', 'role:crew'),
      join('cara', 'role:crew', 'role:team'),
      join('cara', 'role:team', 'workspace:den'),
      grant('root', 'workspace:den', 'wiki', 'read,admin'),
      grant('ben', 'gus', 'wiki.x', 'read'),
    ],
    when: leave('cara', 'role:crew', 'role:team'),
    revoked: ['user:gus wiki.x read'],
  },
  {
    name: 'ADM-3: a superuser who is one no more loses what it gave as one',
    given: [
      user('root', 'sue', { superuser: true }),
      grant('sue', 'gus', 'x', 'read'),
      own('root', 'y', 'sue'),
      grant('sue', 'gus', 'y', 'read'),
    ],
    when: change('root', 'sue', { superuser: false }),
    revoked: ['user:gus x read'],
  },
  {
    name: 'ADM-3: what a suspended user gave stands',
    given: [grant('dora', 'gus', 'work.d', 'read')],
    when: change('root', 'dora', { suspended: true }),
    revoked: [],
  },
];

const OWNERSHIP: readonly Case[] = [
  ok('TREE-2: an owner hands its path on', own('dora', 'work.d', 'ben')),
  ok('TREE-2: or a part of it', own('dora', 'work.d.e', 'ben')),
  ok(
    'TREE-4: a holder of admin and of all that an owner has says who owns',
    own('nora', 'work.x', 'gus'),
    [...HOLDERS, grant('root', 'nora', 'work', 'read,write,create,delete,admin')],
  ),
  no(
    'ADM-2: a holder of admin alone makes no owner, itself neither',
    own('nora', 'work.x', 'nora'),
    HOLDERS,
  ),
  no('ADM-2: nor another', own('nora', 'work.x', 'gus'), HOLDERS),
  no('ADM-2: an option on admin is no admin over ownership', own('ben', 'wiki.x', 'gus'), [
    grant('root', 'ben', 'wiki.x.y', 'admin', 'option'),
  ]),
  no('ADM-2: nobody takes a path', own('gus', 'work.d', 'gus')),
  no('ADM-2: not even a free one', own('gus', 'free', 'gus')),
  no('ADM-2: not an administrator of the tenant', own('adam', 'work.d', 'adam')),
  no('ADM-2: not an owner below', own('ben', 'work.d', 'ben'), [own('dora', 'work.d.e', 'ben')]),
  no('ADM-2: nobody removes an owner', disown('gus', 'work.d')),
  no('TREE-2: a path without owner', disown('root', 'work.x'), [], NOT_FOUND),
  no(
    'TREE-2: a role owns nothing',
    ['root', 'SetOwner', { path: 'x', owner: 'role:crew' }],
    [],
    NOT_FOUND,
  ),
  {
    name: 'TREE-2: what the owner before gave is the new one’s',
    given: [
      grant('dora', 'gus', 'work.d', 'read', 'option'),
      grant('gus', 'mia', 'work.d', 'read'),
    ],
    when: own('root', 'work.d', 'ben'),
    revoked: [],
  },
  {
    name: 'ADM-3: what the new owner had of the old one falls: it owns the path',
    given: [
      grant('dora', 'ben', 'work.d', 'read', 'option'),
      grant('ben', 'gus', 'work.d', 'read'),
    ],
    when: own('dora', 'work.d', 'ben'),
    revoked: ['user:ben work.d read'],
  },
  {
    name: 'ADM-3: an owner who is removed loses what it gave, all the way down',
    given: [
      grant('dora', 'ben', 'work.d', 'read', 'option'),
      grant('ben', 'gus', 'work.d.e', 'read'),
    ],
    when: disown('root', 'work.d'),
    revoked: ['user:ben work.d read', 'user:gus work.d.e read'],
  },
  {
    name: 'ADM-3: but not where it owns above',
    given: [own('root', 'work', 'dora'), grant('dora', 'ben', 'work.d', 'read')],
    when: disown('dora', 'work.d'),
    revoked: [],
  },
];

const GROUPS: readonly Case[] = [
  ok('ADM-4: createrole makes a user', user('cara', 'x')),
  no('ADM-4: not one who once existed', user('cara', 'nora'), [remove('root', 'nora')]),
  ok('ADM-4: an administrator does', user('adam', 'nora'), [remove('root', 'nora')]),
  no('ADM-4: nor a role', role('cara', 'crew'), [['root', 'DeleteRole', { id: 'crew' }]]),
  no('ADM-4: of its own neither', role('cara', 'crew'), [['cara', 'DeleteRole', { id: 'crew' }]]),
  no('ADM-4: nor as a user without a login', user('cara', 'crew', { no_login: true }), [
    ['root', 'DeleteRole', { id: 'crew' }],
  ]),
  no('ADM-4: nor as a user', user('cara', 'crew'), [['root', 'DeleteRole', { id: 'crew' }]]),
  no('ADM-4: nor a user as a role', role('cara', 'nora'), [remove('root', 'nora')]),
  no('ADM-4: nor a workspace', workspace('carl', 'den'), [
    ['cara', 'DeleteWorkspace', { id: 'den' }],
  ]),
  ok('ADM-4: names of roles and workspaces are apart', workspace('cara', 'crew'), [
    ['root', 'DeleteRole', { id: 'crew' }],
  ]),
  ok('ADM-4: an administrator creates a role again', role('adam', 'crew'), [
    ['root', 'DeleteRole', { id: 'crew' }],
  ]),
  ok('ADM-4: the operator a workspace', workspace('operator', 'den'), [
    ['cara', 'DeleteWorkspace', { id: 'den' }],
  ]),
  ...[{ email: 'x@x' }, { external_id: 'x' }, { metadata: { team: 'a' } }].flatMap((profile) => [
    no(`ADM-4: createrole sets no ${Object.keys(profile).join()}`, user('cara', 'x', profile)),
    ok(`ADM-4: an administrator sets ${Object.keys(profile).join()}`, user('adam', 'x', profile)),
    no(
      `ADM-4: nobody changes its own ${Object.keys(profile).join()}`,
      change('root', 'root', profile),
    ),
    ok(
      `ADM-4: the operator changes ${Object.keys(profile).join()}`,
      change('operator', 'root', profile),
    ),
  ]),
  ok('ADM-4: what stays as it is is no change', change('root', 'olga', { type: 'agent' })),
  ok('ADM-4: nor for oneself', change('root', 'root', { type: 'agent', email: '' })),
  ok('ADM-4: a role', role('cara', 'x')),
  ok('ADM-4: a workspace', workspace('cara', 'x')),
  ok('ADM-4: manages members of its role', join('cara', 'user:nora', 'role:crew')),
  ok('ADM-4: and of its workspace', join('cara', 'user:nora', 'workspace:den')),
  ok('ADM-4: gives the admin option', join('cara', 'user:nora', 'role:crew', 'option')),
  ok('ADM-4: takes a member out', leave('cara', 'user:nora', 'role:crew'), [
    join('cara', 'user:nora', 'role:crew'),
  ]),
  ok(
    'ADM-4: makes a user in its role',
    user('cara', 'x', { roles: ['crew'], workspaces: ['den'] }),
  ),
  ok('ADM-4: nests its roles', join('cara', 'role:team', 'role:crew')),
  ok('ADM-4: deletes its role', ['cara', 'DeleteRole', { id: 'crew' }]),
  ok('ADM-4: describes its workspace', [
    'cara',
    'UpdateWorkspace',
    { id: 'den', description: 'x' },
  ]),
  ok('ADM-4: a user that cannot log in is a role', user('cara', 'group', { no_login: true })),
  no('ADM-4: createrole makes no superuser', user('cara', 'x', { superuser: true })),
  no('ADM-4: nobody with createrole', user('cara', 'x', { createrole: true })),
  no('ADM-4: nor does an administrator', user('adam', 'x', { createrole: true })),
  no('ADM-4: an administrator makes no superuser', user('adam', 'x', { superuser: true })),
  no(
    'ADM-4: a role without log-in has no flag',
    user('root', 'x', { no_login: true, superuser: true }),
    [],
    INVALID,
  ),
  no(
    'ADM-4: it does not manage the role of another creator',
    join('cara', 'user:nora', 'role:band'),
  ),
  no('ADM-4: nor take members out of it', leave('cara', 'user:nora', 'role:band'), [
    join('carl', 'user:nora', 'role:band'),
  ]),
  no('ADM-4: nor delete it', ['cara', 'DeleteRole', { id: 'band' }]),
  no('ADM-4: nor change it', raise('cara', 'band', 0)),
  no('ADM-4: nor make a user in it', user('cara', 'x', { roles: ['band'] })),
  no('ADM-4: nor a workspace of the operator', join('cara', 'user:nora', 'workspace:hall')),
  no('ADM-4: nor delete that', ['cara', 'DeleteWorkspace', { id: 'hall' }]),
  no('ADM-4: nor change that', ['cara', 'UpdateWorkspace', { id: 'hall', description: 'x' }]),
  no('ADM-4: it gives no level', role('cara', 'x', 1), [], ['permission_denied', 'ADM-5']),
  no(
    'ADM-4: nor a permission',
    role('cara', 'x', 0, ['kb:read']),
    [],
    ['permission_denied', 'ADM-5'],
  ),
  no('ADM-4: nor later', raise('cara', 'crew', 0, ['kb:read']), [], ['permission_denied', 'ADM-5']),
  no('ADM-4: its role in a role of others gives nothing', join('cara', 'role:crew', 'role:staff')),
  no(
    'ADM-4: without createrole any more it manages nothing',
    join('cara', 'user:nora', 'role:crew'),
    [change('root', 'cara', { createrole: false })],
  ),
  no(
    'ADM-4: users are managed by administrators',
    change('cara', 'nora', { email: 'x@y' }),
    [],
    ['permission_denied', 'ADM-5'],
  ),
  no('ADM-4: nobody makes users', user('nora', 'x')),
  no('ADM-4: nor roles', role('nora', 'x')),
  no('ADM-4: nor workspaces', workspace('mia', 'x')),
  no(
    'ADM-4: a role has no admin option',
    join('cara', 'role:team', 'role:crew', 'option'),
    [],
    forbidden('ADM-4'),
  ),
  ok('ADM-5: the admin option adds members', join('nora', 'user:ben', 'role:crew'), [
    join('cara', 'user:nora', 'role:crew', 'option'),
  ]),
  ok('ADM-5: and takes them out', leave('nora', 'user:ben', 'role:crew'), [
    join('cara', 'user:nora', 'role:crew', 'option'),
    join('nora', 'user:ben', 'role:crew'),
  ]),
  no('ADM-5: it is not passed on', join('nora', 'user:ben', 'role:crew', 'option'), [
    join('cara', 'user:nora', 'role:crew', 'option'),
  ]),
  no('ADM-4: it ends with the membership', join('nora', 'user:ben', 'role:crew'), [
    join('cara', 'user:nora', 'role:crew', 'option'),
    leave('cara', 'user:nora', 'role:crew'),
  ]),
  no('ADM-4: it is of one group', join('nora', 'user:ben', 'role:team'), [
    join('cara', 'user:nora', 'role:crew', 'option'),
  ]),
  no('ADM-4: members without it add nobody', join('nora', 'user:ben', 'role:crew'), [
    join('cara', 'user:nora', 'role:crew'),
  ]),
];

const LEVELS: readonly Case[] = [
  ok('ADM-5: an administrator gives a role below it', join('adam', 'user:nora', 'role:member')),
  ok(
    'ADM-5: makes one below it, of what it holds',
    role('adam', 'x', 79, ['kb:read', 'postern:admin']),
  ),
  ok('ADM-5: changes one below it', raise('adam', 'staff', 40, ['kb:write'])),
  ok('ADM-5: manages a user below it', change('adam', 'mia', { suspended: true })),
  ok('ADM-5: deletes one', remove('adam', 'dean')),
  ok('ADM-5: an owner manages administrators', change('olga', 'adam', { suspended: true })),
  ok('ADM-5: a superuser is exempt', join('root', 'user:nora', 'role:owner')),
  no('ADM-5: not a role of its own level', join('adam', 'user:nora', 'role:admin')),
  no('ADM-5: not one above it', join('adam', 'user:nora', 'role:chief')),
  no('ADM-5: not owner', join('adam', 'user:nora', 'role:owner')),
  no(
    'ADM-5: an owner does not make owners: strictly above',
    join('olga', 'user:nora', 'role:owner'),
  ),
  no('ADM-5: nor take one out', leave('adam', 'user:olga', 'role:owner')),
  no('ADM-5: no user is made in a role above', user('adam', 'x', { roles: ['chief'] })),
  no('ADM-5: no role of its own level is made', role('adam', 'x', 80)),
  no('ADM-5: none above', role('adam', 'x', 81)),
  no('ADM-5: none of more than it holds', role('adam', 'x', 10, ['doc:read'])),
  no('ADM-5: not by a wildcard over what it holds', role('adam', 'x', 10, ['kb:*'])),
  no('ADM-5: nor over all', role('adam', 'x', 10, ['*:*'])),
  no('ADM-5: nor is one raised to it', raise('adam', 'staff', 80)),
  no('ADM-5: nor given more than it holds', raise('adam', 'staff', 30, ['doc:read'])),
  no('ADM-5: one above is not changed, not even lowered', raise('adam', 'chief', 1)),
  no('ADM-5: nor deleted', ['adam', 'DeleteRole', { id: 'chief' }]),
  no(
    'ADM-5: one below that gives more than it holds is not given',
    join('adam', 'user:nora', 'role:x'),
    [role('root', 'x', 10, ['doc:read'])],
  ),
  no('ADM-5: a low role that reaches a high one is high', join('adam', 'user:nora', 'role:x'), [
    role('root', 'x', 1),
    join('root', 'role:x', 'role:chief'),
  ]),
  no('ADM-5: over two steps too', join('adam', 'user:nora', 'role:x'), [
    role('root', 'x'),
    role('root', 'y', 1),
    join('root', 'role:x', 'role:y'),
    join('root', 'role:y', 'role:owner'),
  ]),
  no('ADM-5: nor is it changed', raise('adam', 'x', 1, ['kb:read']), [
    role('root', 'x', 1),
    join('root', 'role:x', 'role:chief'),
  ]),
  no('ADM-5: nor does its creator give it any more', join('cara', 'user:nora', 'role:crew'), [
    join('root', 'role:crew', 'role:staff'),
  ]),
  no('ADM-5: a role is not nested in one above', join('adam', 'role:staff', 'role:chief')),
  no('ADM-5: a user of the same level is not managed', change('adam', 'amy', { suspended: true })),
  no('ADM-5: nor deleted', remove('adam', 'amy')),
  no('ADM-5: one above is not', remove('adam', 'olga')),
  no('ADM-5: nor is one above by a nested role', remove('adam', 'ben'), [
    role('root', 'x', 1),
    join('root', 'role:x', 'role:chief'),
    join('root', 'user:ben', 'role:x'),
  ]),
  no('ADM-4: nor a superuser', change('olga', 'sue', { suspended: true }), [
    user('root', 'sue', { superuser: true }),
  ]),
  no('ADM-4: nor one with createrole', remove('adam', 'cara')),
  no('ADM-5: an administrator does not manage itself', change('adam', 'adam', { email: 'x@y' })),
  no('ADM-5: nobody deletes users', remove('mia', 'nora')),
  no('ADM-5: nobody makes itself a superuser', change('adam', 'adam', { superuser: true })),
  no('ADM-5: an owner makes no superuser', change('olga', 'nora', { superuser: true })),
  no('ADM-5: nor unmakes one', change('olga', 'root', { superuser: false })),
  no('ADM-4: nobody gives itself createrole', change('adam', 'adam', { createrole: true })),
  no('ADM-5: nobody adds itself', join('adam', 'user:adam', 'role:staff')),
  no('ADM-5: not to its own role', join('cara', 'user:cara', 'role:crew')),
  no('ADM-5: not by an admin option', join('nora', 'user:nora', 'role:crew', 'option'), [
    join('cara', 'user:nora', 'role:crew', 'option'),
  ]),
  no('ADM-5: nor a role that it is in', join('adam', 'role:x', 'role:staff'), [
    role('adam', 'x'),
    join('amy', 'user:adam', 'role:x'),
  ]),
  no('ADM-5: nor one that it is in over another', join('adam', 'role:x', 'role:staff'), [
    role('adam', 'x'),
    role('adam', 'y'),
    join('adam', 'role:y', 'role:x'),
    join('amy', 'user:adam', 'role:y'),
  ]),
  no('ADM-5: nor does it raise its own role', raise('adam', 'x', 50), [
    role('adam', 'x'),
    join('amy', 'user:adam', 'role:x'),
  ]),
  no('ADM-5: nor give its own role a permission', raise('adam', 'x', 0, ['kb:read']), [
    role('adam', 'x'),
    join('amy', 'user:adam', 'role:x'),
  ]),
  ok('ADM-5: it may lower it', raise('adam', 'x', 5), [
    role('adam', 'x', 10),
    join('amy', 'user:adam', 'role:x'),
  ]),
  no('RBAC-3: no level above 100', role('root', 'x', 101), [], INVALID),
  no('RBAC-3: none below 0', role('root', 'x', -1), [], INVALID),
  no('RBAC-3: none between', role('root', 'x', 1.5), [], INVALID),
  no('RBAC-1: no half wildcard', role('root', 'x', 1, ['k*:read']), [], INVALID),
  ok('RBAC-4: an empty role is deleted', ['root', 'DeleteRole', { id: 'staff' }]),
  no(
    'RBAC-4: one with a user is not',
    ['root', 'DeleteRole', { id: 'staff' }],
    [join('root', 'user:nora', 'role:staff')],
    forbidden('RBAC-4'),
  ),
  no(
    'RBAC-4: nor one with a role',
    ['root', 'DeleteRole', { id: 'staff' }],
    [join('root', 'role:crew', 'role:staff')],
    forbidden('RBAC-4'),
  ),
  no(
    'RBAC-4: nor a workspace with members',
    ['root', 'DeleteWorkspace', { id: 'hall' }],
    [join('root', 'user:nora', 'workspace:hall')],
    forbidden('RBAC-4'),
  ),
  ok('RBAC-4: an empty workspace is', ['root', 'DeleteWorkspace', { id: 'hall' }]),
  ...['owner', 'admin', 'member', 'guest'].flatMap((id) => [
    no(`RBAC-4: system role ${id} is not changed`, raise('root', id, 1), [], forbidden('RBAC-4')),
    no(`RBAC-4: nor deleted: ${id}`, ['operator', 'DeleteRole', { id }], [], forbidden('RBAC-4')),
  ]),
  ok('ADM-5: one owner of two is taken out', leave('root', 'user:olga', 'role:owner')),
  no(
    'ADM-5: the last owner is not taken out',
    leave('root', 'user:root', 'role:owner'),
    [leave('root', 'user:olga', 'role:owner')],
    forbidden('ADM-5'),
  ),
  no(
    'ADM-5: nor by the operator',
    leave('operator', 'user:root', 'role:owner'),
    [leave('root', 'user:olga', 'role:owner')],
    forbidden('ADM-5'),
  ),
  no(
    'ADM-5: nor deleted',
    remove('operator', 'root'),
    [remove('root', 'olga')],
    forbidden('ADM-5'),
  ),
  no(
    'ADM-5: nor deletes itself',
    remove('root', 'root'),
    [remove('root', 'olga')],
    forbidden('ADM-5'),
  ),
  no(
    'ADM-5: nor suspended',
    change('root', 'root', { suspended: true }),
    [remove('root', 'olga')],
    forbidden('ADM-5'),
  ),
  no(
    'ADM-5: a suspended owner is none',
    leave('root', 'user:root', 'role:owner'),
    [change('root', 'olga', { suspended: true })],
    forbidden('ADM-5'),
  ),
  no(
    'ADM-5: one over a nested role is none',
    leave('root', 'user:root', 'role:owner'),
    [
      remove('root', 'olga'),
      join('root', 'role:crew', 'role:owner'),
      join('root', 'user:nora', 'role:crew'),
    ],
    forbidden('ADM-5'),
  ),
  no(
    'ADM-6: a role is not in itself',
    join('root', 'role:crew', 'role:crew'),
    [],
    forbidden('ADM-6'),
  ),
  no(
    'ADM-6: two are not in each other',
    join('cara', 'role:crew', 'role:team'),
    [join('cara', 'role:team', 'role:crew')],
    forbidden('ADM-6'),
  ),
  no(
    'ADM-6: no cycle of four',
    join('root', 'role:d', 'role:a'),
    [
      ...['a', 'b', 'c', 'd'].map((id) => role('root', id)),
      join('root', 'role:a', 'role:b'),
      join('root', 'role:b', 'role:c'),
      join('root', 'role:c', 'role:d'),
    ],
    forbidden('ADM-6'),
  ),
  ok('ADM-6: a diamond is no cycle', join('root', 'role:c', 'role:d'), [
    ...['a', 'b', 'c', 'd'].map((id) => role('root', id)),
    join('root', 'role:a', 'role:b'),
    join('root', 'role:a', 'role:c'),
    join('root', 'role:b', 'role:d'),
  ]),
  no(
    'ADM-6: nobody is taken out of what it is not in',
    leave('root', 'user:nora', 'role:crew'),
    [],
    NOT_FOUND,
  ),
];

const NAMES: readonly Case[] = [
  no('ID-2: case twins', user('root', 'NORA'), [], ['already_exists', 'ID-2']),
  no(
    'ID-2: the other way round',
    user('root', 'big'),
    [user('root', 'BIG')],
    ['already_exists', 'ID-2'],
  ),
  no(
    'ID-2: of two that are both mixed',
    user('root', 'BiG'),
    [user('root', 'bIg')],
    ['already_exists', 'ID-2'],
  ),
  ok('ID-2: roles may differ in case only', role('root', 'CREW')),
  ...(
    [
      ['Straße', 'STRASSE'],
      ['sam', 'ſam'],
      ['ΣΑΣ', 'σας'],
      ['ﬁn', 'FIN'],
      ['\u1e9e', 'ss'],
      ['\u13a0', '\uab70'],
      ['\u1fb3', '\u0391\u0399'],
    ] as const
  ).flatMap(([one, other]) => [
    no(`ID-2: twins ${one} and ${other}`, user('root', other), [user('root', one)], TWIN),
    no(`ID-2: twins ${other} and ${one}`, user('root', one), [user('root', other)], TWIN),
  ]),
  ok('ID-2: a dotless i is another letter', user('root', 'ı'), [user('root', 'i')]),
  no('ID-2: one external id', user('root', 'x', { external_id: 'ext-olga' }), [], TWIN),
  no('ID-2: taken over', change('root', 'ben', { external_id: 'ext-olga' }), [], TWIN),
  ok('ID-2: kept', change('root', 'olga', { external_id: 'ext-olga', email: 'o@x' })),
  ok('ID-2: freed by a deletion', user('root', 'x', { external_id: 'e' }), [
    user('root', 'y', { external_id: 'e' }),
    remove('root', 'y'),
  ]),
  no('ADM-4: one e-mail', user('root', 'x', { email: 'MIA@example.com' }), [], TAKEN),
  no(
    'ADM-4: under full case folding',
    change('root', 'ben', { email: 'STRASSE@x' }),
    [change('root', 'gus', { email: 'straße@x' })],
    TAKEN,
  ),
  ok('ADM-4: kept', change('root', 'mia', { email: 'MIA@example.com' })),
  no(
    'ID-1: an e-mail with white space at its end',
    change('root', 'ben', { email: 'mia@example.com ' }),
    [],
    INVALID,
  ),
  no('ID-1: an empty id', user('root', ''), [], INVALID),
  no('ID-1: blanks at an end', user('root', ' x'), [], INVALID),
  no('ID-1: a control character', role('root', 'a\nb'), [], INVALID),
  no('ID-1: 257 bytes', workspace('root', 'x'.repeat(257)), [], INVALID),
  ok('ID-3: names of the language are names', user('root', '__proto__')),
  ok('ID-3: as paths too', grant('root', 'gus', 'constructor.__proto__', 'read')),
  no('RBAC-4: a user and a role share one name space', user('root', 'crew'), [], EXISTS),
  no('RBAC-4: a role and a user do', role('root', 'nora'), [], EXISTS),
  ok('RBAC-4: a workspace does not', workspace('root', 'nora')),
  no(
    'RBAC-4: a role with the name of one that was deleted is refused',
    role('root', 'nora'),
    [remove('root', 'nora')],
    EXISTS,
  ),
  no('ADM-4: a user that exists', user('root', 'nora'), [], EXISTS),
  no('ADM-4: a role that exists', role('root', 'crew'), [], EXISTS),
  no('ADM-4: a workspace that exists', workspace('root', 'den'), [], EXISTS),
  no('ADM-1: a key that exists', key('root', 'lone'), [], EXISTS),
  no(
    'ADM-1: a key of a set that does not exist',
    key('root', 'k', { policy_sets: ['gone'] }),
    [],
    NOT_FOUND,
  ),
  no(
    'ADM-1: a key that has expired already',
    key('root', 'k', { expires_at: '2020-01-01T00:00:00Z' }),
    [],
    INVALID,
  ),
  no('ABAC-2: a set with an unknown action', set('root', 'p', ALLOW('thread.gte')), [], INVALID),
  no('ABAC-2: a set with empty attributes', set('root', 'p', ALLOW('readonly', '{}')), [], INVALID),
  no(
    'ABAC-1: a set that must not exist',
    set('root', 'readers', ALLOW('readonly'), { must_not_exist: true }),
    [],
    EXISTS,
  ),
  no(
    'ABAC-1: a set that must exist',
    set('root', 'p', ALLOW('readonly'), { must_exist: true }),
    [],
    NOT_FOUND,
  ),
  no(
    'ABAC-1: a set that is not attached',
    ['root', 'DetachPolicySet', { id: 'shut', policy_set: 'readers' }],
    [],
    NOT_FOUND,
  ),
  no(
    'ABAC-1: a set that does not exist',
    ['root', 'AttachPolicySet', { id: 'shut', policy_set: 'gone' }],
    [],
    NOT_FOUND,
  ),
  no(
    'ADM-8: a key that was revoked is not rotated',
    ['root', 'RotateKey', { id: 'lone' }],
    [['root', 'RevokeKey', { id: 'lone' }]],
    forbidden(''),
  ),
  no(
    'ADM-8: nor changed',
    ['root', 'UpdateKey', { id: 'lone', mode: 'off' }],
    [['root', 'RevokeKey', { id: 'lone' }]],
    forbidden(''),
  ),
  no(
    'ADM-8: nor attached',
    ['root', 'AttachPolicySet', { id: 'lone', policy_set: 'readers' }],
    [['root', 'RevokeKey', { id: 'lone' }]],
    forbidden(''),
  ),
  no('ACL-4: a deleted user manages nothing', user('adam', 'x'), [remove('root', 'adam')], NOBODY),
  no(
    'ACL-4: nor a suspended one',
    user('adam', 'x'),
    [change('root', 'adam', { suspended: true })],
    NOBODY,
  ),
  no('ADM-1: nor one that never was', user('ghost', 'x'), [], NOBODY),
  no(
    'ACL-4: a tombstone gets no grant',
    grant('root', 'user:nora', 'x', 'read'),
    [remove('root', 'nora')],
    NOT_FOUND,
  ),
  no(
    'ACL-4: nor a membership',
    join('root', 'user:nora', 'role:crew'),
    [remove('root', 'nora')],
    NOT_FOUND,
  ),
  no('ACL-4: nor a path', own('root', 'x', 'nora'), [remove('root', 'nora')], NOT_FOUND),
  no('ACL-4: nor a key', key('root', 'k', { user: 'nora' }), [remove('root', 'nora')], NOT_FOUND),
  no('ACL-4: nor is it deleted again', remove('root', 'nora'), [remove('root', 'nora')], NOT_FOUND),
  no(
    'ACL-4: nor changed',
    change('root', 'nora', { superuser: true }),
    [remove('root', 'nora')],
    NOT_FOUND,
  ),
  no('ADM-8: nobody inherits from itself', remove('root', 'nora', 'nora'), [], INVALID),
  no('ADM-8: nor one who is not there', remove('root', 'nora', 'ghost'), [], NOT_FOUND),
  ok(
    'ID-1: a user named like a reference takes no other’s name',
    change('root', 'nora', { suspended: true }),
    [user('cara', 'user:nora')],
  ),
  ok('ID-1: nor does it keep the other from being deleted', remove('root', 'nora'), [
    user('cara', 'user:nora'),
    workspace('cara', 'nora'),
  ]),
  ok('ID-1: nor from being granted anything', grant('root', 'user:nora', 'x', 'read'), [
    user('cara', 'user:nora'),
  ]),
  no(
    'ID-1: nor does it get what is given to the other when that is gone',
    grant('root', 'user:nora', 'x', 'read'),
    [user('cara', 'user:nora'), remove('root', 'nora')],
    NOT_FOUND,
  ),
  ok('ID-1: and is itself written in full', grant('root', 'user:user:nora', 'x', 'read'), [
    user('cara', 'user:nora'),
  ]),
];

const SESSIONS: readonly Case[] = [
  ok('ADM-1: a user begins a session of its own', ['nora', 'CreateSession', {}]),
  ok('ADM-1: named too', ['nora', 'CreateSession', { user: 'user:nora', ttl_seconds: 60 }]),
  ok('ADM-1: a superuser begins one of another', ['root', 'CreateSession', { user: 'user:nora' }]),
  ok('ADM-1: the operator does', ['operator', 'CreateSession', { user: 'user:nora' }]),
  ok('ADM-1: a user ends its own', ['nora', 'RevokeSession', {}], [['nora', 'CreateSession', {}]]),
  no('ADM-1: an administrator begins none of another', [
    'adam',
    'CreateSession',
    { user: 'user:nora' },
  ]),
  no('ADM-1: an owner neither', ['olga', 'CreateSession', { user: 'user:root' }]),
  no('ADM-1: nobody ends those of another', ['adam', 'RevokeSession', { user: 'user:nora' }]),
  no('ADM-1: the operator is no user', ['operator', 'CreateSession', {}], [], INVALID),
  no(
    'ADM-1: longer than 30 days',
    ['nora', 'CreateSession', { ttl_seconds: 30 * 86_400 + 1 }],
    [],
    INVALID,
  ),
  no('ADM-1: a negative time', ['nora', 'CreateSession', { ttl_seconds: -1 }], [], INVALID),
  no('ADM-1: part of a second', ['nora', 'CreateSession', { ttl_seconds: 0.5 }], [], INVALID),
  no(
    'ADM-1: the 51st',
    ['nora', 'CreateSession', {}],
    Array.from({ length: 50 }, (): Step => ['nora', 'CreateSession', {}]),
    forbidden(''),
  ),
  no('ADM-1: one that is not there', ['nora', 'RevokeSession', { id: 's-0' }], [], NOT_FOUND),
];

const TABLES = {
  'policy sets and keys': POLICIES,
  grants: GRANTS,
  'revoking and what falls with it': REVOKING,
  ownership: OWNERSHIP,
  'users, roles, members': GROUPS,
  levels: LEVELS,
  'names and what is not there': NAMES,
  sessions: SESSIONS,
};

describe.each(Object.entries(TABLES))('%s', (_title, cases) => {
  it.each(
    cases.map((one) => [one.refused === undefined ? 'done' : 'refused', one.name, one] as const),
  )('%s: %s', async (_what, _name, { given = [], when, refused, revoked }) => {
    await all(given);
    room.events.length = 0;
    const before = await dumpOf(store);
    const [who, call, request] = when;
    if (refused === undefined) {
      const { revision, result } = await did(when);
      const after = await dumpOf(store);
      const changed = textOf(before) !== textOf(after);
      expect(after.revision).toBe(changed ? before.revision + 1 : before.revision);
      expect(revision).toBe(after.revision);
      expect(result.dry_run || result.repeated).toBe(false);
      if (revoked !== undefined)
        expect(
          result.revoked_grants
            .map(({ principal, path, actions }) => `${principal} ${path} ${actions.join(',')}`)
            .sort(),
        ).toEqual(revoked.toSorted());
      expect(room.events).toMatchObject([{ revision, refused: undefined, actor: actorOf(who) }]);
    } else {
      const [kind, rule] = refused;
      const error = await room.refused(who, call, request);
      expect([error.kind, error.rule, error.message]).toEqual([kind, rule, error.message]);
      await expectUntouched(before, { kind, rule });
    }
  });
});

/** Nothing was written, and the log has the one refusal (ADM-7). */
async function expectUntouched(
  before: Awaited<ReturnType<typeof dumpOf>>,
  refused: { readonly kind: RefusalKind; readonly rule: string },
): Promise<void> {
  const after = await dumpOf(store);
  expect(after.head).toBe(before.head);
  expect(textOf(after)).toBe(textOf(before));
  expect(room.events).toMatchObject([
    { tenant: TENANT, revision: 0, repeated: false, refused, differences: [] },
  ]);
}

it('each rule has cases that are done and cases that are refused', () => {
  const cases = Object.values(TABLES).flat();
  expect(cases.length).toBeGreaterThan(200);
  const ruleOf = ({ name }: Case): string => name.slice(0, name.indexOf(':'));
  for (const rule of [
    'ADM-1',
    'ADM-2',
    'ADM-3',
    'ADM-4',
    'ADM-5',
    'ADM-6',
    'ID-2',
    'RBAC-4',
    'TREE-2',
  ]) {
    const of = cases.filter((one) => ruleOf(one) === rule);
    expect([rule, of.some(({ refused }) => refused === undefined)]).toEqual([rule, true]);
    expect([rule, of.some(({ refused }) => refused !== undefined)]).toEqual([rule, true]);
  }
});

// ── what needs more than one look ───────────────────────────────────────────────────────────────

/** The engine's word on what a user may do at a path. */
const reasonFor = async (id: string, action: string, path: string): Promise<string> => {
  const resource = { type: 'doc', id: 'd', path, attributes: new Map(), sources: [] };
  const subject = { type: 'user' as const, id };
  const request = { tenant: TENANT, subject, keyId: undefined, action, resource };
  const facts = staticFacts(TENANT, await dumpOf(store), catalog).resolve(request, 0);
  return decide(request, facts).reason;
};

describe('users who are gone', () => {
  /** nora with all that a user can have. */
  const RICH: readonly Step[] = [
    change('root', 'nora', { createrole: true, email: 'nora@x', external_id: 'ext' }),
    role('nora', 'noras'),
    workspace('nora', 'norasden'),
    join('root', 'user:nora', 'role:crew', 'option'),
    join('root', 'user:nora', 'workspace:den'),
    grant('root', 'nora', 'wiki', 'read', 'option'),
    own('root', 'plan', 'nora'),
    grant('nora', 'gus', 'wiki.x', 'read', 'option'),
    grant('gus', 'mia', 'wiki.x', 'read'),
    grant('nora', 'role:band', 'plan', 'write'),
    ['nora', 'CreateSession', {}],
  ];

  it('ADM-8: a deleted user leaves a tombstone, and what it had and gave goes in one commit', async () => {
    await all(RICH);
    expect(await reasonFor('nora', 'doc:read', 'wiki')).toBe('ALLOWED');
    const { revision } = await dumpOf(store);
    expect(await revokedBy(remove('root', 'nora'))).toEqual([
      'role:band plan write',
      'user:gus wiki.x read',
      'user:mia wiki.x read',
    ]);
    const dump = await dumpOf(store);
    expect(dump.revision).toBe(revision + 1);
    expect(dump.user.get('nora')).toEqual(record('nora', { deleted: true }).value);
    expect(dump.key.has('norakey')).toBe(false);
    expect([...dump.owner.keys()]).toEqual(['work.d']);
    expect(dump.role.get('noras')?.creator).toBeUndefined();
    expect(dump.workspace.get('norasden')?.creator).toBeUndefined();
    expect(dump.refs.has('user:nora')).toBe(false);
    expect(await reasonFor('nora', 'doc:read', 'wiki')).toBe('SUBJECT_INACTIVE');
    // Nothing tells of it any more but the roles that it created, which are the operator's now.
    expect(textOf({ ...dump, user: new Map() })).not.toContain('"user:nora"');
    expect((await room.refused('root', 'GetUser', { id: 'nora' })).kind).toBe('not_found');
  });

  it('ADM-4: whoever is created again is told of, and a group that is leaves no tombstone', async () => {
    await all([
      ['root', 'DeleteRole', { id: 'crew' }],
      ['cara', 'DeleteWorkspace', { id: 'den' }],
      remove('root', 'nora'),
    ]);
    for (const [step, name] of [
      [role('adam', 'crew'), 'role:crew'],
      [workspace('adam', 'den'), 'workspace:den'],
      [user('adam', 'nora'), 'user:nora'],
    ] as const)
      expect((await did(step)).result.warnings.join()).toContain(`\`${name}\` existed once`);
    expect((await dumpOf(store)).tombstone.size).toBe(0);
    // What is deleted once more is gone once more.
    await all([['root', 'DeleteRole', { id: 'crew' }]]);
    expect((await room.refused('cara', 'CreateRole', { role: { id: 'crew' } })).rule).toBe('ADM-4');
  });

  it('ID-2: a tenant whose names were folded by their lower case alone is indexed by the next write', async () => {
    await all([user('root', 'Straße', { email: 'Maß@x' })]);
    // As a former version has left it.
    for (const id of [
      '["fold","strasse"]',
      '["email","mass@x"]',
      '["indexed","full case folding"]',
    ])
      await put(store, TENANT, { kind: 'name', id, value: undefined });
    await put(store, TENANT, {
      kind: 'name',
      id: '["fold","straße"]',
      value: { id: '["fold","straße"]', users: ['Straße'] },
    });
    expect((await room.refused('root', 'CreateUser', user('root', 'STRASSE')[2])).rule).toBe(
      'ID-2',
    );
    expect((await room.refused('root', 'UpdateUser', { id: 'ben', email: 'MASS@x' })).rule).toBe(
      'ADM-4',
    );
    await all([user('root', 'other')]);
    const { name } = await dumpOf(store);
    expect(name.get('["fold","strasse"]')?.users).toEqual(['Straße']);
    expect(name.get('["email","mass@x"]')?.users).toEqual(['Straße']);
  });

  it('ACL-4, ADM-8: created again it is clean: no groups, grants, paths, sessions, keys, rights of a creator', async () => {
    await all([...RICH, remove('root', 'nora'), user('root', 'nora')]);
    const dump = await dumpOf(store);
    expect(dump.user.get('nora')).toEqual(record('nora').value);
    expect((await room.as('nora', 'ListSessions', {}))['sessions']).toEqual([]);
    expect((await room.as('nora', 'ListKeys', { user: 'nora' }))['keys']).toEqual([]);
    await all([change('root', 'nora', { createrole: true })]);
    expect(
      (await room.refused('nora', 'AddMember', join('', 'user:ben', 'role:noras')[2])).rule,
    ).toBe('ADM-4');
    expect((await room.refused('nora', 'DeleteWorkspace', { id: 'norasden' })).rule).toBe('ADM-4');
    expect(await reasonFor('nora', 'doc:read', 'wiki')).toBe('NO_GRANT');
  });

  it('ADM-8: reassign_to takes over what it may give itself, and what depends on it stands', async () => {
    await all([
      ...RICH,
      grant('root', 'ben', 'wiki', 'read', 'option'),
      grant('nora', 'gus', 'plan', 'delete'),
    ]);
    expect(await revokedBy(remove('root', 'nora', 'ben'))).toEqual([
      'role:band plan write',
      'user:gus plan delete',
    ]);
    expect(await rowsOf('user:gus', 'user:mia', 'role:band')).toEqual([
      'user:gus wiki.x read* by user:ben',
      'user:mia wiki.x read by user:gus',
    ]);
  });

  it('ADM-8: a superuser takes over everything, its own rows aside', async () => {
    await all([
      ...RICH,
      grant('nora', 'root', 'plan', 'read'),
      grant('root', 'gus', 'wiki.x', 'write'),
    ]);
    expect(await revokedBy(remove('operator', 'nora', 'root'))).toEqual(['user:root plan read']);
    expect(await rowsOf('user:gus', 'user:mia', 'role:band')).toEqual([
      // The heir had a row of its own there: the two are one now (TREE-3).
      'user:gus wiki.x read,write read* by user:root',
      'user:mia wiki.x read by user:gus',
      'role:band plan write by user:root',
    ]);
  });

  it('ADM-8, ADM-3: an heir does not take over a right by which alone it could give it', async () => {
    await all([
      own('root', 'plan', 'nora'),
      join('cara', 'user:ben', 'role:crew'),
      grant('nora', 'role:crew', 'plan', 'read,admin'),
      grant('nora', 'gus', 'plan.x', 'read'),
    ]);
    expect(await revokedBy(remove('root', 'nora', 'ben'))).toEqual([
      'role:crew plan read,admin',
      'user:gus plan.x read',
    ]);
    expect(await rowsOf('role:crew', 'user:gus')).toEqual([]);
  });

  it('TREE-2: rows of the owner before are the new owner’s, who may revoke them, and not by the old one', async () => {
    await all([
      grant('dora', 'gus', 'work.d', 'read', 'option'),
      grant('gus', 'mia', 'work.d.e', 'read'),
      own('root', 'work.d', 'ben'),
    ]);
    expect(await rowsOf('user:gus', 'user:mia')).toEqual([
      'user:gus work.d read* by user:ben',
      'user:mia work.d.e read by user:gus',
    ]);
    expect((await room.refused('dora', 'RevokeGrant', revoke('', 'gus', 'work.d')[2])).rule).toBe(
      'ADM-3',
    );
    expect(await revokedBy(revoke('ben', 'gus', 'work.d'))).toEqual(['user:mia work.d.e read']);
    const dump = await dumpOf(store);
    expect([dump.user.get('dora')?.owns, dump.user.get('ben')?.owns]).toEqual([[], ['work.d']]);
  });

  it('TREE-3: two grantors are two rows, one grantor is one', async () => {
    await all([
      grant('dora', 'gus', 'work.d', 'read'),
      grant('root', 'gus', 'work.d', 'write'),
      grant('dora', 'gus', 'work.d', 'delete', 'option'),
    ]);
    expect(await rowsOf('user:gus')).toEqual([
      'user:gus work.d read,delete delete* by user:dora',
      'user:gus work.d write by user:root',
    ]);
    await all([revoke('dora', 'gus', 'work.d')]);
    expect(await rowsOf('user:gus')).toEqual(['user:gus work.d write by user:root']);
  });

  it('TREE-3: whoever gave none of the rows takes all that it owns by saying so', async () => {
    await all([
      own('root', 'work', 'ben'),
      grant('dora', 'gus', 'work.d', 'read'),
      grant('root', 'gus', 'work.d', 'write'),
      grant('operator', 'gus', 'work.d', 'delete'),
    ]);
    const { message } = await room.refused(...revoke('ben', 'gus', 'work.d'));
    expect(message).toContain(
      "has no grant on 'work.d' from `user:ben`, but from `operator`, `user:dora`, `user:root`: name the grantor, or say all grantors",
    );
    await all([revoke('ben', 'gus', 'work.d', ALL_GRANTORS)]);
    expect(await rowsOf('user:gus')).toEqual([]);
    await all([grant('operator', 'gus', 'work.d', 'read'), grant('dora', 'gus', 'work.d', 'read')]);
    await all([revoke('ben', 'gus', 'work.d', { grantor: 'operator' })]);
    expect(await rowsOf('user:gus')).toEqual(['user:gus work.d read by user:dora']);
  });
});

describe('how a write is done', () => {
  const KEYED = { options: { idempotency_key: 'once' } };
  /** Each can be done a first time, and not a second. */
  const ONCE: readonly (readonly [name: string, given: readonly Step[], step: Step])[] = [
    ['creating', [], user('root', 'x')],
    ['deleting', [], remove('root', 'nora')],
    ['revoking', [grant('root', 'gus', 'x', 'read')], revoke('root', 'gus', 'x')],
    ['leaving', [join('root', 'user:gus', 'role:crew')], leave('root', 'user:gus', 'role:crew')],
    ['making a key', [], key('root', 'x')],
    ['granting', [], grant('root', 'gus', 'x', 'read')],
    [
      'giving up a flag',
      [user('root', 'sue', { superuser: true })],
      change('sue', 'sue', { superuser: false }),
    ],
  ];
  it.each(ONCE)(
    'CONS-5: %s again under its idempotency key gives the same answer',
    async (_name, given, [who, call, request]) => {
      await all(given);
      const first = await did([who, call, { ...request, ...KEYED }]);
      await all([user('root', 'later')]);
      const before = await dumpOf(store);
      room.events.length = 0;
      const second = await did([who, call, { ...request, ...KEYED }]);
      expect([second.revision, second.result.repeated]).toEqual([first.revision, true]);
      expect([first.result.repeated, second.result.changes]).toEqual([false, []]);
      expect((await dumpOf(store)).head).toBe(before.head);
      expect(room.events).toMatchObject([
        { repeated: true, refused: undefined, revision: first.revision },
      ]);
    },
  );

  it('CONS-5: also where an expected revision has passed by now', async () => {
    const { revision } = await dumpOf(store);
    const request = {
      user: { id: 'x' },
      options: { idempotency_key: 'k', expected_revision: revision },
    };
    const first = await did(['root', 'CreateUser', request]);
    expect(await did(['root', 'CreateUser', request])).toMatchObject({
      revision: first.revision,
      result: { repeated: true },
    });
  });

  it.each<readonly [string, Step]>([
    ['another request', user('root', 'y')],
    ['another call', role('root', 'x')],
    ['the same of another actor', user('adam', 'x')],
    ['one that is refused anyway', role('root', 'crew')],
  ])('CONS-5: the key of one request is no key of %s', async (_name, [who, call, request]) => {
    await did(['root', 'CreateUser', { user: { id: 'x' }, ...KEYED }]);
    const before = await dumpOf(store);
    room.events.length = 0;
    await expect(room.as(who, call, { ...request, ...KEYED })).rejects.toBeInstanceOf(
      IdempotencyError,
    );
    expect((await dumpOf(store)).head).toBe(before.head);
    expect(room.events).toMatchObject([{ refused: { kind: 'failed' }, revision: 0 }]);
  });

  it('CONS-5: a refused request has used no key', async () => {
    await room.refused('nora', 'CreateUser', { user: { id: 'x' }, ...KEYED });
    await all([change('root', 'nora', { createrole: true })]);
    expect(await did(['nora', 'CreateUser', { user: { id: 'x' }, ...KEYED }])).toMatchObject({
      result: { repeated: false },
    });
  });

  it('CONS-5: an expected revision is that of the tenant, or the write is refused', async () => {
    const before = await dumpOf(store);
    const at = (expected_revision: number): object => ({
      user: { id: 'x' },
      options: { expected_revision },
    });
    for (const expected of [before.revision - 1, before.revision + 1]) {
      room.events.length = 0;
      expect((await room.refused('root', 'CreateUser', at(expected))).kind).toBe('aborted');
      await expectUntouched(before, { kind: 'aborted', rule: '' });
    }
    expect(await did(['root', 'CreateUser', at(before.revision)])).toMatchObject({
      revision: before.revision + 1,
    });
  });

  const DRY: readonly Step[] = [
    user('root', 'x', { roles: ['crew'] }),
    remove('root', 'dora'),
    own('root', 'work.d', 'ben'),
    grant('root', 'gus', 'x', 'read'),
    ['root', 'DeletePolicySet', { name: 'readers' }],
    ['root', 'RevokeKey', { id: 'lone' }],
    set('root', 'readers', ALLOW('graph.add')),
  ];
  it.each(DRY.map((step) => [step[1], step] as const))(
    'ADM-7: %s as a dry run tells what it would do, and does nothing',
    async (_name, [who, call, request]) => {
      await all([
        grant('dora', 'ben', 'work.d', 'read'),
        ['root', 'AttachPolicySet', { id: 'shut', policy_set: 'readers' }],
      ]);
      const before = await dumpOf(store);
      const dry = await did([who, call, { ...request, options: { dry_run: true } }]);
      expect((await dumpOf(store)).head).toBe(before.head);
      expect(room.events.at(-1)).toMatchObject({
        dryRun: true,
        differences: [],
        refused: undefined,
      });
      const done = await did([who, call, request]);
      expect({ ...dry.result, dry_run: false }).toEqual(done.result);
      expect([dry.revision, done.revision]).toEqual([before.revision, before.revision + 1]);
      expect(dry.result.changes.length).toBeGreaterThan(0);
    },
  );

  it('ADM-7: a dry run that would be refused is', async () => {
    const before = await dumpOf(store);
    const dry = { user: { id: 'x' }, options: { dry_run: true } };
    expect((await room.refused('nora', 'CreateUser', dry)).rule).toBe('ADM-4');
    await expectUntouched(before, { kind: 'permission_denied', rule: 'ADM-4' });
  });

  it('ADM-7: what is done is told with what was before and is after', async () => {
    const { revision } = await did([
      'root',
      'UpdateUser',
      { id: 'mia', email: 'new@x', options: { request_id: 'r-1' } },
    ]);
    expect(room.events).toHaveLength(1);
    expect(room.events[0]).toMatchObject({
      operation: 'user.update',
      actor: { user: 'root' },
      requestId: 'r-1',
      revision,
      differences: expect.arrayContaining([
        expect.objectContaining({
          kind: 'user',
          id: 'mia',
          before: expect.objectContaining({ email: 'mia@example.com' }),
          after: expect.objectContaining({ email: 'new@x' }),
        }),
      ]),
    });
  });

  it('ADM-7: a write that changes nothing commits nothing, and is an event', async () => {
    const before = await dumpOf(store);
    expect(await did(change('root', 'mia', { email: 'mia@example.com' }))).toMatchObject({
      revision: before.revision,
      result: { changes: [] },
    });
    expect((await dumpOf(store)).head).toBe(before.head);
    expect(room.events).toHaveLength(1);
  });

  it('ADM-4: a batch does what can be done, and tells the rest in its place', async () => {
    const items = [
      { id: 'x1' },
      { id: 'nora' },
      { id: ' bad' },
      { id: 'NORA' },
      { id: 'x2', superuser: true },
      { id: 'crew' },
      { id: 'x1' },
      { id: 'X1' },
      { id: 'x3', type: 'robot' },
      { id: 'x4', roles: ['crew'] },
      { id: 'x'.repeat(5_000) },
      { id: 'x5', type: 'agent', email: 'x5@x' },
      { id: 'x6', type: 'agent' },
    ].map((one) => ({ ...BATCH_USER, ...one }));
    const before = await dumpOf(store);
    const answer = await did(['cara', 'BatchCreateUsers', { users: items }]);
    const told = answer['items'] as { error: string; rule: string }[];
    expect(told.map(({ error, rule }) => (error === '' ? 'done' : rule))).toEqual([
      'done',
      '',
      '',
      'ID-2',
      'ADM-4',
      '',
      '',
      'ID-2',
      '',
      '',
      '',
      'ADM-4',
      'done',
    ]);
    const after = await dumpOf(store);
    expect([...after.user.keys()].filter((id) => !before.user.has(id))).toEqual(['x1', 'x6']);
    expect(after.revision).toBe(before.revision + 1);
    expect(
      (
        await room.refused('cara', 'BatchCreateUsers', {
          users: Array.from({ length: 1_001 }, () => BATCH_USER),
        })
      ).kind,
    ).toBe('invalid_argument');
    expect((await room.refused('nora', 'BatchCreateUsers', { users: [] })).rule).toBe('ADM-4');
  });

  it('ADM-1: ids of another tenant are ids of nobody', async () => {
    for (const [who, call, request] of [
      ['operator', 'CreateTenant', { owner: 'boss' }],
      user('boss', 'bob'),
      role('boss', 'theirs'),
      key('boss', 'theirkey'),
      set('boss', 'theirset', ALLOW('readonly')),
    ] satisfies Step[])
      await room.as(who, call, { ...request, tenant: 'other' });
    const [mine, theirs] = [await dumpOf(store), await dumpOf(store, 'other')];
    const foreign: readonly (readonly [Step, RefusalKind])[] = [
      [grant('root', 'user:bob', 'x', 'read'), 'not_found'],
      [join('root', 'user:bob', 'role:crew'), 'not_found'],
      [join('root', 'user:nora', 'role:theirs'), 'not_found'],
      [own('root', 'x', 'bob'), 'not_found'],
      [remove('root', 'bob'), 'not_found'],
      [remove('root', 'nora', 'bob'), 'not_found'],
      [key('root', 'k', { user: 'bob' }), 'not_found'],
      [key('root', 'k', { policy_sets: ['theirset'] }), 'not_found'],
      [['root', 'RotateKey', { id: 'theirkey' }], 'not_found'],
      [['root', 'CreateSession', { user: 'user:bob' }], 'not_found'],
      [user('boss', 'x'), 'unauthenticated'],
    ];
    for (const [[who, call, request], kind] of foreign)
      expect([call, (await room.refused(who, call, request)).kind]).toEqual([call, kind]);
    for (const call of ['CreateUser', 'ListUsers'])
      expect((await room.refused('root', call, { user: { id: 'x' }, tenant: 'other' })).kind).toBe(
        'unauthenticated',
      );
    expect(
      (await room.refused('root', 'CreateUser', { user: { id: 'x' }, tenant: 'nowhere' })).kind,
    ).toBe('not_found');
    expect((await dumpOf(store)).head).toBe(mine.head);
    expect((await dumpOf(store, 'other')).head).toBe(theirs.head);
    expect(await store.tenants()).toEqual([TENANT, 'other']);
  });

  it('ADM-1: a key without a user is not the operator', async () => {
    const before = await dumpOf(store);
    const alone: Actor = { user: undefined, keyId: 'lone', via: 'test' };
    const request = { tenant: TENANT, user: { ...BATCH_USER, id: 'x' } };
    await expect(room.admin.call('CreateUser', alone, request)).rejects.toMatchObject({
      kind: 'unauthenticated',
    });
    await expectUntouched(before, { kind: 'unauthenticated', rule: '' });
    for (const name of ['ListTenants', 'ListUsers', 'GetTenant'])
      await expect(room.admin.call(name, alone, { tenant: TENANT })).rejects.toBeInstanceOf(
        Refused,
      );
    await expect(
      room.admin.apply(alone, { tenant: TENANT, ...PRUNE }, bytesOf('tenant: acme')),
    ).rejects.toMatchObject({ rule: 'ADM-5' });
    await expect(room.admin.export(alone, { tenant: TENANT, format: '' })).rejects.toBeInstanceOf(
      Refused,
    );
  });
});

describe('lists', () => {
  /** All items of a list over its pages. */
  const paged = async (call: string, request: object, size: number): Promise<unknown[]> => {
    const items: unknown[] = [];
    let token = '';
    for (let pages = 0; pages < 1_000; pages++) {
      const answer = await room.as('root', call, {
        ...request,
        page_size: size,
        page_token: token,
      });
      const page = Object.values(answer).find((value) => Array.isArray(value)) as unknown[];
      expect(page.length).toBeLessThanOrEqual(size);
      items.push(...page);
      token = String(answer['next_page_token']);
      if (token === '') return items;
    }
    throw new Error('the list does not end');
  };

  const MANY: readonly Step[] = [
    ...Array.from({ length: 12 }, (_, at) => user('root', `u${at}`)),
    ...Array.from({ length: 12 }, (_, at) => grant('root', `u${at % 5}`, `p.x${at}`, 'read')),
    grant('root', 'role:crew', 'p', 'read'),
    grant('root', 'workspace:den', 'p', 'read'),
    ...Array.from({ length: 5 }, (_, at) => join('root', `user:u${at}`, 'role:crew')),
    join('root', 'role:team', 'role:crew'),
    ...Array.from({ length: 5 }, (_, at) => own('root', `o${at}`, 'gus')),
    ...Array.from({ length: 4 }, (_, at) => set('root', `set${at}`, ALLOW('readonly'))),
    remove('root', 'u11'),
  ];
  const LISTS: readonly (readonly [call: string, request: object, count: number])[] = [
    ['ListUsers', {}, 23],
    ['ListUsers', { include_deleted: true }, 24],
    ['ListRoles', {}, 10],
    ['ListWorkspaces', {}, 2],
    ['ListMembers', { group: 'role:crew' }, 6],
    ['ListGrants', {}, 14],
    ['ListGrants', { principal: 'user:u1' }, 3],
    ['ListGrants', { grantor: 'user:root', path: 'p.x3' }, 3],
    ['ListOwners', {}, 6],
    ['ListOwners', { owner: 'user:gus' }, 5],
    ['ListPolicySets', {}, 5],
    ['ListKeys', {}, 5],
    ['ListKeys', { policy_set: 'readers' }, 1],
  ];

  it.each(LISTS)('%s %o: every page size gives the same list', async (call, request, count) => {
    await all(MANY);
    const whole = await paged(call, request, 1_000);
    expect(new Set(whole.map((item) => JSON.stringify(item))).size).toBe(whole.length);
    expect([call, whole.length]).toEqual([call, count]);
    for (const size of [1, 2, 3, 7, count]) expect(await paged(call, request, size)).toEqual(whole);
  });

  it('a page token that was tampered with is refused, letter by letter', async () => {
    await all(MANY);
    for (const [call, request] of [
      ['ListUsers', {}],
      ['ListGrants', {}],
      ['ListOwners', { owner: 'user:gus' }],
    ] as const) {
      const { next_page_token } = await room.as('root', call, { ...request, page_size: 2 });
      const token = String(next_page_token);
      expect(token).not.toBe('');
      const tampered = [
        ...Array.from({ length: token.length }, (_, at) => {
          const other = token[at] === 'A' ? 'B' : 'A';
          return `${token.slice(0, at)}${other}${token.slice(at + 1)}`;
        }),
        `${token}=`,
        ` ${token}`,
        token.slice(1),
        token.slice(0, -1),
        'x',
        '[]',
        Buffer.from('null').toString('base64url'),
        Buffer.from('["a",0,"b",-1]').toString('base64url'),
      ];
      for (const page_token of tampered)
        expect((await room.refused('root', call, { ...request, page_token })).field).toBe(
          'page_token',
        );
    }
  });

  it('a page token of another list, of other filters or of another tenant is refused', async () => {
    await all(MANY);
    const { next_page_token: page_token } = await room.as('root', 'ListUsers', { page_size: 2 });
    for (const [call, request] of [
      ['ListRoles', {}],
      ['ListUsers', { include_deleted: true }],
      ['ListUsers', { email: 'x@x' }],
      ['ListKeys', {}],
    ] as const)
      expect((await room.refused('root', call, { ...request, page_token })).field).toBe(
        'page_token',
      );
    await room.as('operator', 'CreateTenant', { tenant: 'other' });
    expect(
      (await room.refused('operator', 'ListUsers', { tenant: 'other', page_token })).field,
    ).toBe('page_token');
    // Another page size is the same list.
    await room.as('root', 'ListUsers', { page_size: 5, page_token });
    expect((await room.refused('root', 'ListUsers', { page_size: 1_001 })).field).toBe('page_size');
  });

  it('users are found by external id and by e-mail, whatever its case', async () => {
    const ids = async (request: object): Promise<string[]> =>
      ((await room.as('root', 'ListUsers', request))['users'] as { id: string }[]).map(
        ({ id }) => id,
      );
    expect(await ids({ external_id: 'ext-olga' })).toEqual(['olga']);
    expect(await ids({ external_id: 'EXT-OLGA' })).toEqual([]);
    expect(await ids({ email: 'olga@example.COM' })).toEqual(['olga']);
    expect(await ids({ external_id: 'ext-olga', email: 'mia@example.com' })).toEqual([]);
    await all([
      change('root', 'olga', { external_id: '', email: 'new@x' }),
      change('root', 'ben', { email: 'Ben@x' }),
    ]);
    expect(await ids({ external_id: 'ext-olga' })).toEqual([]);
    expect(await ids({ email: 'olga@example.com' })).toEqual([]);
    expect(await ids({ email: 'new@X' })).toEqual(['olga']);
    expect(await ids({ email: 'BEN@X' })).toEqual(['ben']);
    await all([remove('root', 'ben')]);
    expect(await ids({ email: 'ben@x' })).toEqual([]);
  });

  const HIDDEN: readonly Step[] = [
    ['nora', 'ListUsers'],
    ['nora', 'ListRoles'],
    ['mia', 'ListWorkspaces'],
    ['nora', 'ListMembers', { group: 'role:crew' }],
    ['nora', 'ListGrants', { principal: 'user:mia' }],
    ['nora', 'ListGrants'],
    ['dora', 'ListGrants', { path: 'work' }],
    ['nora', 'ListOwners'],
    ['nora', 'ListPolicySets'],
    ['nora', 'ListKeys', { user: 'adam' }],
    ['nora', 'ListChanges'],
    ['nora', 'GetUser', { id: 'mia' }],
    ['nora', 'GetRole', { id: 'crew' }],
    ['nora', 'GetKey', { id: 'lone', action: '' }],
    ['nora', 'GetPolicySet', { name: 'readers' }],
    ['adam', 'ListSessions', { user: 'user:nora' }],
    ['key:shut/adam', 'ListUsers'],
  ];
  it.each(HIDDEN.map((step) => [step[0], step[1], step] as const))(
    'ADM-1: %s may not %s',
    async (_who, _call, [who, call, request]) => {
      expect(await room.refused(who, call, request)).toMatchObject({
        kind: 'permission_denied',
        rule: 'ADM-1',
      });
      // What was refused is told, reads too (ADM-7).
      expect(room.events).toMatchObject([{ operation: call, refused: { rule: 'ADM-1' } }]);
    },
  );

  const SHOWN: readonly Step[] = [
    ['nora', 'GetUser', { id: 'nora' }],
    ['nora', 'GetKey', { id: 'norakey', action: '' }],
    ['nora', 'ListKeys', { user: 'nora' }],
    ['nora', 'ListGrants', { principal: 'user:nora' }],
    ['dora', 'ListGrants', { path: 'work.d.e' }],
    ['dora', 'ListOwners', { owner: 'user:dora' }],
    ['mia', 'GetRole', { id: 'member' }],
    ['adam', 'ListUsers'],
    ['cara', 'ListMembers', { group: 'role:crew' }],
    ['key:agent/adam', 'ListUsers'],
    ['nora', 'GetTenant'],
    ['nora', 'ListSessions'],
  ];
  it.each(SHOWN.map((step) => [step[0], step[1], step] as const))(
    'ADM-1: %s may %s',
    async (_who, _call, [who, call, request]) => {
      await room.as(who, call, request);
      expect(room.events).toEqual([]);
    },
  );
});

describe('policy sets and keys in use', () => {
  const versions = async (name: string): Promise<unknown> =>
    (await room.as('root', 'GetPolicySet', { name }))['versions'];
  const versionOf = async (name: string, version = 0): Promise<unknown> =>
    (
      (await room.as('root', 'GetPolicySet', { name, version }))['policy_set'] as {
        version: number;
      }
    ).version;

  it('ADM-7: a set keeps its versions; deleted and made again it counts on', async () => {
    await all([
      set('root', 'readers', ALLOW('graph.search')),
      set('root', 'readers', ALLOW('thread.get')),
    ]);
    expect(await versions('readers')).toEqual([1, 2, 3]);
    expect([await versionOf('readers'), await versionOf('readers', 1)]).toEqual([3, 1]);
    expect((await room.refused('root', 'GetPolicySet', { name: 'readers', version: 4 })).kind).toBe(
      'not_found',
    );
    await all([['root', 'DeletePolicySet', { name: 'readers' }]]);
    expect((await room.refused('root', 'GetPolicySet', { name: 'readers' })).kind).toBe(
      'not_found',
    );
    await all([set('root', 'readers', ALLOW('readonly'))]);
    expect([await versionOf('readers'), await versions('readers')]).toEqual([4, [4]]);
    for (const version of [1, 2, 3])
      expect((await room.refused('root', 'GetPolicySet', { name: 'readers', version })).kind).toBe(
        'not_found',
      );
  });

  it('ADM-7: the last hundred versions are kept', async () => {
    for (let at = 0; at < 102; at++) await all([set('root', 'readers', ALLOW('readonly'))]);
    const kept = (await versions('readers')) as number[];
    expect([kept.length, kept[0], kept.at(-1)]).toEqual([100, 4, 103]);
    const dump = await dumpOf(store);
    // And the newest once more under number 0.
    expect(dump.policy_version.size).toBe(101);
  });

  const warningsOf = async (step: Step): Promise<string> =>
    (await did(step)).result.warnings.join('\n');

  it('ABAC-5: attaching tells what is nullified', async () => {
    await all([
      set('root', 'narrow', ALLOW('graph.search', '{ tenant: [a] }')),
      key('root', 'k', { policy_sets: ['narrow'] }),
    ]);
    expect(
      await warningsOf(['root', 'AttachPolicySet', { id: 'k', policy_set: 'readers' }]),
    ).toContain('restricts nothing for graph.search');
    expect(
      await warningsOf(['root', 'AttachPolicySet', { id: 'agent', policy_set: 'narrow' }]),
    ).toContain('its base role default_allow shows every object');
  });

  it('ABAC-5: attaching tells of what the key may do more', async () => {
    expect(
      await warningsOf(['root', 'AttachPolicySet', { id: 'shut', policy_set: 'readers' }]),
    ).toContain('key `shut` may then do more than before: thread.list');
    expect(
      await warningsOf(['root', 'AttachPolicySet', { id: 'shut', policy_set: 'readers' }]),
    ).toBe('');
  });

  it('ABAC-5: detaching and deleting a deny tells of what is opened', async () => {
    await all([
      set('root', 'block', DENY('graph.add')),
      ['root', 'AttachPolicySet', { id: 'agent', policy_set: 'block' }],
    ]);
    const dry = { options: { dry_run: true } };
    expect(
      await warningsOf(['root', 'DetachPolicySet', { id: 'agent', policy_set: 'block', ...dry }]),
    ).toContain('may then do more than before: graph.add');
    expect(await warningsOf(set('root', 'block', DENY('graph.search'), dry))).toContain(
      'graph.add',
    );
    expect(await warningsOf(['root', 'DeletePolicySet', { name: 'block' }])).toMatch(
      /detached from key `agent`\n.*graph\.add/,
    );
    expect((await dumpOf(store)).key.get('agent')?.policySets).toEqual([]);
  });

  it('ABAC-7: changing the posture tells of it', async () => {
    expect(
      await warningsOf(['root', 'UpdateKey', { id: 'shut', role: 'default_allow' }]),
    ).toContain('may then do more');
    expect(
      await warningsOf(['root', 'UpdateKey', { id: 'shut', role: 'default_deny' }]),
    ).not.toContain('may then do more');
  });

  it.each<readonly [string, readonly Step[], string]>([
    ['lone', [], 'read'],
    ['shut', [], 'none'],
    ['agent', [], 'read_write'],
    ['lone', [['root', 'UpdateKey', { id: 'lone', mode: 'off' }]], 'none'],
    ['lone', [['root', 'UpdateKey', { id: 'lone', mode: 'report_only' }]], 'none'],
    ['agent', [['root', 'RevokeKey', { id: 'agent' }]], 'none'],
    [
      'agent',
      [
        set('root', 'block', DENY('graph.add')),
        ['root', 'AttachPolicySet', { id: 'agent', policy_set: 'block' }],
      ],
      'custom',
    ],
    [
      'shut',
      [
        set('root', 'one', ALLOW('graph.search')),
        ['root', 'AttachPolicySet', { id: 'shut', policy_set: 'one' }],
      ],
      'custom',
    ],
    [
      'lone',
      [
        set('root', 'block', DENY('readonly')),
        ['root', 'AttachPolicySet', { id: 'lone', policy_set: 'block' }],
      ],
      'none',
    ],
  ])('ABAC-4: capabilities of %s after %j are told: %s', async (id, given, capabilities) => {
    await all(given);
    const { key: one } = await room.as('root', 'GetKey', { id, action: '' });
    expect(one).toMatchObject({ capabilities });
    const { keys } = await room.as('root', 'ListKeys');
    expect(keys).toContainEqual(expect.objectContaining({ id, capabilities }));
  });

  it('ABAC-4: capabilities are told by action, with the rule, and as if all were enforced', async () => {
    await all([['root', 'UpdateKey', { id: 'lone', mode: 'report_only' }]]);
    const { key: one } = await room.as('root', 'GetKey', { id: 'lone', action: '' });
    const { actions } = one as { actions: object[] };
    expect(actions).toContainEqual({
      action: 'graph.search',
      readonly: true,
      allowed: false,
      constrained: false,
      rule: 'default_deny',
      allowed_enforced: true,
    });
    expect(actions).toHaveLength(catalog.actions.size);
  });

  it('ADM-1: a rotated secret is good until its overlap ends, and no longer', async () => {
    const hashes = async (): Promise<(readonly [hash: string, expiresAt: number | undefined])[]> =>
      ((await dumpOf(store)).key.get('lone')?.secrets ?? []).map(({ hash, expiresAt }) => [
        hash,
        expiresAt,
      ]);
    const [first] = await hashes();
    const { secret } = await room.as('adam', 'RotateKey', { id: 'lone', overlap_seconds: 60 });
    const [second, old] = await hashes();
    expect(old).toEqual([first?.[0], NOW + 60_000]);
    expect(second?.[1]).toBeUndefined();
    expect(String(secret)).toMatch(/^pstk\./);
    // No record holds a secret, only its digest.
    expect(textOf(await dumpOf(store))).not.toContain(String(secret).split('.').at(-1));
    // An old one never lives longer by another rotation.
    await room.as('adam', 'RotateKey', { id: 'lone', overlap_seconds: 3_600 });
    expect((await hashes()).map(([, until]) => until)).toEqual([
      undefined,
      NOW + 3_600_000,
      NOW + 60_000,
    ]);
    clock = NOW + 60_000;
    await room.as('adam', 'RotateKey', { id: 'lone' });
    expect(await hashes()).toHaveLength(1);
    expect(
      (await room.refused('adam', 'RotateKey', { id: 'lone', overlap_seconds: -1 })).field,
    ).toBe('overlap_seconds');
    expect(
      (await room.refused('adam', 'RotateKey', { id: 'lone', overlap_seconds: 1e9 })).field,
    ).toBe('overlap_seconds');
  });

  it('ADM-1: at most five secrets of a key are good at once', async () => {
    const rotate = { id: 'lone', overlap_seconds: 600 };
    for (let at = 0; at < 4; at++) await room.as('adam', 'RotateKey', rotate);
    expect((await room.refused('adam', 'RotateKey', rotate)).kind).toBe('failed_precondition');
    await room.as('adam', 'RotateKey', { id: 'lone' });
  });

  it('ADM-1: a revoked key has no secret left and stays revoked', async () => {
    await all([['adam', 'RevokeKey', { id: 'lone' }]]);
    const one = (await dumpOf(store)).key.get('lone');
    expect([one?.revoked, one?.secrets]).toEqual([true, undefined]);
    // Neither by what the state file says.
    const { text } = await room.admin.export(OPERATOR, { tenant: TENANT, format: '' });
    const { revision } = await dumpOf(store);
    await room.admin.apply(
      OPERATOR,
      { tenant: TENANT, ...PRUNE },
      bytesOf(text.replaceAll('revoked: true', 'revoked: false')),
    );
    expect([
      (await dumpOf(store)).revision,
      (await dumpOf(store)).key.get('lone')?.revoked,
    ]).toEqual([revision, true]);
  });

  it('ADM-1: no answer tells a secret or its digest but the one that makes it', async () => {
    const digests = [...(await dumpOf(store)).key.values()].flatMap(({ secrets = [] }) =>
      secrets.map(({ hash }) => hash),
    );
    expect(digests.length).toBeGreaterThan(3);
    const { text } = await room.admin.export(OPERATOR, { tenant: TENANT, format: 'json' });
    const told = JSON.stringify([
      text,
      await room.as('root', 'ListKeys'),
      await room.as('root', 'GetKey', { id: 'lone', action: '' }),
      await room.as('root', 'UpdateKey', { id: 'lone', description: 'x' }),
      await room.as('root', 'ListUsers'),
      await room.as('root', 'ListChanges'),
    ]);
    for (const digest of digests) expect(told).not.toContain(digest);
  });

  it('ADM-1: sessions are told without their secrets, end, and run out', async () => {
    const { session, token } = await room.as('nora', 'CreateSession', { ttl_seconds: 60 });
    const other = await room.as('nora', 'CreateSession');
    const list = async (): Promise<object[]> =>
      (await room.as('nora', 'ListSessions'))['sessions'] as object[];
    expect(await list()).toEqual([session, other['session']]);
    expect(String(token)).toMatch(/^psts\./);
    expect(JSON.stringify(await list())).not.toContain(String(token).split('.').at(-1));
    expect(other['session']).toMatchObject({
      expires_at: new Date(NOW + DAY_MS / 2).toISOString(),
    });
    clock = NOW + 60_000;
    expect(await list()).toEqual([other['session']]);
    await all([['nora', 'RevokeSession', { id: (other['session'] as { id: string }).id }]]);
    expect(await list()).toEqual([]);
    expect((await dumpOf(store)).user.get('nora')?.sessions).toBeUndefined();
  });
});

describe('reads of what stands', () => {
  it.each<readonly [string, readonly Step[], object, object]>([
    [
      'an owner below its path',
      [],
      { principal: 'dora', path: 'work.d.e', action: 'delete' },
      { allowed: true, owned: true, owned_path: 'work.d' },
    ],
    [
      'not above',
      [],
      { principal: 'dora', path: 'work', action: 'read' },
      { allowed: false, owned: false },
    ],
    [
      'a grant at an ancestor',
      [grant('root', 'gus', 'a', 'read')],
      { principal: 'user:gus', path: 'a.b', action: 'read' },
      { allowed: true, grants: [{ path: 'a', grantor: 'user:root' }] },
    ],
    [
      'not another action',
      [grant('root', 'gus', 'a', 'admin')],
      { principal: 'user:gus', path: 'a.b', action: 'read' },
      { allowed: false },
    ],
    [
      'update is write',
      [grant('root', 'gus', 'a', 'update')],
      { principal: 'user:gus', path: 'a', action: 'update' },
      { allowed: true, grants: [{ actions: ['write'] }] },
    ],
    [
      'over nested groups',
      [
        join('root', 'user:gus', 'role:crew'),
        join('root', 'role:crew', 'workspace:den'),
        grant('root', 'workspace:den', '', 'read'),
      ],
      { principal: 'user:gus', path: 'x', action: 'read' },
      { allowed: true, grants: [{ principal: 'workspace:den' }] },
    ],
    [
      'a role itself',
      [grant('root', 'role:crew', 'a', 'read')],
      { principal: 'role:crew', path: 'a', action: 'read' },
      { allowed: true },
    ],
    [
      'a suspended user holds nothing',
      [change('root', 'dora', { suspended: true })],
      { principal: 'user:dora', path: 'work.d', action: 'read' },
      { allowed: false, owned: false, grants: [] },
    ],
    [
      'a superuser everything',
      [],
      { principal: 'user:root', path: 'x', action: 'read' },
      { allowed: true, owned: false, grants: [] },
    ],
  ])('TREE-1, TREE-2: CheckGrant: %s', async (_name, given, request, expected) => {
    await all(given);
    expect(await room.as('root', 'CheckGrant', request)).toMatchObject(expected);
  });

  it('ADM-1: CheckGrant is for oneself, for whoever manages the path, and for those who read all', async () => {
    const request = { principal: 'user:gus', path: 'work.d', action: 'read' };
    await room.as('gus', 'CheckGrant', request);
    await room.as('dora', 'CheckGrant', request);
    await room.as('adam', 'CheckGrant', request);
    expect((await room.refused('mia', 'CheckGrant', request)).rule).toBe('ADM-1');
    expect((await room.refused('dora', 'CheckGrant', { ...request, path: 'work' })).rule).toBe(
      'ADM-1',
    );
    expect(
      (await room.refused('root', 'CheckGrant', { ...request, principal: 'ghost' })).kind,
    ).toBe('not_found');
  });

  it('ADM-7: ListChanges tells each commit, its actor and its records, from any revision on', async () => {
    const { revision } = await dumpOf(store);
    await all([user('adam', 'x'), grant('dora', 'gus', 'work.d', 'read')]);
    const answer = await room.as('root', 'ListChanges', { after: revision });
    expect(answer).toMatchObject({ revision: revision + 2, complete: true });
    const changes = answer['changes'] as ChangeView[];
    expect(changes.map(({ actor, operation, records }) => [actor, operation, records])).toEqual([
      ['user:adam', 'user.create', [{ kind: 'user', id: 'x' }]],
      ['user:dora', 'grant.create', [{ kind: 'user', id: 'gus' }]],
    ]);
    expect(await room.as('root', 'ListChanges', { page_size: 3 })).toMatchObject({
      complete: false,
      changes: [{ revision: 1 }, { revision: 2 }, { revision: 3 }],
    });
    expect(await room.as('root', 'ListChanges', { after: revision + 2 })).toMatchObject({
      complete: true,
      changes: [],
    });
    store.trim(TENANT, revision + 1);
    // What is gone is gone: the oldest that is kept is the first.
    expect(await room.as('root', 'ListChanges')).toMatchObject({
      changes: [{ revision: revision + 2 }],
    });
  });

  it('ADM-7: WatchChanges tells commits as they come, and of a gap', async () => {
    const { revision } = await dumpOf(store);
    const end = new AbortController();
    const seen: (readonly [number, boolean])[] = [];
    const watching = (async (): Promise<void> => {
      for await (const { change: one, gap } of room.admin.watch(
        OPERATOR,
        { tenant: TENANT, after: revision - 1 },
        end.signal,
      )) {
        seen.push([one.revision, gap]);
        if (seen.length === 3) end.abort();
      }
    })();
    await all([user('root', 'x'), user('root', 'y')]);
    await watching;
    expect(seen).toEqual([
      [revision, false],
      [revision + 1, false],
      [revision + 2, false],
    ]);
    store.trim(TENANT, revision + 1);
    for await (const { change: one, gap } of room.admin.watch(
      OPERATOR,
      { tenant: TENANT, after: 1 },
      new AbortController().signal,
    )) {
      expect([one.revision, gap]).toEqual([revision + 2, true]);
      break;
    }
  });

  it('ADM-1: WatchChanges is for those who read all', async () => {
    const watch = room.admin.watch(
      actorOf('nora'),
      { tenant: TENANT, after: 0 },
      new AbortController().signal,
    );
    await expect(watch.next()).rejects.toMatchObject({ rule: 'ADM-1' });
  });
});

describe('whole states', () => {
  it('ADM-4: tombstones of groups are exported and applied, and stay where a state removes groups', async () => {
    await all([
      ['root', 'DeleteRole', { id: 'crew' }],
      ['cara', 'DeleteWorkspace', { id: 'den' }],
    ]);
    const state = parse(await exported()) as Record<
      'roles' | 'workspaces',
      { id: string; deleted?: true }[]
    >;
    expect(state.roles.at(-1)).toEqual({ id: 'crew', deleted: true });
    expect(state.workspaces.at(-1)).toEqual({ id: 'den', deleted: true });
    const before = textOf(await dumpOf(store));
    await apply('operator', stringify(state));
    expect(textOf(await dumpOf(store))).toBe(before);
    // Elsewhere they are known too, and what a state leaves out is one more.
    const left = state.roles.filter(({ id }) => id !== 'band' && id !== 'crew');
    await apply('operator', stringify({ ...state, roles: left }));
    const { tombstone, role: roles } = await dumpOf(store);
    expect([...tombstone.keys()].sort()).toEqual(['role:band', 'role:crew', 'workspace:den']);
    expect(roles.has('band')).toBe(false);
    expect((await room.refused('cara', 'CreateRole', { role: { id: 'band' } })).rule).toBe('ADM-4');
    const again = (await apply(
      'operator',
      stringify({ ...state, roles: [...left, { id: 'band' }] }),
    )) as unknown as Answer;
    expect(again.result.warnings.join()).toContain('`role:band` existed once');
  });

  it.each<readonly [string, object]>([
    ['that is deleted and exists', { roles: [{ id: 'x' }, { id: 'x', deleted: true }] }],
    ['that holds permissions', { roles: [{ id: 'x', deleted: true, permissions: ['kb:read'] }] }],
    ['that is a system role', { roles: [{ id: 'owner', deleted: true }] }],
    [
      'that is a member',
      { users: [{ id: 'u', roles: ['x'] }], roles: [{ id: 'x', deleted: true }] },
    ],
    [
      'that holds a grant',
      {
        roles: [{ id: 'x', deleted: true }],
        grants: [{ principal: 'role:x', path: 'a', actions: ['read'] }],
      },
    ],
    ['twins by case folding', { users: [{ id: 'Straße' }, { id: 'STRASSE' }] }],
    [
      'twins by e-mail',
      {
        users: [
          { id: 'a', email: 'É@x' },
          { id: 'b', email: 'é@X' },
        ],
      },
    ],
    [
      'twins by external id',
      {
        users: [
          { id: 'a', external_id: 'e' },
          { id: 'b', external_id: 'e' },
        ],
      },
    ],
  ])('ADM-4, ID-2: a state with a group %s is refused', async (_name, parts) => {
    const text = stringify({ tenant: 'fresh', ...parts });
    const applied = room.admin.apply(OPERATOR, { tenant: 'fresh', ...PRUNE }, bytesOf(text));
    await expect(applied).rejects.toMatchObject({ kind: 'invalid_argument' });
    expect((await dumpOf(store, 'fresh')).revision).toBe(0);
  });

  const exported = async (): Promise<string> =>
    (await room.admin.export(OPERATOR, { tenant: TENANT, format: 'yaml' })).text;
  const apply = (
    who: string,
    text: string,
    options?: object,
  ): Promise<{ readonly revision: number }> =>
    room.admin.apply(
      actorOf(who),
      {
        tenant: TENANT,
        ...PRUNE,
        ...(options === undefined
          ? {}
          : {
              options: {
                dry_run: false,
                idempotency_key: '',
                expected_revision: 0,
                request_id: '',
                ...options,
              },
            }),
      },
      bytesOf(text),
    );
  type State = Record<string, Record<string, unknown>[]>;
  const changed = async (edit: (state: State) => void): Promise<string> => {
    const state = parse(await exported()) as State;
    edit(state);
    return stringify(state);
  };

  const FULL: readonly Step[] = [
    user('root', 'sue', { superuser: true }),
    grant('dora', 'gus', 'work.d', 'read', 'option'),
    grant('gus', 'role:crew', 'work.d', 'read'),
    join('cara', 'user:nora', 'role:crew', 'option'),
    join('cara', 'role:crew', 'role:team'),
    join('cara', 'role:team', 'workspace:den'),
    ['nora', 'CreateSession', {}],
    key('root', 'full', {
      user: 'gus',
      expires_at: '2031-01-01T00:00:00Z',
      rate_limit: { requests: 5, per_seconds: 60 },
      description: 'x',
    }),
    ['root', 'RotateKey', { id: 'full', overlap_seconds: 3_600 }],
    ['root', 'RevokeKey', { id: 'shut' }],
    change('root', 'ben', { suspended: true, metadata: { a: [1, 'b', null] } }),
    remove('root', 'mia'),
    set('root', 'readers', ALLOW('graph.search', '{ tenant: [a, 1, true] }')),
    user('cara', 'user:nora'),
    user('cara', 'role:crew'),
    own('root', 'x', 'user:nora'),
    grant('root', 'user:user:nora', 'y', 'read'),
  ];

  it('ADM-7: what is exported and applied changes nothing, and keeps secrets, sessions and versions', async () => {
    await all(FULL);
    const before = await dumpOf(store);
    for (const format of ['yaml', 'json']) {
      const { text, revision } = await room.admin.export(actorOf('root'), {
        tenant: TENANT,
        format,
      });
      expect(revision).toBe(before.revision);
      expect(await apply('root', text)).toMatchObject({ revision, result: { changes: [] } });
    }
    const after = await dumpOf(store);
    expect(after.head).toBe(before.head);
    expect(after.user.get('nora')?.sessions).toHaveLength(1);
    expect(after.key.get('full')?.secrets).toHaveLength(2);
  });

  it('ADM-7: exported from one tenant and applied elsewhere it is the same state, without secrets', async () => {
    await all(FULL);
    const text = await exported();
    const other = openMemoryStore();
    const there = manager(other, () => clock);
    await there.admin.apply(OPERATOR, { tenant: TENANT, ...PRUNE }, bytesOf(text));
    expect((await there.admin.export(OPERATOR, { tenant: TENANT, format: 'yaml' })).text).toBe(
      text,
    );
    const [one, two] = [await dumpOf(store), await dumpOf(other)];
    expect(two.refs).toEqual(one.refs);
    expect(two.name).toEqual(one.name);
    expect([...two.key.values()].flatMap(({ secrets = [] }) => secrets)).toEqual([]);
  });

  it('ADM-8: who is not in the state becomes a tombstone; keys, paths and rows go with it', async () => {
    await all([grant('dora', 'gus', 'work.d', 'read'), ['nora', 'CreateSession', {}]]);
    const text = await changed((state) => {
      state['users'] = (state['users'] ?? []).filter(({ id }) => id !== 'nora');
      state['keys'] = (state['keys'] ?? []).filter(({ id }) => id !== 'norakey');
    });
    await apply('root', text);
    const dump = await dumpOf(store);
    expect(dump.user.get('nora')).toEqual(record('nora', { deleted: true }).value);
    expect(dump.refs.has('user:nora')).toBe(false);
  });

  const REFUSED: readonly (readonly [
    string,
    string,
    (state: State) => void,
    RefusalKind,
    string,
  ])[] = [
    ['by an administrator', 'adam', () => {}, 'permission_denied', 'ADM-5'],
    ['by an owner who is no superuser', 'olga', () => {}, 'permission_denied', 'ADM-5'],
    ['by createrole', 'cara', () => {}, 'permission_denied', 'ADM-5'],
    ['by nobody', 'ghost', () => {}, 'permission_denied', 'ADM-5'],
    ['by a key of a superuser', 'key:rootkey/root', () => {}, 'permission_denied', 'ADM-5'],
    [
      'that would remove the last owner',
      'root',
      ({ users = [] }) =>
        users.forEach((one) => void (one['roles'] as string[] | undefined)?.splice(0)),
      'failed_precondition',
      'ADM-5',
    ],
    [
      'that would suspend them all',
      'operator',
      ({ users = [] }) => users.forEach((one) => void (one['suspended'] = true)),
      'failed_precondition',
      'ADM-5',
    ],
    [
      'with a grantor who could not give it',
      'root',
      ({ grants = [] }) =>
        void grants.push({
          principal: 'user:ben',
          path: 'wiki',
          actions: ['read'],
          grantor: 'user:gus',
        }),
      'invalid_argument',
      '',
    ],
    [
      'with two who justify each other',
      'root',
      ({ grants = [] }) =>
        void grants.push(
          {
            principal: 'user:ben',
            path: 'wiki',
            actions: ['read'],
            grantor: 'user:gus',
            grant_option: true,
          },
          {
            principal: 'user:gus',
            path: 'wiki',
            actions: ['read'],
            grantor: 'user:ben',
            grant_option: true,
          },
        ),
      'invalid_argument',
      '',
    ],
    [
      'with a group that gives, of the name of an owner',
      'root',
      ({ grants = [], workspaces = [] }) => {
        workspaces.push({ id: 'dora' });
        grants.push({
          principal: 'user:ben',
          path: 'work.d',
          actions: ['read'],
          grantor: 'workspace:dora',
        });
      },
      'invalid_argument',
      '',
    ],
    [
      'with a row that lost its ground',
      'root',
      (state) => {
        state['grants']?.push({
          principal: 'user:ben',
          path: 'work.d',
          actions: ['read'],
          grantor: 'user:dora',
        });
        state['owners'] = [];
      },
      'invalid_argument',
      '',
    ],
    [
      'with a cycle',
      'root',
      ({ roles = [] }) => roles.push({ id: 'a', roles: ['b'] }, { id: 'b', roles: ['a'] }),
      'invalid_argument',
      '',
    ],
    [
      'with case twins',
      'root',
      ({ users = [] }) => users.push({ id: 'NORA' }),
      'invalid_argument',
      '',
    ],
    [
      'with a user and a role of one name',
      'root',
      ({ users = [] }) => users.push({ id: 'crew' }),
      'invalid_argument',
      '',
    ],
    [
      'that changes a system role',
      'root',
      ({ roles = [] }) =>
        roles.forEach((one) => void (one['id'] === 'admin' && (one['level'] = 1))),
      'invalid_argument',
      '',
    ],
    [
      'with two owners of a path',
      'root',
      ({ owners = [] }) => owners.push({ path: 'work.d', owner: 'ben' }),
      'invalid_argument',
      '',
    ],
    [
      'with a tombstone in a group',
      'root',
      ({ users = [] }) => users.push({ id: 'late', deleted: true, roles: ['crew'] }),
      'invalid_argument',
      '',
    ],
  ];
  it.each(REFUSED)('ADM-5: a state %s is refused', async (_name, who, edit, kind, rule) => {
    const text = await changed(edit);
    const before = await dumpOf(store);
    room.events.length = 0;
    await expect(apply(who, text)).rejects.toMatchObject({ kind, rule });
    await expectUntouched(before, { kind, rule });
  });

  it('ADM-5: nor is it exported by others than superusers', async () => {
    for (const who of ['olga', 'adam', 'cara', 'nora', 'key:rootkey/root'])
      await expect(
        room.admin.export(actorOf(who), { tenant: TENANT, format: '' }),
      ).rejects.toMatchObject({ rule: 'ADM-1' });
    await expect(
      room.admin.export(OPERATOR, { tenant: TENANT, format: 'xml' }),
    ).rejects.toMatchObject({ field: 'format' });
    await expect(
      room.admin.export(OPERATOR, { tenant: 'nowhere', format: '' }),
    ).rejects.toMatchObject({ kind: 'not_found' });
  });

  it('CONS-5: a dry run of an apply does nothing; an expected revision and a key bind it', async () => {
    const text = await changed(({ users = [] }) => users.push({ id: 'x' }));
    const { revision } = await dumpOf(store);
    expect(await apply('root', text, { dry_run: true })).toMatchObject({
      revision,
      result: { dry_run: true, changes: [{ change: 'create', kind: 'user', id: 'x' }] },
    });
    expect((await dumpOf(store)).revision).toBe(revision);
    await expect(apply('root', text, { expected_revision: revision - 1 })).rejects.toMatchObject({
      kind: 'aborted',
    });
    const once = { expected_revision: revision, idempotency_key: 'k' };
    expect(await apply('root', text, once)).toMatchObject({
      revision: revision + 1,
      result: { repeated: false },
    });
    expect(await apply('root', text, once)).toMatchObject({
      revision: revision + 1,
      result: { repeated: true },
    });
    // Who may not apply is not told that it was done.
    await expect(apply('adam', text, once)).rejects.toMatchObject({ kind: 'permission_denied' });
    await expect(apply('root', text.replace('id: x', 'id: z'), once)).rejects.toThrow(
      'idempotency key',
    );
    await expect(
      apply('root', text.replace(`tenant: ${TENANT}`, 'tenant: other')),
    ).rejects.toMatchObject({ field: 'chunk' });
  });
});

describe('two rooms at once', () => {
  /** Both rooms read before either commits: the hardest moment is each time. */
  const together = async (one: Step, other: Step): Promise<number> => {
    const second = manager(store, () => clock);
    const results = await Promise.allSettled([
      room.as(one[0], one[1], one[2]),
      second.as(other[0], other[1], other[2]),
    ]);
    for (const result of results)
      if (result.status === 'rejected' && !(result.reason instanceof Refused)) throw result.reason;
    return results.filter(({ status }) => status === 'fulfilled').length;
  };

  it('ADM-6: of two memberships that close a cycle one is made', async () => {
    expect(
      await together(
        join('root', 'role:crew', 'role:team'),
        join('root', 'role:team', 'role:crew'),
      ),
    ).toBe(1);
  });

  it('ADM-5: two owners cannot take each other out', async () => {
    expect(
      await together(
        leave('root', 'user:olga', 'role:owner'),
        leave('root', 'user:root', 'role:owner'),
      ),
    ).toBe(1);
    store.restore(office);
    expect(
      await together(remove('root', 'olga'), change('root', 'root', { suspended: true })),
    ).toBe(1);
  });

  it('TREE-2: of two owners at once one is the owner, and the other knows of it', async () => {
    expect(await together(own('root', 'free', 'ben'), own('root', 'free', 'gus'))).toBe(2);
    const dump = await dumpOf(store);
    const owners = ['ben', 'gus'].filter((id) => dump.user.get(id)?.owns.includes('free'));
    expect(owners).toEqual([dump.owner.get('free')?.owner]);
  });

  it('ID-2: of case twins at once one is made', async () => {
    expect(await together(user('root', 'Zed'), user('root', 'zED'))).toBe(1);
  });

  it('ID-2: of twins by full case folding, an e-mail or an external id at once one is made', async () => {
    expect(await together(user('root', 'Straße'), user('root', 'STRASSE'))).toBe(1);
    expect(
      await together(user('root', 'x1', { email: 'é@x' }), user('root', 'x2', { email: 'É@X' })),
    ).toBe(1);
    expect(
      await together(
        user('root', 'x3', { external_id: 'same' }),
        user('root', 'x4', { external_id: 'same' }),
      ),
    ).toBe(1);
  });

  it('ADM-4: a group that is deleted while createrole creates it again stays deleted', async () => {
    await all([['cara', 'CreateWorkspace', { workspace: { id: 'nook' } }]]);
    await together(
      ['cara', 'DeleteWorkspace', { id: 'nook' }],
      ['carl', 'CreateWorkspace', { workspace: { id: 'nook' } }],
    );
    const { workspace: left, tombstone } = await dumpOf(store);
    expect([left.has('nook'), tombstone.has('workspace:nook')]).toEqual([false, true]);
  });

  it('ADM-3: what is granted while the right is taken away does not outlive it', async () => {
    await all([grant('dora', 'ben', 'work.d', 'read', 'option')]);
    await together(revoke('dora', 'ben', 'work.d'), grant('ben', 'gus', 'work.d', 'read'));
    expect(await rowsOf('user:ben', 'user:gus')).toEqual([]);
  });

  it('ADM-8: a member who is added to a role that is deleted: one of both', async () => {
    expect(
      await together(
        ['root', 'DeleteRole', { id: 'staff' }],
        join('root', 'user:nora', 'role:staff'),
      ),
    ).toBe(1);
  });

  it('CONS-5: of ten rooms with one idempotency key one does it', async () => {
    const answers = await Promise.all(
      Array.from({ length: 10 }, async () =>
        manager(store, () => clock).as('root', 'CreateUser', {
          user: { id: 'x' },
          options: { idempotency_key: 'k' },
        }),
      ),
    );
    expect(new Set(answers.map(({ revision }) => revision)).size).toBe(1);
  });

  it('ADM-7: all of it holds on the embedded store too', async () => {
    const embedded = openEmbeddedStore(temporaryDirectory());
    const rooms = [manager(embedded), manager(embedded)] as const;
    for (const [who, call, request] of OFFICE) await rooms[0].as(who, call, request);
    const long = 'x'.repeat(10_000);
    // Names that no record can have are nobody's: the store is not asked for what it cannot hold.
    for (const [who, call, request] of [
      grant('root', long, 'x', 'read'),
      remove('root', long),
      join('root', long, 'role:crew'),
    ])
      expect((await rooms[0].refused(who, call, request)).kind).toBe('not_found');
    expect((await rooms[0].refused('root', 'GetPolicySet', { name: '\ud800' })).kind).toBe(
      'not_found',
    );
    const done = await Promise.allSettled(
      [join('root', 'role:crew', 'role:team'), join('root', 'role:team', 'role:crew')].map(
        ([who, call, request], at) => (rooms[at] ?? rooms[0]).as(who, call, request),
      ),
    );
    expect(done.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    await embedded.close();
  });

  it('ADM-6: a role reaches at most a thousand groups', async () => {
    await put(
      store,
      TENANT,
      ...Array.from({ length: 1_000 }, (_, at) => ({
        kind: 'workspace' as const,
        id: `w${at}`,
        value: { id: `w${at}`, grants: [] },
      })),
    );
    const dump = await dumpOf(store);
    const crew = dump.role.get('crew');
    if (crew === undefined) throw new Error('there is no crew');
    const workspaces = Array.from({ length: 1_000 }, (_, at) => `w${at}`).sort();
    await put(store, TENANT, {
      kind: 'role',
      id: 'crew',
      value: { ...crew, workspaces, closure: { roles: [], workspaces } },
    });
    const before = await dumpOf(store);
    expect(
      await room.refused('root', 'AddMember', join('', 'role:team', 'role:crew')[2]),
    ).toMatchObject({ rule: 'ADM-6' });
    await expectUntouched(before, { kind: 'failed_precondition', rule: 'ADM-6' });
  });
});
