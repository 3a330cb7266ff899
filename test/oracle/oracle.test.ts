import { describe, expect, it } from 'vitest';

import fc from '../support/fast-check.ts';
import { decide, evidence, filter } from './oracle.ts';
import type {
  CatalogFile,
  OracleFilterRequest,
  OracleReason,
  OracleRequest,
  Scalar,
  StateFile,
  StateKey,
  StateRole,
  StateRule,
  World,
} from './oracle.ts';
import { filterRequestArb, makeWorldArb, plainObject, requestArb, worldArb } from './worlds.ts';

const CATALOG: CatalogFile = {
  actions: [
    { name: 'graph.search', readonly: true, permission: 'graph:read', tree: 'read', acl: 'read' },
    { name: 'thread.add', permission: 'thread:write', tree: 'create', acl: 'write' },
    {
      name: 'thread.edit',
      permission: 'thread:write',
      tree: 'update',
      acl: 'write',
      object_scoped: true,
    },
    { name: 'org.delete', permission: 'organization:delete', min_level: 100 },
    { name: 'bare.name' },
    { name: 'kb:share', readonly: true, tree: 'admin' },
    { name: 'kb:delete', min_level: 50 },
  ],
};

function world(state: Omit<StateFile, 'tenant'>, catalog: Partial<CatalogFile> = {}): World {
  return { catalog: { ...CATALOG, ...catalog }, state: { tenant: 'acme', ...state } };
}

function ask(w: World, request: Omit<OracleRequest, 'tenant'>): OracleReason {
  const decision = decide(w, { tenant: 'acme', ...request });
  expect(decision.allowed).toBe(decision.reason === 'ALLOWED');
  return decision.reason;
}

const alice = { id: 'alice' };

/** A world with one key `k` and one policy set `s`. */
function keyed(
  rules: readonly StateRule[],
  key: Partial<StateKey> = {},
  setMode: 'off' | 'report_only' | 'enforce' = 'enforce',
  rest: Omit<StateFile, 'tenant'> = {},
): World {
  return world({
    ...rest,
    policy_sets: rules.length === 0 ? [] : [{ name: 's', mode: setMode, rules }],
    keys: [
      {
        id: 'k',
        role: 'default_deny',
        mode: 'enforce',
        policy_sets: rules.length === 0 ? [] : ['s'],
        ...key,
      },
    ],
  });
}

/** A world in which alice holds some permissions through one role. */
function holding(
  permissions: readonly string[],
  catalog: Partial<CatalogFile> = {},
  level = 0,
): World {
  return world(
    { users: [{ id: 'alice', roles: ['r'] }], roles: [{ id: 'r', level, permissions }] },
    catalog,
  );
}

describe('actions', () => {
  it('ACT-1: an exact catalog name comes first, with only what it declares', () => {
    const w = holding(['*:*']);
    expect(ask(w, { subject: alice, action: 'graph.search' })).toBe('ALLOWED');
    expect(ask(w, { subject: alice, action: 'bare.name' })).toBe('NO_GRANT');
  });

  it('ACT-1: `update` is an alias of the tree verb write, in catalog, grant and request', () => {
    const writes = world({
      users: [alice],
      grants: [{ principal: 'alice', path: 'a', actions: ['write'] }],
    });
    const updates = world({
      users: [alice],
      grants: [{ principal: 'alice', path: 'a', actions: ['update'] }],
    });
    for (const w of [writes, updates]) {
      for (const action of ['thread.edit', 'doc:update', 'doc:write', 'update', 'write']) {
        expect(ask(w, { subject: alice, action, resource: { path: 'a' } }), action).toBe('ALLOWED');
      }
    }
  });

  it('ACT-2: a `resource:verb` is its own permission, and `update` keeps its verb there', () => {
    expect(ask(holding(['kb:update']), { subject: alice, action: 'kb:update' })).toBe('ALLOWED');
    expect(ask(holding(['kb:write']), { subject: alice, action: 'kb:update' })).toBe('NO_GRANT');
    expect(ask(holding(['kb:read']), { subject: alice, action: 'kb:read' })).toBe('ALLOWED');
  });

  it('ACT-2: a verb that is none of the five has no tree action, and the acl side write', () => {
    const w = world({ users: [alice], owners: [{ path: '', owner: 'alice' }] });
    expect(ask(w, { subject: alice, action: 'doc:share', resource: { path: 'a' } })).toBe(
      'NO_GRANT',
    );
    const listed = { attributes: { user_write_access: 'alice' } };
    expect(ask(w, { subject: alice, action: 'doc:share', resource: listed })).toBe('ALLOWED');
  });

  it('ACT-2: a catalogued `resource:verb` takes the derived value of each field it does not declare', () => {
    expect(ask(holding(['kb:share']), { subject: alice, action: 'kb:share' })).toBe('ALLOWED');
    const w = world({
      users: [alice],
      grants: [{ principal: 'alice', path: 'a', actions: ['admin'] }],
    });
    expect(ask(w, { subject: alice, action: 'kb:share', resource: { path: 'a' } })).toBe('ALLOWED');
    const k = keyed([{ id: 'r', effect: 'allow', actions: ['readonly'] }]);
    expect(ask(k, { key_id: 'k', action: 'kb:share' })).toBe('ALLOWED');
    expect(ask(k, { key_id: 'k', action: 'doc:share' })).toBe('ACTION_DENIED');
  });

  it('ACT-3: a bare verb with a type is `type:verb`, which may be catalogued', () => {
    expect(
      ask(holding(['doc:read']), { subject: alice, action: 'read', resource: { type: 'doc' } }),
    ).toBe('ALLOWED');
    expect(
      ask(holding(['kb:*']), { subject: alice, action: 'delete', resource: { type: 'kb' } }),
    ).toBe('NO_GRANT');
    const w = holding(['kb:*'], {}, 50);
    expect(ask(w, { subject: alice, action: 'delete', resource: { type: 'kb' } })).toBe('ALLOWED');
  });

  it('ACT-3: a bare verb without a type has no permission but keeps its tree action and acl side', () => {
    expect(ask(holding(['*:*']), { subject: alice, action: 'read' })).toBe('NO_GRANT');
    const w = world({
      users: [alice],
      grants: [{ principal: 'alice', path: 'a', actions: ['read'] }],
    });
    expect(ask(w, { subject: alice, action: 'read', resource: { path: 'a.b' } })).toBe('ALLOWED');
    expect(
      ask(w, {
        subject: alice,
        action: 'poke',
        resource: { attributes: { user_write_access: ['alice'] } },
      }),
    ).toBe('ALLOWED');
  });

  it('ACT-4, COMB-1: an unknown action is denied, superusers included; a bad key and a tenant come before', () => {
    const w = world({
      users: [{ id: 'alice', superuser: true }],
      keys: [{ id: 'k', role: 'default_allow', mode: 'off' }],
    });
    expect(ask(w, { subject: alice, action: 'graph.nope' })).toBe('UNKNOWN_ACTION');
    expect(ask(w, { subject: alice, action: 'constructor.name' })).toBe('UNKNOWN_ACTION');
    expect(ask(w, { key_id: 'nokey', action: 'graph.nope' })).toBe('KEY_INVALID');
    expect(decide(w, { tenant: 'other', subject: alice, action: 'graph.nope' }).reason).toBe(
      'TENANT_MISMATCH',
    );
    expect(
      ask(world({ users: [{ id: 'alice', deleted: true }] }), {
        subject: alice,
        action: 'graph.nope',
      }),
    ).toBe('UNKNOWN_ACTION');
  });

  it('ACT-5: `readonly` covers every readonly action, and never the bare word of that name', () => {
    const w = keyed([{ id: 'r', effect: 'allow', actions: ['readonly'] }]);
    expect(ask(w, { key_id: 'k', action: 'graph.search' })).toBe('ALLOWED');
    expect(ask(w, { key_id: 'k', action: 'anything:read' })).toBe('ALLOWED');
    expect(ask(w, { key_id: 'k', action: 'read' })).toBe('ALLOWED');
    expect(ask(w, { key_id: 'k', action: 'thread.add' })).toBe('ACTION_DENIED');
    expect(ask(w, { key_id: 'k', action: 'readonly' })).toBe('ACTION_DENIED');
  });
});

