/** The built server on the bench's Redis, with default settings, and a client that asks it about everybody. */
import { spawn } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, constants } from 'node:http2';
import { join } from 'node:path';
import { loadSync, type ServiceDefinition } from '@grpc/proto-loader';
import { stringify } from 'yaml';
import type { Request } from '../../src/engine/model.ts';
import { NODE_FLAGS, rssBytes } from '../servers.ts';
import { sleep } from './stats.ts';
import { CATALOG_ENTRIES, requestOf, type Size } from './world.ts';

const root = join(import.meta.dirname, '../..');
/** Beside the packages, so that what runs from here finds the same libraries as Postern. */
const cache = join(root, 'node_modules/.cache/postern-scale/dist');
/** Below `limits.stream_in_flight`. */
const IN_FLIGHT = 200;
/** Garbage is collected, and pages are given back, by then. */
const SETTLE_MS = 3_000;
/** Before each message of gRPC: whether it is compressed, and its length. */
const HEAD_BYTES = 5;
/** Users that the load asks about. */
const WORKING_SET = 1_000;

interface Answer {
  readonly id: string;
  readonly allowed: boolean;
  readonly reason: string;
  readonly detail: string;
}

interface Question {
  readonly id: string;
  readonly tenant: string;
  readonly subject: { readonly type: string; readonly id: string } | undefined;
  readonly key_id: string | undefined;
  readonly action: string;
  readonly resource: object;
}

const definition = loadSync('postern/v1/authorization.proto', {
  includeDirs: [join(root, 'proto')],
  keepCase: true,
  defaults: true,
  longs: Number,
  enums: String,
});

/** CheckStream, and its messages. */
interface CheckStream {
  readonly path: string;
  readonly requestSerialize: (question: Question) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => Answer;
}

// A service's entry in a package definition is a map from its methods, whose codec is made from the proto file: that
// says what these messages are.
const checkStream = (definition['postern.v1.AuthorizationService'] as ServiceDefinition)[
  'CheckStream'
] as unknown as CheckStream;

export interface Memory {
  /** Bytes of the resident set: ready and not asked yet, some seconds after the last answer, and at most. */
  readonly atStart: number;
  readonly atEnd: number;
  readonly peak: number;
  readonly checksPerSecond: number;
}

export interface AskingStream {
  ask(request: Request): Promise<boolean>;
  close(): void;
}

export interface ServerLoad {
  /** Checks a second so far, everybody's. */
  readonly rate: () => number;
  readonly stop: () => void;
}

export interface Sidecar {
  /** Asks about every user of a tenant, one after the other. @param onUsers told now and then how many are done */
  touchAll(size: Size, onUsers: (users: number) => void): Promise<Memory>;
  openStream(): AskingStream;
  /** Sees to it that so many questions a second are asked, by asking about a few users what others do not ask. */
  startLoad(size: Size, checksPerSecond: number): ServerLoad;
  stop(): Promise<void>;
}

/** A copy of the bundle, so that a build in the meantime does not change what is measured. */
export function copyBundle(): void {
  rmSync(cache, { recursive: true, force: true });
  cpSync(join(root, 'dist'), cache, { recursive: true });
}

export async function startSidecar(
  url: string,
  keyPrefix: string,
  directory: string,
): Promise<Sidecar> {
  const own = join(directory, `sidecar-${process.hrtime.bigint()}`);
  mkdirSync(own, { recursive: true });
  const config = join(own, 'postern.yaml');
  writeFileSync(join(own, 'actions.yaml'), stringify(CATALOG_ENTRIES));
  writeFileSync(join(own, 'roles.yaml'), 'roles: []\n');
  const settings = {
    catalog: 'actions.yaml',
    default_roles: 'roles.yaml',
    store: url,
    redis: { key_prefix: keyPrefix },
    grpc: { address: '127.0.0.1:0' },
    http: { address: '127.0.0.1:0' },
  };
  writeFileSync(config, stringify(settings));
  const command = [...NODE_FLAGS, join(cache, 'postern.js'), 'serve', '--config', config];
  const child = spawn(process.execPath, command, { stdio: ['ignore', 'ignore', 'pipe'] });
  const exited = new Promise<number | null>((done) => child.once('exit', (code) => done(code)));
  let text = '';
  const address = await new Promise<string>((done, failed) => {
    child.stderr.on('data', (bytes: Buffer) => {
      text += bytes.toString();
      const found = /gRPC on (\S+?),?\s/.exec(text)?.[1];
      if (found !== undefined) done(found);
    });
    void exited.then((code) => failed(new Error(`the server ended with ${String(code)}: ${text}`)));
  });
  const pid = child.pid ?? 0;
  const asked = { byOthers: 0 };
  return {
    async touchAll(size, onUsers): Promise<Memory> {
      await sleep(SETTLE_MS / 3);
      const atStart = rssBytes(pid);
      const startedAt = performance.now();
      await touchAll(address, size, onUsers);
      const took = (performance.now() - startedAt) / 1_000;
      await sleep(SETTLE_MS);
      return {
        atStart,
        atEnd: rssBytes(pid),
        peak: peakBytes(pid),
        checksPerSecond: size.users / took,
      };
    },
    openStream: () => openStream(address, () => asked.byOthers++),
    startLoad: (size, checksPerSecond) =>
      startLoad(address, size, checksPerSecond, () => asked.byOthers),
    async stop(): Promise<void> {
      child.kill('SIGTERM');
      await exited;
    },
  };
}

