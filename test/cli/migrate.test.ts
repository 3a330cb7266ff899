/** `postern migrate` and `postern init` as operators run them: built commands, a store on disk, a real server. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { postern, serve, type Ran, type Serving } from '../support/process.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const EXPORT = `migration:
  description: an export permission
  steps:
    - grant_permissions: { roles: [owner, admin], permissions: ['kb:export'] }
`;
const AUDITOR = `migration:
  description: a role that looks
  steps:
    - add_role: { id: auditor, level: 15, permissions: ['kb:read'] }
`;

let directory: string;
let settings: string;
const running: Serving[] = [];

beforeEach(() => {
  directory = temporaryDirectory();
  mkdirSync(join(directory, 'migrations'));
  settings = [
    `catalog: ${PACKAGE_ROOT}/config/actions.yaml`,
    `default_roles: ${PACKAGE_ROOT}/config/roles.yaml`,
    `store: embedded:${directory}/store`,
    `migrations: ${directory}/migrations`,
    'grpc: { address: 127.0.0.1:0 }',
    'http: { address: 127.0.0.1:0 }',
    'audit: { sinks: [] }',
    'admin: { enabled: true }',
  ].join('\n');
  writeFileSync(join(directory, 'postern.yaml'), settings);
});
afterEach(async () => {
  for (const one of running.splice(0)) await one.dispose();
});

const run = (...args: string[]): Promise<Ran> =>
  postern(args, { POSTERN_CONFIG: join(directory, 'postern.yaml') });
const put = (name: string, text: string): void =>
  writeFileSync(join(directory, 'migrations', name), text);
const init = (tenant: string, ...more: string[]): Promise<Ran> =>
  run('init', '--tenant', tenant, '--admin', 'alice', ...more);
const start = async (): Promise<Serving> => {
  const one = await serve([], { settings });
  running.push(one);
  return one;
};
const lines = ({ stdout }: Ran): string[] => stdout.trimEnd().split('\n');

describe('init', () => {
  it('makes a tenant, and a token that manages it on a running server', async () => {
    const made = await init('acme', '--ttl', '1h');
    expect(made).toMatchObject({ code: 0 });
    const token = lines(made).at(-1) ?? '';
    expect(token).toMatch(/^psts\.[\w-]+\.[\w-]+\.[\w-]+\.[\w-]+$/);
    expect(made.stdout.split(token)).toHaveLength(2);
    expect(made.stdout).toMatch(
      /tenant acme created: alice is its owner, with a session until \S+ \(revision 1\)/,
    );
    expect(made.stderr).toContain('export POSTERN_TENANT=acme POSTERN_TOKEN=…');
    expect(made.stderr).not.toContain(token);

    const server = await start();
    const environment = { ...server.environment, POSTERN_TOKEN: token, POSTERN_TENANT: 'acme' };
    const manage = (...args: string[]): Promise<Ran> => postern(args, environment);
    expect(await manage('user', 'create', 'bob')).toMatchObject({ code: 0 });
    expect(await manage('grant', 'create', 'bob', 'work', 'read')).toMatchObject({ code: 0 });
    expect(await manage('role', 'members', 'owner', '-o', 'json')).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('alice'),
    });
    const told = await manage('changes', 'list', '-o', 'json');
    expect(told.stdout).toContain('"operation": "tenant.init"');
    const other = await postern(['user', 'list', '--tenant', 'globex'], environment);
    expect(other).toMatchObject({ code: 2 });
  });

  it('works while a server runs on the store', async () => {
    const server = await start();
    const made = await init('late', '-o', 'json');
    const { token, revision, session } = JSON.parse(made.stdout) as Record<string, string>;
    expect([revision, session]).toEqual(['1', expect.objectContaining({ user: 'alice' })]);
    const manage = ['user', 'create', 'bob', '--tenant', 'late'];
    const environment = { ...server.environment, POSTERN_TOKEN: token ?? '' };
    expect(await postern(manage, environment)).toMatchObject({ code: 0 });
  });

  it('refuses a tenant that exists, and changes nothing', async () => {
    await init('acme');
    const again = await init('acme');
    expect(again).toMatchObject({ code: 1, stdout: '' });
    expect(again.stderr).toContain(
      'postern: tenant `acme` exists already: its owners manage it, and the operator',
    );
    const { stdout } = await run('export', '--tenant', 'acme');
    expect(stdout).toContain('at revision 1\n');
  });

  it.each([
    [['init', '--admin', 'alice'], 2, 'no tenant: give --tenant NAME, or set POSTERN_TENANT'],
    [['init', '--tenant', 'acme'], 2, 'required option `--admin <user>`'],
    [['init', '--tenant', 'acme', '--admin', ' x'], 2, '--admin: ` x`'],
    [['init', '--tenant', 'a\u0007', '--admin', 'x'], 2, '--tenant: `a\\u0007`'],
    [['init', '--tenant', 'acme', '--admin', 'x', '--ttl', 'long'], 2, '--ttl: `long` is not'],
    [['init', '--tenant', 'acme', '--admin', 'x', '--ttl', '90d'], 1, 'ttl_seconds: `7776000`'],
    [['init', '--tenant', 'acme', '--admin', 'owner'], 1, '`owner` is a role'],
    [['init', '--tenant', 'acme', '--admin', 'x', '--token', 't'], 2, 'does not use this option'],
  ])('%j exits %i', async (args, code, text) => {
    const ran = await run(...args);
    expect(ran.stderr).toContain(text);
    expect(ran.code).toBe(code);
    expect((await run('export', '--tenant', 'acme')).code).not.toBe(0);
  });

  it('starts with all migrations on disk', async () => {
    put('0001-export.yaml', EXPORT);
    await init('acme');
    const { stdout } = await run('migrate', 'status', '-o', 'json');
    expect(JSON.parse(stdout)).toMatchObject({
      tenants: [{ tenant: 'acme', migrations: [{ name: '0001-export', state: 'applied' }] }],
    });
  });
});

describe('migrate', () => {
  beforeEach(async () => {
    await init('acme');
    await init('globex');
    put('0001-export.yaml', EXPORT);
    put('0002-auditor.yaml', AUDITOR);
  });

  it('status, a dry run, up and status again', async () => {
    const table = await run('migrate', 'status');
    expect(table).toMatchObject({ code: 0, stderr: '' });
    expect(lines(table)).toEqual([
      'TENANT  MIGRATION     STATE    APPLIED AT  DESCRIPTION',
      'acme    0001-export   pending              an export permission',
      'acme    0002-auditor  pending              a role that looks',
      'globex  0001-export   pending              an export permission',
      'globex  0002-auditor  pending              a role that looks',
    ]);
    const planned = await run('migrate', 'up', '--dry-run', '--tenant', 'acme');
    expect(lines(planned)).toEqual([
      '  + permission kb:export of role:admin',
      '  + permission kb:export of role:owner',
      '  + role auditor',
      '  + level 15 of role:auditor',
      '  + permission kb:read of role:auditor',
      '  + system flag of role:auditor',
      'tenant acme: 0001-export, 0002-auditor would be applied, revision 1',
    ]);
    const one = await run('migrate', 'up', '--tenant', 'acme');
    expect(lines(one).at(-1)).toBe('tenant acme: 0001-export, 0002-auditor applied, revision 2');
    const all = await run('migrate', 'up', '-o', 'yaml');
    expect(parse(all.stdout)).toMatchObject({
      dry_run: false,
      tenants: [
        { tenant: 'acme', revision: 2, applied: [], changes: [], warnings: [] },
        {
          tenant: 'globex',
          revision: 2,
          applied: ['0001-export', '0002-auditor'],
          changes: expect.arrayContaining([{ change: 'create', kind: 'role', id: 'auditor' }]),
          warnings: [],
        },
      ],
    });
    expect(lines(await run('migrate', 'up'))).toEqual([
      'tenant acme: nothing is pending, revision 2',
      'tenant globex: nothing is pending, revision 2',
    ]);
    const { stdout } = await run('migrate', 'status', '-o', 'json', '--tenant', 'globex');
    const { tenants } = JSON.parse(stdout) as {
      tenants: { migrations: { state: string; applied_at: string }[] }[];
    };
    expect(tenants[0]?.migrations.map(({ state }) => state)).toEqual(['applied', 'applied']);
    expect(Date.parse(tenants[0]?.migrations[0]?.applied_at ?? '')).toBeGreaterThan(0);
  });

  it('a running server decides by it at once', async () => {
    const server = await start();
    const check = (): Promise<Ran> =>
      postern(
        ['check', 'carol', 'kb:export', '--tenant', 'acme', '--min-revision', '2'],
        server.environment,
      );
    const state = (permission: string): string =>
      `tenant: acme\nusers: [{ id: alice, superuser: true, roles: [owner] }, { id: carol, roles: [admin] }]\n# ${permission}\n`;
    writeFileSync(join(directory, 'state.yaml'), state('x'));
    expect(await run('apply', '-f', join(directory, 'state.yaml'))).toMatchObject({ code: 0 });
    expect(await check()).toMatchObject({ code: 1 });
    await run('migrate', 'up');
    const migrated = await postern(
      ['check', 'carol', 'kb:export', '--tenant', 'acme', '--min-revision', '3'],
      server.environment,
    );
    expect(migrated.stdout).toContain('allowed');
  });

  it('edited, missing and misnamed: refused, with nothing changed, and told by status', async () => {
    await run('migrate', 'up');
    put('0003-more.yaml', EXPORT.replace('kb:export', 'kb:import'));
    put('0001-export.yaml', EXPORT.replace('kb:export', 'kb:other'));
    rmSync(join(directory, 'migrations/0002-auditor.yaml'));
    const wanted = [
      'postern: tenant acme: migration `0001-export` was edited after it was applied: restore it, and write a new one; migration `0002-auditor` was applied and its file is missing: restore it',
      'postern: tenant globex: migration `0001-export` was edited',
    ];
    const refused = await run('migrate', 'up');
    for (const text of wanted) expect(refused.stderr).toContain(text);
    expect(refused).toMatchObject({ code: 1, stdout: 'nothing was changed\n' });
    const status = await run('migrate', 'status', '--tenant', 'acme');
    expect(status.code).toBe(1);
    expect(lines(status).map((line) => line.split(/ {2,}/).slice(1, 3))).toEqual([
      ['MIGRATION', 'STATE'],
      ['0001-export', 'edited'],
      ['0002-auditor', 'missing'],
      ['0003-more', 'pending'],
    ]);
    expect((await run('export', '--tenant', 'acme')).stdout).toContain('at revision 2\n');

    put('0001-export.yaml', `# restored\n${EXPORT}`);
    put('0002-auditor.yaml', AUDITOR);
    expect(await run('migrate', 'up')).toMatchObject({ code: 0 });
    put('notes.yaml', EXPORT);
    const misnamed = await run('migrate', 'up');
    expect(misnamed.code).toBe(2);
    expect(misnamed.stderr).toContain('notes.yaml:1:1: `notes.yaml` is not a valid migration name');
  });

  it('a tenant that refuses does not hold up the others', async () => {
    const state =
      'tenant: acme\nusers: [{ id: alice, roles: [owner] }]\nroles: [{ id: auditor }]\n';
    writeFileSync(join(directory, 'state.yaml'), state);
    expect(await run('apply', '-f', join(directory, 'state.yaml'), '--keep')).toMatchObject({
      code: 0,
    });
    const ran = await run('migrate', 'up', '-o', 'json');
    expect(ran.code).toBe(1);
    expect(JSON.parse(ran.stdout)).toMatchObject({
      tenants: [
        { tenant: 'acme', refused: expect.stringContaining('has a role `auditor` of its own') },
        { tenant: 'globex', applied: ['0001-export', '0002-auditor'] },
      ],
    });
    expect((await run('export', '--tenant', 'acme')).stdout).not.toContain('kb:export');
  });

  it('validate checks them with the other files', async () => {
    const good = await run('validate', join(directory, 'migrations'));
    expect(good).toMatchObject({ code: 0 });
    expect(good.stdout).toContain('0001-export.yaml (migration)');
    put('1-bad.yaml', EXPORT);
    put('0003-bad.yaml', EXPORT.replace('grant_permissions', 'grant_permission'));
    const bad = await run('validate', directory);
    expect(bad.code).toBe(1);
    expect(bad.stdout).toContain('`1-bad.yaml` is not a valid migration name');
    expect(bad.stdout).toContain('did you mean `grant_permissions`?');
  });

  it('usage, and what does not exist', async () => {
    for (const [args, code, text] of [
      [['migrate', 'up', '--tenant', 'nope'], 1, '`nope` does not exist: known are acme, globex'],
      [['migrate', 'status', '--tenant', 'nope'], 1, 'known are acme, globex'],
      [['migrate', 'down'], 2, 'unknown command `down`'],
      [['migrate'], 2, 'Usage: postern migrate'],
      [
        ['migrate', 'up', '--as', 'alice'],
        2,
        '--as: `postern migrate up` does not use this option',
      ],
      [['migrate', 'up', '--config', '/nowhere.yaml'], 2, '/nowhere.yaml:1:1: cannot be read'],
    ] as const) {
      const ran = await run(...args);
      expect(ran.stderr).toContain(text);
      expect(ran.code, args.join(' ')).toBe(code);
    }
  });

  it('a store that is not there is not made', async () => {
    const settingsFile = join(directory, 'postern.yaml');
    const moved = readFileSync(settingsFile, 'utf8').replace('/store', '/elsewhere');
    writeFileSync(settingsFile, moved);
    const ran = await run('migrate', 'up');
    expect(ran).toMatchObject({ code: 2 });
    expect(ran.stderr).toContain('store: there is none in');
  });
});