describe('RBAC', () => {
  it('RBAC-1: a wildcard stands for a whole segment', () => {
    for (const permission of ['*:read', 'kbs:*', '*:*']) {
      expect(ask(holding([permission]), { subject: alice, action: 'kbs:read' })).toBe('ALLOWED');
    }
    expect(ask(holding(['kb:*']), { subject: alice, action: 'kbs:read' })).toBe('NO_GRANT');
  });

  it('ID-3: `*` in a request never matches as a wildcard', () => {
    expect(ask(holding(['kb:read']), { subject: alice, action: '*:read' })).toBe('NO_GRANT');
    expect(ask(holding(['kb:read']), { subject: alice, action: 'kb:*' })).toBe('NO_GRANT');
    expect(ask(holding(['*:read']), { subject: alice, action: '*:read' })).toBe('ALLOWED');
    expect(ask(holding(['kb:read']), { subject: { id: '*' }, action: 'kb:read' })).toBe('NO_GRANT');
  });

  it('RBAC-2: admin implies nothing unless the catalog says so, and then transitively', () => {
    expect(ask(holding(['kb:admin']), { subject: alice, action: 'kb:read' })).toBe('NO_GRANT');
    const implies = { admin: ['write'], write: ['read'] };
    expect(ask(holding(['kb:admin'], { implies }), { subject: alice, action: 'kb:read' })).toBe(
      'ALLOWED',
    );
    expect(ask(holding(['*:admin'], { implies }), { subject: alice, action: 'kb:read' })).toBe(
      'ALLOWED',
    );
    expect(ask(holding(['doc:admin'], { implies }), { subject: alice, action: 'kb:read' })).toBe(
      'NO_GRANT',
    );
    expect(ask(holding(['kb:read'], { implies }), { subject: alice, action: 'kb:admin' })).toBe(
      'NO_GRANT',
    );
  });

  it('RBAC-2, ID-3: a verb such as `constructor` implies nothing that was not written', () => {
    const implies = plainObject<string[]>([['__proto__', ['read']]]);
    expect(
      ask(holding(['kb:constructor'], { implies }), { subject: alice, action: 'kb:read' }),
    ).toBe('NO_GRANT');
    expect(ask(holding(['kb:__proto__'], { implies }), { subject: alice, action: 'kb:read' })).toBe(
      'ALLOWED',
    );
  });

  it('RBAC-3: `min_level` is asked of the highest level in the closure, in addition to the permission', () => {
    const roles = (level: number): readonly StateRole[] => [
      { id: 'low', permissions: ['organization:delete'], members: ['alice'] },
      { id: 'high', level, members: ['role:low'] },
    ];
    const at = (level: number): OracleReason =>
      ask(world({ users: [alice], roles: roles(level) }), { subject: alice, action: 'org.delete' });
    expect(at(99)).toBe('NO_GRANT');
    expect(at(100)).toBe('ALLOWED');
    expect(ask(holding(['kb:read'], {}, 100), { subject: alice, action: 'org.delete' })).toBe(
      'NO_GRANT',
    );
  });

  it('RBAC-3: `min_level` is a gate before every model, and superusers alone pass it without the level', () => {
    const owned = { owners: [{ path: 'a', owner: 'user:alice' }] };
    const asked = {
      subject: alice,
      action: 'kb:delete',
      resource: { path: 'a', attributes: { user_id: 'alice' } },
    };
    const at = (level: number): readonly StateRole[] => [{ id: 'r', level, members: ['alice'] }];
    expect(ask(world({ users: [alice], ...owned }), asked)).toBe('NO_GRANT');
    expect(ask(world({ users: [alice], ...owned, roles: at(49) }), asked)).toBe('NO_GRANT');
    expect(ask(world({ users: [alice], ...owned, roles: at(50) }), asked)).toBe('ALLOWED');
    expect(ask(world({ users: [{ id: 'alice', superuser: true }] }), asked)).toBe('ALLOWED');
  });

  it('RBAC-3, COMB-1, COMB-2: a key that acts alone is asked for no level, one with a subject is', () => {
    const keys = [{ id: 'k', role: 'default_allow', mode: 'enforce' } as const];
    const w = world({ users: [alice], keys, owners: [{ path: 'a', owner: 'user:alice' }] });
    const asked = { key_id: 'k', action: 'kb:delete', resource: { path: 'a' } };
    expect(ask(w, asked)).toBe('ALLOWED');
    expect(ask(w, { ...asked, subject: alice })).toBe('NO_GRANT');
  });

  it('section 1: membership is written on either side, is transitive, and does not run backwards', () => {
    const w = world({
      users: [{ id: 'alice', roles: ['a'] }, { id: 'bob' }],
      roles: [
        { id: 'c', permissions: ['kb:read'] },
        { id: 'b', members: ['a'], roles: ['c'] },
        { id: 'a' },
      ],
    });
    expect(ask(w, { subject: alice, action: 'kb:read' })).toBe('ALLOWED');
    expect(ask(w, { subject: { id: 'bob' }, action: 'kb:read' })).toBe('NO_GRANT');
    expect(ask(w, { subject: { type: 'role', id: 'b' }, action: 'kb:read' })).toBe('ALLOWED');
    const down = world({
      users: [alice],
      roles: [
        { id: 'a', permissions: ['kb:read'] },
        { id: 'b', members: ['role:a', 'alice'] },
      ],
    });
    expect(ask(down, { subject: alice, action: 'kb:read' })).toBe('NO_GRANT');
  });
});

