/** Starts the servers that are measured, each a process of its own on a core of its own, and stops them. */
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { build } from 'esbuild';
import { stringify } from 'yaml';
import { tied } from '../test/support/tied.ts';
import type { LoadOptions, SliceRequest, SliceResult } from './load.ts';
import { CATALOG, STATE } from './world.ts';

/** As `npm start` has it. */
export const NODE_FLAGS: readonly string[] = ['--max-semi-space-size=16'];
const SERVER_CORE = 1;
const LOAD_CORE = 0;
const root = resolve(import.meta.dirname, '..');
/** Beside the packages, so that what runs from here finds the same libraries as Postern. */
const cache = join(root, 'node_modules/.cache/postern-bench');

export interface RunningServer {
  readonly pid: number;
  readonly address: string;
  stop(): Promise<void>;
}

/** A directory that is removed when the work is over. */
export async function withDirectory<T>(work: (directory: string) => Promise<T>): Promise<T> {
  const directory = mkdtempSync(join(tmpdir(), 'postern-bench-'));
  try {
    return await work(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

let copied: string | undefined;

/** A copy of the bundle, so that a build in the meantime does not change what is measured. */
function bundle(): string {
  if (copied === undefined) {
    const copy = join(cache, 'dist');
    rmSync(copy, { recursive: true, force: true });
    cpSync(join(root, 'dist'), copy, { recursive: true });
    copied = join(copy, 'postern.js');
  }
  return copied;
}

/** `postern serve` with the bench tenant, as a user would run it. */
export function startPostern(
  directory: string,
  audit: 'off' | 'file' | 'strict',
): Promise<RunningServer> {
  const own = join(directory, `postern-${audit}-${process.hrtime.bigint()}`);
  mkdirSync(own, { recursive: true });
  writeFileSync(join(own, 'actions.yaml'), stringify(CATALOG));
  writeFileSync(join(own, 'roles.yaml'), 'roles: []\n');
  writeFileSync(join(own, 'state.yaml'), stringify(STATE));
  const settings = {
    catalog: 'actions.yaml',
    default_roles: 'roles.yaml',
    store: 'embedded:data',
    grpc: { address: '127.0.0.1:0' },
    http: { address: '127.0.0.1:0' },
    audit: {
      sinks:
        audit === 'off'
          ? []
          : [{ type: 'file', path: 'audit.jsonl', mode: audit === 'strict' ? 'strict' : 'drop' }],
    },
  };
  const config = join(own, 'postern.yaml');
  writeFileSync(config, stringify(settings));
  // The tenant is there before the server is, as on any start but the first.
  const state = join(own, 'state.yaml');
  execFileSync(process.execPath, [bundle(), 'apply', '--config', config, '-f', state]);
  return start([...NODE_FLAGS, bundle(), 'serve', '--config', config]);
}

/** The no-op service, compiled as Postern is. @param answers JSON file of its constant answers */
export async function startNoop(answers: string): Promise<RunningServer> {
  const outfile = join(cache, 'noop-server.mjs');
  await build({
    entryPoints: [join(root, 'bench/noop-server.ts')],
    outfile,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    minify: true,
    packages: 'external',
    logLevel: 'warning',
  });
  return start([...NODE_FLAGS, outfile, answers]);
}

function start(args: readonly string[]): Promise<RunningServer> {
  const child = pinned(SERVER_CORE, args, ['ignore', 'ignore', 'pipe']);
  let text = '';
  return new Promise((ready, failed) => {
    child.once('exit', (code) => failed(new Error(`the server ended with ${code}: ${text}`)));
    child.stderr?.on('data', (bytes: Buffer) => {
      text += bytes.toString();
      const address = /gRPC on (\S+?),?\s/.exec(text)?.[1];
      if (address === undefined) return;
      ready({ pid: child.pid ?? 0, address, stop: () => stop(child) });
    });
  });
}

function stop(child: ChildProcess): Promise<void> {
  return new Promise((stopped) => {
    child.once('exit', () => stopped());
    child.kill('SIGTERM');
  });
}

const taskset = spawnSync('taskset', ['-c', `${SERVER_CORE}`, 'true']).status === 0;

/** Whether servers and load have a core each. */
export const pinnedToCores = taskset;

function pinned(
  core: number,
  args: readonly string[],
  stdio: readonly ('ignore' | 'pipe' | 'inherit')[],
): ChildProcess {
  const command = [process.execPath, ...args];
  const [program = '', ...rest] = taskset ? ['taskset', '-c', `${core}`, ...command] : command;
  return tied(spawn(program, rest, { stdio: [...stdio], cwd: root }));
}

/** A slice of load, and what it cost the server. */
export interface Slice extends SliceResult {
  /** CPU time of the server, seconds. */
  readonly serverCpu: number;
}

export interface Load {
  slice(asked: SliceRequest): Promise<Slice>;
  close(): void;
}

/** Connects a load generator to a server; nothing is asked yet. */
export async function openLoad(server: RunningServer, options: LoadOptions): Promise<Load> {
  const child = pinned(
    LOAD_CORE,
    [join(root, 'bench/load.ts'), JSON.stringify(options)],
    ['pipe', 'pipe', 'inherit'],
  );
  const { stdin, stdout } = child;
  if (stdin === null || stdout === null) throw new Error('the load generator has no pipes');
  const lines = createInterface({ input: stdout })[Symbol.asyncIterator]();
  const line = async (): Promise<string> => {
    const { done, value } = await lines.next();
    if (done === true) throw new Error('the load generator has failed');
    return value;
  };
  await line();
  return {
    async slice(asked): Promise<Slice> {
      const before = cpuSeconds(server.pid);
      stdin.write(`${JSON.stringify(asked)}\n`);
      const result = JSON.parse(await line()) as SliceResult;
      return { ...result, serverCpu: cpuSeconds(server.pid) - before };
    },
    close: () => stdin.end(),
  };
}

/** Several servers under the same load, by name. */
export type Contest<Name extends string> = Readonly<Record<Name, RunningServer>>;

export interface Turns {
  /** How many slices each gets. */
  readonly slices: number;
  readonly ms: number;
  readonly warmUpCalls: number;
}

/**
 * Gives each of the servers a short slice in turn, again and again: a machine that others share is seldom the same
 * for a second, and what is compared must have met the same machine.
 */
export async function inTurns<Name extends string>(
  contest: Contest<Name>,
  load: (address: string) => LoadOptions,
  { slices, ms, warmUpCalls }: Turns,
): Promise<Readonly<Record<Name, readonly Slice[]>>> {
  const loads: { readonly name: Name; readonly load: Load; readonly taken: Slice[] }[] = [];
  try {
    // The keys of a record are its names.
    for (const name of Object.keys(contest) as Name[])
      loads.push({
        name,
        load: await openLoad(contest[name], load(contest[name].address)),
        taken: [],
      });
    for (const one of loads) await one.load.slice({ calls: warmUpCalls });
    for (let turn = 0; turn < slices; turn++) {
      const first = turn % loads.length;
      for (const one of [...loads.slice(first), ...loads.slice(0, first)])
        one.taken.push(await one.load.slice({ ms }));
    }
  } finally {
    for (const one of loads) one.load.close();
  }
  return Object.fromEntries(loads.map(({ name, taken }) => [name, taken])) as Record<Name, Slice[]>;
}

/** What slices of one server come to. */
export interface Measured {
  /** Calls a second. */
  readonly rate: number;
  /** Latencies, ms. */
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  /** CPU time of the server a call, microseconds. */
  readonly serverCpuUs: number;
  /** Of the server's and of the load's core, how much was used. */
  readonly serverLoad: number;
  readonly loadLoad: number;
}

export function summary(slices: readonly Slice[]): Measured {
  const sum = (value: (slice: Slice) => number): number =>
    slices.reduce((total, slice) => total + value(slice), 0);
  const calls = sum((slice) => slice.calls);
  const seconds = sum((slice) => slice.seconds);
  const serverCpu = sum((slice) => slice.serverCpu);
  const latencies = slices.flatMap((slice) => slice.latencies).sort((a, b) => a - b);
  const at = (share: number): number =>
    latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? NaN;
  return {
    rate: calls / seconds,
    p50: at(0.5),
    p99: at(0.99),
    p999: at(0.999),
    serverCpuUs: (serverCpu / calls) * 1e6,
    serverLoad: serverCpu / seconds,
    loadLoad: sum((slice) => slice.loadCpu) / seconds,
  };
}

/** User and system time of a process so far, from Linux's `/proc`, seconds. */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ');
  const ticks = Number(fields[11]) + Number(fields[12]);
  return ticks / 100;
}

/** Resident memory, bytes. */
export function rssBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? NaN) * 1024;
}
