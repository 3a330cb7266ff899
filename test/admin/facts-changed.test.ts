/**
 * The facts that a write changed, as its result tells them: which, in whose words, how many at most, and never a
 * secret. Single permissions and several members at once (ADM-5, RBAC-1).
 */
import { beforeEach, describe, expect, it } from 'vitest';
import { factsChanged } from '../../src/admin/read/facts-changed.ts';
import { drawFacts } from '../../src/cli/kit/changed-facts.ts';
import type { FactChange } from '../../src/admin/read/aspects.ts';
import type { WriteResult } from '../../src/admin/write-result.ts';
import { manager, type Manager } from '../support/admin.ts';
import { openMemoryStore } from '../support/memory-store.ts';
import { BEGINNING, dumpOf, randomCall, seeded, seenIn } from './cases.ts';

let managed: Manager;
const store = openMemoryStore;
beforeEach(async () => {
  managed = manager(store());
  for (const [call, request] of [
    ['CreateTenant', { owner: 'root' }],
    ['CreateRole', { role: { id: 'engineering', level: 20, permissions: ['kb:read'] } }],
    ['CreateRole', { role: { id: 'team' } }],
    ['CreateWorkspace', { workspace: { id: 'w1' } }],
    ...['alice', 'bob', 'carol', 'dave'].map((id) => ['CreateUser', { user: { id } }] as const),
  ] as const)
    await managed.as('operator', call, request);
});

async function resultOf(call: string, request: object, who = 'operator'): Promise<WriteResult> {
  const { result } = await managed.as(who, call, request);
  return result as WriteResult;
}

const MARKS = { add: '+', remove: '-', change: '~' } as const;

async function told(call: string, request: object, who?: string): Promise<string[]> {
  const { facts } = await resultOf(call, request, who);
  return facts.map(({ change, text }) => `${MARKS[change]} ${text}`);
}