describe('tree grants', () => {
  const granted = (path: string, actions: readonly ('read' | 'admin')[] = ['read']): World =>
    world({ users: [alice], grants: [{ principal: 'user:alice', path, actions }] });

  it('PATH-2, TREE-1: a grant covers its path and everything below, by whole labels', () => {
    const at = (grant: string, path: string): OracleReason =>
      ask(granted(grant), { subject: alice, action: 'read', resource: { path } });
    expect(at('work.proj', 'work.proj')).toBe('ALLOWED');
    expect(at('work.proj', 'work.proj.x')).toBe('ALLOWED');
    expect(at('work.proj', 'work.projects')).toBe('NO_GRANT');
    expect(at('work.proj', 'work')).toBe('NO_GRANT');
    expect(at('work', 'Work')).toBe('NO_GRANT');
    expect(at('', 'work')).toBe('ALLOWED');
    expect(at('', '')).toBe('ALLOWED');
    expect(at('work', '')).toBe('NO_GRANT');
  });

  it('TREE-5: an absent path is not the root', () => {
    expect(ask(granted(''), { subject: alice, action: 'read', resource: {} })).toBe('NO_GRANT');
    expect(ask(granted(''), { subject: alice, action: 'read' })).toBe('NO_GRANT');
  });

  it('TREE-4: admin implies no other action', () => {
    expect(
      ask(granted('a', ['admin']), { subject: alice, action: 'read', resource: { path: 'a' } }),
    ).toBe('NO_GRANT');
    expect(
      ask(granted('a', ['admin']), { subject: alice, action: 'admin', resource: { path: 'a' } }),
    ).toBe('ALLOWED');
  });

  it('TREE-1, TREE-3: grants of the closure add up, those of other grantors too', () => {
    const w = world({
      users: [alice, { id: 'root', superuser: true }],
      workspaces: [{ id: 'alice', members: ['role:team'] }],
      roles: [{ id: 'team', members: ['user:alice'] }],
      grants: [
        { principal: 'workspace:alice', path: 'a', actions: ['read'] },
        { principal: 'team', path: 'a', actions: ['write'] },
        { principal: 'team', path: 'a', actions: ['create'], grantor: 'root' },
      ],
    });
    for (const action of ['read', 'write', 'create']) {
      expect(ask(w, { subject: alice, action, resource: { path: 'a' } })).toBe('ALLOWED');
    }
    expect(ask(w, { subject: alice, action: 'delete', resource: { path: 'a' } })).toBe('NO_GRANT');
  });

  it('TREE-2: an owner has all five actions below, nested owners or not, and nothing above', () => {
    const w = world({
      users: [alice, { id: 'bob' }],
      owners: [
        { path: 'a', owner: 'alice' },
        { path: 'a.b', owner: 'bob' },
      ],
    });
    for (const action of ['read', 'write', 'create', 'delete', 'admin']) {
      expect(ask(w, { subject: alice, action, resource: { path: 'a.b.c' } })).toBe('ALLOWED');
      expect(ask(w, { subject: { id: 'bob' }, action, resource: { path: 'a.b.c' } })).toBe(
        'ALLOWED',
      );
      expect(ask(w, { subject: { id: 'bob' }, action, resource: { path: 'a' } })).toBe('NO_GRANT');
    }
  });
});

