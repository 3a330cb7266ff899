/** `postern serve` as a process: start, readiness, signals, reload, refusals; and the commands beside it. */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { launch, postern, serve, type Serving } from '../support/process.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';
import { connectTo } from '../support/server.ts';
import { temporaryDirectory } from '../support/temporary.ts';

let server: Serving;
beforeAll(async () => {
  server = await serve(['--demo']);
});
afterAll(() => server.dispose());

const demo = (...args: string[]): ReturnType<typeof postern> =>
  postern(['--tenant', 'demo', ...args], server.environment);
const read = {
  tenant: 'demo',
  subject: { id: 'alice' },
  action: 'read',
  resource: { path: 'work' },
};

describe('check', () => {
  it.each([
    [['check', 'alice', 'read', 'work.projects.api'], 0, 'allowed: a grant or ownership'],
    [['check', 'alice', 'delete', 'work.projects.api'], 1, 'denied NO_GRANT'],
    [['check', 'carol', 'admin', 'work.infra.db'], 0, 'allowed'],
    [['check', 'role:team', 'read', ''], 0, 'allowed'],
    [['check', 'root', 'org.delete'], 0, 'the subject is a superuser'],
    [['check', 'root', 'org.nope'], 1, 'denied UNKNOWN_ACTION'],
    [
      ['check', '-', 'graph.search', '--key', 'acme-agent', '--source', '{"tenant":"acme"}'],
      0,
      'allowed',
    ],
    [['check', '-', 'user.delete', '--key', 'backend'], 0, 'under full enforcement: denied'],
    [
      [
        'check',
        'alice',
        'memory.get',
        '--resource',
        'memory/m/1',
        '--attr',
        'user_read_access:=["alice"]',
      ],
      0,
      'allowed: the access list',
    ],
    [['check', 'alice', 'read', 'a..b'], 2, 'resource.path: `a..b` has an empty label'],
    [['check', 'alice', 'read', '--attr', 'novalue'], 2, 'is not key=value'],
    [['check', 'alice', 'read', '--attr', 'n:={}'], 2, 'only strings, numbers, booleans'],
    [['check', 'alice'], 2, 'missing required argument `action`'],
    [['chekc'], 2, 'did you mean `check`?'],
    [['check', 'alice', 'read', '--min-revision', 'x'], 2, 'is not a number'],
  ])('%j exits %i', async (args, code, text) => {
    const ran = await demo(...args);
    expect(ran.stdout + ran.stderr).toContain(text);
    expect(ran.code).toBe(code);
  });

  it('prints JSON and YAML for programs', async () => {
    const json = await demo('-o', 'json', 'check', 'alice', 'read', 'work');
    expect(JSON.parse(json.stdout)).toMatchObject({ allowed: true, reason: 'REASON_ALLOWED' });
    expect((await demo('-o', 'yaml', 'check', 'alice', 'read', 'work')).stdout).toContain(
      'allowed: true',
    );
  });

  it('says so where no server answers, and asks for a tenant', async () => {
    const lost = await postern([
      '--tenant',
      'demo',
      '--address',
      '127.0.0.1:1',
      'check',
      'a',
      'read',
    ]);
    expect(lost.code).toBe(2);
    expect(lost.stderr).toContain('no answer from 127.0.0.1:1: nothing listens there: start it');
    const nobody = await postern(['check', 'a', 'read']);
    expect(nobody.stderr).toContain('no tenant: give --tenant NAME');
  });

  it('obeys no control character of an answer on the terminal', async () => {
    const ran = await demo('check', 'alice', '\u001b[31m.x');
    expect(ran.stdout + ran.stderr).not.toContain('\u001b');
  });
});

describe('health', () => {
  it('is ready, and healthcheck says so', async () => {
    expect(await postern(['healthcheck'], server.environment)).toMatchObject({
      code: 0,
      stdout: 'ready\n',
    });
    expect((await fetch(`http://${server.http}/healthz`)).status).toBe(200);
    expect((await fetch(`http://${server.http}/nope`)).status).toBe(404);
    const lost = await postern(['healthcheck', '--http', '127.0.0.1:1']);
    expect(lost.code).toBe(2);
  });

  it('has metrics with enums as labels only', async () => {
    await demo('check', 'alice', 'read', 'work');
    const text = await (await fetch(`http://${server.http}/metrics`)).text();
    expect(text).toMatch(
      /postern_decisions_total\{api="check",allowed="true",reason="ALLOWED"\} \d+/,
    );
    expect(text).toMatch(/postern_decision_duration_seconds_count\{api="check"\} \d+/);
    expect(text).toContain('postern_store_up 1');
    expect(text).not.toContain('alice');
    expect(text).not.toContain('demo');
  });
});

