/** The built server on the bench's Redis, with default settings, and a client that asks it about everybody. */
import { spawn } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client, credentials, type ClientDuplexStream } from '@grpc/grpc-js';
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
// A service's entry in a package definition is a map from its methods.
const method = (definition['postern.v1.AuthorizationService'] as ServiceDefinition)['CheckStream'];

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

export interface Sidecar {
  /** Asks about every user of a tenant, one after the other. @param onUsers told now and then how many are done */
  touchAll(size: Size, onUsers: (users: number) => void): Promise<Memory>;
  openStream(): AskingStream;
  /** Asks so many questions a second about a few users, over a connection of its own. */
  startLoad(
    size: Size,
    checksPerSecond: number,
  ): { readonly rate: () => number; readonly stop: () => void };
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
    openStream: () => openStream(address),
    startLoad: (size, checksPerSecond) => startLoad(address, size, checksPerSecond),
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
  readonly stream: ClientDuplexStream<Question, Answer>;
  readonly close: () => void;
}

function open(address: string): Call {
  if (method === undefined) throw new Error('the proto file has no CheckStream');
  const client = new Client(address, credentials.createInsecure());
  // The codec is made from the proto file, which says what these messages are.
  const stream = client.makeBidiStreamRequest(
    method.path,
    method.requestSerialize as (question: Question) => Buffer,
    method.responseDeserialize as (bytes: Buffer) => Answer,
  );
  return {
    stream,
    close(): void {
      stream.end();
      client.close();
    },
  };
}

function question(id: string, { tenant, subject, keyId, action, resource }: Request): Question {
  const { type, id: object, path } = resource;
  return {
    id,
    tenant,
    subject,
    key_id: keyId,
    action,
    resource: { type, id: object, path },
  };
}

function touchAll(address: string, size: Size, onUsers: (users: number) => void): Promise<void> {
  const { stream, close } = open(address);
  let asked = 0;
  let answered = 0;
  const ask = (): void => {
    const n = asked++;
    stream.write(question(String(n), requestOf(size, n)));
  };
  return new Promise<void>((done, failed) => {
    stream.on('error', failed);
    stream.on('data', ({ id, allowed, reason, detail }: Answer) => {
      if (!allowed) failed(new Error(`user ${id} is denied: ${reason} ${detail}`));
      answered++;
      if (answered % 1_000 === 0) onUsers(answered);
      if (asked < size.users) ask();
      else if (answered === size.users) done();
    });
    while (asked < Math.min(IN_FLIGHT, size.users)) ask();
  }).finally(close);
}

function openStream(address: string): AskingStream {
  const { stream, close } = open(address);
  const waiting = new Map<string, (allowed: boolean) => void>();
  let asked = 0;
  stream.on('error', failLoudly);
  stream.on('data', ({ id, allowed }: Answer) => {
    waiting.get(id)?.(allowed);
    waiting.delete(id);
  });
  return {
    ask: (request) =>
      new Promise((done) => {
        const id = String(asked++);
        waiting.set(id, done);
        stream.write(question(id, request));
      }),
    close,
  };
}

function startLoad(
  address: string,
  size: Size,
  checksPerSecond: number,
): ReturnType<Sidecar['startLoad']> {
  const { stream, close } = open(address);
  const users = Math.min(WORKING_SET, Math.floor(size.users / 2));
  const questions = Array.from({ length: users }, (_, n) =>
    question(String(n), requestOf(size, n)),
  );
  let asked = 0;
  let answered = 0;
  const startedAt = performance.now();
  const seconds = (): number => (performance.now() - startedAt) / 1_000;
  stream.on('error', failLoudly);
  stream.on('data', ({ id, allowed, reason }: Answer) => {
    if (!allowed) failLoudly(new Error(`user ${id} of the load is denied: ${reason}`));
    answered++;
  });
  const timer = setInterval(() => {
    const due = Math.floor(seconds() * checksPerSecond);
    while (asked < due && asked - answered < IN_FLIGHT) {
      const next = questions[asked++ % questions.length];
      if (next !== undefined) stream.write(next);
    }
  }, 1);
  return {
    rate: () => answered / seconds(),
    stop(): void {
      clearInterval(timer);
      close();
    },
  };
}

function failLoudly(error: Error): void {
  throw error;
}
