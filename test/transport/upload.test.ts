/**
 * An `Apply` that does not end commits nothing (CONS-5): whole uploads are cut at random byte positions, by a
 * cancellation, by a reset or a close of the connection, and by SIGKILL of the process that sends.
 * POSTERN_CUTS sets how many; without it 300.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect as connectHttp2, constants } from 'node:http2';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { launch, serve, type Serving } from '../support/process.ts';
import { methodsOf } from '../support/proto.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { ended } from '../support/upload.ts';
import { until } from '../support/redis-server.ts';

const TOKEN = 'operator-0123456789-0123456789';
const CUTS = Number(process.env['POSTERN_CUTS'] ?? 300);
const PATH = '/postern.v1.AdminService/Apply';

const STATE = {
  tenant: 'acme',
  users: [{ id: 'root', superuser: true }, { id: 'alice' }, { id: 'bob' }],
};
/** Lists one user more: applied, it is another revision. */
const WANTED = stringify({ ...STATE, users: [...STATE.users, { id: 'zoe' }] });

/** The messages of a whole upload as they travel in the body of the call. */
function bodyOf(text: string, flags: object): Buffer {
  const { Apply } = methodsOf('AdminService');
  if (Apply === undefined) throw new Error('there is no Apply');
  const bytes = Buffer.from(text);
  const middle = Math.floor(bytes.length / 2);
  const pieces = ended([
    { tenant: 'acme', ...flags, chunk: bytes.subarray(0, middle) },
    { chunk: bytes.subarray(middle) },
  ]);
  return Buffer.concat(
    pieces.map((message) => {
      const encoded = Apply.requestSerialize(message);
      const head = Buffer.alloc(5);
      head.writeUInt32BE(encoded.length, 1);
      return Buffer.concat([head, encoded]);
    }),
  );
}

const HEADERS = {
  ':method': 'POST',
  ':path': PATH,
  'content-type': 'application/grpc',
  te: 'trailers',
  authorization: `Bearer ${TOKEN}`,
};

/** What a client sends to an address, and what it is answered. */
async function sendWhole(address: string, body: Buffer): Promise<string> {
  const session = connectHttp2(`http://${address}`);
  try {
    const stream = session.request(HEADERS);
    const status = new Promise<string>((done, failed) => {
      stream.on('trailers', (trailers) => done(String(trailers['grpc-status'])));
      stream.on('response', (headers) => {
        const early = headers['grpc-status'];
        if (early !== undefined) done(String(early));
      });
      stream.on('error', failed);
    });
    stream.resume();
    stream.end(body);
    return await status;
  } finally {
    session.close();
  }
}