describe('audit', () => {
  it('has a line for every decision, and no secret', async () => {
    const client = connectTo(server.grpc);
    await client.call('Check', { ...read, id: 'secret-test', credential: { api_key: 'hunter2' } });
    await expect(client.call('Check', { ...read, id: 'line\nbreak \u001b[31m' })).rejects.toThrow(
      /INVALID_ARGUMENT: id/,
    );
    client.close();
    await expect.poll(() => server.audit()).toContain('secret-test');
    const lines = server.audit().trim().split('\n');
    const records = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(records.map(({ seq }) => seq)).toEqual(records.map((_, index) => index + 1));
    expect(server.audit()).not.toContain('hunter2');
    expect(server.audit()).not.toContain('\u001b');
    expect(records.find(({ request_id }) => request_id === 'secret-test')).toMatchObject({
      v: 1,
      type: 'decision',
      tenant: 'demo',
      action: 'read',
      allowed: false,
      reason: 'KEY_INVALID',
    });
  });
});

describe('apply and export beside a running server', () => {
  it('are in force within moments; what is exported applies without a change', async () => {
    const exported = await demo('export');
    expect(exported.code).toBe(0);
    const file = join(server.directory, 'exported.yaml');
    writeFileSync(file, exported.stdout);
    expect((await demo('apply', '-f', file)).stdout).toContain('0 record(s) changed, revision 1');

    writeFileSync(file, exported.stdout.replace('- id: bob\n', '- id: bob\n    suspended: true\n'));
    const dry = await demo('apply', '-f', file, '--dry-run');
    expect(dry.stdout).toContain('1 record(s) would change, revision 1');
    expect((await demo('check', 'bob', 'read', 'work')).code).toBe(0);
    expect((await demo('apply', '-f', file)).stdout).toContain('1 record(s) changed, revision 2');
    // CONS-1: from this revision or newer, at once.
    const after = await demo('check', 'bob', 'read', 'work', '--min-revision', '2');
    expect(after.stdout).toContain('denied SUBJECT_INACTIVE');

    writeFileSync(file, exported.stdout);
    // ADM-10: it does not say that bob is not suspended.
    expect((await demo('apply', '-f', file)).stderr).toContain('user `bob`: `suspended`');
    expect((await demo('apply', '-f', file, '--prune')).stdout).toContain('revision 3');
    expect((await demo('check', 'bob', 'read', 'work', '--min-revision', '3')).code).toBe(0);
  });

  it('a dry run makes no store, and tells what a first apply would change', async () => {
    const file = join(server.directory, 'first.yaml');
    writeFileSync(file, 'tenant: first\nusers: [{ id: ann }]\n');
    const absent = join(server.directory, 'absent');
    const ran = await postern(['apply', '-f', file, '--dry-run'], {
      ...server.environment,
      POSTERN_STORE: `embedded:${absent}`,
    });
    expect(ran.stdout).toMatch(/\+\s+user\s+ann/);
    expect(existsSync(absent)).toBe(false);
  });

  it('CONS-5: the same apply under the same key is done once', async () => {
    const file = join(server.directory, 'once.yaml');
    writeFileSync(file, 'tenant: once\nusers: [{ id: ann }]\n');
    const once = ['apply', '-f', file, '--idempotency-key', 'release-1'];
    expect((await demo(...once)).stdout).toContain('changed, revision 1');
    expect((await demo(...once)).stdout).toContain('it was done before, revision 1');
    writeFileSync(file, 'tenant: once\nusers: [{ id: ben }]\n');
    const other = await demo(...once);
    expect(other.code).toBe(2);
    expect(other.stderr).toContain('`release-1` was used for something else at revision 1');
  });

  it('ACL-4: a user that the state no longer lists is a tombstone', async () => {
    const file = join(server.directory, 'tombstone.yaml');
    const state = 'tenant: small\nusers: [{ id: ann }, { id: ben }]\n';
    writeFileSync(file, state);
    await demo('apply', '-f', file);
    writeFileSync(file, state.replace(', { id: ben }', ''));
    const ran = await demo('apply', '-f', file, '--prune');
    expect(ran.stdout).toMatch(/-\s+user\s+ben/);
    const small = (...args: string[]): ReturnType<typeof postern> =>
      postern(['--tenant', 'small', ...args], server.environment);
    const asked = [
      'check',
      'ben',
      'memory.get',
      '--attr',
      'user_read_access=ben',
      '--min-revision',
      '2',
    ];
    expect((await small(...asked)).stdout).toContain('SUBJECT_INACTIVE');
    expect((await small('export')).stdout).toContain('deleted: true');
  });

  it('ADM-10: what a file does not list is refused, listed, removed or left as it says', async () => {
    const file = join(server.directory, 'unlisted.yaml');
    writeFileSync(file, 'tenant: listed\nusers: [{ id: ann }, { id: ben }]\n');
    expect((await demo('apply', '-f', file)).code).toBe(0);
    writeFileSync(file, 'tenant: listed\n');
    const refused = await demo('apply', '-f', file);
    expect(refused).toMatchObject({ code: 1, stdout: '' });
    expect(refused.stderr).toContain('2 item(s)');
    expect(refused.stderr).toContain('user `ann`; user `ben`');
    expect(refused.stderr).toMatch(/--prune.*--keep.*\(ADM-10\)/);
    const dry = await demo('apply', '-f', file, '--dry-run');
    expect(dry.code).toBe(1);
    expect(dry.stdout).toMatch(/- user ann\n- user ben\n/);
    expect(dry.stderr).toMatch(/--prune.*--keep.*\(ADM-10\)/);
    const kept = await demo('apply', '-f', file, '--keep');
    expect(kept).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('0 record(s) changed') as string,
    });
    expect((await demo('apply', '-f', file, '--keep', '--prune')).code).toBe(2);
    const pruned = await demo('apply', '-f', file, '--prune', '-o', 'json');
    expect(JSON.parse(pruned.stdout)).toMatchObject({
      revision: 2,
      removals: [
        { kind: 'user', id: 'ann', what: '' },
        { kind: 'user', id: 'ben', what: '' },
      ],
    });
  });

  it('CONS-5: a state comes from standard input; with --prune a pipe must tell where it ends', async () => {
    const state = 'tenant: piped\nusers: [{ id: ann }, { id: ben }]\n';
    const apply = async (text: string, ...flags: string[]): Promise<[number | null, string]> => {
      const child = launch(['apply', '-f', '-', ...flags], server.environment, 'pipe');
      let told = '';
      for (const stream of [child.stdout, child.stderr])
        stream?.on('data', (chunk: Buffer) => (told += chunk.toString()));
      child.stdin?.end(text);
      const [code] = (await once(child, 'close')) as [number | null];
      return [code, told];
    };
    expect(await apply(state)).toEqual([0, expect.stringContaining('changed, revision 1')]);
    // Cut after a line, it would parse.
    const [cut] = state.split('users');
    expect(await apply(cut ?? '', '--prune')).toEqual([2, expect.stringContaining('`...`')]);
    expect(await apply(`${state}...\n`, '--prune')).toEqual([
      0,
      expect.stringContaining('0 record'),
    ]);
    const json = JSON.stringify({ tenant: 'piped', users: [{ id: 'ann' }] });
    expect(await apply(json.slice(0, -1), '--prune')).toEqual([
      2,
      expect.stringContaining('stdin:1'),
    ]);
    expect(await apply(json, '--prune')).toEqual([0, expect.stringContaining('- user ben')]);
    // What is exported tells where it ends.
    const exported = await postern(['--tenant', 'piped', 'export'], server.environment);
    expect(await apply(exported.stdout, '--prune')).toEqual([
      0,
      expect.stringContaining('0 record'),
    ]);
  });

  it('ID-2: a tombstone keeps its name: no export that cannot be applied again', async () => {
    const file = join(server.directory, 'names.yaml');
    writeFileSync(file, 'tenant: names\nusers: [{ id: x }, { id: Alice }]\n');
    expect((await demo('apply', '-f', file)).code).toBe(0);
    writeFileSync(file, 'tenant: names\nusers: [{ id: alice }]\nroles: [{ id: x }]\n');
    const ran = await demo('apply', '-f', file);
    expect(ran.code).toBe(1);
    expect(ran.stderr).toContain('differs from `alice` only in case');
    expect(ran.stderr).toContain('`x` is a user and a role');
    const exported = await postern(['--tenant', 'names', 'export'], server.environment);
    expect(exported.stdout).toContain('tenant names at revision 1');
  });

  it('refuse a state with every error at its place, and change nothing', async () => {
    const file = join(server.directory, 'bad.yaml');
    writeFileSync(
      file,
      'tenant: fresh\nusers: [{ id: a, roles: [nope] }]\nowners: [{ path: x, owner: b }]\n',
    );
    const ran = await demo('apply', '-f', file);
    expect(ran.code).toBe(1);
    expect(ran.stderr).toContain('bad.yaml:2:26: users[0].roles[0]: unknown role `nope`');
    expect(ran.stderr).toContain('bad.yaml:3:21: owners[0].owner: unknown principal `b`');
    const exported = await postern(['--tenant', 'fresh', 'export'], server.environment);
    expect(exported.code).toBe(1);
    expect(exported.stderr).toContain('tenant `fresh` does not exist: known are demo');
  });
});

