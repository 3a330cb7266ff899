/** `postern check --offline`: the decisions of a server from files, with its output and exit codes. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { postern, serve, type Serving } from '../support/process.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';

const DEMO = join(PACKAGE_ROOT, 'config/demo.yaml');
const CONFIG = join(PACKAGE_ROOT, 'config');

let server: Serving;
beforeAll(async () => {
  server = await serve(['--demo']);
});
afterAll(() => server.dispose());

const fileOf = (name: string, text: string): string => {
  const file = join(server.directory, name);
  writeFileSync(file, text);
  return file;
};
/** Where nobody listens. */
const NOBODY = { POSTERN_ADDRESS: '127.0.0.1:1' };
const offline = (...args: string[]): ReturnType<typeof postern> =>
  postern(['check', ...args, '--offline', '--config', CONFIG, '--state', DEMO], NOBODY);

describe('check --offline', () => {
  it.each([
    ['alice', 'read', 'work.projects.api'],
    ['alice', 'delete', 'work.projects.api', '--explain'],
    ['nobody', 'read', 'work'],
    ['alice', 'no_such_action'],
    ['-', 'graph.search', '--key', 'acme-agent', '--attr', 'tenant=acme', '--explain'],
    ['-', 'graph.search', '--key', 'no-key'],
    ['alice', 'memory.get', '--resource', 'memory/m1', '--attr', 'workspace_read_access=studio'],
    ['alice', 'read', 'a..b'],
    ['alice', 'read', '--tenant', 'other'],
  ])('answers as a server does: %s %s %s', async (...args: string[]) => {
    const [there, here] = await Promise.all([
      postern(['check', '--tenant', 'demo', ...args], server.environment),
      offline(...args),
    ]);
    expect(here.code).toBe(there.code);
    expect(here.stderr).toBe(there.stderr);
    expect(here.stdout).toBe(there.stdout.replace(/\(revision \d+\)/, '(offline)'));
    expect(here.stdout + here.stderr).not.toBe('');
  });

  it('takes a file of questions, and prints the same JSON', async () => {
    const questions = fileOf(
      'questions.yaml',
      `- { id: a, resource: { path: work.projects.api } }
- { id: b, action: delete, resource: { path: work.projects.api } }
- { id: d, resource: { path: a..b } }
`,
    );
    const ask = ['alice', 'read', '--batch', '-f', questions, '-o', 'json'];
    const { code, stdout } = await offline(...ask);
    expect(code).toBe(1);
    const there = await postern(['check', '--tenant', 'demo', ...ask], server.environment);
    const told = (text: string): unknown =>
      (JSON.parse(text) as { results: Record<string, unknown>[] }).results.map((result) => ({
        ...result,
        decision_id: '',
        revision: '',
        age_ms: '',
      }));
    expect(told(stdout)).toEqual(told(there.stdout));
  });

  it('decides by the catalog and the default roles of the directory', async () => {
    const directory = join(server.directory, 'own');
    mkdirSync(directory);
    const state = fileOf(
      'state.yaml',
      'tenant: own\nusers: [{ id: ann, roles: [reader] }]\nroles: [{ id: reader, permissions: ["page:read"] }]\n',
    );
    const ask = ['check', 'ann', 'page.open', '--offline', '--config', directory, '--state', state];
    const none = await postern(ask, NOBODY);
    expect(none.code).toBe(2);
    expect(none.stderr).toContain('has none of postern.yaml, actions.yaml and roles.yaml');
    const catalog = join(directory, 'actions.yaml');
    const action = '{ name: page.open, readonly: true, permission: "page:read" }';
    writeFileSync(catalog, `actions: [${action}]\nresource_types: {}\n`);
    expect(await postern(ask, NOBODY)).toMatchObject({ code: 0, stderr: '' });
    writeFileSync(join(directory, 'other.yaml'), 'actions: []\nresource_types: {}\n');
    writeFileSync(join(directory, 'roles.yaml'), 'roles: []\n');
    writeFileSync(join(directory, 'postern.yaml'), 'catalog: other.yaml\n');
    expect((await postern(ask, NOBODY)).stdout).toContain('denied UNKNOWN_ACTION');
    writeFileSync(join(directory, 'postern.yaml'), 'catalog: actions.yaml\n');
    writeFileSync(catalog, 'actions: [{ name: page.open }');
    expect((await postern(ask, NOBODY)).code).toBe(2);
  });

  it('exits with 2, never as a denial does, where options or files are wrong', async () => {
    const ask = ['check', 'ann', 'read', 'work'];
    const contradiction = fileOf(
      'wrong.yaml',
      'tenant: own\ngrants: [{ principal: user:nobody, path: work, actions: [read] }]\n',
    );
    for (const [args, problem] of [
      [['--offline'], 'give --state FILE'],
      [['--offline', '--state', '/nonexistent.yaml'], '/nonexistent.yaml'],
      [['--offline', '--state', contradiction], 'nobody'],
      [['--offline', '--state', fileOf('torn.yaml', 'tenant: [')], 'torn.yaml'],
      [['--offline', '--state', DEMO, '--state', DEMO], 'is the second of tenant `demo`'],
      [['--offline', '--state', DEMO, '--config', '/nonexistent'], '/nonexistent'],
      [['--offline', '--state', DEMO, '--min-revision', '1'], 'files have no history'],
      [['--offline', '--state', DEMO, '--token', 'x'], 'does not use this option'],
      [['--tenant', 'demo', '--state', DEMO], 'give --offline'],
      [['--tenant', 'demo', '--config', CONFIG], 'give --offline'],
    ] as const) {
      const { code, stdout, stderr } = await postern([...ask, ...args], server.environment);
      expect(code, args.join(' ')).toBe(2);
      expect(stderr).toContain(problem);
      expect(stdout).toBe('');
    }
  });
});
