/** Postern over gRPC against a no-op service with the same library, options and messages. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client, credentials } from '@grpc/grpc-js';
import { batches, checks, decode, filters, SERVICE, type MethodName } from '../messages.ts';
import { median } from '../measure.ts';
import { VARIETY } from '../world.ts';
import {
  assertAnswer,
  time,
  type Row,
  type RunOptions,
  type Scenario,
  type Table,
} from '../scenario.ts';
import type { LoadOptions } from '../load.ts';
import {
  inTurns,
  openLoad,
  rssBytes,
  startNoop,
  startPostern,
  summary,
  withDirectory,
  type Measured,
  type RunningServer,
} from '../servers.ts';

/** Postern's calls a second over those of the no-op service. */
const CHECK_TARGET = 0.85;
/** Postern's resident memory over that of the no-op service. */
const MEMORY_TARGET = 1.3;
/** Many times more questions than are remembered. */
const NEVER_THE_SAME = 20_000;
/**
 * How often all servers are started anew. Of two processes of the same program, one may be a third faster than the
 * other for as long as they live: what is compared is the program.
 */
export const PROCESSES = 5;
/** In each of them, every server gets so many slices of the load, of so many milliseconds. */
export const SLICES = { slices: 12, ms: 200 };
export const QUICK_SLICES = { slices: 3, ms: 150 };
const BATCH = 50;
const FILTER = 1_000;
const CONNECTIONS = 4;
/** Garbage of the start is collected, and pages are given back, by then. */
const SETTLE_MS = 3_000;
const MEMORY_CALLS = 10_000;
/** The engine goes on compiling for some seconds: after 10,000 calls a server is a tenth slower than it will be. */
export const WARM_UP_CALLS = 30_000;

interface Workload {
  readonly scenario: string;
  readonly method: MethodName;
  readonly by: LoadOptions['by'];
  readonly inFlight: number;
  readonly warmUpCalls: number;
  readonly requests: readonly Buffer[];
  readonly target?: number;
}

const WORKLOADS: readonly Workload[] = [
  ...[32, 64].map((inFlight) => ({
    scenario: `Check, ${VARIETY} questions, ${inFlight} in flight`,
    method: 'Check' as const,
    by: 'frames' as const,
    inFlight,
    warmUpCalls: WARM_UP_CALLS,
    requests: checks(),
    target: CHECK_TARGET,
  })),
  {
    scenario: 'Check, never the same, 64 in flight',
    method: 'Check',
    by: 'frames',
    inFlight: 64,
    warmUpCalls: WARM_UP_CALLS,
    requests: checks(NEVER_THE_SAME),
  },
  {
    scenario: 'CheckStream, 64 in flight',
    method: 'CheckStream',
    by: 'stream',
    inFlight: 64,
    warmUpCalls: WARM_UP_CALLS,
    requests: checks(),
  },
  {
    scenario: `BatchCheck of ${BATCH}, 8 in flight`,
    method: 'BatchCheck',
    by: 'http2',
    inFlight: 8,
    warmUpCalls: 500,
    requests: batches(BATCH),
  },
  {
    scenario: `Filter of ${FILTER}, 4 in flight`,
    method: 'Filter',
    by: 'http2',
    inFlight: 4,
    warmUpCalls: 100,
    requests: filters(FILTER),
  },
];

type Contender = 'no-op' | 'Postern, audit to a file' | 'Postern, audit off';
type Servers = Readonly<Record<Contender, RunningServer>>;
/** All contenders, in one set of processes. */
type Round = Readonly<Record<Contender, Measured>>;

export const grpc: Scenario = {
  name: 'grpc',
  run: ({ quick }: RunOptions) =>
    withDirectory(async (directory) => {
      const rounds: Round[][] = WORKLOADS.map(() => []);
      for (let process = 0; process < (quick ? 1 : PROCESSES); process++) {
        const servers = await startAll(directory);
        try {
          for (const [index, workload] of WORKLOADS.entries())
            rounds[index]?.push(await compareServers(workload, servers, directory, quick));
        } finally {
          await stopAll(servers);
        }
      }
      const rows = WORKLOADS.flatMap((workload, index) =>
        CONTENDERS.map((name) => contenderRow(workload, name, rounds[index] ?? [])),
      );
      return { name: 'grpc', rows };
    }),
};

