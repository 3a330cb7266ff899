/** Envoy as users run it, a service behind it that sees what arrives, and a tenant with credentials. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { applyState } from '../../src/admin/state/apply-state.ts';
import type { RoutesFile } from '../../src/config/routes.ts';
import { settingsSchema } from '../../src/config/settings/settings-schema.ts';
import type { StateFile } from '../../src/config/state.ts';
import { openStore } from '../../src/store/registry.ts';
import { defaults, manager } from '../support/admin.ts';
import { freePort } from '../support/redis-server.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';
import { tied } from '../support/tied.ts';

// ── the binary ────────────────────────────────────────────────────────────────────────────────────

const BINARY =
  process.env['POSTERN_ENVOY'] ??
  join(PACKAGE_ROOT, process.env['POSTERN_ENVOY_CACHE'] ?? 'node_modules/.cache/envoy', 'envoy');

/** Whether tests that run Envoy can. @throws where they have to and cannot */
export function hasEnvoy(): boolean {
  try {
    accessSync(BINARY, constants.X_OK);
    return true;
  } catch {
    const message = `Envoy is not at ${BINARY}: run scripts/install-envoy.sh, or set POSTERN_ENVOY`;
    const must = (name: string): boolean => !['', '0', 'false'].includes(process.env[name] ?? '');
    if (must('CI') || must('POSTERN_REQUIRE_ENVOY')) throw new Error(message);
    process.stderr.write(`\nSKIPPED, all tests of test/envoy: ${message}\n\n`);
    return false;
  }
}

// ── a tenant ──────────────────────────────────────────────────────────────────────────────────────

export const TENANT = 'acme';

const STATE: StateFile = {
  tenant: TENANT,
  users: [{ id: 'alice', roles: ['team'] }, { id: 'bob' }, { id: 'mallory', suspended: true }],
  roles: [{ id: 'team' }],
  grants: [
    { principal: 'role:team', path: 'work.threads', actions: ['read', 'create'] },
    { principal: 'role:team', path: 'work.projects', actions: ['read', 'write'] },
  ],
  policy_sets: [
    {
      name: 'hide-secrets',
      mode: 'enforce',
      rules: [
        {
          id: 'hide',
          effect: 'deny',
          actions: ['memory.get'],
          attributes: { name: ['secret'] },
        },
      ],
    },
    {
      name: 'on-trial',
      mode: 'report_only',
      rules: [{ id: 'no-threads', effect: 'deny', actions: ['thread.get'] }],
    },
  ],
};

const KEYS = [
  { id: 'agent', role: 'default_allow', policy_sets: ['hide-secrets'] },
  { id: 'nothing', role: 'default_deny' },
  { id: 'watched', role: 'default_allow', policy_sets: ['on-trial'] },
  { id: 'limited', role: 'default_allow', rate_limit: { requests: 2, per_seconds: 600 } },
  { id: 'delegate', role: 'default_allow', user: 'alice' },
] as const;

type KeyId = (typeof KEYS)[number]['id'];

export interface Tokens {
  readonly key: Readonly<Record<KeyId, string>>;
  /** Of alice. */
  readonly session: string;
}

/** Makes the tenant in a store that nobody serves yet. */
export async function makeTenant(address: string): Promise<Tokens> {
  const { redis } = settingsSchema.parse({});
  const store = await openStore({ address, readTimeoutMs: 5_000, redis, onProblem: () => {} });
  try {
    await applyState(store, STATE, defaults, 'test');
    const admin = manager(store);
    const key: Record<string, string> = {};
    for (const one of KEYS) {
      const { secret } = await admin.as('operator', 'CreateKey', { tenant: TENANT, key: one });
      key[one.id] = String(secret);
    }
    const { token } = await admin.as('operator', 'CreateSession', {
      tenant: TENANT,
      user: 'alice',
    });
    // One for each of KEYS.
    return { key: key as Record<KeyId, string>, session: String(token) };
  } finally {
    await store.close();
  }
}

export const ROUTES: RoutesFile = {
  identity: [{ api_key: 'x-api-key' }, { bearer: 'authorization' }, { session_cookie: 'session' }],
  routes: [
    { match: { methods: ['GET'], path: '/healthz' }, public: true },
    {
      match: { methods: ['GET'], path: '/v1/threads/{id}' },
      action: 'thread.get',
      resource: { type: 'thread', id: '{id}', path: 'work.threads.{id}' },
    },
    {
      match: { methods: ['POST'], path: '/v1/threads' },
      action: 'thread.create',
      resource: { type: 'thread', path: 'work.threads' },
    },
    {
      match: { methods: ['DELETE'], path: '/v1/threads/{id}' },
      action: 'thread.delete',
      resource: { type: 'thread', id: '{id}', path: 'work.threads.{id}' },
    },
    {
      match: { methods: ['GET'], path: '/v1/files/{file*}' },
      action: 'file:read',
      resource: { type: 'file', id: '{file}', path: 'work.{file}' },
    },
    {
      match: { methods: ['GET'], path: '/v1/memories/{name}' },
      action: 'memory.get',
      resource: { type: 'memory', id: '{name}', attributes: { name: '{name}' } },
    },
  ],
};

// ── the service behind Envoy ──────────────────────────────────────────────────────────────────────

export interface Arrived {
  readonly method: string;
  readonly target: string;
  /** By name in lower case; of one that came twice, both values joined by a line feed. */
  readonly headers: ReadonlyMap<string, string>;
}

