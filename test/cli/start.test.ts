/** A server that starts: what keeps it from listening is told and nothing is stored; signals meanwhile do no harm. */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { launch, postern, serve } from '../support/process.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const run = promisify(execFile);

function configured(settings: object): { readonly config: string; readonly directory: string } {
  const directory = temporaryDirectory();
  const config = join(directory, 'postern.yaml');
  const whole = {
    catalog: `${PACKAGE_ROOT}/config/actions.yaml`,
    default_roles: `${PACKAGE_ROOT}/config/roles.yaml`,
    store: 'embedded:store',
    grpc: { address: '127.0.0.1:0' },
    http: { address: '127.0.0.1:0' },
    audit: { sinks: [] },
    ...settings,
  };
  writeFileSync(config, JSON.stringify(whole));
  return { config, directory };
}

describe('a listener that cannot be bound', () => {
  it.each([
    [
      { http: { address: 'unix:/nowhere/at/all/s' } },
      'http.address: cannot listen on `unix:/nowhere/at/all/s`: the directory `/nowhere/at/all` does not exist: create it, or give another one by `http.address` or POSTERN_HTTP_ADDRESS',
    ],
    [
      { grpc: { address: 'unix:/nowhere/at/all/s' } },
      'grpc.address: cannot listen on `unix:/nowhere/at/all/s`: the directory `/nowhere/at/all` does not exist',
    ],
    [{ grpc: { address: '192.0.2.1:4700' } }, 'this machine has no such address'],
    [{ grpc: { address: 'no-such-host.invalid:4700' } }, 'the host name has no address'],
    [{ grpc: { address: 'unix:/etc/hostname' } }, 'exists and is not a socket'],
    [{ grpc: { address: 'unix:/etc/hostname/s' } }, '`/etc/hostname` is not a directory'],
  ])('%o is told by its setting, and nothing is stored', async (settings, told) => {
    const { config, directory } = configured(settings);
    const { code, stderr } = await postern(['serve', '--demo', '--config', config]);
    expect(stderr).toContain(told);
    expect(stderr).not.toMatch(/No address added|EADDR|ENOENT|ENOTFOUND|ENOTDIR/);
    expect(code).toBe(2);
    expect(existsSync(join(directory, 'store'))).toBe(false);
  });

  it.each(['grpc', 'http'])(
    'an address of %s that is in use, with one process and with workers',
    async (which) => {
      const other = createServer().listen(0, '127.0.0.1');
      await once(other, 'listening');
      const { port } = other.address() as AddressInfo;
      for (const workers of [1, 2]) {
        const { config, directory } = configured({
          [which]: { address: `127.0.0.1:${port}` },
          workers,
        });
        const { code, stderr } = await postern(['serve', '--demo', '--config', config]);
        expect(stderr).toContain(
          `${which}.address: cannot listen on \`127.0.0.1:${port}\`: another process listens there: stop it, or give another one by \`${which}.address\` or POSTERN_${which.toUpperCase()}_ADDRESS`,
        );
        expect(code).toBe(2);
        expect(existsSync(join(directory, 'store'))).toBe(false);
      }
      other.close();
    },
  );
});

