/**
 * Envoy, Postern, Redis and a service as they are run, with the configurations of docs/examples/envoy. What counts is
 * what the service receives: nothing that was not decided on as it arrives.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import { connect, createServer, type Socket } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey } from 'jose';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { canonicalRequest } from '../../src/transport/ext-authz/canonical.ts';
import { serve, type Serving } from '../support/process.ts';
import { freePort, startRedis, until, type RedisServer } from '../support/redis-server.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import {
  hasEnvoy,
  makeTenant,
  ROUTES,
  send,
  startEnvoy,
  startUpstream,
  TENANT,
  type Answer,
  type Envoy,
  type Sent,
  type Tokens,
  type Upstream,
} from './support.ts';

interface Postern {
  readonly directory: string;
  readonly store: string;
  readonly address: string;
  readonly routes?: object;
  readonly more?: object;
}

/** `postern serve`, from what was built. */
function start({
  directory,
  store,
  address,
  routes = ROUTES,
  more = {},
}: Postern): Promise<Serving> {
  const file = join(directory, 'routes.yaml');
  writeFileSync(file, stringify(routes));
  const settings = {
    catalog: join(PACKAGE_ROOT, 'config/actions.yaml'),
    default_roles: join(PACKAGE_ROOT, 'config/roles.yaml'),
    routes: file,
    store,
    grpc: { address },
    http: { address: '127.0.0.1:0' },
    audit: { sinks: [{ type: 'file', path: 'audit.jsonl' }] },
    ...more,
  };
  return serve([], { settings: stringify(settings) });
}

const ours = (answer: Answer): boolean =>
  answer.headers.get('content-type') === 'application/problem+json';