/** Servers that nothing was asked of yet, then the same after some calls. */
export const grpcMemory: Scenario = {
  name: 'grpc-memory',
  run: ({ quick }: RunOptions): Promise<Table> =>
    withDirectory(async (directory) => {
      const servers = await startAll(directory);
      try {
        await sleep(SETTLE_MS);
        const idle = memoryOf(servers);
        for (const server of Object.values(servers)) {
          const load = await openLoad(server, {
            address: server.address,
            path: `${SERVICE}/Check`,
            requests: requestFile(directory, 'memory', checks()),
            connections: CONNECTIONS,
            inFlight: 32,
            by: 'frames',
          });
          await load.slice({ calls: MEMORY_CALLS });
          load.close();
        }
        await sleep(quick ? 0 : SETTLE_MS);
        const after = memoryOf(servers);
        return {
          name: 'grpc-memory',
          rows: CONTENDERS.map((name) => memoryRow(name, idle, after)),
        };
      } finally {
        await stopAll(servers);
      }
    }),
};

const CONTENDERS: readonly Contender[] = [
  'no-op',
  'Postern, audit to a file',
  'Postern, audit off',
];

function memoryOf(servers: Servers): Readonly<Record<Contender, number>> {
  const of = (name: Contender): number => rssBytes(servers[name].pid);
  return {
    'no-op': of('no-op'),
    'Postern, audit to a file': of('Postern, audit to a file'),
    'Postern, audit off': of('Postern, audit off'),
  };
}

function memoryRow(
  scenario: Contender,
  idle: Readonly<Record<Contender, number>>,
  after: Readonly<Record<Contender, number>>,
): Row {
  const idleRatio = idle[scenario] / idle['no-op'];
  const afterRatio = after[scenario] / after['no-op'];
  const cells = {
    'RSS after start': megabytes(idle[scenario]),
    'to no-op': idleRatio.toFixed(2),
    'RSS after 10,000 calls': megabytes(after[scenario]),
    'to no-op then': afterRatio.toFixed(2),
  };
  if (scenario !== 'Postern, audit to a file') return { scenario, cells };
  const met = idleRatio <= MEMORY_TARGET && afterRatio <= MEMORY_TARGET;
  return { scenario, cells, target: { text: `≤ ${MEMORY_TARGET} × no-op`, met } };
}

function megabytes(bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
}

// ── running ───────────────────────────────────────────────────────────────────────────────────────

/** Starts all three; the no-op service answers with what Postern answered to the first request. */
async function startAll(directory: string): Promise<Servers> {
  const postern = await startPostern(directory, 'file');
  let answers: string;
  try {
    answers = await assertedAnswers(postern, directory);
  } finally {
    await postern.stop();
  }
  const started: RunningServer[] = [];
  const starting = async (server: Promise<RunningServer>): Promise<RunningServer> => {
    const running = await server;
    started.push(running);
    return running;
  };
  try {
    return {
      'no-op': await starting(startNoop(answers)),
      'Postern, audit to a file': await starting(startPostern(directory, 'file')),
      'Postern, audit off': await starting(startPostern(directory, 'off')),
    };
  } catch (error) {
    for (const server of started) await server.stop();
    throw error;
  }
}

async function stopAll(servers: Servers): Promise<void> {
  for (const server of Object.values(servers)) await server.stop();
}

