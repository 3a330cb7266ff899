/** Who may connect and who may ask: TLS with files that change, client certificates, and callers' tokens. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { copyFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect as connectTcp } from 'node:net';
import { join } from 'node:path';
import {
  Client,
  credentials,
  Metadata,
  status,
  type ChannelCredentials,
  type ServiceError,
} from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Writer } from '../../src/transport/codec/wire.ts';
import { until } from '../support/redis-server.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const SERVICE = '/postern.v1.AuthorizationService';
const STATE = { tenant: 'acme', users: [{ id: 'alice', superuser: true }] };
const RELOAD_MS = 40;

const files = temporaryDirectory();
const at = (name: string): string => join(files, name);
const text = (name: string): Buffer => readFileSync(at(name));
const openssl = (...args: readonly string[]): void =>
  void execFileSync('openssl', args, { stdio: 'ignore' });
const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout'];

/** An authority: `NAME.pem`, `NAME.key`. */
function authority(name: string): void {
  const subject = ['-subj', `/CN=${name}`, '-days', '2', '-out', at(`${name}.pem`)];
  openssl('req', '-x509', ...NEW_KEY, at(`${name}.key`), ...subject);
}

/** A certificate by an authority. */
function certificate(name: string, by: string, days = 2): void {
  const request = at(`${name}.csr`);
  openssl('req', '-new', ...NEW_KEY, at(`${name}.key`), '-subj', `/CN=${name}`, '-out', request);
  writeFileSync(at('names.ext'), 'subjectAltName=IP:127.0.0.1,DNS:localhost\n');
  const signer = ['-CA', at(`${by}.pem`), '-CAkey', at(`${by}.key`), '-CAcreateserial'];
  const extension = ['-extfile', at('names.ext'), '-days', String(days)];
  openssl('x509', '-req', '-in', request, ...signer, ...extension, '-out', at(`${name}.pem`));
}

beforeAll(() => {
  for (const name of ['ca', 'other-ca']) authority(name);
  certificate('server', 'ca');
  certificate('next', 'other-ca');
  certificate('client', 'ca');
  certificate('expired', 'ca', 0);
  certificate('stranger', 'other-ca');
});

/** Puts the files of a server in its place: what is there changes under it. */
function install(cert = 'server', clientCa = 'ca'): void {
  copyFileSync(at(`${cert}.pem`), at('in-use.pem'));
  copyFileSync(at(`${cert}.key`), at('in-use.key'));
  copyFileSync(at(`${clientCa}.pem`), at('in-use-ca.pem'));
}

const TLS = { cert: at('in-use.pem'), key: at('in-use.key'), reload_ms: RELOAD_MS };
const MUTUAL = { ...TLS, client_ca: at('in-use-ca.pem') };

let server: TestServer | undefined;
afterEach(async () => {
  await server?.close();
  server = undefined;
});

/** The address of a server with some settings of `grpc`. */
async function start(grpc: object): Promise<string> {
  server = await startTestServer(STATE, { grpc });
  return server.running.addresses.grpc;
}

/** What trusts an authority, and shows a certificate where one is named. */
function trusting(ca: string, own?: string): ChannelCredentials {
  return own === undefined
    ? credentials.createSsl(text(`${ca}.pem`))
    : credentials.createSsl(text(`${ca}.pem`), text(`${own}.key`), text(`${own}.pem`));
}

function connect(address: string, by: ChannelCredentials = credentials.createInsecure()): Client {
  // Each a connection of its own, that would else be shared.
  return new Client(address, by, {
    'grpc.use_local_subchannel_pool': 1,
    'grpc.ssl_target_name_override': 'localhost',
  });
}

const same = (bytes: Buffer): Buffer => bytes;

function checkOf(id = ''): Buffer {
  const writer = new Writer();
  if (id !== '') writer.string(1, id);
  writer.string(2, 'acme');
  writer.message(3, () => writer.string(2, 'alice'));
  writer.string(6, 'kb:read');
  return writer.finish();
}

interface Sent {
  readonly path?: string;
  readonly bytes?: Buffer;
  readonly authorization?: string;
  readonly deadlineMs?: number;
}