describe('signals', () => {
  it('SIGHUP reads the catalog again; a bad one leaves the last valid one in force', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'postern-reload-'));
    const catalog = join(directory, 'actions.yaml');
    writeFileSync(
      catalog,
      'actions: [{ name: a.b, readonly: true, permission: "kb:read" }]\nresource_types: {}\n...\n',
    );
    const settings = `catalog: ${catalog}\ndefault_roles: ${PACKAGE_ROOT}/config/roles.yaml\nstore: embedded:store\ngrpc: { address: 127.0.0.1:0 }\nhttp: { address: 127.0.0.1:0 }\naudit: { sinks: [] }\n`;
    const state = join(directory, 'state.yaml');
    writeFileSync(state, 'tenant: demo\nusers: [{ id: bob, roles: [member] }]\n');
    const own = await serve(['--state', state], { settings });
    const reason = async (action: string): Promise<unknown> => {
      const client = connectTo(own.grpc);
      const answer = await client.call('Check', { tenant: 'demo', subject: { id: 'bob' }, action });
      client.close();
      return answer['reason'];
    };
    expect(await reason('a.c')).toBe('REASON_UNKNOWN_ACTION');
    writeFileSync(catalog, 'actions: [{ name: a.c, permission: "kb:raed" ]\n');
    own.child.kill('SIGHUP');
    await expect.poll(() => own.stderr()).toContain('the last valid ones stay in force');
    expect(own.stderr()).toContain('actions.yaml:1:');
    expect(await reason('a.b')).toBe('REASON_ALLOWED');
    // Cut off at the end of a line: it lacks a section, or the mark at its end.
    for (const [left, problem] of [
      ['actions: [{ name: a.c, permission: "kb:read" }]\n...\n', 'resource_types: is missing'],
      ['actions: [{ name: a.c, permission: "kb:read" }]\nresource_types: {}\n', 'is cut off'],
    ] as const) {
      writeFileSync(catalog, left);
      own.child.kill('SIGHUP');
      await expect.poll(() => own.stderr()).toContain(problem);
      expect(await reason('a.c')).toBe('REASON_UNKNOWN_ACTION');
    }
    writeFileSync(
      catalog,
      'actions: [{ name: a.c, permission: "kb:read" }]\nresource_types: {}\n...\n',
    );
    own.child.kill('SIGHUP');
    await expect.poll(() => own.stderr()).toContain('catalog and routes reloaded');
    expect(own.stderr()).toContain('they may allow more than before');
    expect(own.stderr()).toContain('action `a.c` is new');
    expect(await reason('a.c')).toBe('REASON_ALLOWED');
    expect(await reason('a.b')).toBe('REASON_UNKNOWN_ACTION');
    expect(await own.stop()).toBe(0);
    await own.dispose();
    rmSync(directory, { recursive: true });
  });

  it.each(['SIGTERM', 'SIGINT'] as const)(
    '%s while it starts ends it at once, exit 0',
    async (signal) => {
      // A store that takes connections and says nothing: the start hangs on it for a second and more.
      const store = createServer();
      await once(store.listen(0, '127.0.0.1'), 'listening');
      // A TCP server's address is an object.
      const { port } = store.address() as AddressInfo;
      const connected = once(store, 'connection');
      const environment = {
        POSTERN_STORE: `redis://127.0.0.1:${port}`,
        POSTERN_GRPC_ADDRESS: '127.0.0.1:0',
        POSTERN_HTTP_ADDRESS: '127.0.0.1:0',
      };
      const child = launch(['serve'], environment);
      const ended = once(child, 'exit');
      let stderr = '';
      child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
      await connected;
      child.kill(signal);
      expect(await ended).toEqual([0, null]);
      expect(stderr).not.toContain('has started');
      store.close();
    },
  );

  it('SIGTERM under load: calls in flight are answered, audit is whole, exit 0', async () => {
    const own = await serve(['--demo']);
    const client = connectTo(own.grpc);
    let answered = 0;
    let refused = 0;
    const state = { stopping: false };
    const worker = async (): Promise<void> => {
      while (!state.stopping)
        try {
          await client.call('Check', read, 2_000);
          answered++;
        } catch (error) {
          // After GOAWAY there is nobody to connect to: that is no answer, and not a lost one.
          if ((error as { code: number }).code !== 14) throw error;
          refused++;
          if (own.child.exitCode !== null) return;
          await new Promise((done) => setTimeout(done, 20));
        }
    };
    const workers = Array.from({ length: 16 }, worker);
    await expect.poll(() => answered).toBeGreaterThan(500);
    const stoppedAt = performance.now();
    expect(await own.stop()).toBe(0);
    // Well below `grace_ms`: nothing but the calls in flight is waited for.
    expect(performance.now() - stoppedAt).toBeLessThan(5_000);
    state.stopping = true;
    await Promise.all(workers);
    client.close();
    const lines = own.audit().trim().split('\n');
    // Every answer that a client got is recorded; a few recorded ones may have been lost with a connection.
    expect(lines.length).toBeGreaterThanOrEqual(answered);
    expect(lines.length - answered).toBeLessThanOrEqual(refused);
    expect(JSON.parse(lines.at(-1) ?? '')).toMatchObject({ seq: lines.length });
    await own.dispose();
  });

  it('SIGKILL loses nothing that was applied', async () => {
    const own = await serve(['--demo']);
    await own.stop('SIGKILL');
    const exported = await postern(['--tenant', 'demo', 'export'], own.environment);
    expect(exported.stdout).toContain('tenant demo at revision 1');
    await own.dispose();
  });
});