describe('object ACL', () => {
  const w = world({
    users: [{ id: 'alice', roles: ['r'], workspaces: ['w'] }, { id: '5' }],
    roles: [{ id: 'r' }, { id: 'up', members: ['role:r'] }],
    workspaces: [{ id: 'w' }, { id: 'r' }],
  });
  const reads = (attributes: Record<string, Scalar | Scalar[]>, id = 'alice'): OracleReason =>
    ask(w, { subject: { id }, action: 'read', resource: { attributes } });

  it('ACL-1, ACL-2: owner, user, workspace and role lists; a scalar is a list of one', () => {
    for (const key of ['user_id', 'user_read_access']) {
      expect(reads({ [key]: 'alice' })).toBe('ALLOWED');
      expect(reads({ [key]: ['bob', 'alice'] })).toBe('ALLOWED');
      expect(reads({ [key]: ['bob'] })).toBe('NO_GRANT');
    }
    expect(reads({ workspace_read_access: 'w' })).toBe('ALLOWED');
    expect(reads({ role_read_access: ['up'] })).toBe('ALLOWED');
  });

  it('ACL-1: `workspace_id` grants nothing, and lists do not match another kind of principal', () => {
    expect(reads({ workspace_id: 'w' })).toBe('NO_GRANT');
    expect(reads({ workspace_read_access: ['r', 'alice'] })).toBe('NO_GRANT');
    expect(reads({ role_read_access: ['w', 'alice'] })).toBe('NO_GRANT');
    expect(reads({ user_read_access: ['r', 'w'] })).toBe('NO_GRANT');
  });

  it('ACL-1: an id is a string', () => {
    expect(reads({ user_id: '5' }, '5')).toBe('ALLOWED');
    expect(reads({ user_id: 5 }, '5')).toBe('NO_GRANT');
  });

  it('ACL-2: write does not imply read, nor read write; the owner has both', () => {
    expect(reads({ user_write_access: ['alice'] })).toBe('NO_GRANT');
    const resource = { attributes: { user_read_access: ['alice'] } };
    expect(ask(w, { subject: alice, action: 'write', resource })).toBe('NO_GRANT');
    expect(
      ask(w, { subject: alice, action: 'write', resource: { attributes: { user_id: 'alice' } } }),
    ).toBe('ALLOWED');
  });

  it('ACL-3: private by default', () => {
    expect(reads({})).toBe('NO_GRANT');
    expect(reads({ user_read_access: [] })).toBe('NO_GRANT');
  });

  it('ACL-4: a user without a record may be named; a group without a record has no evidence', () => {
    expect(reads({ user_read_access: ['ghost'] }, 'ghost')).toBe('ALLOWED');
    const resource = { attributes: { role_read_access: ['r', 'ghost'], user_read_access: ['r'] } };
    expect(ask(w, { subject: { type: 'role', id: 'r' }, action: 'read', resource })).toBe(
      'ALLOWED',
    );
    expect(ask(w, { subject: { type: 'role', id: 'ghost' }, action: 'read', resource })).toBe(
      'NO_GRANT',
    );
    expect(ask(w, { subject: { type: 'workspace', id: 'r' }, action: 'read', resource })).toBe(
      'NO_GRANT',
    );
  });

  it('ACL-4, COMB-1: a deleted or suspended user is inactive, a superuser too', () => {
    for (const flag of [{ deleted: true }, { suspended: true }]) {
      const gone = world({ users: [{ id: 'alice', superuser: true, ...flag }] });
      expect(
        ask(gone, {
          subject: alice,
          action: 'read',
          resource: { attributes: { user_id: 'alice' } },
        }),
      ).toBe('SUBJECT_INACTIVE');
    }
  });

  it('ABAC-9: ACL keys are read from the own attributes only', () => {
    const sources = [{ attributes: { user_id: 'alice' } }];
    expect(ask(w, { subject: alice, action: 'read', resource: { sources } })).toBe('NO_GRANT');
  });
});

