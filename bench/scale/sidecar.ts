/** The servers that the scale bench asks, each a process of its own. */
import { spawn } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { tied } from '../../test/support/tied.ts';
import { NODE_FLAGS, rssBytes } from '../servers.ts';
import { touchAll } from './asking.ts';
import { sleep } from './stats.ts';
import { CATALOG_ENTRIES, type Size } from './world.ts';

const root = join(import.meta.dirname, '../..');
/** Beside the packages, so that what runs from here finds the same libraries as Postern. */
const cache = join(root, 'node_modules/.cache/postern-scale/dist');
/** Garbage is collected, and pages are given back, by then. */
const SETTLE_MS = 3_000;

export interface Sidecar {
  readonly pid: number;
  readonly address: string;
  stop(): Promise<void>;
}

/** A copy of the bundle, so that a build in the meantime does not change what is measured. */
export function copyBundle(): void {
  rmSync(cache, { recursive: true, force: true });
  cpSync(join(root, 'dist'), cache, { recursive: true });
}

/** The built server on the bench's Redis, with default settings. */
export function startSidecar(url: string, keyPrefix: string, directory: string): Promise<Sidecar> {
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
  return start(join(cache, 'postern.js'), 'serve', '--config', config);
}

/** The floor of what a revocation takes, on the same Redis. @param channel where it hears of revocations */
export function startBareServer(url: string, channel: string): Promise<Sidecar> {
  return start(join(import.meta.dirname, 'bare-server.ts'), url, channel);
}

async function start(...command: readonly string[]): Promise<Sidecar> {
  const child = tied(
    spawn(process.execPath, [...NODE_FLAGS, ...command], {
      stdio: ['ignore', 'ignore', 'pipe'],
    }),
  );
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
  return {
    pid: child.pid ?? 0,
    address,
    async stop(): Promise<void> {
      child.kill('SIGTERM');
      await exited;
    },
  };
}

export interface Memory {
  /** Bytes of the resident set: ready and not asked yet, some seconds after the last answer, and at most. */
  readonly atStart: number;
  readonly atEnd: number;
  readonly peak: number;
  readonly checksPerSecond: number;
}

/** Asks a server about every user of a tenant. @param onUsers told now and then how many are done */
export async function measureMemory(
  { pid, address }: Sidecar,
  size: Size,
  onUsers: (users: number) => void,
): Promise<Memory> {
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
}

/** The most that the resident set has been, bytes. */
function peakBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? NaN) * 1_024;
}