describe('start is refused', () => {
  const start = async (settings: string, files: Record<string, string> = {}): Promise<string> => {
    const directory = mkdtempSync(join(tmpdir(), 'postern-refused-'));
    for (const [name, text] of Object.entries({ 'postern.yaml': settings, ...files }))
      writeFileSync(join(directory, name), text);
    const ran = await postern(['serve', '--config', join(directory, 'postern.yaml')]);
    expect(ran.code).not.toBe(0);
    rmSync(directory, { recursive: true });
    return ran.stderr;
  };
  const files = `catalog: ${PACKAGE_ROOT}/config/actions.yaml\ndefault_roles: ${PACKAGE_ROOT}/config/roles.yaml\n`;

  it.each([
    ['grcp: {}\n', 'postern.yaml:1:1: grcp: unknown key `grcp`: did you mean `grpc`?'],
    ['limits: { checks_per_batch: 0 }\n', 'limits.checks_per_batch: `0` is too small: at least 1'],
    ['grpc: { address: "4700" }\n', 'grpc.address: `"4700"`'],
    ['audit: { sinks: [{ type: file }] }\n', 'audit.sinks[0].path: is missing'],
    ['facts: { max_staleness_ms: 100 }\n', 'facts.heartbeat_ms: is not below max_staleness_ms'],
    [files.replace(/^catalog: .*$/m, 'catalog: nope.yaml'), 'nope.yaml:1:1: cannot be read'],
    [`${files}store: mysql://x\n`, 'store: `mysql://x` is not supported: use embedded:DIR'],
  ])('%j', async (settings, text) => {
    expect(await start(settings)).toContain(text);
  });

  it('on an address that is in use, naming it', async () => {
    const text = await start(
      `${files}store: embedded:store\ngrpc: { address: "${server.grpc}" }\nhttp: { address: 127.0.0.1:0 }\n`,
    );
    expect(text).toContain(server.grpc);
  });

  it('on a store of another layout', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'postern-layout-'));
    writeFileSync(join(directory, 'postern.mdb'), 'this is no database');
    const ran = await postern(['serve', '--demo'], {
      POSTERN_STORE: `embedded:${directory}`,
      POSTERN_GRPC_ADDRESS: '127.0.0.1:0',
      POSTERN_HTTP_ADDRESS: '127.0.0.1:0',
    });
    expect(ran.code).not.toBe(0);
    expect(ran.stderr).toContain('cannot open the embedded store');
    rmSync(directory, { recursive: true });
  });

  it('on a state file with an error', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'postern-state-'));
    writeFileSync(
      join(directory, 'state.yaml'),
      'tenant: t\nkeys: [{ id: k, role: default_deny, mode: enforced }]\n',
    );
    const ran = await postern(['serve', '--state', join(directory, 'state.yaml')], {
      POSTERN_STORE: `embedded:${join(directory, 'store')}`,
    });
    expect(ran.code).toBe(2);
    expect(ran.stderr).toContain('did you mean `enforce`?');
    rmSync(directory, { recursive: true });
  });
});