describe.skipIf(!hasEnvoy())('Envoy', { timeout: 120_000 }, () => {
  describe('sidecar-unix-socket.yaml', () => {
    let postern: Serving;
    let envoy: Envoy;
    let upstream: Upstream;
    let tokens: Tokens;
    let port: number;
    /** Checks that were too late while both processes were new. */
    let lateAtFirst: number;

    beforeAll(async () => {
      const directory = temporaryDirectory();
      const store = `embedded:${join(directory, 'store')}`;
      const socket = join(directory, 'grpc.sock');
      tokens = await makeTenant(store);
      upstream = await startUpstream();
      port = await freePort();
      postern = await start({ directory, store, address: `unix:${socket}` });
      envoy = await startEnvoy('sidecar-unix-socket.yaml', {
        '/run/postern/grpc.sock': socket,
        'address: 0.0.0.0, port_value: 10000': `address: 127.0.0.1, port_value: ${port}`,
        'port_value: 8080': `port_value: ${upstream.port}`,
      });
      // On a busy machine the first Check of a server may take longer than Envoy waits for it.
      await until(
        async () => (await ask({ path: '/v1/threads/t1', headers: [agent()] })).status === 200,
      );
      lateAtFirst = (await envoy.stats('ext_authz.'))['http.ingress.ext_authz.error'] ?? 0;
    });
    afterAll(async () => {
      await envoy?.stop();
      await postern?.dispose();
      await upstream?.close();
    });
    beforeEach(() => upstream.forget());

    const ask = (one: Sent): Promise<Answer> => send(port, one);
    const session = (): readonly [string, string] => ['Cookie', `session=${tokens.session}`];
    const agent = (): readonly [string, string] => ['X-Api-Key', tokens.key.agent];

    it('passes what is allowed, and tells the service who asks', async () => {
      expect(await ask({ path: '/v1/threads/t1?a=b', headers: [agent()] })).toMatchObject({
        status: 200,
        body: expect.stringContaining('the service') as string,
      });
      expect((await ask({ path: '/v1/threads/t1', headers: [session()] })).status).toBe(200);
      const bearer = ['Authorization', `Bearer ${tokens.key.delegate}`] as const;
      expect((await ask({ path: '/v1/threads', method: 'POST', headers: [bearer] })).status).toBe(
        200,
      );
      expect((await ask({ path: '/healthz' })).status).toBe(200);
      const told = upstream.arrived.map(({ method, target, headers }) => [
        `${method} ${target}`,
        ...['tenant', 'subject', 'key'].map((name) => headers.get(`x-postern-${name}`)),
      ]);
      expect(told).toEqual([
        ['GET /v1/threads/t1?a=b', TENANT, undefined, 'agent'],
        ['GET /v1/threads/t1', TENANT, 'user:alice', undefined],
        ['POST /v1/threads', TENANT, 'user:alice', 'delegate'],
        ['GET /healthz', undefined, undefined, undefined],
      ]);
      expect(upstream.arrived[0]?.headers.get('x-postern-decision')).toMatch(/^[0-9a-f]{12}-/);
    });

    it('stops what is not, with the status of the reason and nothing more', async () => {
      const cases: readonly (readonly [number, Sent])[] = [
        [401, { path: '/v1/threads/t1' }],
        [401, { path: '/v1/threads/t1', headers: [['X-Api-Key', 'nonsense']] }],
        [403, { path: '/v1/threads/t1', headers: [['X-Api-Key', tokens.key.nothing]] }],
        [403, { path: '/v1/threads/t1', method: 'DELETE', headers: [session()] }],
        [403, { path: '/v1/threads/t1', method: 'HEAD', headers: [session()] }],
        [403, { path: '/nowhere', headers: [agent()] }],
        [404, { path: '/v1/memories/secret', headers: [agent()] }],
      ];
      for (const [status, one] of cases) {
        const answer = await ask(one);
        expect([status, ours(answer)], JSON.stringify(one)).toEqual([answer.status, true]);
        expect(JSON.stringify([...answer.headers]) + answer.body).not.toMatch(
          /alice|NO_GRANT|reason|acme|postern-/i,
        );
      }
      const limited = [['X-Api-Key', tokens.key.limited]] as const;
      const seen = [];
      for (let n = 0; n < 3; n++)
        seen.push(await ask({ path: '/v1/threads/t1', headers: limited }));
      expect(seen.map(({ status }) => status)).toEqual([200, 200, 429]);
      expect(Number(seen[2]?.headers.get('retry-after'))).toBeGreaterThan(500);
      expect(upstream.count()).toBe(2);
    });

    it('policies on trial show in the access log, beside the id of the decision, and nowhere else', async () => {
      const watched = [['X-Api-Key', tokens.key.watched]] as const;
      const answer = await ask({ path: '/v1/threads/t1', headers: watched });
      expect(answer.status).toBe(200);
      expect(JSON.stringify([...answer.headers])).not.toMatch(/shadow|differs/);
      const line = (): Readonly<Record<string, unknown>> | undefined =>
        envoy.log().find((one) => one['key_id'] === 'watched');
      await until(() => line() !== undefined);
      expect(line()).toMatchObject({ status: 200, reason: 'ALLOWED', shadow_differs: true });
      const decision = String(line()?.['decision_id']);
      await until(() => postern.audit().includes(decision));
      const record =
        postern
          .audit()
          .split('\n')
          .find((one) => one.includes(decision)) ?? '{}';
      expect(JSON.parse(record)).toMatchObject({ request_id: line()?.['request_id'] });
      expect(upstream.arrived[0]?.headers.get('x-postern-decision')).toBe(decision);
      expect([...(upstream.arrived[0]?.headers.keys() ?? [])].join(' ')).not.toContain('shadow');
      // A refusal, too, is found by its id.
      await ask({ path: '/v1/memories/secret', headers: [agent()] });
      await until(() => envoy.log().some((one) => one['reason'] === 'OBJECT_HIDDEN'));
      expect(envoy.log().find((one) => one['reason'] === 'OBJECT_HIDDEN')).toMatchObject({
        status: 404,
        details: 'ext_authz_denied',
      });
    });

    it('forged identity headers never arrive, however they are written', async () => {
      const names = [
        'X-Postern-Subject',
        'x-postern-key',
        'X-POSTERN-TENANT',
        'x-postern-decision',
        'x-postern-anything',
      ];
      const forged = names.flatMap(
        (name) =>
          [
            [name, 'user:root'],
            [name, 'user:other'],
          ] as const,
      );
      for (const path of ['/v1/threads/t1', '/healthz'])
        expect((await ask({ path, headers: [...forged, session()] })).status).toBe(200);
      // Hop-by-hop, so that what Postern has set would be taken off again.
      const hop = ['Connection', 'close, X-Postern-Subject, Cookie'] as const;
      await ask({ path: '/v1/threads/t1', headers: [session(), hop] });
      const overrides = [
        'X-Original-Url',
        'X-Rewrite-Url',
        'X-Http-Method-Override',
        'X-Http-Method',
        'X-Method-Override',
        'X-Envoy-Original-Path',
        'X-Envoy-Auth-Failure-Mode-Allowed',
        'X-Original-Uri',
        'X-Original-Method',
        'X-Rewrite-Uri',
        'X-Forwarded-Uri',
        'X-Forwarded-Method',
      ];
      await ask({
        path: '/v1/threads/t1',
        headers: [session(), ...overrides.map((name) => [name, '/admin'] as const)],
      });
      expect(upstream.count()).toBeGreaterThanOrEqual(3);
      for (const { target, headers } of upstream.arrived) {
        expect(JSON.stringify([...headers])).not.toMatch(/root|other|\/admin/);
        expect(headers.get('x-postern-subject')).toBe(
          target === '/healthz' ? undefined : 'user:alice',
        );
        expect(headers.has('x-postern-anything')).toBe(false);
      }
    });

    /** What alice may, read from what arrives and not from any code of ours. */
    const mayAlice = (method: string, target: string): boolean => {
      const path = target.split('?')[0] ?? '';
      return method === 'GET'
        ? /^\/healthz$|^\/v1\/threads\/[\w-]+$|^\/v1\/files\/projects(\/[\w-]+)*$/.test(path)
        : method === 'POST' && path === '/v1/threads';
    };

    it.each<readonly [name: string, path: string, status: number]>([
      ['allowed', '/v1/files/projects/x', 200],
      ['not allowed', '/v1/files/secret/x', 403],
      ['the parent', '/v1/files/projects/../secret/x', 403],
      ['the parent of what is allowed', '/v1/files/secret/../projects/x', 200],
      ['an encoded parent', '/v1/files/projects/%2e%2e/secret/x', 403],
      ['a half encoded parent', '/v1/files/projects/.%2E/secret/x', 403],
      ['a doubly encoded parent', '/v1/files/projects/%252e%252e/secret/x', 400],
      ['beyond the root', '/../../v1/files/secret/x', 403],
      ['the parent with a parameter', '/v1/files/projects/..;/secret/x', 403],
      ['three dots', '/v1/files/projects/.../x', 400],
      ['a dot', '/v1/files/./projects/x', 200],
      ['slashes', '//v1///files/projects//x', 200],
      ['slashes to what is not allowed', '/v1/files//secret/x', 403],
      ['another host in the path', '//evil.example/v1/files/projects/x', 403],
      ['an encoded slash', '/v1/files/projects%2Fx', 400],
      ['an encoded slash to the parent', '/v1/files/projects%2f..%2fsecret', 400],
      ['a doubly encoded slash', '/v1/files/projects%252F..%252Fsecret', 400],
      ['an encoded backslash', '/v1/files/projects%5C..%5Csecret', 400],
      ['a backslash', '/v1/files/projects\\..\\secret/x', 403],
      ['an overlong slash', '/v1/files/projects%c0%af..%c0%afsecret', 400],
      ['a wide slash', '/v1/files/projects%EF%BC%8F..%EF%BC%8Fsecret', 400],
      ['a NUL', '/v1/files/projects/x%00/../../secret', 400],
      ['a NUL at the end', '/v1/files/projects/x%00', 400],
      ['a line feed', '/v1/files/projects/x%0d%0aX-Postern-Subject:%20root', 400],
      ['a parameter', '/v1/files/projects/x;y=z', 400],
      ['an encoded semicolon', '/v1/files/projects/x%3By', 400],
      ['a fragment', '/v1/files/projects/x#/../../secret', 400],
      ['an encoded question mark', '/v1/files/projects/x%3F', 400],
      ['an encoded letter', '/v1/files/%70rojects/x', 200],
      ['an encoded letter of what is not allowed', '/v1/files/%73ecret/x', 403],
      ['a broken encoding', '/v1/files/projects/x%', 400],
      ['a trailing dot', '/v1/files/projects./x', 400],
      ['a trailing slash', '/v1/files/projects/x/', 400],
      ['nothing captured', '/v1/threads/', 403],
      ['capitals', '/V1/FILES/projects/x', 403],
      ['text that is not encoded', '/v1/files/projects/caf\u00e9', 400],
      ['a query', '/v1/files/projects/x?path=/../../secret;a=%2F', 200],
      ['a fragment in the query', '/v1/files/projects/x?a#b', 400],
      ['a path without a slash', 'v1/files/projects/x', 400],
      ['the whole server', '*', 400],
      ['absolute form', 'http://api.example.com/v1/files/projects/x', 200],
      ['absolute form to what is not allowed', 'http://api.example.com/v1/files/secret/x', 403],
      ['absolute form of another host', 'http://evil.example/v1/files/projects/x', 200],
      ['absolute form with a user', 'http://root@api.example.com/v1/files/projects/x', 200],
    ])('path: %s', async (_name, path, status) => {
      const answer = await ask({ path, headers: [session()] });
      expect(answer.status).toBe(status);
      expect(upstream.count()).toBe(status === 200 ? 1 : 0);
      for (const { method, target, headers } of upstream.arrived) {
        expect(mayAlice(method, target), target).toBe(true);
        // It is in the one form, as decided on.
        const one = canonicalRequest({ method, path: target, host: headers.get('host') ?? '' });
        expect(one).toMatchObject({ path: target.split('?')[0] });
      }
    });

    const T = '/v1/threads/t1';
    it.each<readonly [name: string, sent: (alice: string, agent: string) => Sent, status: number]>([
      [
        'the key twice',
        (_, a) => ({
          path: T,
          headers: [
            ['x-api-key', a],
            ['x-api-key', a],
          ],
        }),
        400,
      ],
      [
        'the key twice in two cases',
        (_, a) => ({
          path: T,
          headers: [
            ['x-api-key', a],
            ['X-API-KEY', 'b'],
          ],
        }),
        400,
      ],
      ['two keys in one', (_, a) => ({ path: T, headers: [['x-api-key', `${a},${a}`]] }), 400],
      [
        'a bad key before a good session',
        (s) => ({
          path: T,
          headers: [
            ['x-api-key', 'no'],
            ['cookie', `session=${s}`],
          ],
        }),
        401,
      ],
      [
        'two sessions in one cookie',
        (s) => ({ path: T, headers: [['cookie', `session=${s}; session=x`]] }),
        400,
      ],
      [
        'two cookie lines',
        (s) => ({
          path: T,
          headers: [
            ['cookie', `session=${s}`],
            ['cookie', 'session=x'],
          ],
        }),
        400,
      ],
      [
        'a session among others',
        (s) => ({ path: T, headers: [['cookie', `a=b; session=${s}; c=d`]] }),
        200,
      ],
      [
        'two bearer tokens',
        (_, a) => ({
          path: T,
          headers: [
            ['authorization', `Bearer ${a}`],
            ['authorization', 'Bearer x'],
          ],
        }),
        400,
      ],
      [
        'a header with an underscore',
        (s) => ({
          path: T,
          headers: [
            ['x_postern_subject', 'root'],
            ['cookie', `session=${s}`],
          ],
        }),
        400,
      ],
      [
        'a host with a dot at its end',
        (s) => ({ path: T, host: 'api.example.com.', headers: [['cookie', `session=${s}`]] }),
        400,
      ],
      [
        'a host in capitals',
        (s) => ({ path: T, host: 'API.EXAMPLE.COM:80', headers: [['cookie', `session=${s}`]] }),
        200,
      ],
      ['no host', (s) => ({ path: T, host: '', headers: [['cookie', `session=${s}`]] }), 400],
      [
        'two hosts',
        (s) => ({
          path: T,
          headers: [
            ['Host', 'evil.example'],
            ['cookie', `session=${s}`],
          ],
        }),
        400,
      ],
      [
        'a host with a user',
        (s) => ({ path: T, host: 'root@api.example.com', headers: [['cookie', `session=${s}`]] }),
        400,
      ],
      [
        'a length and chunks',
        (s) => ({
          path: T,
          headers: [
            ['Content-Length', '4'],
            ['Transfer-Encoding', 'chunked'],
            ['cookie', `session=${s}`],
          ],
        }),
        400,
      ],
      [
        'two lengths',
        (s) => ({
          path: T,
          headers: [
            ['Content-Length', '0'],
            ['Content-Length', '4'],
            ['cookie', `session=${s}`],
          ],
        }),
        400,
      ],
      [
        'a folded header',
        (s) => ({ path: T, headers: [['cookie', `session=${s}\r\n x-postern-subject: root`]] }),
        401,
      ],
      [
        'a NUL in a header',
        (s) => ({
          path: T,
          headers: [
            ['x-a', 'a\u0000b'],
            ['cookie', `session=${s}`],
          ],
        }),
        400,
      ],
      [
        'a method in small letters',
        (s) => ({ path: T, method: 'get', headers: [['cookie', `session=${s}`]] }),
        400,
      ],
      [
        'a method that is none',
        (s) => ({ path: T, method: 'FOO', headers: [['cookie', `session=${s}`]] }),
        400,
      ],
      [
        'a marked listener that the client claims',
        () => ({
          path: T,
          headers: [
            ['postern_listener', 'internal'],
            ['x-user-id', 'alice'],
          ],
        }),
        400,
      ],
      [
        'CONNECT',
        (s) => ({
          path: 'api.example.com:443',
          method: 'CONNECT',
          headers: [['cookie', `session=${s}`]],
        }),
        404,
      ],
    ])('header: %s', async (_name, sent, status) => {
      const answer = await ask(sent(tokens.session, tokens.key.agent));
      expect(answer.status).toBe(status);
      expect(upstream.count()).toBe(status === 200 ? 1 : 0);
      for (const { method, target, headers } of upstream.arrived) {
        expect(mayAlice(method, target)).toBe(true);
        expect(headers.get('x-postern-subject')).toBe('user:alice');
      }
    });

    it('counts what it was told', async () => {
      const stats = await envoy.stats('ext_authz.');
      expect(stats).toMatchObject({
        'http.ingress.ext_authz.error': lateAtFirst,
        'http.ingress.ext_authz.failure_mode_allowed': 0,
        'http.ingress.ext_authz.disabled': 0,
        'http.ingress.ext_authz.invalid': 0,
      });
      expect(stats['http.ingress.ext_authz.ok']).toBeGreaterThan(10);
      expect(stats['http.ingress.ext_authz.denied']).toBeGreaterThan(10);
      expect(envoy.errors()).not.toMatch(/\[(error|critical)\]/);
    });
  });

  describe('failure-modes.yaml, with Redis', () => {
    let redis: RedisServer;
    let postern: Serving;
    let envoy: Envoy;
    let upstream: Upstream;
    let relay: Relay;
    let tokens: Tokens;
    let closed: number;
    let open: number;
    let again: () => Promise<Serving>;

    beforeAll(async () => {
      redis = await startRedis();
      tokens = await makeTenant(redis.url);
      upstream = await startUpstream();
      const directory = temporaryDirectory();
      const [port, first, second] = [await freePort(), await freePort(), await freePort()];
      closed = first;
      open = second;
      again = () =>
        start({
          directory,
          store: redis.url,
          address: `127.0.0.1:${port}`,
          more: {
            facts: { heartbeat_ms: 50, max_staleness_ms: 500, store_timeout_ms: 200 },
            redis: { connect_timeout_ms: 300 },
          },
        });
      postern = await again();
      relay = await startRelay(port);
      envoy = await startEnvoy('failure-modes.yaml', {
        'port_value: 10000': `port_value: ${closed}`,
        'port_value: 10001': `port_value: ${open}`,
        'port_value: 8080': `port_value: ${upstream.port}`,
        'port_value: 4700': `port_value: ${relay.port}`,
      });
    });
    afterAll(async () => {
      await envoy?.stop();
      await relay?.close();
      await postern?.dispose();
      await upstream?.close();
      await redis?.dispose();
    });

    const good = (): Sent => ({
      path: '/v1/threads/t1',
      headers: [
        ['X-Api-Key', tokens.key.agent],
        ['X-Postern-Subject', 'user:root'],
        ['X-Envoy-Auth-Failure-Mode-Allowed', 'true'],
      ],
    });
    const bad = (): Sent => ({ ...good(), path: '/v1/memories/secret' });
    const FAILED_OPEN = 'x-envoy-auth-failure-mode-allowed';

    /** The promise of a Postern that answers. */
    const answers = async (): Promise<void> => {
      await until(async () => (await send(closed, good())).status === 200, 10_000);
      await until(async () => (await send(open, bad())).status === 404, 10_000);
      upstream.forget();
      expect((await send(closed, bad())).status).toBe(404);
      expect((await send(open, bad())).status).toBe(404);
      expect(upstream.count()).toBe(0);
      expect((await send(closed, good())).status).toBe(200);
      expect((await send(open, good())).status).toBe(200);
      for (const { headers } of upstream.arrived) {
        expect(headers.get('x-postern-key')).toBe('agent');
        expect(headers.has('x-postern-subject')).toBe(false);
        expect(headers.has(FAILED_OPEN)).toBe(false);
      }
    };

    /** The promise of one that does not, whatever is asked. */
    const doesNot = async (): Promise<void> => {
      upstream.forget();
      const startedAt = performance.now();
      const asked = Array.from({ length: 10 }, (_, n) =>
        send(closed, n % 2 === 0 ? good() : bad()),
      );
      for (const { status, headers } of await Promise.all(asked)) {
        expect(status).toBe(503);
        expect(headers.get('content-type')).not.toBe('application/problem+json');
      }
      // 200 ms, and what the machine adds.
      expect(performance.now() - startedAt).toBeLessThan(2_000);
      expect(upstream.count()).toBe(0);
      for (const one of [good(), bad()]) expect((await send(open, one)).status).toBe(200);
      expect(upstream.count()).toBe(2);
      for (const { headers } of upstream.arrived) {
        expect(headers.get(FAILED_OPEN)).toBe('true');
        expect([...headers.keys()].filter((name) => name.startsWith('x-postern-'))).toEqual([]);
      }
    };

    const rise = async (work: () => Promise<void>): Promise<Readonly<Record<string, number>>> => {
      const before = await envoy.stats('ext_authz.');
      await work();
      const after = await envoy.stats('ext_authz.');
      return Object.fromEntries(
        [
          'closed.ext_authz.error',
          'open.ext_authz.error',
          'open.ext_authz.failure_mode_allowed',
        ].map((name) => [name, (after[`http.${name}`] ?? 0) - (before[`http.${name}`] ?? 0)]),
      );
    };
    const COUNTED = {
      'closed.ext_authz.error': 10,
      'open.ext_authz.error': 2,
      'open.ext_authz.failure_mode_allowed': 2,
    };

    it('killed: closed stops all, open passes all; back when it is', async () => {
      await answers();
      await postern.dispose();
      expect(await rise(doesNot)).toEqual(COUNTED);
      postern = await again();
      await answers();
    });

    it('hung', async () => {
      postern.child.kill('SIGSTOP');
      expect(await rise(doesNot)).toEqual(COUNTED);
      postern.child.kill('SIGCONT');
      await answers();
    });

    it('slow: over 200 ms', async () => {
      await answers();
      relay.delay(300);
      expect(await rise(doesNot)).toEqual(COUNTED);
      relay.delay(0);
      await answers();
    });

    it('stale: Redis is away for longer than facts may be old', async () => {
      redis.pause();
      await until(async () => (await send(closed, good())).status === 503, 10_000);
      expect(await rise(doesNot)).toEqual(COUNTED);
      redis.resume();
      await answers();
    });

    it('stale, told by an error response: the failure mode holds, and the cause is in the log', async () => {
      const port = await freePort();
      const own = { closed: await freePort(), open: await freePort() };
      const teller = await start({
        directory: temporaryDirectory(),
        store: redis.url,
        address: `127.0.0.1:${port}`,
        routes: {
          ...ROUTES,
          failures: 'error_response',
          routes: ROUTES.routes.map((route) =>
            route.public === true ? route : { ...route, tenant: '{route_metadata.postern/tenant}' },
          ),
        },
        more: { facts: { heartbeat_ms: 50, max_staleness_ms: 2_000, store_timeout_ms: 200 } },
      });
      const other = await startEnvoy('failure-modes.yaml', {
        'port_value: 10000': `port_value: ${own.closed}`,
        'port_value: 10001': `port_value: ${own.open}`,
        'port_value: 8080': `port_value: ${upstream.port}`,
        'port_value: 4700': `port_value: ${port}`,
        // What is looked at here is what Postern tells, however long a busy machine keeps it from telling.
        'timeout: 0.2s': 'timeout: 5s',
        'validate_mutations: true':
          'validate_mutations: true\n                      encode_raw_headers: true\n' +
          '                      route_metadata_context_namespaces: [postern]',
        '- match: { prefix: / }': `- match: { prefix: / }\n                          metadata: { filter_metadata: { postern: { tenant: ${TENANT} } } }`,
        'stat_prefix: closed': `stat_prefix: closed
                access_log:
                  - name: stdout
                    typed_config:
                      '@type': type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog
                      log_format:
                        json_format:
                          details: '%RESPONSE_CODE_DETAILS%'
                          reason: '%DYNAMIC_METADATA(envoy.filters.http.ext_authz:reason)%'`,
      });
      try {
        // The tenant is that of Envoy's route, and headers come one by one.
        await until(async () => (await send(own.closed, good())).status === 200);
        upstream.forget();
        const twice: Sent = { ...good(), headers: [...(good().headers ?? []), ['x-api-key', 'b']] };
        expect((await send(own.closed, twice)).status).toBe(400);
        expect((await send(own.closed, bad())).status).toBe(404);
        expect(upstream.count()).toBe(0);

        redis.pause();
        await until(async () => {
          const stopped = await send(own.closed, good());
          return stopped.status === 503 && ours(stopped);
        }, 10_000);
        upstream.forget();
        const answer = await send(own.closed, bad());
        expect([answer.status, ours(answer)]).toEqual([503, true]);
        expect(JSON.parse(answer.body)).toMatchObject({ status: 503 });
        expect(upstream.count()).toBe(0);
        await until(() => other.log().some(({ reason }) => reason === 'STALE'));
        expect(other.log().find(({ reason }) => reason === 'STALE')).toMatchObject({
          details: 'ext_authz_error',
        });
        expect((await send(own.open, bad())).status).toBe(200);
        expect(upstream.arrived[0]?.headers.get(FAILED_OPEN)).toBe('true');
        const stats = await other.stats('ext_authz.');
        expect(stats['http.closed.ext_authz.error']).toBeGreaterThanOrEqual(2);
        expect(stats).toMatchObject({
          'http.closed.ext_authz.denied': 2,
          'http.open.ext_authz.denied': 0,
          'http.open.ext_authz.failure_mode_allowed': 1,
        });
      } finally {
        redis.resume();
        await other.stop();
        await teller.dispose();
      }
      await answers();
    });

    it('not ready: it has started and Redis is away', async () => {
      await postern.dispose();
      redis.pause();
      postern = await again();
      expect(postern.stderr()).toContain('is not ready');
      expect(await rise(doesNot)).toEqual(COUNTED);
      redis.resume();
      await answers();
    });
  });

  describe('edge.yaml', () => {
    let posterns: Serving[] = [];
    let envoy: Envoy;
    let upstream: Upstream;
    let tokens: Tokens;
    let jwtKey: CryptoKey;
    let pki: Pki;
    let ports: { readonly public: number; readonly partners: number; readonly internal: number };
    let again: (which: 0 | 1) => Promise<Serving>;

    beforeAll(async () => {
      const directory = temporaryDirectory();
      const store = `embedded:${join(directory, 'store')}`;
      tokens = await makeTenant(store);
      upstream = await startUpstream();
      pki = makePki(directory);
      const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
      jwtKey = privateKey;
      const jwks = join(directory, 'jwks.json');
      writeFileSync(
        jwks,
        JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: 'k', alg: 'ES256' }] }),
      );
      const [first, second] = [await freePort(), await freePort()] as const;
      ports = { public: await freePort(), partners: await freePort(), internal: await freePort() };
      const routes = {
        ...ROUTES,
        identity: [
          { metadata: { filter: 'envoy.filters.http.jwt_authn', claim: ['jwt', 'sub'] } },
          { mtls: { prefix: 'spiffe://example.com/user/' } },
          { trusted_header: 'x-user-id', listeners: ['internal'] },
          { api_key: 'x-api-key' },
          { session_cookie: 'session' },
        ],
        routes: ROUTES.routes.map((route) =>
          route.public === true ? route : { ...route, tenant: TENANT },
        ),
      };
      again = (which) =>
        start({
          directory,
          store,
          routes,
          address: `127.0.0.1:${which === 0 ? first : second}`,
          more: { shutdown: { lame_duck_ms: 2_000 } },
        });
      posterns = await Promise.all([again(0), again(1)]);
      envoy = await startEnvoy('edge.yaml', {
        'address: 0.0.0.0, port_value: 10443': `address: 127.0.0.1, port_value: ${ports.public}`,
        'address: 0.0.0.0, port_value: 10444': `address: 127.0.0.1, port_value: ${ports.partners}`,
        'port_value: 10001': `port_value: ${ports.internal}`,
        'port_value: 8080': `port_value: ${upstream.port}`,
        'port_value: 4700': `port_value: ${first}`,
        'port_value: 4702': `port_value: ${second}`,
        // What is promised is that a restart fails nothing, not that this machine is never late.
        'timeout: 0.2s\n                        # A Postern that is':
          'timeout: 2s\n                        # A Postern that is',
        'max_interval: 0.1s': 'max_interval: 1s',
        '/etc/envoy/tls/server.pem': pki.server.cert,
        '/etc/envoy/tls/server.key': pki.server.key,
        '/etc/envoy/tls/partners.pem': pki.authority,
        '/etc/envoy/jwks.json': jwks,
      });
      await healthy(2);
    });
    afterAll(async () => {
      await envoy?.stop();
      await Promise.all(posterns.map((one) => one.dispose()));
      await upstream?.close();
    });
    beforeEach(() => upstream.forget());

    const healthy = (count: number): Promise<void> =>
      until(
        async () =>
          (await envoy.stats('cluster.postern.membership_healthy'))[
            'cluster.postern.membership_healthy'
          ] === count,
      );
    const path = '/v1/threads/t1';
    const subject = (): string | undefined => upstream.arrived[0]?.headers.get('x-postern-subject');

    const jwt = (claims: object, key: CryptoKey = jwtKey): Promise<string> =>
      new SignJWT({ iss: 'https://login.example.com/', aud: 'api', sub: 'alice', ...claims })
        .setProtectedHeader({ alg: 'ES256', kid: 'k' })
        .setExpirationTime('10m')
        .sign(key);
    const ask = (
      port: number,
      headers: Readonly<Record<string, string>> = {},
      client: { readonly cert?: string; readonly key?: string } = {},
    ): Promise<number | 'refused'> =>
      new Promise((done) => {
        const options = { port, path, headers: { host: 'api.example.com', ...headers } };
        const asked = https.get(
          { ...options, ...client, host: '127.0.0.1', rejectUnauthorized: false, agent: false },
          (answer) => {
            answer.resume();
            done(answer.statusCode ?? 0);
          },
        );
        asked.on('error', () => done('refused'));
      });

    it('public: a JWT that Envoy has verified, else what Postern proves', async () => {
      expect(await ask(ports.public, { authorization: `Bearer ${await jwt({})}` })).toBe(200);
      expect(subject()).toBe('user:alice');
      expect(
        await ask(ports.public, { authorization: `Bearer ${await jwt({ sub: 'bob' })}` }),
      ).toBe(403);
      expect(await ask(ports.public, { 'x-api-key': tokens.key.agent })).toBe(200);
      expect(await ask(ports.public, { cookie: `session=${tokens.session}` })).toBe(200);
      expect(upstream.count()).toBe(3);
    });

    it('public: no other way to be alice', async () => {
      const { privateKey } = await generateKeyPair('ES256');
      const forged = await jwt({}, privateKey);
      const [header = '', payload = ''] = (await jwt({})).split('.');
      const none = Buffer.from('{"alg":"none"}').toString('base64url');
      for (const token of [
        forged,
        `${none}.${payload}.`,
        `${header}.${payload}.`,
        'x',
        await jwt({ iss: 'evil' }),
      ])
        expect(await ask(ports.public, { authorization: `Bearer ${token}` }), token).toBe(401);
      expect(
        await ask(ports.public, {
          'x-user-id': 'alice',
          'x-forwarded-client-cert': 'URI=spiffe://example.com/user/alice',
        }),
      ).toBe(401);
      // Envoy's answer where the token is good and not for us.
      expect(
        await ask(ports.public, { authorization: `Bearer ${await jwt({ aud: 'other' })}` }),
      ).toBe(403);
      // A certificate is not asked for here, and counts for nothing.
      expect(await ask(ports.public, {}, pki.alice)).toBe(401);
      // A JWT wins over what stands beside it.
      expect(
        await ask(ports.public, {
          authorization: `Bearer ${await jwt({ sub: 'bob' })}`,
          'x-api-key': tokens.key.agent,
        }),
      ).toBe(403);
      expect(upstream.count()).toBe(0);
      expect(await ask(ports.public, { 'x-api-key': tokens.key.agent, 'x-user-id': 'root' })).toBe(
        200,
      );
      expect(upstream.arrived[0]?.headers.has('x-user-id')).toBe(false);
    });

    it('public: HTTP/2, with what only it can say', async () => {
      const client = http2.connect(`https://127.0.0.1:${ports.public}`, {
        rejectUnauthorized: false,
      });
      const get = async (headers: http2.OutgoingHttpHeaders): Promise<number> => {
        const stream = client.request({
          ':path': path,
          ':authority': 'api.example.com',
          ...headers,
        });
        stream.on('error', () => {});
        return new Promise((done) => {
          stream.on('response', (answer) => done(Number(answer[':status'])));
          stream.on('close', () => done(0));
          stream.resume();
        });
      };
      try {
        const session = `session=${tokens.session}`;
        expect(await get({ cookie: ['a=b', session] })).toBe(200);
        expect(await get({ cookie: [session, 'session=x'] })).toBe(400);
        expect(await get({ 'x-api-key': [tokens.key.agent, tokens.key.agent] })).toBe(400);
        expect(await get({ 'x-api-key': tokens.key.agent, ':authority': 'api.example.com.' })).toBe(
          400,
        );
        expect(await get({ 'x-api-key': tokens.key.agent, ':path': '/v1/threads/t1#x' })).toBe(400);
        expect(upstream.count()).toBe(1);
      } finally {
        client.close();
      }
    });

    it('partners: the certificate, of the right authority alone', async () => {
      expect(await ask(ports.partners, {}, pki.alice)).toBe(200);
      expect(subject()).toBe('user:alice');
      expect(await ask(ports.partners, { 'x-user-id': 'alice' }, pki.bob)).toBe(403);
      expect(await ask(ports.partners, {}, pki.evil)).toBe('refused');
      expect(await ask(ports.partners)).toBe('refused');
      // Of the right authority, and no user.
      expect(await ask(ports.partners, {}, pki.other)).toBe(401);
      expect(upstream.count()).toBe(1);
    });

    it('internal: whom the gateway names, once', async () => {
      const headers = (...users: readonly string[]): Sent => ({
        path,
        headers: users.map((user) => ['X-User-Id', user]),
      });
      expect((await send(ports.internal, headers('alice'))).status).toBe(200);
      expect(subject()).toBe('user:alice');
      expect((await send(ports.internal, headers('bob'))).status).toBe(403);
      expect((await send(ports.internal, headers('mallory'))).status).toBe(403);
      expect((await send(ports.internal, headers('alice', 'bob'))).status).toBe(400);
      expect((await send(ports.internal, headers())).status).toBe(401);
      expect(upstream.count()).toBe(1);
    });

    it('a rolling restart of both Posterns at a steady rate: no request fails', async () => {
      // Both have answered before, as those that are replaced have.
      for (const rate of [50, 100, 200, RATE]) {
        const warming = steady(ports.internal, path, rate);
        await new Promise((done) => setTimeout(done, 750));
        await warming.stop();
      }
      upstream.forget();
      const load = steady(ports.internal, path, RATE);
      for (const which of [0, 1] as const) {
        await new Promise((done) => setTimeout(done, 500));
        expect(await posterns[which]?.stop()).toBe(0);
        await posterns[which]?.dispose();
        posterns[which] = await again(which);
        await healthy(2);
        await new Promise((done) => setTimeout(done, 2_500));
      }
      await new Promise((done) => setTimeout(done, 500));
      const { sent, failed, seconds, slowest } = await load.stop();
      const stats = await envoy.stats('cluster.postern.upstream_rq_retry');
      process.stdout.write(
        `rolling restart: ${sent} requests in ${seconds.toFixed(1)} s, ${Math.round(sent / seconds)}/s, ` +
          `${failed.length} failed, slowest ${Math.round(slowest)} ms, ${JSON.stringify(stats)}\n`,
      );
      expect(failed).toEqual([]);
      expect(upstream.count()).toBe(sent);
      expect(sent / seconds).toBeGreaterThan(RATE * 0.9);
    });
  });
});

