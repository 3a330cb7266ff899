/**
 * The container image without a container engine: the commands of the Dockerfile's build stage on what `.dockerignore`
 * lets through, and the tree that they make as a root file system that is read-only, for a user without rights. What
 * runs there is what ENTRYPOINT, CMD, HEALTHCHECK, ENV and USER say.
 */
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePort, until } from '../support/redis-server.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';

const DOCKERFILE = readFileSync(join(PACKAGE_ROOT, 'Dockerfile'), 'utf8').replaceAll('\\\n', ' ');
const CHECK = ['alice', 'read', 'work.projects.api', '--tenant', 'demo'];
const SOCKET = 'unix:/run/postern/grpc.sock';

const unable = whyUnable();
if (unable !== undefined) process.stderr.write(`\ntest/image is SKIPPED: ${unable}\n\n`);

describe('the Dockerfile', () => {
  it('names an exact Node, the one that the lock file installs', () => {
    const { devDependencies } = JSON.parse(
      readFileSync(join(PACKAGE_ROOT, 'package.json'), 'utf8'),
    ) as { devDependencies: Record<string, string> };
    expect(/^ARG NODE_IMAGE=node:([\d.]+)-bookworm-slim$/m.exec(DOCKERFILE)?.[1]).toBe(
      devDependencies['node'],
    );
  });

  it('has a user without rights, by number, in a stage without a shell', () => {
    const [, last = ''] = DOCKERFILE.split(/^FROM scratch$/m);
    expect(/^USER (\d+):(\d+)$/m.exec(last)?.slice(1)).toEqual(['65532', '65532']);
    expect(last).not.toMatch(/^(RUN|ADD)\b/m);
    expect(listOf('HEALTHCHECK').at(-1)).toBe('healthcheck');
    expect(listOf('ENTRYPOINT')).toContain('--max-semi-space-size=16');
  });
});