describe('unix sockets', () => {
  it('serve both listeners', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'postern-unix-'));
    const settings = `catalog: ${PACKAGE_ROOT}/config/actions.yaml\ndefault_roles: ${PACKAGE_ROOT}/config/roles.yaml\nstore: embedded:store\ngrpc: { address: "unix:${directory}/g.sock" }\nhttp: { address: "unix:${directory}/h.sock" }\naudit: { sinks: [] }\n`;
    const own = await serve(['--demo'], { settings });
    expect(
      (await postern(['--tenant', 'demo', 'check', 'alice', 'read', 'work'], own.environment)).code,
    ).toBe(0);
    expect((await postern(['healthcheck'], own.environment)).code).toBe(0);
    expect(await own.stop()).toBe(0);
    await own.dispose();
    rmSync(directory, { recursive: true });
  });

  it('have the permissions of the settings, whatever the umask', async () => {
    const directory = temporaryDirectory();
    const settings = stringify({
      catalog: join(PACKAGE_ROOT, 'config/actions.yaml'),
      default_roles: join(PACKAGE_ROOT, 'config/roles.yaml'),
      store: 'embedded:store',
      grpc: { address: `unix:${directory}/g.sock`, socket_mode: '0666' },
      http: { address: `unix:${directory}/h.sock`, socket_mode: '600' },
    });
    const own = await serve([], { settings });
    const mode = (name: string): string =>
      (statSync(join(directory, name)).mode & 0o777).toString(8);
    expect([mode('g.sock'), mode('h.sock')]).toEqual(['666', '600']);
    await own.dispose();
  });
});