/** The status of one call. */
function call(client: Client, sent: Sent = {}): Promise<number> {
  const { path = `${SERVICE}/Check`, bytes = checkOf(), authorization, deadlineMs = 5_000 } = sent;
  const metadata = new Metadata();
  if (authorization !== undefined) metadata.set('authorization', authorization);
  return new Promise((done) =>
    client.makeUnaryRequest(
      path,
      same,
      same,
      bytes,
      metadata,
      { deadline: Date.now() + deadlineMs },
      (error) => done(error?.code ?? 0),
    ),
  );
}

/** The status of a CheckStream, and how many answers came before it. */
function stream(
  client: Client,
  authorization?: string,
): Promise<{ readonly code: number; readonly answers: number; readonly details: string }> {
  const metadata = new Metadata();
  if (authorization !== undefined) metadata.set('authorization', authorization);
  const opened = client.makeBidiStreamRequest(`${SERVICE}/CheckStream`, same, same, metadata, {
    deadline: Date.now() + 5_000,
  });
  let answers = 0;
  opened.on('data', () => answers++);
  for (const id of ['a', 'b']) opened.write(checkOf(id));
  opened.end();
  return new Promise((done) => {
    opened.on('error', (error) => {
      const { code, details } = error as ServiceError;
      done({ code, answers, details });
    });
    opened.on('end', () => done({ code: 0, answers, details: '' }));
  });
}

/** The status of a call over a new connection. */
async function callOver(address: string, by?: ChannelCredentials, sent?: Sent): Promise<number> {
  const client = connect(address, by);
  try {
    return await call(client, sent);
  } finally {
    client.close();
  }
}