describe.skipIf(unable !== undefined)('the image', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'postern-image-'));
  const tree = join(scratch, 'tree');
  const started: ChildProcess[] = [];

  beforeAll(() => {
    // `mkdtemp` makes it for root alone.
    chmodSync(scratch, 0o755);
    build(join(scratch, 'src'), tree);
    // What any container engine puts there.
    for (const name of ['proc', 'dev']) mkdirSync(join(tree, name));
  }, 120_000);

  afterAll(() => {
    for (const child of started) child.kill('SIGKILL');
    rmSync(scratch, { recursive: true, force: true });
  });

  /** One container: volumes of its own, and the settings directory that is mounted over its own, if any. */
  const container = (
    name: string,
    environment: Readonly<Record<string, string>>,
    settings?: string,
  ): Container => {
    const volumes = ['data', 'run'].map((volume) => {
      const directory = join(scratch, `${name}-${volume}`);
      mkdirSync(directory);
      chownSync(directory, 65_532, 65_532);
      return directory;
    });
    return openContainer(tree, volumes, environment, settings, started);
  };

  it('holds production dependencies alone, nothing that writes, and is small', () => {
    const modules = join(tree, 'opt/postern/node_modules');
    expect(existsSync(join(modules, 'lmdb'))).toBe(true);
    for (const name of ['vitest', 'esbuild', 'typescript', 'oxlint', 'node'])
      expect(existsSync(join(modules, name)), name).toBe(false);
    for (const name of [
      'bin',
      'usr/bin',
      'usr/local/bin/npm',
      'opt/postern/src',
      'opt/postern/test',
    ])
      expect(existsSync(join(tree, name)), name).toBe(false);
    const writable = execFileSync('find', [tree, '-perm', '/o+w', '-not', '-type', 'l'], {
      encoding: 'utf8',
    });
    expect(writable).toBe('');
    const owned = execFileSync('find', [tree, '-not', '-uid', '0', '-printf', '/%P\n'], {
      encoding: 'utf8',
    });
    expect(owned.trim().split('\n').sort()).toEqual(['/run/postern', '/var/lib/postern']);
    expect(statSync(join(tree, 'var/lib/postern')).mode & 0o777).toBe(0o700);
    const megabytes = Number(
      execFileSync('du', ['-sm', tree], { encoding: 'utf8' }).split('\t')[0],
    );
    expect(megabytes).toBeLessThan(240);
  });

  it('decides, read-only and without rights, and ends with 0 on SIGTERM', async () => {
    const http = `127.0.0.1:${await freePort()}`;
    const { run, serve } = container('demo', {
      POSTERN_GRPC_ADDRESS: SOCKET,
      POSTERN_HTTP_ADDRESS: http,
    });
    const before = run(listOf('HEALTHCHECK'));
    expect(before.status).toBe(2);
    const server = serve(['serve', '--demo']);
    await until(() => server.output().includes('Try it') || server.ended());
    expect(server.output()).toContain('store     embedded:/var/lib/postern');

    const ready = await fetch(`http://${http}/readyz`);
    expect([ready.status, await ready.json()]).toMatchObject([200, { ready: true }]);
    const health = run(listOf('HEALTHCHECK'));
    expect([health.stdout, health.status]).toEqual(['ready\n', 0]);

    const check = run(['/usr/local/bin/postern', 'check', ...CHECK, '--address', SOCKET]);
    expect([check.stdout, check.stderr, check.status]).toEqual([
      "allowed: a grant or ownership covers the path (revision 1)\n  └ user alice has read on 'work.projects'\n",
      '',
      0,
    ]);
    await until(() => server.output().includes('"type":"decision"'));

    const status = readFileSync(`/proc/${server.pid}/status`, 'utf8');
    expect(status).toMatch(/^Uid:\t65532\t65532\t65532\t65532$/m);
    expect(status).toMatch(/^Gid:\t65532\t65532\t65532\t65532$/m);
    expect(status).toMatch(/^Groups:\t *$/m);
    expect(status).toMatch(/^CapEff:\t0+$/m);
    expect(status).toMatch(/^NoNewPrivs:\t1$/m);

    server.signal('SIGTERM');
    expect(await server.code).toBe(0);
    // Nothing but the volumes was written to, and could not have been.
    const outside = run([
      '/usr/local/bin/node',
      '-e',
      `for (const path of ['/x', '/etc/postern/x', '/opt/postern/x', '/usr/local/bin/x'])
        try { require('fs').writeFileSync(path, ''); console.log(path); } catch (e) { console.log(e.code); }`,
    ]);
    expect(outside.stdout).toBe('EROFS\n'.repeat(4));
  });

  it('takes settings, catalog, migrations and states from a mounted ConfigMap', async () => {
    const settings = join(scratch, 'etc');
    const http = `127.0.0.1:${await freePort()}`;
    configMap(settings, {
      'postern.yaml': [
        'catalog: /opt/postern/config/actions.yaml',
        'default_roles: /opt/postern/config/roles.yaml',
        'migrations: migrations',
        'store: embedded:/var/lib/postern',
        `grpc: { address: '${SOCKET}' }`,
        `http: { address: '${http}' }`,
        'audit: { sinks: [] }',
      ].join('\n'),
      'migrations/0001-export.yaml': [
        'migration:',
        '  description: knowledge bases get an export permission',
        '  steps:',
        "    - grant_permissions: { roles: [owner], permissions: ['kb:export'] }",
      ].join('\n'),
      'states/acme.yaml': readFileSync(join(PACKAGE_ROOT, 'docs/examples/acme.yaml'), 'utf8'),
    });
    const { run, serve } = container('mounted', { POSTERN_HTTP_ADDRESS: http }, settings);
    const server = serve(['serve', '--state', '/etc/postern/states/acme.yaml']);
    await until(() => server.output().includes('audit     off') || server.ended());
    expect(server.output()).toContain('tenants   acme');
    const question = ['ben', 'write', 'work.projects.web', '--tenant', 'acme'];
    const check = run(['/usr/local/bin/postern', 'check', ...question, '--address', SOCKET]);
    expect([check.stderr, check.status]).toEqual(['', 0]);
    const status = run(['/usr/local/bin/postern', 'migrate', 'status', '--tenant', 'acme']);
    expect(status.stdout).toMatch(/acme +0001-export +applied/);
    server.signal('SIGTERM');
    expect(await server.code).toBe(0);
  });
});

// ── building ────────────────────────────────────────────────────────────────────────────────────

