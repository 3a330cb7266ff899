/** The built command as users run it: processes, exit codes, signals. */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PACKAGE_ROOT } from './server.ts';

const COMMAND = join(PACKAGE_ROOT, 'dist/postern.js');

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command to its end. */
export function postern(
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<Ran> {
  const child = launch(args, environment);
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  return new Promise((done) => child.on('close', (code) => done({ code, stdout, stderr })));
}

/** Starts a command. */
export function launch(
  args: readonly string[],
  environment: Readonly<Record<string, string>>,
): ChildProcess {
  return spawn(process.execPath, [COMMAND, ...args], {
    env: { ...withoutPostern(process.env), NO_COLOR: '1', ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

function withoutPostern(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(environment).filter(([name]) => !name.startsWith('POSTERN_')),
  );
}

export interface Serving {
  readonly grpc: string;
  readonly http: string;
  readonly child: ChildProcess;
  readonly directory: string;
  /** Environment that points other commands at the same store and settings. */
  readonly environment: Readonly<Record<string, string>>;
  stderr(): string;
  audit(): string;
  /** Sends a signal and resolves with the exit code. */
  stop(signal?: NodeJS.Signals): Promise<number | null>;
  /** Kills what is left and removes the files. */
  dispose(): Promise<void>;
}

/** Starts `postern serve` on free ports with a store of its own, and waits until it says that it is ready. */
export async function serve(
  args: readonly string[],
  options: {
    readonly settings?: string;
    readonly environment?: Readonly<Record<string, string>>;
  } = {},
): Promise<Serving> {
  const directory = mkdtempSync(join(tmpdir(), 'postern-serve-'));
  const config = join(directory, 'postern.yaml');
  const files = `catalog: ${PACKAGE_ROOT}/config/actions.yaml\ndefault_roles: ${PACKAGE_ROOT}/config/roles.yaml\n`;
  writeFileSync(
    config,
    options.settings ??
      `${files}store: embedded:store\ngrpc: { address: 127.0.0.1:0 }\nhttp: { address: 127.0.0.1:0 }\naudit: { sinks: [{ type: file, path: audit.jsonl }] }\n`,
  );
  const environment = { POSTERN_CONFIG: config, ...options.environment };
  const child = launch(['serve', ...args], environment);
  let stderr = '';
  const exited = new Promise<number | null>((done) => child.on('exit', (code) => done(code)));
  const addresses = await new Promise<RegExpExecArray>((done, failed) => {
    child.stderr?.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
      const found = /gRPC on (\S+), HTTP on (\S+)\n/.exec(stderr);
      if (found !== null) done(found);
    });
    void exited.then((code) => failed(new Error(`it ended with ${String(code)}: ${stderr}`)));
  });
  const [, grpc = '', http = ''] = addresses;
  return {
    grpc,
    http,
    child,
    directory,
    environment: { ...environment, POSTERN_ADDRESS: grpc, POSTERN_HTTP_ADDRESS: http },
    stderr: () => stderr,
    audit: () => readFileSync(join(directory, 'audit.jsonl'), 'utf8'),
    stop(signal = 'SIGTERM'): Promise<number | null> {
      child.kill(signal);
      return exited;
    },
    async dispose(): Promise<void> {
      child.kill('SIGKILL');
      await exited;
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