describe('combining', () => {
  it('COMB-2: with a key and a subject, both must allow', () => {
    const rest = {
      users: [{ id: 'alice', roles: ['r'] }],
      roles: [{ id: 'r', permissions: ['kb:read'] }],
    };
    const open = keyed([], { role: 'default_allow' }, 'enforce', rest);
    const shut = keyed([], { role: 'default_deny' }, 'enforce', rest);
    expect(ask(open, { subject: alice, key_id: 'k', action: 'kb:read' })).toBe('ALLOWED');
    expect(ask(open, { subject: alice, key_id: 'k', action: 'kb:write' })).toBe('NO_GRANT');
    expect(ask(open, { key_id: 'k', action: 'kb:write' })).toBe('ALLOWED');
    expect(ask(shut, { subject: alice, key_id: 'k', action: 'kb:read' })).toBe('ACTION_DENIED');
  });

  it('COMB-2: a bound key acts for its user, and for no one else', () => {
    const rest = {
      users: [
        { id: 'alice', roles: ['r'] },
        { id: 'bob', superuser: true },
      ],
      roles: [{ id: 'r', permissions: ['kb:read'] }],
    };
    const w = keyed([], { role: 'default_allow', user: 'alice' }, 'enforce', rest);
    expect(ask(w, { key_id: 'k', action: 'kb:read' })).toBe('ALLOWED');
    expect(ask(w, { key_id: 'k', action: 'kb:write' })).toBe('NO_GRANT');
    expect(ask(w, { key_id: 'k', subject: alice, action: 'kb:read' })).toBe('ALLOWED');
    expect(ask(w, { key_id: 'k', subject: { id: 'bob' }, action: 'kb:read' })).toBe('KEY_INVALID');
    expect(ask(w, { key_id: 'k', subject: { type: 'role', id: 'alice' }, action: 'kb:read' })).toBe(
      'KEY_INVALID',
    );
  });

  it('COMB-1: a tenant that is not this one', () => {
    const w = keyed([], { role: 'default_allow' });
    expect(decide(w, { tenant: 'other', key_id: 'k', action: 'kb:read' })).toEqual({
      allowed: false,
      reason: 'KEY_INVALID',
    });
    expect(decide(w, { tenant: 'ACME', subject: alice, action: 'kb:read' })).toEqual({
      allowed: false,
      reason: 'TENANT_MISMATCH',
    });
  });

  it('COMB-3: a superuser by its own record only, never by a group of that name', () => {
    const w = world({
      users: [
        { id: 'alice', superuser: true, roles: ['r'] },
        { id: 'bob', roles: ['r'] },
      ],
      roles: [{ id: 'r' }],
      workspaces: [{ id: 'alice' }],
    });
    expect(ask(w, { subject: alice, action: 'kb:read' })).toBe('ALLOWED');
    expect(ask(w, { subject: alice, action: 'bare.name' })).toBe('ALLOWED');
    expect(ask(w, { subject: { id: 'bob' }, action: 'kb:read' })).toBe('NO_GRANT');
    expect(ask(w, { subject: { type: 'workspace', id: 'alice' }, action: 'kb:read' })).toBe(
      'NO_GRANT',
    );
  });

  it('COMB-3: nested access expressions', () => {
    const w: World = {
      catalog: {
        ...CATALOG,
        resource_types: {
          doc: { access: { all: ['rbac', { any: ['tree', 'acl'] }] } },
          kb: { access: 'acl' },
        },
      },
      state: {
        tenant: 'acme',
        users: [{ id: 'alice', roles: ['r'] }],
        roles: [{ id: 'r', permissions: ['*:read'] }],
        grants: [{ principal: 'r', path: 'a', actions: ['read'] }],
      },
    };
    expect(ask(w, { subject: alice, action: 'doc:read' })).toBe('NO_GRANT');
    expect(ask(w, { subject: alice, action: 'doc:read', resource: { path: 'a' } })).toBe('ALLOWED');
    expect(
      ask(w, {
        subject: alice,
        action: 'doc:read',
        resource: { attributes: { user_id: 'alice' } },
      }),
    ).toBe('ALLOWED');
    expect(
      ask(w, {
        subject: alice,
        action: 'doc:write',
        resource: { path: 'a', attributes: { user_id: 'alice' } },
      }),
    ).toBe('NO_GRANT');
    expect(ask(w, { subject: alice, action: 'kb:read', resource: { path: 'a' } })).toBe('NO_GRANT');
    // The type of the request, not the resource part of the action, where both are there.
    expect(ask(w, { subject: alice, action: 'kb:read', resource: { type: 'memory' } })).toBe(
      'ALLOWED',
    );
    expect(ask(w, { subject: alice, action: 'memory:read', resource: { type: 'kb' } })).toBe(
      'NO_GRANT',
    );
    expect(ask(w, { subject: alice, action: 'graph.search', resource: { type: 'kb' } })).toBe(
      'NO_GRANT',
    );
  });

  it('COMB-3, ID-3: a type called `__proto__` has an access expression if it was written', () => {
    const types = plainObject<{ access: 'acl' }>([['__proto__', { access: 'acl' }]]);
    const w = holding(['*:*'], { resource_types: types });
    expect(ask(w, { subject: alice, action: '__proto__:read' })).toBe('NO_GRANT');
    expect(ask(w, { subject: alice, action: 'constructor:read' })).toBe('ALLOWED');
  });

  it('COMB-4: superuser does not widen a key', () => {
    const w = keyed([], {}, 'enforce', { users: [{ id: 'alice', superuser: true }] });
    expect(ask(w, { subject: alice, key_id: 'k', action: 'kb:read' })).toBe('ACTION_DENIED');
  });

  it('COMB-1: the action layer, then the subject, then the object layer', () => {
    const rules: StateRule[] = [
      { id: 'r', effect: 'allow', actions: ['kb:read'], attributes: { tenant: ['acme'] } },
    ];
    const w = keyed(rules, {}, 'enforce', {
      users: [{ id: 'alice', superuser: true }, { id: 'bob' }],
    });
    expect(ask(w, { subject: { id: 'bob' }, key_id: 'k', action: 'kb:write' })).toBe(
      'ACTION_DENIED',
    );
    expect(ask(w, { subject: { id: 'bob' }, key_id: 'k', action: 'kb:read' })).toBe('NO_GRANT');
    expect(ask(w, { subject: alice, key_id: 'k', action: 'kb:read' })).toBe('OBJECT_HIDDEN');
    expect(
      ask(w, {
        subject: alice,
        key_id: 'k',
        action: 'kb:read',
        resource: { attributes: { tenant: 'acme' } },
      }),
    ).toBe('ALLOWED');
  });
});