async function assertedAnswers(server: RunningServer, directory: string): Promise<string> {
  const client = new Client(server.address, credentials.createInsecure());
  const same = (bytes: Buffer): Buffer => bytes;
  const ask = (method: MethodName, [message]: readonly Buffer[]): Promise<Buffer> =>
    new Promise((answered, failed) =>
      client.makeUnaryRequest(
        `${SERVICE}/${method}`,
        same,
        same,
        message ?? Buffer.alloc(0),
        (error, bytes) =>
          bytes === undefined ? failed(error ?? new Error('no answer')) : answered(bytes),
      ),
    );
  try {
    const check = await ask('Check', checks());
    assertAnswer('Check', decode('Check', check)['reason'], 'REASON_ALLOWED');
    const batch = await ask('BatchCheck', batches(BATCH));
    const results = decode('BatchCheck', batch)['results'];
    const allowed = Array.isArray(results)
      ? results.filter((one: { readonly allowed: boolean }) => one.allowed).length
      : 0;
    assertAnswer('BatchCheck', allowed, BATCH);
    const filtered = await ask('Filter', filters(FILTER));
    const visible = decode('Filter', filtered)['allowed_ids'];
    assertAnswer('Filter', Array.isArray(visible) ? visible.length : 0, 666);
    const file = join(directory, 'answers.json');
    const base64 = (bytes: Buffer): string => bytes.toString('base64');
    writeFileSync(
      file,
      JSON.stringify({
        unary: {
          [`${SERVICE}/Check`]: base64(check),
          [`${SERVICE}/BatchCheck`]: base64(batch),
          [`${SERVICE}/Filter`]: base64(filtered),
        },
        stream: { [`${SERVICE}/CheckStream`]: base64(check) },
      }),
    );
    return file;
  } finally {
    client.close();
  }
}

export function requestFile(directory: string, name: string, messages: readonly Buffer[]): string {
  mkdirSync(directory, { recursive: true });
  const file = join(directory, `${name}.json`);
  writeFileSync(file, JSON.stringify(messages.map((bytes) => bytes.toString('base64'))));
  return file;
}

async function compareServers(
  { method, by, inFlight, warmUpCalls, requests }: Workload,
  servers: Servers,
  directory: string,
  quick: boolean,
): Promise<Round> {
  const file = requestFile(directory, `${method}-${requests.length}`, requests);
  const taken = await inTurns(
    servers,
    (address) => ({
      address,
      path: `${SERVICE}/${method}`,
      requests: file,
      connections: Math.min(CONNECTIONS, inFlight),
      inFlight,
      by,
    }),
    { warmUpCalls, ...(quick ? QUICK_SLICES : SLICES) },
  );
  return {
    'no-op': summary(taken['no-op']),
    'Postern, audit to a file': summary(taken['Postern, audit to a file']),
    'Postern, audit off': summary(taken['Postern, audit off']),
  };
}

function contenderRow(
  { scenario, target }: Workload,
  name: Contender,
  rounds: readonly Round[],
): Row {
  const of = (value: (measured: Measured) => number): number =>
    median(rounds.map((round) => value(round[name])));
  const ratioOf = (value: (measured: Measured) => number): number =>
    median(rounds.map((round) => value(round[name]) / value(round['no-op'])));
  const ratio = ratioOf(({ rate }) => rate);
  const ms = (value: number): string => `${value.toFixed(2)} ms`;
  const percent = (share: number): string => `${(share * 100).toFixed(0)} %`;
  const cells = {
    server: name,
    'calls/s': Math.round(of(({ rate }) => rate)).toLocaleString('en-US'),
    'to no-op': ratio.toFixed(2),
    p50: ms(of(({ p50 }) => p50)),
    p99: ms(of(({ p99 }) => p99)),
    'p99.9': ms(of(({ p999 }) => p999)),
    'CPU a call': time(of(({ serverCpuUs }) => serverCpuUs) * 1_000),
    'CPU to no-op': ratioOf(({ serverCpuUs }) => serverCpuUs).toFixed(2),
    'server / load core': `${percent(of((m) => m.serverLoad))} / ${percent(of((m) => m.loadLoad))}`,
  };
  return target === undefined || name !== 'Postern, audit to a file'
    ? { scenario, cells }
    : { scenario, cells, target: { text: `≥ ${target} × no-op`, met: ratio >= target } };
}

function sleep(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}