describe('TLS', () => {
  it('is spoken with who trusts its authority, and not in the clear', async () => {
    install();
    const address = await start({ tls: TLS });
    expect(await callOver(address, trusting('ca'))).toBe(0);
    // A certificate is not asked for, and not minded.
    expect(await callOver(address, trusting('ca', 'stranger'))).toBe(0);
    expect(await callOver(address, trusting('other-ca'))).toBe(status.UNAVAILABLE);
    expect(await callOver(address)).toBe(status.UNAVAILABLE);
    const client = connect(address, trusting('ca'));
    expect(await stream(client)).toMatchObject({ code: 0, answers: 2 });
    expect(
      await call(client, { path: '/grpc.health.v1.Health/Check', bytes: Buffer.alloc(0) }),
    ).toBe(0);
    client.close();
  });

  it('takes the first call as soon as it has started', async () => {
    install();
    for (let n = 0; n < 5; n++) {
      const address = await start({ tls: n % 2 === 0 ? TLS : MUTUAL });
      expect(await callOver(address, trusting('ca', 'client'))).toBe(0);
      await server?.close();
      server = undefined;
    }
  });

  it('mutual: only who has a certificate of the right authority', async () => {
    install();
    const address = await start({ tls: MUTUAL });
    expect(await callOver(address, trusting('ca', 'client'))).toBe(0);
    for (const by of [trusting('ca'), trusting('ca', 'stranger'), undefined])
      expect(await callOver(address, by)).toBe(status.UNAVAILABLE);
    for (const path of ['/grpc.health.v1.Health/Check', `${SERVICE}/Check`])
      expect(await callOver(address, trusting('ca', 'stranger'), { path })).toBe(
        status.UNAVAILABLE,
      );
  });

  it('new files are taken up without a restart, and open connections go on', async () => {
    install();
    const address = await start({ tls: MUTUAL });
    const open = connect(address, trusting('ca', 'client'));
    expect(await call(open)).toBe(0);
    install('next', 'other-ca');
    await until(async () => (await callOver(address, trusting('other-ca', 'stranger'))) === 0);
    expect(await callOver(address, trusting('ca', 'client'))).toBe(status.UNAVAILABLE);
    expect(await callOver(address, trusting('other-ca', 'client'))).toBe(status.UNAVAILABLE);
    expect(await call(open)).toBe(0);
    open.close();
  });

  describe('files that cannot be used leave the last good ones in force', () => {
    const spoiled: Readonly<Record<string, () => void>> = {
      'a certificate that is none': () => writeFileSync(at('in-use.pem'), 'garbage'),
      'a certificate that is cut': () =>
        writeFileSync(at('in-use.pem'), text('next.pem').subarray(0, 300)),
      'an empty certificate': () => writeFileSync(at('in-use.pem'), ''),
      'no certificate': () => rmSync(at('in-use.pem')),
      'no key': () => rmSync(at('in-use.key')),
      'a key that is none': () => writeFileSync(at('in-use.key'), 'garbage'),
      'the key of another certificate': () => copyFileSync(at('next.key'), at('in-use.key')),
      'half of a new pair': () => copyFileSync(at('next.pem'), at('in-use.pem')),
      'a pair that has expired': () => install('expired'),
      'authorities that are none': () => writeFileSync(at('in-use-ca.pem'), 'garbage'),
      'authorities that are cut': () =>
        writeFileSync(
          at('in-use-ca.pem'),
          Buffer.concat([text('ca.pem'), text('other-ca.pem').subarray(0, 200)]),
        ),
      'no authorities': () => rmSync(at('in-use-ca.pem')),
      'empty authorities': () => writeFileSync(at('in-use-ca.pem'), ''),
    };
    let address = '';
    let own: TestServer;
    beforeAll(async () => {
      install();
      own = await startTestServer(STATE, { grpc: { tls: MUTUAL } });
      address = own.running.addresses.grpc;
    });
    afterAll(() => own.close());

    it.each(Object.entries(spoiled))('%s', async (_, change) => {
      install();
      change();
      const end = performance.now() + 5 * RELOAD_MS;
      while (performance.now() < end) {
        expect(await callOver(address, trusting('ca', 'client'))).toBe(0);
        expect(await callOver(address, trusting('ca', 'stranger'))).toBe(status.UNAVAILABLE);
      }
    });

    it('and good ones are taken up after them', async () => {
      writeFileSync(at('in-use.pem'), 'garbage');
      await new Promise((done) => setTimeout(done, 3 * RELOAD_MS));
      expect(await callOver(address, trusting('ca', 'client'))).toBe(0);
      install('next', 'ca');
      await until(async () => (await callOver(address, trusting('other-ca', 'client'))) === 0);
    });
  });

  it.each([
    ['cert', 'a certificate that is not there', () => rmSync(at('in-use.pem'))],
    ['key', 'a key that is not there', () => rmSync(at('in-use.key'))],
    ['client_ca', 'authorities that are not there', () => rmSync(at('in-use-ca.pem'))],
    ['', 'a certificate that is none', () => writeFileSync(at('in-use.pem'), 'garbage')],
    ['', 'another’s key', () => copyFileSync(at('next.key'), at('in-use.key'))],
    ['', 'authorities that are none', () => writeFileSync(at('in-use-ca.pem'), 'garbage')],
  ])('does not start with them: grpc.tls.%s: %s', async (field, _, change) => {
    install();
    change();
    const error = await startTestServer(STATE, { grpc: { tls: MUTUAL } }).then(
      () => expect.fail('it started'),
      (refusal: Error) => refusal,
    );
    expect(error.message).toContain(field === '' ? 'grpc.tls: ' : `grpc.tls.${field}: `);
  });
});