export interface Upstream {
  readonly port: number;
  /** All requests since `forget`. */
  readonly arrived: readonly Arrived[];
  readonly count: () => number;
  /** Whether requests are kept, or only counted. */
  forget(): void;
  close(): Promise<void>;
}

export async function startUpstream(): Promise<Upstream> {
  let arrived: Arrived[] = [];
  let counted = 0;
  const server = createServer((request, response) => {
    counted++;
    if (arrived.length < 10_000) {
      const headers = new Map<string, string>();
      for (let at = 0; at < request.rawHeaders.length; at += 2) {
        const name = request.rawHeaders[at]?.toLowerCase() ?? '';
        const value = request.rawHeaders[at + 1] ?? '';
        const known = headers.get(name);
        headers.set(name, known === undefined ? value : `${known}\n${value}`);
      }
      arrived.push({ method: request.method ?? '', target: request.url ?? '', headers });
    }
    request.resume();
    response.end('the service');
  });
  server.keepAliveTimeout = 60_000;
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return {
    // A TCP server's address is an object.
    port: (server.address() as AddressInfo).port,
    get arrived(): readonly Arrived[] {
      return arrived;
    },
    count: () => counted,
    forget(): void {
      arrived = [];
      counted = 0;
    },
    async close(): Promise<void> {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

// ── Envoy ─────────────────────────────────────────────────────────────────────────────────────────

export interface Envoy {
  /** Counters and gauges by name; of a part of them, those with this text in their name. */
  stats(part: string): Promise<Readonly<Record<string, number>>>;
  /** Lines of the access log so far. */
  log(): readonly Readonly<Record<string, unknown>>[];
  errors(): string;
  stop(): Promise<void>;
}

/**
 * Starts Envoy with an example configuration.
 * @param changes what stands in the example → what stands here; each has to stand there
 */
export async function startEnvoy(
  example: string,
  changes: Readonly<Record<string, string>>,
): Promise<Envoy> {
  const directory = mkdtempSync(join(tmpdir(), 'postern-envoy-'));
  const admin = await freePort();
  let text = readFileSync(join(PACKAGE_ROOT, 'docs/examples/envoy', example), 'utf8');
  const all = { 'port_value: 9901': `port_value: ${admin}`, ...changes };
  for (const [from, to] of Object.entries(all)) {
    if (!text.includes(from)) throw new Error(`${example} has no \`${from}\``);
    text = text.replaceAll(from, to);
  }
  const file = join(directory, 'envoy.yaml');
  writeFileSync(file, text);
  const child = tied(
    spawn(
      BINARY,
      `-c ${file} -l warn --concurrency 1 --disable-hot-restart --file-flush-interval-msec 20`.split(
        ' ',
      ),
      { stdio: ['ignore', 'pipe', 'pipe'] },
    ),
  );
  let output = '';
  let errors = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
  const get = async (path: string): Promise<string> =>
    (await fetch(`http://127.0.0.1:${admin}${path}`)).text();
  for (let tries = 0; ; tries++) {
    const state = await get('/ready').catch(() => '');
    if (state.startsWith('LIVE')) break;
    if (tries > 400 || child.exitCode !== null) {
      child.kill('SIGKILL');
      throw new Error(`Envoy does not start:\n${errors}`);
    }
    await new Promise((done) => setTimeout(done, 25));
  }
  return {
    async stats(part): Promise<Readonly<Record<string, number>>> {
      const lines = (await get('/stats')).split('\n').filter((line) => line.includes(part));
      return Object.fromEntries(
        lines.flatMap((line) => {
          const [name = '', value = ''] = line.split(': ');
          return /^\d+$/.test(value) ? [[name, Number(value)]] : [];
        }),
      );
    },
    log: () =>
      output
        .split('\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>),
    errors: () => errors,
    async stop(): Promise<void> {
      await end(child);
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGKILL');
  await once(child, 'exit');
}

// ── requests, byte for byte ───────────────────────────────────────────────────────────────────────

export interface Answer {
  /** 0: the connection was closed without an answer. */
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

export interface Sent {
  readonly method?: string;
  readonly path?: string;
  readonly host?: string;
  /** As they are, in their order. */
  readonly headers?: readonly (readonly [name: string, value: string])[];
}

/** One request on a connection of its own, with nothing corrected. */
export async function send(port: number, request: Sent): Promise<Answer> {
  const { method = 'GET', path = '/', host = 'api.example.com', headers = [] } = request;
  const lines = [
    `${method} ${path} HTTP/1.1`,
    ...(host === '' ? [] : [`Host: ${host}`]),
    'Connection: close',
    ...(method === 'POST' ? ['Content-Length: 0'] : []),
    ...headers.map(([name, value]) => `${name}: ${value}`),
  ];
  const socket = connect(port, '127.0.0.1');
  let text = '';
  socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
  const closed = new Promise<void>((done) => socket.on('close', () => done()));
  // A server that refuses early resets.
  socket.on('error', () => {});
  socket.setTimeout(10_000, () => socket.destroy());
  socket.write(Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'));
  await closed;
  const [head = '', ...body] = text.split('\r\n\r\n');
  const [first = '', ...fields] = head.split('\r\n');
  return {
    status: Number(/^HTTP\/1\.1 (\d{3})/.exec(first)?.[1] ?? 0),
    headers: new Map(
      fields.map((field) => {
        const colon = field.indexOf(':');
        return [field.slice(0, colon).toLowerCase(), field.slice(colon + 1).trim()] as const;
      }),
    ),
    body: body.join('\r\n\r\n'),
  };
}