describe('files that were cut off at the end of a line', () => {
  const ROLES = 'roles:\n  - { id: owner, level: 100, permissions: ["*:*"], system: true }\n';
  const FILES = {
    'actions.yaml': 'resource_types: {}\nactions:\n  - { name: a.b, permission: "kb:read" }\n',
    'roles.yaml': `${ROLES}  - { id: guest, level: 1, permissions: ["kb:read"] }\n`,
    'routes.yaml': 'routes:\n  - { match: { methods: [GET], path: /a }, public: true }\n',
    'migrations/0001-more.yaml':
      'migration:\n  description: more\n  steps:\n    - describe_role: { role: guest, description: x }\n',
  };
  const SETTINGS =
    'catalog: actions.yaml\ndefault_roles: roles.yaml\nroutes: routes.yaml\nstore: embedded:store\ngrpc: { address: 127.0.0.1:0 }\nhttp: { address: 127.0.0.1:0 }\naudit: { sinks: [] }\n';

  /** @param cut the files that have no mark at their end */
  const started = async (settings: string, cut: readonly string[]): Promise<string> => {
    const directory = temporaryDirectory();
    mkdirSync(join(directory, 'migrations'));
    for (const [name, text] of Object.entries(FILES))
      writeFileSync(join(directory, name), cut.includes(name) ? text : `${text}...\n`);
    const config = join(directory, 'postern.yaml');
    writeFileSync(config, settings);
    const child = launch(['serve', '--config', config], {});
    let stderr = '';
    child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    let ended = false;
    child.on('close', () => (ended = true));
    await expect.poll(() => ended || stderr.includes('gRPC on')).toBe(true);
    const code = ended ? child.exitCode : 'up';
    child.kill('SIGKILL');
    expect(existsSync(join(directory, 'store'))).toBe(code === 'up');
    return code === 'up' ? 'up' : `${String(code)} ${stderr}`;
  };

  it.each(Object.keys(FILES))(
    '%s is refused where the settings end with the mark',
    async (name) => {
      const told = await started(`${SETTINGS}...\n`, [name]);
      expect(told).toMatch(/^2 /);
      expect(told).toContain(`${name}:`);
      expect(told).toContain('is cut off, or lacks its end: the settings end with `...`');
      expect(told.match(/is cut off/g)).toHaveLength(1);
    },
  );

  it('what is whole starts, with several processes too; settings without the mark ask for none', async () => {
    expect(await started(`${SETTINGS}...\n`, [])).toBe('up');
    expect(await started(`${SETTINGS}workers: 2\n...\n`, [])).toBe('up');
    expect(await started(SETTINGS, Object.keys(FILES))).toBe('up');
    expect(await started(`${SETTINGS}workers: 2\n...\n`, ['routes.yaml'])).toContain('is cut off');
  });
});

describe('signals while it starts', () => {
  it.each(['SIGHUP', 'SIGUSR1'] as const)('%s does not end it', async (signal) => {
    const { config } = configured({});
    const child = launch(['serve', '--demo'], { POSTERN_CONFIG: config });
    let stderr = '';
    child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    // As soon as Node has run the first line of it, which takes no time that one could wait for.
    await sleep(250);
    while (!stderr.includes('gRPC on') && child.exitCode === null && child.signalCode === null) {
      child.kill(signal);
      await sleep(20);
    }
    await expect.poll(() => stderr).toContain('gRPC on');
    expect(stderr).not.toMatch(/Debugger listening|inspector/i);
    if (signal === 'SIGHUP') await expect.poll(() => stderr).toContain('reloaded');
    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    expect((await exited)[0]).toBe(0);
  });

  it.each(['SIGTERM', 'SIGINT'] as const)('%s ends it in order', async (signal) => {
    const { config } = configured({});
    const child = launch(['serve', '--demo'], { POSTERN_CONFIG: config });
    const exited = once(child, 'exit');
    await sleep(250);
    child.kill(signal);
    expect((await exited)[0]).toBe(0);
  });
});

describe('SIGUSR1', () => {
  it.each([1, 2])('opens no inspector of a server with %i worker(s)', async (workers) => {
    const running = await serve(['--demo'], {
      settings: JSON.stringify({
        catalog: `${PACKAGE_ROOT}/config/actions.yaml`,
        default_roles: `${PACKAGE_ROOT}/config/roles.yaml`,
        store: 'embedded:store',
        workers,
        grpc: { address: '127.0.0.1:0' },
        http: { address: '127.0.0.1:0' },
        audit: { sinks: [] },
      }),
    });
    const { pid = 0 } = running.child;
    const { stdout } = workers === 1 ? { stdout: '' } : await run('pgrep', ['-P', String(pid)]);
    const all = [pid, ...stdout.split('\n').filter(Boolean).map(Number)];
    expect(all.length).toBe(workers === 1 ? 1 : 1 + workers);
    for (const one of all) process.kill(one, 'SIGUSR1');
    await sleep(1_000);
    expect(running.stderr()).not.toMatch(/Debugger listening|inspector/i);
    expect(await running.stop()).toBe(0);
    await running.dispose();
  });
});
