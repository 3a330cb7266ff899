/** Traces, as a collector gets them: parents, one span a decision call, no tenant and no id; and nothing while off. */
import { execFileSync } from 'node:child_process';
import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { Client, credentials, Metadata } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { PACKAGE_ROOT } from './support/package-root.ts';
import { methodsOf } from './support/proto.ts';
import { startTestServer, type TestServer } from './support/server.ts';

interface Attribute {
  readonly key: string;
  readonly value: Readonly<Record<string, unknown>>;
}

/** A span in the JSON of OTLP. */
interface Span {
  readonly traceId: string;
  readonly parentSpanId?: string;
  readonly traceState?: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: readonly Attribute[];
  readonly status: { readonly code?: number; readonly message?: string };
}

interface Export {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly Attribute[] };
    readonly scopeSpans: readonly { readonly spans: readonly Span[] }[];
  }[];
}

interface Collector {
  readonly url: string;
  readonly bodies: string[];
  spans(): readonly Span[];
  close(): void;
}

/** A collector that answers with this status, or never. */
async function collect(status: number | 'never' = 200): Promise<Collector> {
  const bodies: string[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8');
    request.on('data', (chunk: string) => (body += chunk));
    request.on('end', () => {
      expect(request.url).toBe('/v1/traces');
      expect(request.headers['content-type']).toBe('application/json');
      bodies.push(body);
      if (status !== 'never') response.writeHead(status).end('{}');
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/v1/traces`,
    bodies,
    spans: () =>
      bodies.flatMap((body) =>
        (JSON.parse(body) as Export).resourceSpans.flatMap(({ scopeSpans }) =>
          scopeSpans.flatMap(({ spans }) => spans),
        ),
      ),
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

const STATE = {
  tenant: 'acme-of-secrets',
  users: [{ id: 'alice-of-secrets' }],
  grants: [{ principal: 'alice-of-secrets', path: 'work', actions: ['read'] }],
};
const check = (more: object = {}): object => ({
  id: 'request-of-secrets',
  tenant: 'acme-of-secrets',
  subject: { id: 'alice-of-secrets' },
  action: 'read',
  resource: { id: 'object-of-secrets', path: 'work.path-of-secrets' },
  ...more,
});
const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const PARENT = '00f067aa0ba902b7';
const parent = (flags: string): Record<string, string> => ({
  traceparent: `00-${TRACE}-${PARENT}-${flags}`,
});

const METHODS = methodsOf('AuthorizationService');

/** Asks with metadata; resolves with the code. */
function ask(
  { running }: TestServer,
  method: string,
  message: object,
  headers: Readonly<Record<string, string>> = {},
): Promise<number> {
  const serialize =
    METHODS[method]?.requestSerialize ?? expect.fail(`there is no method ${method}`);
  const client = new Client(running.addresses.grpc, credentials.createInsecure());
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  const path = `/postern.v1.AuthorizationService/${method}`;
  return new Promise((done) =>
    client.makeUnaryRequest(
      path,
      serialize,
      (bytes: Buffer) => bytes,
      message,
      metadata,
      { deadline: Date.now() + 5_000 },
      (error) => {
        client.close();
        done(error?.code ?? 0);
      },
    ),
  );
}

const attributesOf = (attributes: readonly Attribute[] = []): Readonly<Record<string, unknown>> =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]));

describe('traces', () => {
  it('have one span a decision call, with what was decided and nobody named', async () => {
    const collector = await collect();
    const server = await startTestServer(STATE, {
      tracing: { enabled: true, endpoint: collector.url, sample_ratio: 1, service_name: 'gate' },
      limits: { max_wait_ms: 100 },
    });
    await ask(server, 'Check', check());
    await ask(server, 'Check', check());
    await ask(server, 'Check', check({ action: 'write' }), parent('01'));
    await ask(server, 'BatchCheck', { checks: [check(), check({ action: 'write' })] });
    await ask(server, 'Filter', { ...check(), objects: [{ path: 'work' }, { path: 'x' }] });
    await ask(server, 'Explain', check());
    expect(await ask(server, 'Check', check({ action: '' }))).toBe(3);
    expect(await ask(server, 'Check', check({ min_revision: 99 }))).toBe(14);
    const stream = server.client.stream();
    for (let n = 0; n < 2; n++) {
      const answered = once(stream, 'data');
      stream.write(check());
      await answered;
    }
    stream.end();
    await server.close();
    collector.close();

    const spans = collector.spans();
    const service = 'postern.v1.AuthorizationService';
    const told = spans.map(({ name, attributes }) => [name, attributesOf(attributes)] as const);
    const rpc = (method: string, code = 'OK'): object => ({
      'rpc.system.name': 'grpc',
      'rpc.method': `${service}/${method}`,
      'rpc.status_code': code,
    });
    const allowed = { 'postern.allowed': true, 'postern.reason': 'ALLOWED', 'postern.revision': 1 };
    expect(told).toEqual([
      // The first reads the user, the second finds it.
      [`${service}/Check`, { ...rpc('Check'), ...allowed, 'postern.cache_hit': false }],
      [`${service}/Check`, { ...rpc('Check'), ...allowed, 'postern.cache_hit': true }],
      [
        `${service}/Check`,
        {
          ...rpc('Check'),
          'postern.allowed': false,
          'postern.reason': 'NO_GRANT',
          'postern.revision': 1,
          'postern.cache_hit': true,
        },
      ],
      [
        `${service}/BatchCheck`,
        {
          ...rpc('BatchCheck'),
          'postern.checks': 2,
          'postern.checks_allowed': 1,
          'postern.revision': 1,
          'postern.cache_hit': true,
        },
      ],
      [
        `${service}/Filter`,
        {
          ...rpc('Filter'),
          ...allowed,
          'postern.objects': 2,
          'postern.visible': 1,
          'postern.cache_hit': true,
        },
      ],
      [`${service}/Explain`, { ...rpc('Explain'), ...allowed, 'postern.cache_hit': true }],
      [
        `${service}/Check`,
        {
          ...rpc('Check', 'INVALID_ARGUMENT'),
          'error.type': 'INVALID_ARGUMENT',
          'postern.allowed': false,
          'postern.reason': 'INVALID_ARGUMENT',
          'postern.cache_hit': true,
        },
      ],
      [
        `${service}/Check`,
        {
          ...rpc('Check', 'UNAVAILABLE'),
          'error.type': 'UNAVAILABLE',
          'postern.allowed': false,
          'postern.reason': 'UNAVAILABLE',
          'postern.cache_hit': false,
        },
      ],
      [`${service}/CheckStream`, { ...rpc('CheckStream'), ...allowed, 'postern.cache_hit': true }],
      [`${service}/CheckStream`, { ...rpc('CheckStream'), ...allowed, 'postern.cache_hit': true }],
    ]);
    // Server spans that end after they begin; an error is a fault of this side alone.
    expect(new Set(spans.map(({ kind }) => kind))).toEqual(new Set([2]));
    for (const { startTimeUnixNano: from, endTimeUnixNano: to } of spans)
      expect(BigInt(to)).toBeGreaterThanOrEqual(BigInt(from));
    expect(spans.map(({ status }) => status.code ?? 0)).toEqual([0, 0, 0, 0, 0, 0, 0, 2, 0, 0]);
    expect(collector.bodies.join()).not.toContain('of-secrets');
    const [body = ''] = collector.bodies;
    const { resource } = (JSON.parse(body) as Export).resourceSpans[0] ?? expect.fail('no span');
    expect(attributesOf(resource.attributes)).toEqual({
      'service.name': 'gate',
      'service.version': 'test',
      'service.instance.id': expect.stringMatching(/^\S+$/) as string,
    });
  });

  it('continue the trace of the caller, and do as it says', async () => {
    const collector = await collect();
    const server = await startTestServer(STATE, {
      tracing: { enabled: true, endpoint: collector.url, sample_ratio: 0 },
    });
    await ask(server, 'Check', check());
    await ask(server, 'Check', check(), parent('00'));
    await ask(server, 'Check', check(), { ...parent('01'), tracestate: 'vendor=1' });
    for (const traceparent of [
      '',
      'nonsense',
      `00-${'0'.repeat(32)}-${PARENT}-01`,
      'x'.repeat(2_000),
    ])
      await ask(server, 'Check', check(), { traceparent });
    await server.close();
    collector.close();
    expect(collector.spans()).toMatchObject([
      { traceId: TRACE, parentSpanId: PARENT, traceState: 'vendor=1' },
    ]);
  });

  it.each([503, 400, 'never'] as const)(
    'a collector that answers %s neither fails a call nor keeps the server from closing',
    async (status) => {
      const collector = await collect(status);
      const server = await startTestServer(STATE, {
        tracing: { enabled: true, endpoint: collector.url, sample_ratio: 1 },
        shutdown: { grace_ms: 500 },
      });
      // More than one export takes.
      const asked = Array.from({ length: 600 }, () => server.client.call('Check', check()));
      for (const answer of await Promise.all(asked))
        expect(answer).toMatchObject({ allowed: true });
      const startedAt = performance.now();
      await server.close();
      expect(performance.now() - startedAt).toBeLessThan(3_000);
      expect(collector.bodies).not.toEqual([]);
      collector.close();
    },
  );

  it('are off by default: nothing is sent, and what would send is not loaded', async () => {
    const server = await startTestServer(STATE);
    expect(server.settings.tracing.enabled).toBe(false);
    expect(await ask(server, 'Check', check(), parent('01'))).toBe(0);
    await server.close();
    // In a process of its own: here the tests before have loaded it.
    const program = `
      import { registerHooks } from 'node:module';
      const loaded = [];
      registerHooks({ load: (url, context, next) => { loaded.push(url); return next(url, context); } });
      await import(process.argv[1]);
      process.stdout.write(String(loaded.filter((url) => /opentelemetry.(sdk|exporter)|src.tracing/.test(url)).length) + ' of ' + loaded.length);
    `;
    const file = join(PACKAGE_ROOT, 'src/server/compose.ts');
    const [found, , all] = execFileSync(
      process.execPath,
      ['--input-type=module', '-e', program, file],
      {
        encoding: 'utf8',
      },
    ).split(' ');
    expect(found).toBe('0');
    expect(Number(all)).toBeGreaterThan(50);
  });
});
