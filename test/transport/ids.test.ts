/** Ids with characters that nobody sees: refused everywhere, and valid where they are stored already (ID-1). */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findOldIds, type OldIds } from '../../src/admin/old-ids.ts';
import { idProblem } from '../../src/engine/id.ts';
import type { Change } from '../../src/store/store.ts';
import { openEmbeddedStore } from '../../src/store/embedded/store.ts';
import { manager, TENANT, bytesOf } from '../support/admin.ts';
import { openMemoryStore } from '../support/memory-store.ts';
import { put, role, user } from '../support/records.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { temporaryDirectory } from '../support/temporary.ts';

/** A zero-width space, joiners, a soft hyphen, marks of direction, a byte order mark, separators, a tag. */
const UNSEEN = [
  '\u200b',
  '\u200c',
  '\u200d',
  '\u00ad',
  '\u200e',
  '\u202e',
  '\u2066',
  '\ufeff',
  '\u2028',
  '\u2029',
  '\u2060',
  '\u061c',
  '\u{e0041}',
  '\u0600',
];

describe('ids', () => {
  it.each(UNSEEN.map((char) => [char.codePointAt(0)?.toString(16), char] as const))(
    'ID-1: U+%s is in no id',
    (_code, char) => {
      for (const id of [`ali${char}ce`, `${char}alice`, `alice${char}`, char])
        expect(idProblem(id), JSON.stringify(id)).toMatch(/nobody sees|white space/);
    },
  );

  it.each(['a b', 'José', '李雷🦉', 'a\u0300\u0301'.normalize('NFC'), 'x'.repeat(256), '\ufffd'])(
    'ID-1: `%s` is one',
    (id) => {
      expect(idProblem(id)).toBeUndefined();
    },
  );

  it.each([
    '',
    ' a',
    'a\u00a0',
    '\u3000a',
    'a\n',
    '\u0085',
    'e\u0301',
    '\ud800',
    'a\udc00b',
    'x'.repeat(257),
    'é'.repeat(129),
  ])('ID-1: %j is none', (id) => {
    expect(idProblem(id)).toBeDefined();
  });
});

describe('what is created', () => {
  const BAD = 'ali\u200dce';
  const room = manager(openMemoryStore());
  beforeAll(() => room.as('operator', 'CreateTenant', { owner: 'root' }));

  it.each<readonly [string, object]>([
    ['CreateUser', { user: { id: BAD } }],
    ['CreateUser', { user: { id: BAD, no_login: true } }],
    ['CreateUser', { user: { id: 'x', email: `${BAD}@x` } }],
    ['CreateUser', { user: { id: 'x', external_id: BAD } }],
    ['CreateRole', { role: { id: BAD } }],
    ['CreateWorkspace', { workspace: { id: BAD } }],
    ['CreateKey', { key: { id: BAD } }],
    ['PutPolicySet', { document: `policy_set: { name: "ali\\u200dce", mode: off, rules: [] }` }],
    [
      'PutPolicySet',
      {
        document: `policy_set: { name: p, mode: off, rules: [{ id: "ali\\u200dce", effect: deny, actions: [readonly] }] }`,
      },
    ],
    [
      'PutPolicySet',
      {
        document: `policy_set: { name: p, mode: off, rules: [{ id: r, effect: deny, actions: [readonly], attributes: { "ali\\u200dce": [a] } }] }`,
      },
    ],
    ['CreateTenant', { tenant: BAD, owner: '' }],
    ['CreateTenant', { tenant: 'y', owner: BAD }],
  ])('ID-1: %s %j is refused', async (call, request) => {
    const error = await room.refused('operator', call, request);
    expect([error.kind, error.message]).toEqual([
      'invalid_argument',
      expect.stringMatching(/U\+200D/),
    ]);
  });

  it.each<readonly [string, object]>([
    ['a user', { users: [{ id: BAD }] }],
    ['a role', { roles: [{ id: BAD }] }],
    ['a workspace', { workspaces: [{ id: BAD }] }],
    ['a key', { keys: [{ id: BAD, role: 'default_deny', mode: 'off' }] }],
    ['a policy set', { policy_sets: [{ name: BAD, mode: 'off', rules: [] }] }],
    ['its tenant', { tenant: BAD }],
  ])('ID-1: a state with %s of such an id is refused', async (_what, parts) => {
    const state = { tenant: 'fresh', ...parts };
    const applied = room.admin.apply(
      { user: undefined, keyId: undefined, via: 'test' },
      { tenant: state.tenant, prune: false, keep: false },
      bytesOf(JSON.stringify(state)),
    );
    await expect(applied).rejects.toMatchObject({ kind: 'invalid_argument', message: /U\+200D/ });
  });
});

