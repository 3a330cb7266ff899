/** `postern test`: evidence and place of what fails, tests by name, and what no test exercises. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { postern } from '../support/process.ts';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'postern-policy-test-'));
  writeFileSync(
    join(directory, 'press_test.yaml'),
    `name: press
state:
  tenant: press
  users: [{ id: ann, roles: [writers] }, { id: bob }]
  roles:
    - { id: writers, permissions: ['doc:read', 'doc:write'] }
  grants:
    - { principal: 'role:writers', path: drafts, actions: [read] }
    - { principal: 'user:bob', path: notes, actions: [read] }
  owners: [{ path: novels, owner: bob }]
  policy_sets:
    - policy_set:
        name: rules
        mode: enforce
        rules:
          - { id: mine, effect: allow, actions: [readonly], attributes: { team: [a] } }
          - { id: none, effect: deny, actions: ['doc:delete'] }
  keys:
    - { id: agent, role: default_deny, mode: enforce, policy_sets: [rules] }
    - { id: old, role: default_allow, mode: enforce, expires_at: '2020-01-01T00:00:00Z' }
tests:
  - name: ann reads
    request: { subject: ann, action: 'doc:read' }
    expect: { allowed: true, by: rbac }
  - name: ann reads drafts
    request: { subject: ann, action: read, resource: { path: drafts.one } }
    expect: { allowed: true, by: tree }
  - name: the agent sees no other team
    filter: { key: agent, action: 'doc:read', objects: [{ id: x, attributes: { team: b } }] }
    expect: { allowed_ids: [] }
  - name: an old key is none
    request: { key: old, action: 'doc:read' }
    expect: { allowed: false, reason: KEY_INVALID }
  - name: an old key was one
    now: '2019-01-01T00:00:00Z'
    request: { key: old, action: 'doc:read' }
    expect: { allowed: true }
  - name: bob deletes, it is said
    request: { subject: bob, action: 'doc:delete', resource: { path: drafts } }
    expect: { allowed: true }
`,
  );
});
afterAll(() => rmSync(directory, { recursive: true }));

describe('postern test', () => {
  it('prints the place of a test that fails, what was expected, and the evidence', async () => {
    const { code, stdout } = await postern(['test', directory]);
    expect(code).toBe(1);
    expect(stdout).toContain('press: bob deletes, it is said');
    expect(stdout).toMatch(/press_test\.yaml:38:5/);
    expect(stdout).toContain('allowed: expected true, got false');
    expect(stdout).toContain("no grant or ownership of the closure covers delete on 'drafts'");
    expect(stdout).toContain('5 passed, 1 failed');
    expect(stdout).not.toContain('ann reads drafts');
  });

  it('runs those that a regular expression names', async () => {
    const { code, stdout } = await postern([
      'test',
      directory,
      '--run',
      '^press: an old',
      '--verbose',
    ]);
    expect(code).toBe(0);
    expect(stdout).toContain('2 passed, 0 failed');
    for (const [regex, problem] of [
      ['[', 'is not a regular expression'],
      ['nobody', 'matches no test'],
    ] as const) {
      const wrong = await postern(['test', directory, '--run', regex]);
      expect(wrong.code).toBe(2);
      expect(wrong.stderr).toContain(problem);
    }
  });

  it('tells what no test exercises, and fails below a percentage', async () => {
    const all = ['test', directory, '--run', 'ann|agent|old', '-o', 'json'];
    const { code, stdout } = await postern([...all, '--coverage']);
    expect(code).toBe(0);
    const { coverage } = JSON.parse(stdout) as { coverage: Record<string, unknown> };
    const missed = (name: string): unknown => [
      expect.stringMatching(new RegExp(`press_test\\.yaml: ${name}$`)),
    ];
    expect(coverage).toMatchObject({
      rules: { total: 2, exercised: 0 },
      permissions: {
        total: 2,
        exercised: 1,
        missed: missed('permission doc:write of role writers'),
      },
      grants: { total: 2, exercised: 1, missed: missed("grant on 'notes' to user:bob") },
      owners: { total: 1, exercised: 0, missed: missed("owner of 'novels'") },
    });
    expect(Math.round(Number(coverage['percent']))).toBe(29);
    expect((await postern([...all, '--coverage-min', '28'])).code).toBe(0);
    expect((await postern([...all, '--coverage-min', '30'])).code).toBe(1);
    expect((await postern([...all, '--coverage-min', '101'])).code).toBe(2);
  });
});
