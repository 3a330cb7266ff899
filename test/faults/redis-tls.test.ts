/**
 * Redis behind TLS that asks for a client certificate. Promise: facts go over a connection that both ends have
 * proven, or over none.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RedisOptions } from '../../src/store/redis/store.ts';
import { ask } from '../support/asking.ts';
import { postern, serve } from '../support/process.ts';
import { put, role, user } from '../support/records.ts';
import { freePort, until } from '../support/redis-server.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';
import { endingWithEach, roomFor, storeFor } from './support.ts';

const ending = endingWithEach();

let directory: string;
let server: ChildProcess;
let url: string;

const at = (name: string): string => join(directory, name);
const text = (name: string): string => readFileSync(at(name), 'utf8');
const openssl = (...args: readonly string[]): void =>
  void execFileSync('openssl', args, { stdio: 'ignore' });

/** An authority: `NAME.pem`, `NAME.key`. */
function authority(name: string): void {
  const subject = ['-subj', `/CN=${name}`, '-days', '2'];
  const key = ['-newkey', 'rsa:2048', '-nodes', '-keyout', at(`${name}.key`)];
  openssl('req', '-x509', ...key, ...subject, '-out', at(`${name}.pem`));
}

/** A certificate by an authority, for names. */
function certificate(name: string, by: string, names: string): void {
  const request = at(`${name}.csr`);
  const key = ['-newkey', 'rsa:2048', '-nodes', '-keyout', at(`${name}.key`)];
  openssl('req', '-new', ...key, '-subj', `/CN=${name}`, '-out', request);
  writeFileSync(at(`${name}.ext`), `subjectAltName=${names}\n`);
  const signer = ['-CA', at(`${by}.pem`), '-CAkey', at(`${by}.key`), '-CAcreateserial'];
  const extension = ['-extfile', at(`${name}.ext`), '-days', '2'];
  openssl('x509', '-req', '-in', request, ...signer, ...extension, '-out', at(`${name}.pem`));
}

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'postern-tls-'));
  authority('ca');
  authority('other-ca');
  certificate('redis', 'ca', 'IP:127.0.0.1,DNS:redis.test');
  certificate('client', 'ca', 'DNS:client.test');
  certificate('stranger', 'other-ca', 'DNS:client.test');
  const port = await freePort();
  const lines = [
    'port 0',
    `tls-port ${port}`,
    'bind 127.0.0.1',
    'save ""',
    `dir ${directory}`,
    `tls-cert-file ${at('redis.pem')}`,
    `tls-key-file ${at('redis.key')}`,
    `tls-ca-cert-file ${at('ca.pem')}`,
    'tls-auth-clients yes',
  ];
  writeFileSync(at('redis.conf'), `${lines.join('\n')}\n`);
  server = spawn('redis-server', [at('redis.conf')], { stdio: 'ignore' });
  await until(
    () =>
      new Promise<boolean>((done) => {
        const socket = connect(port, '127.0.0.1', () => done(true));
        socket.on('connect', () => socket.destroy()).on('error', () => done(false));
      }),
  );
  url = `rediss://127.0.0.1:${port}`;
});
afterAll(async () => {
  server.kill('SIGKILL');
  await once(server, 'exit');
  rmSync(directory, { recursive: true, force: true });
});

const CLIENT = (): RedisOptions['tls'] => ({
  ca: text('ca.pem'),
  cert: text('client.pem'),
  key: text('client.key'),
});

describe('rediss:// with client certificates', () => {
  it('commits, reads, follows and hears hints', async () => {
    const writer = storeFor(ending, url, { tls: CLIENT() });
    await put(writer, 't', role('reader', ['doc:read']), user('alice', { roles: ['reader'] }));
    const room = roomFor(ending, storeFor(ending, url, { tls: CLIENT() }));
    expect(await ask(room, { user: 'alice' })).toBe('ALLOWED@1');
    await put(writer, 't', user('alice'));
    await until(async () => (await ask(room, { user: 'alice' })) === 'NO_GRANT@2', 5_000);
    expect(room.errors).toEqual([]);
  });

  it('the name that the server must prove may be another than its address', async () => {
    const tls = { ...CLIENT(), serverName: 'redis.test' };
    expect(await storeFor(ending, url, { tls }).tenants()).toEqual(['t']);
  });

  it.each<[string, () => RedisOptions['tls'], RegExp]>([
    [
      'a server of an authority that is not trusted',
      () => ({ ...CLIENT(), ca: text('other-ca.pem') }),
      /certificate/i,
    ],
    [
      'a server, where no authority is named',
      () => ({ cert: text('client.pem'), key: text('client.key') }),
      /certificate/i,
    ],
    [
      'a server that proves another name',
      () => ({ ...CLIENT(), serverName: 'else.test' }),
      /else\.test/,
    ],
    [
      'us without a certificate',
      () => ({ ca: text('ca.pem') }),
      /certificate required|closed|reset/i,
    ],
    [
      'us with a certificate of another authority',
      () => ({ ...CLIENT(), cert: text('stranger.pem'), key: text('stranger.key') }),
      /unknown ca|certificate|closed|reset/i,
    ],
  ])('%s: refused, and the cause is told', async (_, tls, cause) => {
    const problems: string[] = [];
    const store = storeFor(ending, url, {
      tls: tls(),
      connectTimeoutMs: 1_000,
      onProblem: (problem) => void problems.push(problem),
    });
    await expect(store.tenants()).rejects.toThrow(/cannot be reached within 1000 ms/);
    expect(problems.join('\n')).toMatch(cause);
  });

  it('redis:// to a port that speaks TLS is refused', async () => {
    const plain = storeFor(ending, url.replace('rediss:', 'redis:'), { connectTimeoutMs: 500 });
    await expect(plain.tenants()).rejects.toThrow(/cannot be reached/);
  });
});

describe('the settings', () => {
  it('name files beside themselves', async () => {
    const settings = (ca: string): string =>
      `catalog: ${PACKAGE_ROOT}/config/actions.yaml\ndefault_roles: ${PACKAGE_ROOT}/config/roles.yaml\nstore: ${url}\nredis: { tls: { ca: ${at(ca)}, cert: ${at('client.pem')}, key: ${at('client.key')} } }\ngrpc: { address: 127.0.0.1:0 }\nhttp: { address: 127.0.0.1:0 }\naudit: { sinks: [] }\n`;
    const serving = await serve([], { settings: settings('ca.pem') });
    ending.add(serving, (one) => one.dispose());
    expect((await fetch(`http://${serving.http}/readyz`)).status).toBe(200);
    expect(serving.stderr()).toContain('is ready');
    expect(serving.stderr()).not.toContain('PRIVATE KEY');
    writeFileSync(at('postern.yaml'), settings('missing.pem'));
    const ran = await postern(['serve', '--config', at('postern.yaml')]);
    expect(ran.code).not.toBe(0);
    expect(ran.stderr).toMatch(/redis\.tls\.ca: .*missing\.pem` cannot be read/);
  });
});