describe('what is stored already', () => {
  const OLD = 'o\u200bld';
  let server: TestServer;
  let found: OldIds;
  const key: Change = {
    kind: 'key',
    id: OLD,
    value: { id: OLD, role: 'default_allow', mode: 'enforce', policySets: [] },
  };

  beforeAll(async () => {
    const directory = temporaryDirectory();
    const at = join(directory, 'store');
    const store = openEmbeddedStore(at);
    for (const tenant of [TENANT, OLD])
      await put(
        store,
        tenant,
        { kind: 'tenant', id: '', value: { id: tenant } },
        user(OLD, { superuser: true }),
        role(OLD, ['kb:read'], { roles: [] }),
        key,
      );
    found = await findOldIds(store, new AbortController().signal);
    await store.close();
    server = await startTestServer({ tenant: 'other' }, { store: `embedded:${at}` });
  });
  afterAll(() => server.close());

  it('ID-1: they are found at start, and named', () => {
    expect(found.count).toBe(7);
    expect(found.named.map(({ kind }) => kind).sort()).toEqual([
      'key',
      'key',
      'role',
      'role',
      'tenant',
      'user',
      'user',
    ]);
    expect(found.named[0]?.problem).toMatch(/U\+200B/);
  });

  const check = (request: object): Promise<unknown> =>
    server.client
      .call('Check', { tenant: TENANT, action: 'kb:read', resource: { type: 'kb' }, ...request })
      .then(
        ({ allowed, reason }) => [allowed, reason],
        ({ code, details }: { code: number; details: string }) => [code, details],
      );

  it.each<readonly [string, object]>([
    ['a user', { subject: { id: OLD } }],
    ['a role', { subject: { type: 'role', id: OLD } }],
    ['a key', { key_id: OLD }],
    ['a tenant', { tenant: OLD, subject: { id: OLD } }],
  ])('ID-1: %s of an old id is answered', async (_what, request) => {
    expect(await check(request)).toEqual([true, 'REASON_ALLOWED']);
  });

  it.each<readonly [string, object]>([
    ['subject.id', { subject: { id: 'n\u200bew' } }],
    ['subject.id', { subject: { type: 'workspace', id: 'n\u200bew' } }],
    ['key_id', { key_id: 'n\u200bew' }],
    ['tenant', { tenant: 'n\u200bew', subject: { id: 'alice' } }],
    ['resource.id', { subject: { id: OLD }, resource: { type: 'kb', id: OLD } }],
    ['resource.type', { subject: { id: OLD }, resource: { type: OLD } }],
    ['action', { subject: { id: OLD }, action: `kb:${OLD}` }],
  ])('ID-1: %s that is not stored is refused', async (field, request) => {
    expect(await check(request)).toEqual([
      3,
      expect.stringMatching(new RegExp(`${field}.*U\\+200B`)),
    ]);
  });

  it('ID-1: a batch and a filter say so too', async () => {
    const { results } = await server.client.call('BatchCheck', {
      tenant: TENANT,
      action: 'kb:read',
      resource: { type: 'kb' },
      checks: [{ subject: { id: OLD } }, { subject: { id: 'n\u200bew' } }],
    });
    expect(
      (results as { allowed: boolean; detail: string }[]).map(({ allowed }) => allowed),
    ).toEqual([true, false]);
    await expect(
      server.client.call('Filter', {
        tenant: TENANT,
        action: 'kb:read',
        subject: { id: 'n\u200bew' },
        objects: [],
      }),
    ).rejects.toMatchObject({ code: 3 });
  });
});
