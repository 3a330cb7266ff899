/**
 * The load generator, a process of its own: for each slice that it is asked for, keeps a fixed number of calls in
 * flight over several connections, waits for the last of them, and prints what it saw as JSON. Between slices the
 * connections stay, and nothing is asked. Small calls go as bare frames (`wire.ts`), streams and large messages by
 * Node's HTTP/2 client.
 */
import { connect, constants, type ClientHttp2Session } from 'node:http2';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { openWire } from './wire.ts';

export interface LoadOptions {
  readonly address: string;
  readonly path: string;
  /** JSON file with the base64 of each request message; they are sent in turns. */
  readonly requests: string;
  readonly connections: number;
  readonly inFlight: number;
  readonly by: 'frames' | 'http2' | 'stream';
}

/** A line of standard input: so many calls, or calls for so long. */
export type SliceRequest = { readonly calls: number } | { readonly ms: number };

/** A line of standard output. */
export interface SliceResult {
  readonly calls: number;
  /** Until the last call was answered. */
  readonly seconds: number;
  /** Milliseconds, of every call. */
  readonly latencies: readonly number[];
  /** CPU time of this process, seconds. */
  readonly loadCpu: number;
}

const options = JSON.parse(process.argv[2] ?? '{}') as LoadOptions;
const messages = (JSON.parse(readFileSync(options.requests, 'utf8')) as readonly string[]).map(
  framed,
);

/** A gRPC message on the wire: not compressed, its length, its bytes. */
function framed(base64: string): Buffer {
  const bytes = Buffer.from(base64, 'base64');
  const head = Buffer.alloc(5);
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

function fail(message: string): never {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}

let latencies: number[] = [];
let next = 0;
/** Calls of this slice that may still begin. */
let left = 0;
/** What would ask next, once a slice begins. */
let idle: (() => void)[] = [];
let onIdle: () => void = () => {};

function message(): Buffer {
  next = next + 1 === messages.length ? 0 : next + 1;
  return messages[next] ?? fail('no requests');
}

/** The next call of a lane, now or when the next slice begins. */
function go(ask: () => void): void {
  if (left > 0) {
    left--;
    ask();
    return;
  }
  idle.push(ask);
  if (idle.length === lanes) onIdle();
}

function answered(startedAt: number): void {
  latencies.push(performance.now() - startedAt);
}

const headers = {
  [constants.HTTP2_HEADER_METHOD]: 'POST',
  [constants.HTTP2_HEADER_PATH]: options.path,
  [constants.HTTP2_HEADER_CONTENT_TYPE]: 'application/grpc',
  te: 'trailers',
};

/** One call after the other. */
function unaryLoop(session: ClientHttp2Session): void {
  const startedAt = performance.now();
  const call = session.request(headers);
  let size = 0;
  call.on('data', (bytes: Buffer) => (size += bytes.length));
  call.on('trailers', (trailers) => {
    if (trailers['grpc-status'] !== '0' || size <= 5) fail(`refused: ${JSON.stringify(trailers)}`);
  });
  call.on('response', (fields) => {
    if ((fields['grpc-status'] ?? '0') !== '0') fail(`refused: ${JSON.stringify(fields)}`);
  });
  call.on('end', () => {
    answered(startedAt);
    go(() => unaryLoop(session));
  });
  call.on('error', (error) => fail(`failed: ${error.message}`));
  call.end(message());
}

/** One stream that keeps `inFlight` messages unanswered; answers come in the order of the questions here. */
function streamLoop(session: ClientHttp2Session, inFlight: number): void {
  const call = session.request(headers);
  const asked: number[] = [];
  let first = 0;
  let rest: Buffer = Buffer.alloc(0);
  const ask = (): void => {
    asked.push(performance.now());
    call.write(message());
  };
  call.on('data', (bytes: Buffer) => {
    rest = rest.length === 0 ? bytes : Buffer.concat([rest, bytes]);
    let at = 0;
    while (rest.length - at >= 5) {
      const end = at + 5 + rest.readUInt32BE(at + 1);
      if (end > rest.length) break;
      at = end;
      answered(asked[first++] ?? 0);
      go(ask);
    }
    rest = rest.subarray(at);
    if (first > 10_000) {
      asked.splice(0, first);
      first = 0;
    }
  });
  call.on('error', (error) => fail(`failed: ${error.message}`));
  for (let i = 0; i < inFlight; i++) go(ask);
}

async function openSession(): Promise<ClientHttp2Session> {
  const session = connect(`http://${options.address}`, { settings: { enablePush: false } });
  session.on('error', (error) => fail(`connection: ${error.message}`));
  await new Promise<void>((connected) => session.once('connect', () => connected()));
  return session;
}

/** One call after the other in each of `inFlight` lanes. */
async function frameLoops(inFlight: number): Promise<void> {
  const startedAt = new Map<number, number>();
  let stream = -1;
  const ask = (): void => {
    startedAt.set((stream += 2), performance.now());
    wire.call(message());
  };
  const onAnswer = (id: number): void => {
    answered(startedAt.get(id) ?? NaN);
    startedAt.delete(id);
    go(ask);
  };
  const wire = await openWire(options.address, options.path, onAnswer, fail);
  for (let i = 0; i < inFlight; i++) go(ask);
}

const each = Math.ceil(options.inFlight / options.connections);
const lanes = each * options.connections;
for (let i = 0; i < options.connections; i++)
  if (options.by === 'frames') await frameLoops(each);
  else {
    const session = await openSession();
    if (options.by === 'stream') streamLoop(session, each);
    else for (let lane = 0; lane < each; lane++) go(() => unaryLoop(session));
  }

async function slice(asked: SliceRequest): Promise<SliceResult> {
  latencies = [];
  left = 'calls' in asked ? asked.calls : Infinity;
  const over = new Promise<void>((done) => (onIdle = done));
  const cpu = process.cpuUsage();
  const startedAt = performance.now();
  if ('ms' in asked) setTimeout(() => (left = 0), asked.ms);
  for (const ask of idle.splice(0)) go(ask);
  await over;
  const seconds = (performance.now() - startedAt) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  return { calls: latencies.length, seconds, latencies, loadCpu: (user + system) / 1e6 };
}

process.stdout.write('ready\n');
for await (const line of createInterface({ input: process.stdin }))
  process.stdout.write(`${JSON.stringify(await slice(JSON.parse(line) as SliceRequest))}\n`);
process.exit(0);