describe('grpc.callers', () => {
  const TOKEN = 'caller-0123456789';
  const SECOND = 'second-0123456789';
  const callers = [TOKEN, SECOND].map((token, n) => ({
    name: `service-${n}`,
    token_sha256: createHash('sha256').update(token).digest('hex'),
  }));
  const METHODS = ['Check', 'BatchCheck', 'Filter', 'Explain'];
  const WRONG = [
    undefined,
    '',
    'Bearer',
    'Bearer ',
    TOKEN,
    `Basic ${TOKEN}`,
    `Bearer ${TOKEN}x`,
    `Bearer ${TOKEN.slice(1)}`,
    `Bearer ${TOKEN.toUpperCase()}`,
    `Bearer ${TOKEN} ${TOKEN}`,
    `Bearer ${TOKEN}, Bearer ${TOKEN}`,
    `Bearer ${callers[0]?.token_sha256 ?? ''}`,
    `Bearer ${'x'.repeat(5_000)}`,
  ];

  it('only who has one of their tokens may ask; whoever connects may look at health', async () => {
    const address = await start({ callers });
    const client = connect(address);
    for (const token of [TOKEN, SECOND]) {
      const authorization = `Bearer ${token}`;
      expect(await call(client, { authorization })).toBe(0);
      expect(await call(client, { authorization: `bearer ${token}` })).toBe(0);
      expect(await stream(client, authorization)).toMatchObject({ code: 0, answers: 2 });
    }
    for (const authorization of WRONG) {
      const beside = authorization === undefined ? {} : { authorization };
      for (const method of METHODS)
        expect(
          await call(client, { path: `${SERVICE}/${method}`, ...beside }),
          `${method} ${authorization}`,
        ).toBe(status.UNAUTHENTICATED);
      const refused = await stream(client, authorization);
      expect(refused).toMatchObject({ code: status.UNAUTHENTICATED, answers: 0 });
      expect(refused.details).toContain('grpc.callers');
      expect(refused.details).not.toContain(TOKEN);
      const health = { path: '/grpc.health.v1.Health/Check', bytes: Buffer.alloc(0) };
      expect(await call(client, { ...health, ...beside })).toBe(0);
    }
    client.close();
  });

  it('a token in the place of the second of two proves nobody', async () => {
    const address = await start({ callers });
    const allowed = (answer: Buffer): boolean => answer.includes('the subject is a superuser');
    const good = ['authorization', `Bearer ${TOKEN}`] as const;
    expect(allowed(await rawCall(address, [good]))).toBe(true);
    for (const first of ['Bearer nobody', '', `Bearer ${TOKEN}x`])
      expect(allowed(await rawCall(address, [['authorization', first], good]))).toBe(false);
  });

  it('are asked for beside a client certificate', async () => {
    install();
    const address = await start({ callers, tls: MUTUAL });
    const client = connect(address, trusting('ca', 'client'));
    expect(await call(client)).toBe(status.UNAUTHENTICATED);
    expect(await call(client, { authorization: `Bearer ${TOKEN}` })).toBe(0);
    client.close();
    const stranger = trusting('ca', 'stranger');
    expect(await callOver(address, stranger, { authorization: `Bearer ${TOKEN}` })).toBe(
      status.UNAVAILABLE,
    );
  });
});

/** One Check with headers that no client would send; resolves with all bytes that come back in a while. */
async function rawCall(
  address: string,
  headers: readonly (readonly [string, string])[],
): Promise<Buffer> {
  const frame = (type: number, flags: number, body: Buffer, id = 1): Buffer => {
    const head = Buffer.alloc(9);
    head.writeUIntBE(body.length, 0, 3);
    head.writeUInt8(type, 3);
    head.writeUInt8(flags, 4);
    head.writeUInt32BE(id, 5);
    return Buffer.concat([head, body]);
  };
  const sized = (value: string): Buffer =>
    Buffer.concat([Buffer.from([value.length]), Buffer.from(value)]);
  const fields: readonly (readonly [string, string])[] = [
    [':method', 'POST'],
    [':scheme', 'http'],
    [':path', `${SERVICE}/Check`],
    [':authority', address],
    ['content-type', 'application/grpc'],
    ['te', 'trailers'],
    ...headers,
  ];
  const block = fields.map(([name, value]) =>
    Buffer.concat([Buffer.from([0]), sized(name), sized(value)]),
  );
  const check = checkOf();
  const [host = '', port = ''] = address.split(':');
  const socket = connectTcp(Number(port), host);
  await once(socket, 'connect');
  const got: Buffer[] = [];
  socket.on('data', (bytes: Buffer) => got.push(bytes));
  socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  socket.write(frame(4, 0, Buffer.alloc(0), 0));
  socket.write(frame(1, 4, Buffer.concat(block)));
  socket.write(frame(0, 1, Buffer.concat([Buffer.from([0, 0, 0, 0, check.length]), check])));
  await new Promise((done) => setTimeout(done, 300));
  socket.destroy();
  return Buffer.concat(got);
}
