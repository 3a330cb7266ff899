/** Near names of what is not there: for who may read all facts, and for nobody else. */
import { beforeEach, describe, expect, it } from 'vitest';
import { manager, type Manager } from '../support/admin.ts';
import { openMemoryStore } from '../support/memory-store.ts';

let managed: Manager;
beforeEach(async () => {
  managed = manager(openMemoryStore());
  for (const [call, request] of [
    ['CreateTenant', { owner: 'root' }],
    ['CreateUser', { user: { id: 'Alice' } }],
    ['CreateUser', { user: { id: 'bob' } }],
    ['CreateRole', { role: { id: 'engineering' } }],
    ['CreateWorkspace', { workspace: { id: 'studio' } }],
    [
      'PutPolicySet',
      {
        document:
          'policy_set: { name: tenant-acme, mode: off, rules: [{ id: r, effect: deny, actions: [user.delete] }] }',
      },
    ],
  ] as const)
    await managed.as('operator', call, request);
});

const CALLS = [
  ['GetRole', { id: 'enginering' }, 'engineering'],
  ['DeleteRole', { id: 'Engineering' }, 'engineering'],
  ['GrantPermission', { id: 'engineerin', permissions: ['a:b'] }, 'engineering'],
  ['AddMember', { group: 'role:enginering', member: 'bob' }, 'engineering'],
  ['AddMember', { group: 'workspace:studoi', member: 'bob' }, 'studio'],
  ['AddMember', { group: 'engineering', member: 'alice' }, 'Alice'],
  ['CreateGrant', { principal: 'role:enginering', path: 'a', actions: ['read'] }, 'engineering'],
  ['UpdatePolicySet', { name: 'tenant-acm', mode: 'off' }, 'tenant-acme'],
  ['GetPolicySet', { name: 'tenant_acme' }, 'tenant-acme'],
] as const;

describe('a name that is not there', () => {
  it.each(CALLS)('%s %j', async (call, request, near) => {
    const told = await managed.refused('operator', call, request);
    expect([told.kind, told.message]).toEqual([
      'not_found',
      expect.stringMatching(new RegExp(`: did you mean \`${near}\`\\?$`)),
    ]);
    expect((await managed.refused('root', call, request)).message).toBe(told.message);
    // Whoever has no right to look learns no name.
    const stranger = await managed.refused('bob', call, request);
    expect(stranger.message).not.toContain('did you mean');
    expect(stranger.message).not.toContain(near);
  });

  it('that is near nothing brings no list of what is there', async () => {
    const { message } = await managed.refused('operator', 'GetRole', { id: 'xyzzyx' });
    expect(message).toBe('there is no role `xyzzyx`');
  });
});
