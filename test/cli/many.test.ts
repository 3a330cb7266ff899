/** `postern filter` and `postern check --batch`: objects and questions of a file, in one call. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { postern, serve, type Serving } from '../support/process.ts';

let server: Serving;
beforeAll(async () => {
  server = await serve(['--demo']);
});
afterAll(() => server.dispose());

const demo = (...args: string[]): ReturnType<typeof postern> =>
  postern(['--tenant', 'demo', ...args], server.environment);
const fileOf = (name: string, text: string): string => {
  const file = join(server.directory, name);
  writeFileSync(file, text);
  return file;
};

describe('filter', () => {
  const objects = `objects:
  - { id: o1, attributes: { tenant: acme } }
  - { id: o2, attributes: { tenant: globex } }
  - { id: o3, attributes: { tenant: null } }
  - { id: o4, path: a..b }
  - { id: o5, attributes: { tenant: [acme] } }
`;

  it('prints the visible ones, and those that are malformed', async () => {
    const file = fileOf('objects.yaml', objects);
    const ask = ['filter', '-', 'graph.search', '--key', 'acme-agent', '-f', file];
    const { code, stdout } = await demo(...ask);
    expect(code).toBe(0);
    expect(stdout.split('\n').slice(0, 2)).toEqual(['o1', 'o5']);
    expect(stdout).toContain('malformed: objects[2].attributes[tenant]: is null');
    expect(stdout).toContain('malformed: objects[3].path: `a..b` has an empty label');
    const page = JSON.parse((await demo(...ask, '--limit', '1', '-o', 'json')).stdout) as object;
    expect(page).toMatchObject({ allowed_ids: ['o1'], complete: false, next_offset: 4 });
  });

  it('exits with 1 where the action is denied, and with 2 where the file is none', async () => {
    const list = fileOf('list.json', '[{"id": "o1"}]');
    const denied = await demo('filter', '-', 'graph.add', '--key', 'acme-agent', '-f', list);
    expect(denied.code).toBe(1);
    expect(denied.stdout).toContain('denied ACTION_DENIED');
    for (const [text, problem] of [
      ['{ }', 'holds no list'],
      ['[1]', 'objects[0] is not a map'],
      ['[{ ident: o }]', 'objects[0]: `ident` is not known'],
      ['[{ id: 5 }]', '`id` is not a string'],
    ] as const) {
      const bad = await demo('filter', '-', 'read', '--key', 'k', '-f', fileOf('bad.yaml', text));
      expect(bad.code, text).toBe(2);
      expect(bad.stderr).toContain(problem);
    }
  });
});

describe('check --batch', () => {
  it('asks all questions of a file; subject and action of the command are defaults', async () => {
    const file = fileOf(
      'questions.yaml',
      `- { id: a, resource: { path: work.projects.api } }
- { id: b, action: delete, resource: { path: work.projects.api } }
- { id: c, subject: nobody, resource: { path: work.projects.api } }
- { id: d, resource: { path: a..b } }
`,
    );
    const { code, stdout } = await demo(
      'check',
      'alice',
      'read',
      '--batch',
      '-f',
      file,
      '-o',
      'json',
    );
    expect(code).toBe(1);
    const { results } = JSON.parse(stdout) as { results: { id: string; reason: string }[] };
    expect(results.map(({ id, reason }) => [id, reason])).toEqual([
      ['a', 'REASON_ALLOWED'],
      ['b', 'REASON_NO_GRANT'],
      ['c', 'REASON_NO_GRANT'],
      ['d', 'REASON_INVALID_ARGUMENT'],
    ]);
    const one = fileOf('one.yaml', '[{ subject: alice, action: read, resource: { path: work } }]');
    expect((await demo('check', '--batch', '-f', one)).code).toBe(0);
    const none = await demo('check', '--batch');
    expect(none.code).toBe(2);
    expect(none.stderr).toContain('give -f FILE');
  });

  it.each([
    [['bob', 'kb:write'], 'role member carries kb:write  [user:bob → role:member]'],
    [['bob', 'write', 'work.backend.db'], "user bob has write on 'work.backend'"],
    [
      ['-', 'graph.search', '--key', 'acme-agent', '--attr', 'tenant=acme'],
      'tenant-acme/read-acme (allow) matches graph.search by readonly, and its attributes hold',
    ],
    [
      ['-', 'graph.search', '--key', 'acme-agent', '--attr', 'tenant=globex'],
      'no rule decides: the base role is default_deny',
    ],
  ])('a plain answer names what decided: %j', async (ask, fact) => {
    const { stdout } = await demo('check', ...ask);
    expect(stdout.split('\n')[1]).toBe(`  └ ${fact}`);
  });

  it('a plain denial names the flag that explains it', async () => {
    const { stdout } = await demo('check', 'alice', 'delete', 'work.projects.api');
    expect(stdout).toContain('use `--explain` to see what is missing');
  });
});