// ── helpers ───────────────────────────────────────────────────────────────────────────────────────

/** Requests a second; POSTERN_ENVOY_RATE says another. */
const RATE = Number(process.env['POSTERN_ENVOY_RATE'] ?? 300);

interface Load {
  stop(): Promise<{
    readonly sent: number;
    readonly failed: readonly string[];
    readonly seconds: number;
    /** Milliseconds. */
    readonly slowest: number;
  }>;
}

/** Requests at a rate that does not wait for answers. */
function steady(port: number, path: string, rate: number): Load {
  const agent = new Agent({ keepAlive: true, maxSockets: 200 });
  const startedAt = performance.now();
  const failed: string[] = [];
  let sent = 0;
  let waiting = 0;
  let slowest = 0;
  const one = (): void => {
    sent++;
    waiting++;
    const at = performance.now();
    const over = (problem?: string): void => {
      waiting--;
      slowest = Math.max(slowest, performance.now() - at);
      if (problem !== undefined && failed.length < 100)
        failed.push(`${Math.round(at - startedAt)} ms: ${problem}`);
    };
    const asked = request(
      {
        agent,
        port,
        path,
        host: '127.0.0.1',
        headers: { host: 'api.example.com', 'x-user-id': 'alice' },
      },
      (answer) => {
        answer.resume();
        answer.on('end', () =>
          over(answer.statusCode === 200 ? undefined : String(answer.statusCode)),
        );
      },
    );
    asked.on('error', (error) => over(error.message));
    asked.end();
  };
  const timer = setInterval(() => {
    const due = Math.floor(((performance.now() - startedAt) / 1_000) * rate);
    for (let left = due - sent; left > 0; left--) one();
  }, 5);
  return {
    async stop() {
      clearInterval(timer);
      const seconds = (performance.now() - startedAt) / 1_000;
      await until(() => waiting === 0);
      agent.destroy();
      return { sent, failed, seconds, slowest };
    },
  };
}