describe('ABAC', () => {
  const constrained = (
    values: readonly Scalar[],
    effect: 'allow' | 'deny' = 'allow',
  ): StateRule => ({
    id: 'c',
    effect,
    actions: ['readonly'],
    attributes: { team: values },
  });
  const sees = (
    rules: readonly StateRule[],
    team: Scalar | Scalar[],
    role: 'default_allow' | 'default_deny' = 'default_deny',
  ): OracleReason =>
    ask(keyed(rules, { role }), {
      key_id: 'k',
      action: 'kb:read',
      resource: { attributes: { team } },
    });

  it('ABAC-3: the value set equals the required set, duplicates and order apart', () => {
    expect(sees([constrained(['a', 'b'])], ['b', 'a', 'b'])).toBe('ALLOWED');
    expect(sees([constrained(['a', 'a'])], 'a')).toBe('ALLOWED');
    expect(sees([constrained(['a', 'b'])], ['a'])).toBe('OBJECT_HIDDEN');
    expect(sees([constrained(['a'])], ['a', 'b'])).toBe('OBJECT_HIDDEN');
    expect(sees([constrained(['a'])], [])).toBe('OBJECT_HIDDEN');
  });

  it('ABAC-3: scalars are typed', () => {
    expect(sees([constrained([5])], 5)).toBe('ALLOWED');
    for (const [required, value] of [
      [5, '5'],
      [1, true],
      [true, 'true'],
      [0, false],
      ['', 0],
    ] as const) {
      expect(sees([constrained([required])], value)).toBe('OBJECT_HIDDEN');
      expect(sees([constrained([value])], required)).toBe('OBJECT_HIDDEN');
    }
  });

  it('ABAC-3: several keys combine with AND; a prototype name is a key like another', () => {
    const attributes = plainObject<Scalar[]>([
      ['__proto__', ['a']],
      ['toString', ['b']],
    ]);
    const w = keyed([{ id: 'r', effect: 'allow', actions: ['readonly'], attributes }]);
    const see = (entries: [string, Scalar][]): OracleReason =>
      ask(w, { key_id: 'k', action: 'kb:read', resource: { attributes: plainObject(entries) } });
    expect(
      see([
        ['__proto__', 'a'],
        ['toString', 'b'],
      ]),
    ).toBe('ALLOWED');
    expect(see([['toString', 'b']])).toBe('OBJECT_HIDDEN');
    expect(see([['__proto__', 'a']])).toBe('OBJECT_HIDDEN');
    expect(see([])).toBe('OBJECT_HIDDEN');
  });

  it('ABAC-4: deny without attributes, then allow, then the base role', () => {
    const allow: StateRule = { id: 'a', effect: 'allow', actions: ['kb:read', 'kb:write'] };
    const deny: StateRule = { id: 'd', effect: 'deny', actions: ['kb:read'] };
    for (const rules of [
      [allow, deny],
      [deny, allow],
    ]) {
      const w = keyed(rules);
      expect(ask(w, { key_id: 'k', action: 'kb:read' })).toBe('ACTION_DENIED');
      expect(ask(w, { key_id: 'k', action: 'kb:write' })).toBe('ALLOWED');
      expect(ask(w, { key_id: 'k', action: 'kb:create' })).toBe('ACTION_DENIED');
      expect(
        ask(keyed(rules, { role: 'default_allow' }), { key_id: 'k', action: 'kb:create' }),
      ).toBe('ALLOWED');
    }
  });

  it('ABAC-4, ABAC-5: a constrained deny hides objects, and does not deny the action', () => {
    const deny = constrained(['a'], 'deny');
    expect(sees([deny], 'a', 'default_allow')).toBe('OBJECT_HIDDEN');
    expect(sees([deny], 'b', 'default_allow')).toBe('ALLOWED');
    expect(sees([deny, { id: 'a', effect: 'allow', actions: ['kb:read'] }], 'a')).toBe(
      'OBJECT_HIDDEN',
    );
  });

  it('ABAC-5: an unconstrained allow, or default_allow, nullifies a constrained allow', () => {
    expect(
      sees([constrained(['a']), { id: 'u', effect: 'allow', actions: ['kb:read'] }], 'b'),
    ).toBe('ALLOWED');
    expect(sees([constrained(['a'])], 'b', 'default_allow')).toBe('ALLOWED');
  });

  it('ABAC-5: the object layer applies to an absent resource', () => {
    expect(ask(keyed([constrained(['a'])]), { key_id: 'k', action: 'kb:read' })).toBe(
      'OBJECT_HIDDEN',
    );
  });

  it('ABAC-6: a constrained allow never permits a mutating action, unless it is object_scoped', () => {
    const rule: StateRule = {
      id: 'r',
      effect: 'allow',
      actions: ['thread.add', 'thread.edit'],
      attributes: { team: ['a'] },
    };
    const resource = { attributes: { team: 'a' } };
    expect(ask(keyed([rule]), { key_id: 'k', action: 'thread.add', resource })).toBe(
      'ACTION_DENIED',
    );
    expect(ask(keyed([rule]), { key_id: 'k', action: 'thread.edit', resource })).toBe('ALLOWED');
    expect(ask(keyed([rule]), { key_id: 'k', action: 'thread.edit' })).toBe('OBJECT_HIDDEN');
    const open = keyed([{ ...rule, effect: 'deny' }], { role: 'default_allow' });
    expect(ask(open, { key_id: 'k', action: 'thread.add', resource })).toBe('OBJECT_HIDDEN');
    expect(ask(open, { key_id: 'k', action: 'thread.add' })).toBe('ALLOWED');
  });

  it('ABAC-1, ABAC-7: a set counts iff key and set are enforced; otherwise the base role decides', () => {
    const allow: StateRule = { id: 'a', effect: 'allow', actions: ['kb:read'] };
    for (const mode of ['off', 'report_only', 'enforce'] as const) {
      for (const setMode of ['off', 'report_only', 'enforce'] as const) {
        const enforced = mode === 'enforce' && setMode === 'enforce';
        expect(ask(keyed([allow], { mode }, setMode), { key_id: 'k', action: 'kb:read' })).toBe(
          enforced ? 'ALLOWED' : 'ACTION_DENIED',
        );
      }
    }
  });

  it('ABAC-8: the shadow outcome, only where it could differ', () => {
    const allow: StateRule = { id: 'a', effect: 'allow', actions: ['kb:read'] };
    const shadow = (
      mode: 'off' | 'report_only' | 'enforce',
      setMode: 'off' | 'report_only' | 'enforce',
      action = 'kb:read',
    ): unknown =>
      decide(keyed([allow], { mode }, setMode), { tenant: 'acme', key_id: 'k', action }).shadow;
    const differs = { allowed: true, differs: true };
    expect(shadow('report_only', 'enforce')).toEqual(differs);
    expect(shadow('report_only', 'report_only')).toEqual(differs);
    expect(shadow('enforce', 'report_only')).toEqual(differs);
    expect(shadow('enforce', 'report_only', 'kb:write')).toEqual({
      allowed: false,
      differs: false,
    });
    expect(shadow('enforce', 'report_only', 'kb.nope')).toBeUndefined();
    expect(shadow('enforce', 'enforce')).toBeUndefined();
    expect(shadow('report_only', 'off')).toBeUndefined();
    expect(shadow('off', 'report_only')).toBeUndefined();
  });

  it('ABAC-8: the shadow is the outcome of the whole combining rule', () => {
    const allow: StateRule = { id: 'a', effect: 'allow', actions: ['kb:read'] };
    const w = keyed([allow], {}, 'report_only', { users: [alice] });
    expect(decide(w, { tenant: 'acme', key_id: 'k', subject: alice, action: 'kb:read' })).toEqual({
      allowed: false,
      reason: 'ACTION_DENIED',
      shadow: { allowed: false, differs: false },
    });
  });

  it('ABAC-9: with sources, the union over the sources, and nothing of the own attributes', () => {
    const w = keyed([constrained(['a', 'b'])]);
    const see = (own: Scalar | Scalar[], ...sources: (Scalar | Scalar[])[]): OracleReason =>
      ask(w, {
        key_id: 'k',
        action: 'kb:read',
        resource: {
          attributes: { team: own },
          sources: sources.map((team) => ({ attributes: { team } })),
        },
      });
    expect(see('x', 'a', ['b'])).toBe('ALLOWED');
    expect(see('x', ['a', 'b'], 'a')).toBe('ALLOWED');
    expect(see(['a', 'b'], 'a')).toBe('OBJECT_HIDDEN');
    expect(see('x', 'a', 'b', 'c')).toBe('OBJECT_HIDDEN');
    expect(see(['a', 'b'])).toBe('ALLOWED');
  });
});

