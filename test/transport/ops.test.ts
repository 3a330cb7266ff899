/** The HTTP listener as probes and scrapers meet it: methods, status, headers, and the bytes after them. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { listenOps, type OpsOptions } from '../../src/transport/ops/server.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

interface Raw {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** One request on a connection of its own, and all bytes until the server ends it: a client would hide a body of HEAD. */
async function send(address: string, method: string, path: string): Promise<Raw> {
  const [host = '', port = ''] = address.split(':');
  const socket = connect(Number(port), host);
  let text = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => void (text += chunk));
  const length = method === 'POST' ? 'content-length: 0\r\n' : '';
  socket.write(`${method} ${path} HTTP/1.1\r\nhost: a\r\n${length}connection: close\r\n\r\n`);
  await once(socket, 'end');
  socket.destroy();
  const at = text.indexOf('\r\n\r\n');
  const [first = '', ...lines] = text.slice(0, at).split('\r\n');
  const headers = lines.map((line) => /^([^:]+): (.*)$/.exec(line) ?? []);
  return {
    status: Number(first.split(' ')[1]),
    headers: Object.fromEntries(
      headers.map(([, name = '', value = '']) => [name.toLowerCase(), value]),
    ),
    body: text.slice(at + 4),
  };
}

/** Headers that do not differ from one request to the next. */
function lasting({ headers }: Raw, ...but: readonly string[]): Record<string, string> {
  const left = Object.entries(headers).filter(([name]) => name !== 'date' && !but.includes(name));
  return Object.fromEntries(left);
}

let server: TestServer;
let address: string;
beforeAll(async () => {
  server = await startTestServer({ tenant: 'acme', users: [{ id: 'alice' }] });
  address = server.running.addresses.http;
});
afterAll(() => server.close());

/** A listener that tells what it is given, until the test is over. */
async function listening(told: Partial<OpsOptions>): Promise<string> {
  const ops = await listenOps({
    address: '127.0.0.1:0',
    socketMode: undefined,
    readiness: () => ({ ready: true, checks: {} }),
    metrics: () => undefined,
    onError: (error) => expect.fail(String(error)),
    ...told,
  });
  onTestFinished(() => ops.close());
  return ops.address;
}

describe('HEAD is GET without the body', () => {
  it.each(['/healthz', '/readyz', '/healthz?verbose'])('%s', async (path) => {
    const got = await send(address, 'GET', path);
    const asked = await send(address, 'HEAD', path);
    expect(got).toMatchObject({ status: 200, headers: { 'content-type': 'application/json' } });
    expect(got.headers['content-length']).toBe(String(got.body.length));
    expect([asked.status, asked.body]).toEqual([200, '']);
    expect(lasting(asked)).toEqual(lasting(got));
  });

  it('/metrics', async () => {
    const got = await send(address, 'GET', '/metrics');
    const asked = await send(address, 'HEAD', '/metrics');
    expect(got.body).toContain('# TYPE postern_decisions_total counter');
    expect([got.status, asked.status, asked.body]).toEqual([200, 200, '']);
    expect(asked.headers['content-type']).toMatch(/^text\/plain; version=0\.0\.4/);
    // Numbers differ from one scrape to the next, and so may their length.
    expect(lasting(asked, 'content-length')).toEqual(lasting(got, 'content-length'));
    expect(Number(asked.headers['content-length'])).toBeGreaterThan(1_000);
  });

  it('of what is not ready, was not found or fails', async () => {
    const waiting = await listening({
      readiness: () => ({ ready: false, checks: { serving: false } }),
    });
    const failing = await listening({
      readiness: () => Promise.reject(new Error('no readiness')),
    });
    for (const [at, path, status] of [
      [waiting, '/readyz', 503],
      [waiting, '/metrics', 503],
      [waiting, '/other', 404],
      [failing, '/readyz', 500],
    ] as const) {
      const got = await send(at, 'GET', path);
      const asked = await send(at, 'HEAD', path);
      expect([got.status, asked.status, asked.body], path).toEqual([status, status, '']);
      expect(lasting(asked), path).toEqual(lasting(got));
    }
  });

  it('a connection goes on after it', async () => {
    const [host = '', port = ''] = address.split(':');
    const socket = connect(Number(port), host);
    onTestFinished(() => void socket.destroy());
    let text = '';
    socket.setEncoding('utf8').on('data', (chunk: string) => void (text += chunk));
    const request = (method: string, more: string): string =>
      `${method} /healthz HTTP/1.1\r\nhost: a\r\n${more}\r\n`;
    socket.write(`${request('HEAD', '')}${request('GET', 'connection: close\r\n')}`);
    await once(socket, 'end');
    expect(text.match(/HTTP\/1\.1 200 OK/g)).toHaveLength(2);
    expect(text.match(/\{"status":"ok"\}/g)).toHaveLength(1);
  });
});

describe('any other method', () => {
  it.each(['/healthz', '/readyz', '/metrics'])('%s says which it takes', async (path) => {
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH']) {
      const { status, headers, body } = await send(address, method, path);
      expect([status, headers['allow']], method).toEqual([405, 'GET, HEAD']);
      expect(JSON.parse(body)).toEqual({ error: 'use GET or HEAD' });
    }
  });

  it('a path that is not there is 404 whatever the method', async () => {
    expect(await send(address, 'POST', '/other')).toMatchObject({ status: 404 });
    expect(await send(address, 'HEAD', '/constructor')).toMatchObject({ status: 404, body: '' });
  });
});
