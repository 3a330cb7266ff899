/** The built command as users run it: processes, exit codes, signals. */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PACKAGE_ROOT } from './package-root.ts';
import { tied } from './tied.ts';

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

export interface Watched {
  readonly child: ChildProcess;
  stdout(): string;
  stderr(): string;
  /** Sends SIGINT, as a user does, and resolves with the exit code. */
  stop(): Promise<number | null>;
}

/** A command that goes on until it is stopped. */
export function watch(
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Watched {
  const child = launch(args, environment, 'pipe');
  let stdout = '';
  let stderr = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const closed = new Promise<number | null>((done) => child.on('close', (code) => done(code)));
  return {
    child,
    stdout: () => stdout,
    stderr: () => stderr,
    stop(): Promise<number | null> {
      child.kill('SIGINT');
      return closed;
    },
  };
}

/** Starts a command. */
export function launch(
  args: readonly string[],
  environment: Readonly<Record<string, string>>,
  stdin: 'ignore' | 'pipe' = 'ignore',
): ChildProcess {
  return tied(
    spawn(process.execPath, [COMMAND, ...args], {
      // Nobody's own contexts.
      env: {
        ...withoutPostern(process.env),
        NO_COLOR: '1',
        XDG_CONFIG_HOME: '/nonexistent',
        ...environment,
      },
      stdio: [stdin, 'pipe', 'pipe'],
    }),
  );
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