/** The most that the resident set has been, bytes. */
function peakBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? NaN) * 1_024;
}

interface Call {
  ask(message: Buffer): void;
  close(): void;
}

/**
 * A CheckStream by Node's HTTP/2: a gRPC client would need as much of the processor as the server does, and what is
 * measured would wait for it.
 */
function open(address: string, onAnswer: (answer: Answer) => void): Call {
  const session = connect(`http://${address}`);
  const stream = session.request({
    [constants.HTTP2_HEADER_METHOD]: 'POST',
    [constants.HTTP2_HEADER_PATH]: checkStream.path,
    [constants.HTTP2_HEADER_CONTENT_TYPE]: 'application/grpc',
    te: 'trailers',
  });
  let rest: Buffer = Buffer.alloc(0);
  session.on('error', failLoudly);
  stream.on('error', failLoudly);
  stream.on('trailers', ({ 'grpc-status': status, 'grpc-message': message }) => {
    if (status !== '0')
      failLoudly(new Error(`the stream ended: ${String(status)} ${String(message)}`));
  });
  stream.on('data', (bytes: Buffer) => {
    rest = rest.length === 0 ? bytes : Buffer.concat([rest, bytes]);
    let at = 0;
    while (rest.length - at >= HEAD_BYTES) {
      const end = at + HEAD_BYTES + rest.readUInt32BE(at + 1);
      if (end > rest.length) break;
      onAnswer(checkStream.responseDeserialize(rest.subarray(at + HEAD_BYTES, end)));
      at = end;
    }
    rest = rest.subarray(at);
  });
  return {
    ask: (message) => void stream.write(message),
    close(): void {
      stream.end();
      session.close();
    },
  };
}

/** A question on the wire: not compressed, its length, its bytes. */
function framed(id: string, { tenant, subject, keyId, action, resource }: Request): Buffer {
  const { type, id: object, path } = resource;
  const message = checkStream.requestSerialize({
    id,
    tenant,
    subject,
    key_id: keyId,
    action,
    resource: { type, id: object, path },
  });
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

function touchAll(address: string, size: Size, onUsers: (users: number) => void): Promise<void> {
  let asked = 0;
  let answered = 0;
  return new Promise<void>((done) => {
    const stream = open(address, ({ id, allowed, reason, detail }) => {
      if (!allowed) failLoudly(new Error(`user ${id} is denied: ${reason} ${detail}`));
      answered++;
      if (answered % 1_000 === 0) onUsers(answered);
      if (asked < size.users) ask();
      else if (answered === size.users) {
        stream.close();
        done();
      }
    });
    const ask = (): void => {
      const n = asked++;
      stream.ask(framed(String(n), requestOf(size, n)));
    };
    while (asked < Math.min(IN_FLIGHT, size.users)) ask();
  });
}

function openStream(address: string, onAsk: () => void): AskingStream {
  const waiting = new Map<string, (allowed: boolean) => void>();
  let asked = 0;
  const stream = open(address, ({ id, allowed }) => {
    waiting.get(id)?.(allowed);
    waiting.delete(id);
  });
  return {
    ask: (request) =>
      new Promise((done) => {
        const id = String(asked++);
        waiting.set(id, done);
        onAsk();
        stream.ask(framed(id, request));
      }),
    close: () => stream.close(),
  };
}

function startLoad(
  address: string,
  size: Size,
  checksPerSecond: number,
  askedByOthers: () => number,
): ServerLoad {
  const users = Math.min(WORKING_SET, Math.floor(size.users / 2));
  const questions = Array.from({ length: users }, (_, n) => framed(String(n), requestOf(size, n)));
  let asked = 0;
  let answered = 0;
  const stream = open(address, ({ id, allowed, reason }) => {
    if (!allowed) failLoudly(new Error(`user ${id} of the load is denied: ${reason}`));
    answered++;
  });
  const startedAt = performance.now();
  const before = askedByOthers();
  const seconds = (): number => (performance.now() - startedAt) / 1_000;
  const byOthers = (): number => askedByOthers() - before;
  const timer = setInterval(() => {
    const due = Math.floor(seconds() * checksPerSecond) - byOthers();
    while (asked < due && asked - answered < IN_FLIGHT) {
      const next = questions[asked++ % questions.length];
      if (next !== undefined) stream.ask(next);
    }
  }, 1);
  return {
    rate: () => (answered + byOthers()) / seconds(),
    stop(): void {
      clearInterval(timer);
      stream.close();
    },
  };
}

function failLoudly(error: Error): void {
  throw error;
}