describe('filter', () => {
  const w = world({ users: [alice] });
  const mine = { attributes: { user_id: 'alice' } };
  const run = (more: Partial<OracleFilterRequest>): unknown =>
    filter(w, {
      tenant: 'acme',
      subject: alice,
      action: 'read',
      objects: [mine, {}, mine, {}, mine, {}],
      ...more,
    });

  it('FILT-1: the objects that a check allows, in input order', () => {
    expect(run({})).toEqual({
      action_allowed: true,
      allowed_indexes: [0, 2, 4],
      complete: true,
      next_offset: 0,
    });
    expect(run({ offset: 1 })).toEqual({
      action_allowed: true,
      allowed_indexes: [2, 4],
      complete: true,
      next_offset: 0,
    });
    expect(run({ offset: 99 })).toEqual({
      action_allowed: true,
      allowed_indexes: [],
      complete: true,
      next_offset: 0,
    });
  });

  it('FILT-2: an action-level denial differs from an empty visible set', () => {
    expect(run({ action: 'a.b' })).toEqual({
      action_allowed: false,
      allowed_indexes: [],
      complete: true,
      next_offset: 0,
    });
    expect(run({ action: 'a.b', objects: [] })).toMatchObject({ action_allowed: false });
    expect(run({ objects: [] })).toMatchObject({ action_allowed: true, allowed_indexes: [] });
    expect(run({ objects: [{}] })).toMatchObject({ action_allowed: true, allowed_indexes: [] });
  });

  it('FILT-3, FILT-4: the limit counts visible objects; next is the next visible one', () => {
    expect(run({ limit: 1 })).toEqual({
      action_allowed: true,
      allowed_indexes: [0],
      complete: false,
      next_offset: 2,
    });
    expect(run({ limit: 2, offset: 1 })).toEqual({
      action_allowed: true,
      allowed_indexes: [2, 4],
      complete: true,
      next_offset: 0,
    });
    expect(run({ limit: 0 })).toMatchObject({ allowed_indexes: [0, 2, 4], complete: true });
  });
});