/** All bytes that a client sends for a whole call, up to the frame that ends its stream, that frame included. */
async function recorded(address: string, body: Buffer): Promise<Buffer> {
  const pieces: Buffer[] = [];
  const [host = '', port = ''] = address.split(':');
  const proxy = createServer((socket) => {
    const server = connect(Number(port), host);
    socket.on('data', (bytes) => pieces.push(bytes));
    socket.pipe(server).pipe(socket);
    for (const one of [socket, server]) one.on('error', () => {});
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const { port: own } = proxy.address() as AddressInfo;
  expect(await sendWhole(`127.0.0.1:${own}`, body)).toBe('0');
  proxy.close();
  const all = Buffer.concat(pieces);
  const PREFACE = 24;
  const END_STREAM = 1;
  for (let at = PREFACE; at < all.length;) {
    const end = at + 9 + all.readUIntBE(at, 3);
    const isData = all[at + 3] === 0;
    if (isData && ((all[at + 4] ?? 0) & END_STREAM) !== 0) return all.subarray(0, end);
    at = end;
  }
  return expect.fail('the stream had no end');
}

/** Sends so many bytes on a connection of its own, and cuts it. */
async function cutConnection(
  address: string,
  bytes: Buffer,
  cut: (socket: Socket) => void,
): Promise<void> {
  const [host = '', port = ''] = address.split(':');
  const socket = connect(Number(port), host);
  socket.on('error', () => {});
  await once(socket, 'connect');
  await new Promise<void>((done) => socket.write(bytes, () => done()));
  // Else nothing of it might have been read when the reset comes.
  await new Promise((done) => setTimeout(done, Math.random() * 6));
  cut(socket);
  await once(socket, 'close');
}

/** Sends so many bytes of the body, and cancels the call. */
async function cancelled(address: string, body: Buffer): Promise<void> {
  const session = connectHttp2(`http://${address}`);
  session.on('error', () => {});
  const stream = session.request(HEADERS);
  stream.on('error', () => {});
  stream.resume();
  await new Promise<void>((done) => stream.write(body, () => done()));
  stream.close(constants.NGHTTP2_CANCEL);
  await once(stream, 'close');
  // The frame is out before the connection goes.
  await new Promise<void>((done) => session.close(() => done()));
}

/** A process that sends so many bytes and is killed while it holds the connection. */
async function killed(address: string, bytes: Buffer, file: string): Promise<void> {
  writeFileSync(file, bytes);
  const script = `exec 3<>/dev/tcp/${address.replace(':', '/')}; cat ${file} >&3; echo sent; read -r _`;
  const child = spawn('bash', ['-c', script], { stdio: ['pipe', 'pipe', 'ignore'] });
  await once(child.stdout, 'data');
  child.kill('SIGKILL');
  await once(child, 'exit');
}

describe('an upload that is cut', () => {
  let server: Serving;

  /** The revisions that the audit log tells of applied states, dry runs included. */
  const applied = (): number[] =>
    server
      .audit()
      .split('\n')
      .filter((line) => /"operation":"state.apply"/.test(line) && /"allowed":true/.test(line))
      .map((line) => (JSON.parse(line) as { readonly revision: number }).revision);

  beforeAll(async () => {
    const directory = temporaryDirectory();
    const state = join(directory, 'state.yaml');
    writeFileSync(state, stringify(STATE));
    server = await serve(['--state', state], { environment: { POSTERN_ADMIN_TOKEN: TOKEN } });
  });
  afterAll(() => server.dispose());

  it('CONS-5: commits nothing, wherever it is cut, and however; whole, the same bytes commit', async () => {
    const directory = temporaryDirectory();
    const body = bodyOf(WANTED, { prune: true });
    const bytes = await recorded(server.grpc, body);
    expect(await sendWhole(server.grpc, bodyOf(stringify(STATE), { prune: true }))).toBe('0');
    await until(() => applied().length === 2);
    expect(applied()).toEqual([2, 3]);
    /** A random position, every other one near the end. */
    const position = (length: number): number => {
      const range = Math.random() < 0.5 ? length : Math.min(length, 120);
      return length - 1 - Math.floor(Math.random() * range);
    };
    const cuts = [
      // All of the body, the closing message too, and no end of the stream, is a cut as well.
      () => cancelled(server.grpc, body.subarray(0, position(body.length + 1) || 1)),
      () =>
        cutConnection(server.grpc, bytes.subarray(0, position(bytes.length)), (socket) =>
          socket.resetAndDestroy(),
        ),
      () =>
        cutConnection(server.grpc, bytes.subarray(0, position(bytes.length)), (socket) =>
          socket.destroy(),
        ),
      (index: number) =>
        killed(
          server.grpc,
          bytes.subarray(0, position(bytes.length)),
          join(directory, String(index % 8)),
        ),
    ];
    const PARALLEL = 8;
    for (let done = 0; done < CUTS; done += PARALLEL)
      await Promise.all(
        Array.from({ length: PARALLEL }, (_unused, index) =>
          Promise.resolve(cuts[(done + index) % cuts.length]?.(index)),
        ),
      );
    // The control: the server still takes a whole upload, and it is the only one that was applied.
    expect(await sendWhole(server.grpc, body)).toBe('0');
    await until(() => applied().length > 2);
    expect(applied()).toEqual([2, 3, 4]);
  }, 600_000);

  it('CONS-5: a pause in the middle of it, and SIGINT to the command: not applied, exit code 2', async () => {
    const [host = '', port = ''] = server.grpc.split(':');
    // Lets through so much of what the command sends, and no more.
    const proxy = createServer((socket) => {
      const upstream = connect(Number(port), host);
      let left = 200_000;
      socket.on('data', (chunk: Buffer) => {
        if (left > 0) upstream.write(chunk.subarray(0, left));
        left -= chunk.length;
        if (left <= 0) socket.pause();
      });
      upstream.pipe(socket);
      for (const one of [socket, upstream]) one.on('error', () => {});
    });
    proxy.listen(0, '127.0.0.1');
    await once(proxy, 'listening');
    const file = join(temporaryDirectory(), 'large.json');
    const users = Array.from({ length: 100_000 }, (_unused, index) => ({ id: `user-${index}` }));
    writeFileSync(file, JSON.stringify({ tenant: 'acme', users: [...STATE.users, ...users] }));
    const { port: own } = proxy.address() as AddressInfo;
    const child = launch(['apply', '-f', file, '--prune'], {
      POSTERN_ADDRESS: `127.0.0.1:${own}`,
      POSTERN_ADMIN_TOKEN: TOKEN,
    });
    let stderr = '';
    child.stderr?.on('data', (text: Buffer) => (stderr += text.toString()));
    const socket = new Promise<Socket>((done) => proxy.once('connection', done));
    await socket;
    await new Promise((done) => setTimeout(done, 300));
    child.kill('SIGINT');
    const [code] = (await once(child, 'exit')) as [number];
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: expect.stringContaining('the state of acme was not applied') as string,
    });
    proxy.close();
  });
});