describe('files that were cut off', () => {
  const PERMISSION = '"memory:read"';
  const CATALOG = `actions: [{ name: memory.get, permission: ${PERMISSION} }]\nresource_types: {}\n`;
  const files = {
    'actions.yaml': CATALOG,
    'roles.yaml': 'roles:\n  - { id: owner, level: 100, permissions: ["*:*"] }\n',
    'state.yaml': 'tenant: cut\nusers:\n  - { id: ann }\n',
    'set.yaml':
      'policy_set: { name: s, mode: enforce, rules: [{ id: r, effect: deny, actions: [memory.get] }] }\n',
    'state.json': '{"tenant":"json"}\n',
  };
  const write = (ends: readonly string[], settings: string): string => {
    const directory = temporaryDirectory();
    for (const [name, text] of Object.entries(files))
      writeFileSync(join(directory, name), ends.includes(name) ? `${text}...\n` : text);
    if (settings !== '') writeFileSync(join(directory, 'postern.yaml'), settings);
    return directory;
  };

  it('are told by validate, of every kind where it is asked for, else of those that settings vouch for', async () => {
    const none = write([], '');
    expect(await postern(['validate', none])).toMatchObject({ code: 0 });
    const asked = await postern(['validate', none, '--require-end']);
    expect(asked).toMatchObject({ code: 1 });
    for (const name of ['actions', 'roles', 'state', 'set'])
      expect(asked.stdout).toMatch(new RegExp(`${name}\\.yaml:\\d+:\\d+: may be cut off`));
    expect(asked.stdout).not.toMatch(/state\.json.*cut off/);
    const all = Object.keys(files);
    const whole = write(all, 'store: embedded:data\n...\n');
    expect(await postern(['validate', whole, '--require-end'])).toMatchObject({ code: 0 });
    const vouched = await postern([
      'validate',
      write(['actions.yaml'], 'store: embedded:data\n...\n'),
    ]);
    expect(vouched).toMatchObject({ code: 1 });
    expect(vouched.stdout).toMatch(/roles\.yaml.*is cut off, or lacks its end/);
    expect(vouched.stdout).not.toMatch(/actions\.yaml.*cut off/);
  });

  it('do not start a server whose settings have the mark, states of --state included', async () => {
    const directory = write(
      ['actions.yaml', 'roles.yaml'],
      'grpc: { address: 127.0.0.1:0 }\nhttp: { address: 127.0.0.1:0 }\nstore: embedded:data\n...\n',
    );
    const state = join(directory, 'state.yaml');
    const config = join(directory, 'postern.yaml');
    const ran = await postern(['serve', '--config', config, '--state', state]);
    expect(ran).toMatchObject({ code: 2 });
    expect(ran.stderr).toMatch(/state\.yaml.*is cut off, or lacks its end/);
    expect(existsSync(join(directory, 'data'))).toBe(false);
  });

  it('are none of those that come with Postern', async () => {
    const shipped = await postern(['validate', 'config', '--require-end']);
    const told = shipped.stdout.match(/^\S+(?=:\d+:\d+: may be cut off)/gm);
    // Settings without the mark ask it of no file: whoever mounts a catalog of its own need not have it.
    expect(told).toEqual(['config/postern.yaml']);
  });
});