interface Relay {
  readonly port: number;
  /** Holds all that goes either way for so long, ms. */
  delay(ms: number): void;
  close(): Promise<void>;
}

/** A network between Envoy and Postern that can be slow. */
async function startRelay(to: number): Promise<Relay> {
  let ms = 0;
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(to, '127.0.0.1');
    for (const [from, into] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      const later = (what: () => void): void => void (ms === 0 ? what() : setTimeout(what, ms));
      from.on('data', (chunk: Buffer) => later(() => into.write(chunk)));
      from.on('error', () => {});
      from.on('close', () => {
        sockets.delete(from);
        into.destroy();
      });
    }
  });
  const port = await freePort();
  await once(server.listen(port, '127.0.0.1'), 'listening');
  return {
    port,
    delay(next): void {
      // What is held must not be overtaken.
      if (next < ms) for (const socket of sockets) socket.destroy();
      ms = next;
    },
    async close(): Promise<void> {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

interface Pair {
  readonly cert: string;
  readonly key: string;
}

interface Pki {
  /** File of the authority whose clients are let in. */
  readonly authority: string;
  /** Files. */
  readonly server: Pair;
  /** What is in them. */
  readonly alice: Pair;
  readonly bob: Pair;
  readonly other: Pair;
  /** Says that it is alice, by an authority of its own. */
  readonly evil: Pair;
}

function makePki(directory: string): Pki {
  const at = (name: string): string => join(directory, name);
  const openssl = (...args: readonly string[]): void =>
    void execFileSync('openssl', args, { stdio: 'ignore' });
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout'];
  const authority = (name: string): void =>
    openssl(
      'req',
      '-x509',
      ...newKey,
      at(`${name}.key`),
      '-subj',
      `/CN=${name}`,
      '-days',
      '2',
      '-out',
      at(`${name}.pem`),
    );
  const certificate = (name: string, by: string, san: string): Pair => {
    openssl(
      'req',
      '-new',
      ...newKey,
      at(`${name}.key`),
      '-subj',
      `/CN=${name}`,
      '-out',
      at(`${name}.csr`),
    );
    writeFileSync(at('san.ext'), `subjectAltName=${san}\n`);
    const signer = [
      '-CA',
      at(`${by}.pem`),
      '-CAkey',
      at(`${by}.key`),
      '-CAcreateserial',
      '-days',
      '2',
    ];
    openssl(
      'x509',
      '-req',
      '-in',
      at(`${name}.csr`),
      ...signer,
      '-extfile',
      at('san.ext'),
      '-out',
      at(`${name}.pem`),
    );
    return { cert: at(`${name}.pem`), key: at(`${name}.key`) };
  };
  const client = (name: string, by: string, san: string): Pair => {
    const { cert, key } = certificate(name, by, san);
    return { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') };
  };
  for (const name of ['ca', 'partners', 'evil-ca']) authority(name);
  const user = (id: string): string => `URI:spiffe://example.com/user/${id}`;
  return {
    authority: at('partners.pem'),
    server: certificate('server', 'ca', 'IP:127.0.0.1'),
    alice: client('alice', 'partners', user('alice')),
    bob: client('bob', 'partners', user('bob')),
    other: client('other', 'partners', 'URI:spiffe://example.com/service/alice'),
    evil: client('evil', 'evil-ca', user('alice')),
  };
}