/** The RUN lines of the build stage, on what `.dockerignore` lets through; dependencies are those of this tree. */
function build(source: string, tree: string): void {
  mkdirSync(source);
  for (const [, name = ''] of readFileSync(join(PACKAGE_ROOT, '.dockerignore'), 'utf8').matchAll(
    /^!(.+)$/gm,
  ))
    cpSync(join(PACKAGE_ROOT, name), join(source, name), { recursive: true });
  symlinkSync(join(PACKAGE_ROOT, 'node_modules'), join(source, 'node_modules'));
  const commands = [...DOCKERFILE.matchAll(/^RUN (.+)$/gm)].map(([, command = '']) => command);
  expect(commands[0]).toMatch(/^npm ci /);
  for (const command of commands.slice(1))
    execFileSync('sh', ['-ec', command.replace(' /tree', ` ${tree}`)], {
      cwd: source,
      // The Node that runs the tests, which is the one of the image.
      env: { ...process.env, PATH: `${dirname(process.execPath)}:${process.env['PATH'] ?? ''}` },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
}

/** The words of an instruction in its JSON form. */
function listOf(instruction: 'HEALTHCHECK' | 'ENTRYPOINT'): string[] {
  const [, list = '[]'] =
    new RegExp(`^${instruction} [^[]*(\\[.*\\])$`, 'm').exec(DOCKERFILE) ?? [];
  return JSON.parse(list) as string[];
}

/** A directory as the kubelet mounts it: names are links into a directory that is replaced as a whole. */
function configMap(directory: string, files: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(files)) {
    const path = join(directory, '..2026_01_01', name);
    mkdirSync(join(path, '..'), { recursive: true });
    writeFileSync(path, text);
    const [top = name] = name.split('/');
    if (!existsSync(join(directory, top))) symlinkSync(`..data/${top}`, join(directory, top));
    if (!existsSync(join(directory, '..data')))
      symlinkSync('..2026_01_01', join(directory, '..data'));
  }
}

// ── running ─────────────────────────────────────────────────────────────────────────────────────

interface Finished {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}
interface Server {
  readonly pid: number;
  readonly code: Promise<number | null>;
  output(): string;
  ended(): boolean;
  signal(name: NodeJS.Signals): void;
}
interface Container {
  /** A command beside the server, with the same volumes, to its end. */
  readonly run: (command: readonly string[]) => Finished;
  /** ENTRYPOINT with these instead of CMD. */
  readonly serve: (command: readonly string[]) => Server;
}

/** `exec` all the way down, so that signals reach Node. Mounts are private, and go with the process. */
const ENTER = `set -e
root=$1 data=$2 run=$3 settings=$4
shift 4
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount --bind "$data" "$root/var/lib/postern"
mount --bind "$run" "$root/run/postern"
test -z "$settings" || mount --bind "$settings" "$root/etc/postern"
test -z "$settings" || mount -o remount,bind,ro "$root/etc/postern"
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
exec setpriv --no-new-privs chroot --userspec=65532:65532 --groups= "$root" "$@"`;

function openContainer(
  tree: string,
  volumes: readonly string[],
  environment: Readonly<Record<string, string>>,
  settings: string | undefined,
  started: ChildProcess[],
): Container {
  const image = Object.fromEntries(
    [...(/^ENV (.*)$/m.exec(DOCKERFILE)?.[1] ?? '').matchAll(/(\w+)=(\S+)/g)].map(
      ([, name = '', value = '']) => [name, value],
    ),
  );
  const env = { ...image, ...environment };
  const argv = (command: readonly string[]): string[] => [
    '--mount',
    'sh',
    '-c',
    ENTER,
    'sh',
    tree,
    ...volumes,
    settings ?? '',
    '/usr/local/bin/node',
    '-e',
    EXEC,
    JSON.stringify(env),
    ...command,
  ];
  return {
    run(command) {
      const { status, stdout, stderr } = spawnSync('unshare', argv(command), {
        encoding: 'utf8',
        timeout: 30_000,
      });
      return { status, stdout, stderr };
    },
    serve(command) {
      const child = spawn('unshare', argv([...listOf('ENTRYPOINT'), ...command]), {
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      started.push(child);
      let output = '';
      const collect = (chunk: Buffer): void => void (output += chunk.toString());
      child.stdout.on('data', collect);
      child.stderr.on('data', collect);
      return {
        pid: child.pid ?? 0,
        code: new Promise((done) => child.on('close', done)),
        output: () => output,
        ended: () => child.exitCode !== null,
        signal: (name) => void child.kill(name),
      };
    },
  };
}

/** The environment of the image and no other, once inside: `process.execve` keeps the process. */
const EXEC = `const [env, file, ...args] = process.argv.slice(1);
process.execve(file, [file, ...args], JSON.parse(env));`;

/** Why a root file system cannot be entered here. */
function whyUnable(): string | undefined {
  if (process.platform !== 'linux') return `it needs Linux, this is ${process.platform}`;
  if (process.getuid?.() !== 0) return 'it needs root, for mounts and chroot';
  const tried = spawnSync('unshare', ['--mount', 'mount', '-t', 'proc', 'proc', '/proc'], {
    encoding: 'utf8',
  });
  if (tried.status !== 0)
    return `mounts are not allowed here: ${tried.error?.message ?? tried.stderr.trim()}`;
  return undefined;
}