describe('validate and test', () => {
  it('accept what comes with Postern', async () => {
    const config = join(PACKAGE_ROOT, 'config');
    const valid = await postern(['validate', config]);
    expect(valid.stdout).toContain('0 error(s)');
    expect(valid.code).toBe(0);
    const json = await postern(['-o', 'json', 'validate', config]);
    expect(JSON.parse(json.stdout)).toMatchObject({ errors: 0 });
  });

  it('run policy tests, tell failures, write JUnit', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'postern-policy-'));
    const file = join(directory, 'kb_test.yaml');
    const text = (allowed: boolean): string =>
      `name: kb <1>\nstate: { tenant: t, users: [{ id: ann, roles: [guest] }] }\ntests:\n  - { name: guest reads & looks, request: { subject: ann, action: "kb:read" }, expect: { allowed: true, reason: ALLOWED } }\n  - { name: guest writes, request: { subject: ann, action: "kb:write" }, expect: { allowed: ${allowed} } }\n`;
    writeFileSync(file, text(false));
    const report = join(directory, 'report.xml');
    const good = await postern(['test', directory, '--junit', report]);
    expect(good.code).toBe(0);
    expect(good.stdout).toMatch(/^SUITE +PASSED +FAILED\nkb <1> +2 +0\n\n2 passed, 0 failed\n$/);
    writeFileSync(file, text(true));
    const bad = await postern(['test', directory, '--junit', report]);
    expect(bad.code).toBe(1);
    expect(bad.stdout).toContain('✗ kb <1>: guest writes');
    expect(bad.stdout).toContain('allowed: expected true, got false');
    const xml = readFileSync(report, 'utf8');
    expect(xml).toContain('failures="1"');
    expect(xml).toContain('guest reads &amp; looks');
    writeFileSync(
      file,
      'name: x\nstate: { tenant: t }\ntests: [{ name: y, request: { subject: "", action: read }, expect: { allowed: true } }]\n',
    );
    const malformed = await postern(['test', directory]);
    expect(malformed.code).toBe(2);
    expect(malformed.stderr).toContain('subject.id');
    expect((await postern(['test', join(directory, 'nope')])).code).toBe(2);
    rmSync(directory, { recursive: true });
  });
});

describe('the command itself', () => {
  it('helps, tells its version, and refuses an old Node', async () => {
    const help = await postern(['--help']);
    expect(help.code).toBe(0);
    for (const command of ['serve', 'check', 'validate', 'test', 'apply', 'export', 'healthcheck'])
      expect(help.stdout).toContain(`  ${command} `);
    expect((await postern(['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
    const old = '/usr/bin/node';
    if (!existsSync(old)) return;
    const version = spawnSync(old, ['--version'], { encoding: 'utf8' }).stdout;
    if (Number(/^v(\d+)/.exec(version)?.[1]) >= 24) return;
    const ran = spawnSync(old, [join(PACKAGE_ROOT, 'dist/postern.js'), '--version'], {
      encoding: 'utf8',
    });
    expect(ran.status).toBe(2);
    expect(ran.stderr).toContain('postern needs Node 24 or newer');
  });
});