describe('worlds', () => {
  const SEED = 20240607;

  it('are valid: references, memberships, owners, grants, ids and rules', () => {
    fc.assert(
      fc.property(worldArb, ({ catalog, state }) => {
        const users = (state.users ?? []).map((user) => user.id);
        const roles = (state.roles ?? []).map((role) => role.id);
        const lower = users.map((id) => id.toLowerCase());
        expect(new Set(lower).size).toBe(users.length);
        expect(new Set([...users, ...roles]).size).toBe(users.length + roles.length);
        expect(new Set((state.owners ?? []).map((row) => row.path)).size).toBe(
          (state.owners ?? []).length,
        );
        const typed = (state.grants ?? []).map((row) =>
          JSON.stringify([row.principal, row.path, row.grantor]),
        );
        expect(new Set(typed).size).toBe(typed.length);

        // Kahn's way of finding a cycle among the roles.
        const edges = (state.roles ?? []).flatMap((role) => [
          ...(role.roles ?? []).map((group) => [role.id, group] as const),
          ...(role.members ?? [])
            .map((ref) => ref.replace(/^role:/, ''))
            .filter((id) => roles.includes(id))
            .map((member) => [member, role.id] as const),
        ]);
        let left = roles;
        for (let before = -1; before !== left.length;) {
          before = left.length;
          const now = left;
          left = left.filter((id) =>
            edges.some(([member, group]) => group === id && now.includes(member)),
          );
        }
        expect(left).toEqual([]);

        const names = new Set(catalog.actions.map((action) => action.name));
        expect(names.size).toBe(catalog.actions.length);
        for (const set of state.policy_sets ?? []) {
          expect(new Set(set.rules.map((rule) => rule.id)).size).toBe(set.rules.length);
          for (const rule of set.rules) {
            expect(rule.actions.length).toBeGreaterThan(0);
            for (const action of rule.actions) {
              expect(names.has(action) || !action.includes('.')).toBe(true);
            }
            if (rule.attributes !== undefined) {
              expect(Object.keys(rule.attributes).length).toBeGreaterThan(0);
              expect(Object.values(rule.attributes).every((values) => values.length > 0)).toBe(
                true,
              );
            }
          }
        }
        const deleted = (state.users ?? [])
          .filter((user) => user.deleted === true)
          .map((user) => user.id);
        const named = new Set([
          ...(state.roles ?? []).flatMap((role) => role.members ?? []),
          ...(state.workspaces ?? []).flatMap((workspace) => workspace.members ?? []),
          ...(state.grants ?? []).flatMap((row) => [row.principal, row.grantor ?? '']),
          ...(state.owners ?? []).map((row) => row.owner),
          ...(state.keys ?? []).map((key) => key.user ?? ''),
        ]);
        // A bare name may be that of a namesake only if it is not the deleted user's own.
        expect(deleted.some((id) => named.has(`user:${id}`))).toBe(false);
        expect(
          (state.users ?? []).some(
            (user) => user.deleted === true && (user.roles ?? user.workspaces),
          ),
        ).toBe(false);
      }),
      { seed: SEED, numRuns: 1000 },
    );
  });

  it('names from the prototype are own properties', () => {
    const object = plainObject([['__proto__', 1]]);
    expect(Object.hasOwn(object, '__proto__')).toBe(true);
    expect(Object.getPrototypeOf(object)).toBe(Object.prototype);
    let inRules = 0;
    let inTypes = 0;
    let inResources = 0;
    let inSources = 0;
    fc.sample(worldArb, { seed: SEED, numRuns: 500 }).forEach((w, at) => {
      const own = (record: object | undefined): number =>
        record !== undefined && Object.hasOwn(record, '__proto__') ? 1 : 0;
      inTypes += own(w.catalog.resource_types);
      for (const rule of (w.state.policy_sets ?? []).flatMap((set) => set.rules)) {
        inRules += own(rule.attributes);
      }
      for (const request of fc.sample(requestArb(w), { seed: SEED + at, numRuns: 3 })) {
        inResources += own(request.resource?.attributes);
        inSources += (request.resource?.sources ?? []).some(
          (source) => own(source.attributes) === 1,
        )
          ? 1
          : 0;
      }
    });
    expect(Math.min(inRules, inTypes, inResources, inSources)).toBeGreaterThan(10);
  });

  it('no rule names a bare verb or a starred action if that is switched off', () => {
    for (const w of fc.sample(makeWorldArb({ oddRuleActions: false }), {
      seed: SEED,
      numRuns: 300,
    })) {
      for (const name of (w.state.policy_sets ?? [])
        .flatMap((set) => set.rules)
        .flatMap((rule) => rule.actions)) {
        expect(name === 'readonly' || /[.:]/.test(name)).toBe(true);
        expect(name.startsWith('*')).toBe(false);
      }
    }
  });

  it('COMB-6, ABAC-8: every reason, every model and every shadow comes up often', () => {
    const counts = new Map<string, number>();
    const count = (what: string): void => {
      counts.set(what, (counts.get(what) ?? 0) + 1);
    };
    let total = 0;
    fc.sample(worldArb, { seed: SEED, numRuns: 3000 }).forEach((w, at) => {
      for (const request of fc.sample(requestArb(w), { seed: SEED + at, numRuns: 5 })) {
        const decision = decide(w, request);
        total += 1;
        count(decision.reason);
        if (decision.shadow !== undefined) {
          count('shadow');
          if (decision.shadow.differs) {
            count(`shadow differs`);
            count(`shadow differs, ${decision.shadow.allowed ? 'shown' : 'hidden'}`);
          }
        }
        const said = evidence(w, request);
        if (said !== undefined) {
          const models = (['rbac', 'tree', 'acl'] as const).filter((model) => said[model]);
          count(`models: ${models.join('+') || 'none'}`);
        }
      }
    });
    const share = (what: string): number => (100 * (counts.get(what) ?? 0)) / total;
    const lines = [...counts.keys()]
      .sort()
      .map((what) => `${share(what).toFixed(2).padStart(6)} %  ${what}`);
    process.stdout.write(`${total} requests\n${lines.join('\n')}\n`);

    const reasons: OracleReason[] = [
      'ALLOWED',
      'ACTION_DENIED',
      'OBJECT_HIDDEN',
      'NO_GRANT',
      'UNKNOWN_ACTION',
      'SUBJECT_INACTIVE',
      'KEY_INVALID',
      'TENANT_MISMATCH',
    ];
    for (const reason of reasons) {
      expect(share(reason), reason).toBeGreaterThanOrEqual(1);
    }
    expect(share('ALLOWED')).toBeGreaterThanOrEqual(15);
    expect(share('ALLOWED')).toBeLessThanOrEqual(60);
    expect(share('shadow differs')).toBeGreaterThanOrEqual(1);
    for (const model of ['rbac', 'tree', 'acl']) {
      expect(share(`models: ${model}`), model).toBeGreaterThanOrEqual(1);
    }
  });

  it('FILT-1: filter answers come up with and without a limit, complete or not', () => {
    const seen = new Set<string>();
    fc.sample(worldArb, { seed: SEED, numRuns: 500 }).forEach((w, at) => {
      for (const request of fc.sample(filterRequestArb(w), { seed: SEED + at, numRuns: 2 })) {
        const result = filter(w, request);
        seen.add(`action ${result.action_allowed ? 'allowed' : 'denied'}`);
        seen.add(result.complete ? 'complete' : 'incomplete');
        seen.add(result.allowed_indexes.length > 0 ? 'some' : 'none');
        for (const at of result.allowed_indexes) {
          expect(at).toBeGreaterThanOrEqual(request.offset ?? 0);
        }
        expect(result.next_offset > 0).toBe(!result.complete);
      }
    });
    expect([...seen].sort()).toEqual([
      'action allowed',
      'action denied',
      'complete',
      'incomplete',
      'none',
      'some',
    ]);
  });
});