describe('a write tells the facts that changed', () => {
  it('of roles', async () => {
    expect(
      await told('UpdateRole', {
        id: 'engineering',
        level: 30,
        permissions: { permissions: ['kb:write', 'thread:read'] },
      }),
    ).toEqual([
      '~ level 20 → 30 of role:engineering',
      '+ permission kb:write, thread:read of role:engineering',
      '- permission kb:read of role:engineering',
    ]);
    expect(await told('UpdateRole', { id: 'engineering', description: 'builds' })).toEqual([
      '+ description "builds" of role:engineering',
    ]);
    expect(await told('UpdateRole', { id: 'engineering', level: 30 })).toEqual([]);
    expect(await told('DeleteRole', { id: 'engineering' })).toEqual(['- role engineering']);
    expect(
      await told('CreateRole', { role: { id: 'ops', level: 5, permissions: ['kb:*'] } }),
    ).toEqual(['+ role ops', '+ level 5 of role:ops', '+ permission kb:* of role:ops']);
  });

  it('of users, without what did not change', async () => {
    expect(
      await told('UpdateUser', {
        id: 'bob',
        email: 'bob@example.com',
        superuser: true,
        metadata: { team: 'eng', 'a=b': [1] },
      }),
    ).toEqual([
      '+ email bob@example.com of user:bob',
      '+ metadata team "eng" of user:bob',
      '+ metadata a=b [1] of user:bob',
      '+ superuser of user:bob',
    ]);
    expect(await told('UpdateUser', { id: 'bob', superuser: false, email: 'b@x' })).toEqual([
      '~ email bob@example.com → b@x of user:bob',
      '- superuser of user:bob',
    ]);
    expect(await told('UpdateUser', { id: 'bob', metadata: { team: 'ops' } })).toEqual([
      '~ metadata team "eng" → "ops" of user:bob',
      '- metadata a=b [1] of user:bob',
    ]);
    const { facts } = await resultOf('UpdateUser', { id: 'bob', metadata: {} });
    expect(facts).toEqual([
      {
        change: 'remove',
        fact: 'metadata',
        of: 'user:bob',
        path: '',
        before: ['team:="ops"'],
        after: [],
        text: 'metadata team "ops" of user:bob',
      },
    ]);
  });

  it('of memberships, by the group; a user whose id looks like a role is told in full', async () => {
    expect(await told('AddMember', { group: 'team', member: 'alice', admin_option: true })).toEqual(
      ['+ member alice of role:team', '+ admin option of role:team to user:alice'],
    );
    expect(await told('AddMember', { group: 'workspace:w1', member: 'role:team' })).toEqual([
      '+ member role:team of workspace:w1',
    ]);
    await managed.as('operator', 'CreateUser', { user: { id: 'role:team' } });
    expect(await told('AddMember', { group: 'team', member: 'user:role:team' })).toEqual([
      '+ member user:role:team of role:team',
    ]);
    expect(await told('RemoveMember', { group: 'team', member: 'alice' })).toEqual([
      '- member alice of role:team',
      '- admin option of role:team to user:alice',
    ]);
  });

  it('of grants and owners, and of all that a deleted user takes with it', async () => {
    const grant = { principal: 'role:engineering', path: 'work.projects' };
    expect(await told('CreateGrant', { ...grant, actions: ['read', 'write'] })).toEqual([
      "+ grant read,write on 'work.projects' to role:engineering",
    ]);
    expect(await told('RevokeGrant', { ...grant, actions: ['write'] })).toEqual([
      "- grant write on 'work.projects' to role:engineering",
    ]);
    expect(await told('SetOwner', { path: 'work', owner: 'user:alice' })).toEqual([
      "+ owner alice of 'work'",
    ]);
    expect(
      await told('CreateGrant', { principal: 'user:bob', path: '', actions: ['read'] }),
    ).toEqual(["+ grant read on '' to user:bob"]);
    await managed.as('alice', 'CreateGrant', {
      principal: 'user:bob',
      path: 'work.api',
      actions: ['read'],
      grant_option: true,
    });
    expect(await told('SetOwner', { path: 'work', owner: 'user:carol' })).toContain(
      "~ owner alice → carol of 'work'",
    );
    await managed.as('operator', 'AddMember', { group: 'team', member: 'bob' });
    const gone = await told('DeleteUser', { id: 'bob' });
    expect(gone.toSorted()).toEqual(
      [
        '- user bob',
        '- member bob of role:team',
        "- grant read on '' to user:bob",
        "- grant read on 'work.api' to user:bob by user:carol",
        "- grant option for read on 'work.api' to user:bob by user:carol",
      ].toSorted(),
    );
    expect(await told('CreateUser', { user: { id: 'bob' } })).toEqual(['+ user bob']);
  });

  it('of policy sets and keys, and of secrets only that they are there', async () => {
    const set = (mode: string, rules: string): object => ({
      document: `policy_set: { name: p, mode: ${mode}, rules: [${rules}] }`,
    });
    const allow =
      '{ id: a, effect: allow, actions: [graph.search], attributes: { tenant: [acme] } }';
    expect(await told('PutPolicySet', set('enforce', allow))).toEqual([
      '+ policy set p',
      '+ mode enforce of policy_set:p',
      '+ version 1 of policy_set:p',
      '+ rule a of policy_set:p',
    ]);
    expect(
      await told(
        'PutPolicySet',
        set('report_only', '{ id: a, effect: deny, actions: [graph.search] }'),
      ),
    ).toEqual([
      '~ mode enforce → report_only of policy_set:p',
      '~ version 1 → 2 of policy_set:p',
      '~ rule a of policy_set:p: allow graph.search attributes {"tenant":["acme"]} → deny graph.search',
    ]);
    expect(
      await told('CreateKey', { key: { id: 'k', policy_sets: ['p'], user: 'alice' } }),
    ).toEqual([
      '+ key k',
      '+ role default_deny of key:k',
      '+ mode enforce of key:k',
      '+ policy set p of key:k',
      '+ user alice of key:k',
      '+ secret of key:k',
    ]);
    expect(
      await told('UpdateKey', { id: 'k', rate_limit: { requests: 5, per_seconds: 10 } }),
    ).toEqual(['+ rate limit 5/10s of key:k']);
    expect(await told('RotateKey', { id: 'k' })).toEqual([
      '+ secret of key:k',
      '- secret of key:k',
    ]);
    expect(await told('DetachPolicySet', { id: 'k', policy_set: 'p' })).toEqual([
      '- policy set p of key:k',
    ]);
    expect(await told('RevokeKey', { id: 'k' })).toEqual([
      '+ revocation of key:k',
      '- secret of key:k',
    ]);
  });

  it('cuts a long value in words only', async () => {
    const long = 'x'.repeat(1_000);
    const { facts } = await resultOf('UpdateRole', { id: 'team', description: long });
    expect(facts[0]?.after).toEqual([JSON.stringify(long)]);
    expect(facts[0]?.text).toMatch(/^description "x{119}… \(1002 characters\) of role:team$/);
  });

  it('lists 500, counts them all, and lists all where that is asked for', async () => {
    const ids = Array.from({ length: 900 }, (_, index) => `u${index}`);
    const user = { type: '', email: '', superuser: false, createrole: false, no_login: false };
    const users = ids.map((id) => ({
      ...user,
      id,
      external_id: `e-${id}`,
      roles: [],
      workspaces: [],
    }));
    const request = { users };
    const asked = (more: object): object => ({ ...request, options: { dry_run: true, ...more } });
    const cut = await resultOf('BatchCreateUsers', asked({}));
    expect([cut.facts.length, cut.facts_left_out, cut.fact_counts]).toEqual([
      500,
      1_300,
      [
        { change: 'add', fact: 'user', count: 900 },
        { change: 'add', fact: 'external id', count: 900 },
      ],
    ]);
    const all = await resultOf('BatchCreateUsers', asked({ all_facts: true }));
    expect([all.facts.length, all.facts_left_out]).toEqual([1_800, 0]);
  });

  it('ADM-11: of very many the first are listed where all are asked for, and the number of the others', () => {
    const differences = Array.from({ length: 30_000 }, (_, index) => ({
      kind: 'workspace' as const,
      id: `w${index}`,
      before: undefined,
      after: { id: `w${index}`, grants: [] },
    }));
    const { facts, counts, leftOut } = factsChanged(differences, true);
    expect([facts.length, leftOut]).toEqual([10_000, 20_000]);
    expect(counts).toEqual([{ change: 'add', fact: 'workspace', count: 30_000 }]);
    const told = drawFacts({ facts, fact_counts: counts, facts_left_out: leftOut });
    expect(told).toHaveLength(10_001);
    expect(told.at(-1)).toContain('… and 20,000 more facts, which are not listed');
  });

  it('is bounded by characters, too', () => {
    const metadata = { note: 'y'.repeat(16_000) };
    const user = (id: string): object => ({
      id,
      type: 'user',
      roles: [],
      workspaces: [],
      metadata,
    });
    const differences = Array.from({ length: 400 }, (_, index) => ({
      kind: 'user' as const,
      id: `u${index}`,
      before: undefined,
      // What else the record has is of no account here.
      after: { ...user(`u${index}`), grants: [], owns: [] } as never,
    }));
    const { facts, leftOut } = factsChanged(differences, false);
    const size = JSON.stringify(facts).length;
    expect(size).toBeLessThan(1_200_000);
    expect(leftOut).toBeGreaterThan(500);
  });

  it('of any operation: something where records changed, nothing where none did, and no secret', async () => {
    const random = seeded(4_711);
    const kept = store();
    const drawn = manager(kept);
    for (const { who, call, request } of BEGINNING) await drawn.as(who, call, request);
    let done = 0;
    for (let turn = 0; turn < 1_500; turn++) {
      const dump = await dumpOf(kept);
      const { who, call, request } = randomCall(random, seenIn(dump));
      const answer = await drawn.as(who, call, request).catch(() => undefined);
      const result = answer?.['result'] as WriteResult | undefined;
      if (result === undefined) continue;
      done++;
      const what = `${call} ${JSON.stringify(request)}`;
      expect(result.facts.length > 0, what).toBe(result.changes.length > 0);
      const text = JSON.stringify(result);
      for (const name of ['secret', 'token'])
        if (typeof answer?.[name] === 'string') expect(text).not.toContain(answer[name]);
      const after = result.dry_run ? dump : await dumpOf(kept);
      for (const { secrets = [] } of after.key.values())
        for (const { hash } of secrets) expect(text).not.toContain(hash);
      for (const { sessions = [] } of after.user.values())
        for (const { hash } of sessions) expect(text).not.toContain(hash);
    }
    expect(done).toBeGreaterThan(300);
  });
});

describe('single permissions of a role', () => {
  const grantPermission = (permissions: readonly string[], id = 'engineering'): object => ({
    id,
    permissions,
  });

  it('are added and taken away, the others stay', async () => {
    expect(await told('GrantPermission', grantPermission(['thread:read', 'kb:*']))).toEqual([
      '+ permission kb:*, thread:read of role:engineering',
    ]);
    expect(await told('RevokePermission', grantPermission(['kb:read']))).toEqual([
      '- permission kb:read of role:engineering',
    ]);
    const { role } = (await managed.as('operator', 'GetRole', { id: 'engineering' })) as {
      role: { permissions: readonly string[] };
    };
    expect(role.permissions).toEqual(['kb:*', 'thread:read']);
  });

  it('that are there already, or are not, are told', async () => {
    const again = await resultOf('GrantPermission', grantPermission(['kb:read', 'kb:write']));
    expect(again.warnings).toEqual([
      'role `engineering` carries kb:read already: nothing changes by it',
    ]);
    const half = await resultOf('RevokePermission', grantPermission(['kb:write', 'org:read']));
    expect(half.warnings).toEqual([
      'role `engineering` does not carry org:read: nothing changes by it',
    ]);
    const none = await managed.refused('operator', 'RevokePermission', grantPermission(['a:b']));
    expect([none.kind, none.message]).toEqual([
      'not_found',
      'role `engineering` carries none of a:b: look at what it carries by GetRole',
    ]);
    // A wildcard is a permission of its own: taking a part of it away would be no such thing.
    await managed.as('operator', 'GrantPermission', grantPermission(['org:*']));
    expect(
      (await managed.refused('operator', 'RevokePermission', grantPermission(['org:read']))).kind,
    ).toBe('not_found');
  });

  it.each([[[]], [['kb']], [['k*:read']], [['kb:read', '']]])(
    '%j are refused',
    async (permissions: readonly string[]) => {
      for (const call of ['GrantPermission', 'RevokePermission'])
        expect((await managed.refused('operator', call, grantPermission(permissions))).kind).toBe(
          'invalid_argument',
        );
    },
  );

  it('need a higher level, the permission itself, and another role than the own (ADM-5)', async () => {
    await managed.as('operator', 'CreateRole', {
      role: { id: 'lead', level: 50, permissions: ['postern:admin', 'kb:read', 'kb:write'] },
    });
    await managed.as('operator', 'AddMember', { group: 'lead', member: 'alice' });
    await managed.as('operator', 'CreateRole', { role: { id: 'boss', level: 60 } });
    await managed.as('alice', 'GrantPermission', grantPermission(['kb:write']));
    for (const [permissions, id] of [
      [['thread:read'], 'engineering'],
      [['kb:*'], 'engineering'],
      [['kb:read'], 'boss'],
      [['thread:read'], 'lead'],
      [['kb:read'], 'member'],
    ] as const) {
      const refusal = await managed.refused(
        'alice',
        'GrantPermission',
        grantPermission(permissions, id),
      );
      expect([id, refusal.rule === '' ? refusal.kind : refusal.rule]).toEqual([
        id,
        id === 'member' ? 'RBAC-4' : 'ADM-5',
      ]);
    }
    // Who may not change a role does not learn what it carries.
    for (const permissions of [['kb:read'], ['no:such']])
      expect(
        (await managed.refused('bob', 'RevokePermission', grantPermission(permissions))).kind,
      ).toBe('permission_denied');
  });

  it('from many at once are all there', async () => {
    const permissions = Array.from({ length: 20 }, (_, index) => `thing${index}:read`);
    await Promise.all(
      permissions.map((one) => managed.as('operator', 'GrantPermission', grantPermission([one]))),
    );
    const { role } = (await managed.as('operator', 'GetRole', { id: 'engineering' })) as {
      role: { permissions: readonly string[] };
    };
    expect(role.permissions).toEqual(['kb:read', ...permissions].toSorted());
  });
});

describe('several members', () => {
  const members = (...names: string[]): object => ({ group: 'team', member: '', members: names });

  it('come and go in one commit', async () => {
    const { revision } = await managed.as(
      'operator',
      'AddMember',
      members('alice', 'bob', 'alice'),
    );
    const gone = await managed.as('operator', 'RemoveMember', members('bob', 'alice'));
    expect(gone['revision']).toBe(Number(revision) + 1);
    expect((gone['result'] as WriteResult).facts.map(({ text }: FactChange) => text)).toEqual([
      'member bob of role:team',
      'member alice of role:team',
    ]);
  });

  it('are all added or none', async () => {
    const before = await managed.as('operator', 'GetRole', { id: 'team' });
    const lost = await managed.refused('operator', 'AddMember', members('alice', 'nobody', 'bob'));
    expect([lost.kind, lost.message]).toEqual([
      'not_found',
      'members[1]: there is no user or role `nobody`',
    ]);
    expect((await managed.refused('operator', 'RemoveMember', members('alice'))).kind).toBe(
      'not_found',
    );
    const many = await managed.refused(
      'operator',
      'AddMember',
      members(...Array.from({ length: 1_001 }, (_, index) => `u${index}`)),
    );
    expect(many.message).toBe('members: has 1001 members: at most 1000 are changed at once');
    expect(await managed.as('operator', 'GetRole', { id: 'team' })).toEqual(before);
  });

  it('close no circle together (ADM-6), and their closures are right', async () => {
    for (const id of ['a', 'b', 'c']) await managed.as('operator', 'CreateRole', { role: { id } });
    await managed.as('operator', 'AddMember', { group: 'a', member: 'team' });
    const circle = await managed.refused('operator', 'AddMember', members('role:b', 'role:a'));
    expect(circle.rule).toBe('ADM-6');
    await managed.as('operator', 'AddMember', members('role:b', 'role:c'));
    const kept = await managed.as('operator', 'CheckGrant', {
      principal: 'role:c',
      path: 'x',
      action: 'read',
    });
    expect(kept['allowed']).toBe(false);
    await managed.as('operator', 'CreateGrant', {
      principal: 'role:a',
      path: 'x',
      actions: ['read'],
    });
    const now = await managed.as('operator', 'CheckGrant', {
      principal: 'role:c',
      path: 'x',
      action: 'read',
    });
    expect(now['allowed']).toBe(true);
  });

  it('include no one that the actor may not add (ADM-5)', async () => {
    await managed.as('operator', 'AddMember', { group: 'team', member: 'bob', admin_option: true });
    expect((await managed.refused('bob', 'AddMember', members('carol', 'bob'))).rule).toBe('ADM-5');
    await managed.as('bob', 'AddMember', members('carol', 'dave'));
  });
});

describe('the mode of a policy set', () => {
  const document =
    'policy_set: { name: p, mode: enforce, rules: [{ id: d, effect: deny, actions: [user.delete] }] }';

  it('changes alone, as one version; what is so already makes none', async () => {
    await managed.as('operator', 'PutPolicySet', { document });
    expect(await told('UpdatePolicySet', { name: 'p', mode: 'report_only' })).toEqual([
      '~ mode enforce → report_only of policy_set:p',
      '~ version 1 → 2 of policy_set:p',
    ]);
    expect(await told('UpdatePolicySet', { name: 'p', mode: 'report_only' })).toEqual([]);
    expect(await told('UpdatePolicySet', { name: 'p', description: 'why' })).toEqual([
      '+ description "why" of policy_set:p',
      '~ version 2 → 3 of policy_set:p',
    ]);
    const { policy_set: kept, versions } = await managed.as('operator', 'GetPolicySet', {
      name: 'p',
      version: 1,
    });
    expect(kept).toMatchObject({ mode: 'enforce', rules: [{ id: 'd' }] });
    expect(versions).toEqual([1, 2, 3]);
  });

  it('is refused where it is none, where the set is not there, and where nothing is to change', async () => {
    await managed.as('operator', 'PutPolicySet', { document });
    for (const [request, message] of [
      [{ name: 'p', mode: 'on' }, 'mode: `on` is none of off, report_only, enforce'],
      [{ name: 'q', mode: 'off' }, 'there is no policy set `q`'],
      [{ name: 'p' }, 'mode: is missing, and so is `description`: give what is to change'],
    ] as const)
      expect((await managed.refused('operator', 'UpdatePolicySet', request)).message).toContain(
        message,
      );
    expect((await managed.refused('bob', 'UpdatePolicySet', { name: 'q', mode: 'off' })).kind).toBe(
      'permission_denied',
    );
  });

  it('is not turned off by an administrator where a key of a stronger user has the set (ADM-1b)', async () => {
    await managed.as('operator', 'PutPolicySet', { document });
    await managed.as('operator', 'CreateKey', {
      key: { id: 'rootkey', user: 'root', role: 'default_allow', policy_sets: ['p'] },
    });
    await managed.as('operator', 'AddMember', { group: 'admin', member: 'alice' });
    for (const mode of ['off', 'report_only'])
      expect((await managed.refused('alice', 'UpdatePolicySet', { name: 'p', mode })).rule).toBe(
        'ADM-1b',
      );
    await managed.as('root', 'UpdatePolicySet', { name: 'p', mode: 'off' });
    await managed.as('alice', 'UpdatePolicySet', { name: 'p', mode: 'enforce' });
  });
});
