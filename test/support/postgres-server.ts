/** A real PostgreSQL on a Unix socket in a directory of its own, asked through one `psql` session. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { tied } from './tied.ts';

/** Where packages put the server's programs, a directory for each version. */
const VERSIONS = '/usr/lib/postgresql';

export interface PostgresServer {
  /**
   * Does statements, each for itself.
   * @param as for whom, instead of the superuser
   * @throws PostgresError where the last of them is refused
   */
  query(sql: string, as?: string): Promise<readonly (readonly string[])[]>;
  dispose(): Promise<void>;
}

export class PostgresError extends Error {
  /** SQLSTATE, for example `42501`. */
  readonly code: string;

  constructor(code: string, message: string) {
    super(`${code} ${message}`);
    this.code = code;
  }
}

function programs(): string | undefined {
  if (!existsSync(VERSIONS)) return undefined;
  const versions = readdirSync(VERSIONS).filter((name) =>
    existsSync(join(VERSIONS, name, 'bin', 'initdb')),
  );
  const newest = versions.toSorted((a, b) => Number(b) - Number(a))[0];
  return newest === undefined ? undefined : join(VERSIONS, newest, 'bin');
}

/** Installs PostgreSQL where it is missing. @throws where it cannot be */
export function installPostgres(): void {
  if (programs() !== undefined) return;
  const apt = (...args: string[]): void =>
    void execFileSync('apt-get', ['-q', '-y', ...args], {
      stdio: 'ignore',
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    });
  try {
    apt('update');
    apt('install', '--no-install-recommends', 'postgresql');
  } catch {
    // Said below, with the remedy.
  }
  if (programs() === undefined)
    throw new Error(
      `the tests need PostgreSQL 15 or newer in \`${VERSIONS}\`: install it, as with \`apt-get install postgresql\``,
    );
}

/** The server refuses to run as root: then it runs as a user that owns nothing else. */
function user(): { readonly uid?: number; readonly gid?: number } {
  if (process.getuid?.() !== 0) return {};
  const id = (flag: string): number =>
    Number(execFileSync('id', [flag, 'nobody'], { encoding: 'utf8' }));
  return { uid: id('-u'), gid: id('-g') };
}

export async function startPostgres(): Promise<PostgresServer> {
  const bin = programs();
  if (bin === undefined) throw new Error('PostgreSQL is not installed');
  const who = user();
  const directory = mkdtempSync(join(tmpdir(), 'pg-'));
  if (who.uid !== undefined) chownSync(directory, who.uid, who.gid ?? who.uid);
  const data = join(directory, 'data');
  const options = { ...who, cwd: directory, stdio: 'ignore' as const };
  const init = ['-D', data, '-U', 'admin', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync'];
  execFileSync(join(bin, 'initdb'), init, options);
  const settings = ['-F', '-k', directory, '-c', 'listen_addresses='];
  const server = tied(spawn(join(bin, 'postgres'), ['-D', data, ...settings], options));
  const at = ['-h', directory, '-U', 'admin', '-d', 'postgres'];
  for (let tries = 0; ; tries++) {
    try {
      execFileSync(join(bin, 'pg_isready'), ['-h', directory, '-q'], { stdio: 'ignore' });
      break;
    } catch (error) {
      if (tries === 200) throw error;
      await new Promise((done) => setTimeout(done, 50));
    }
  }
  const psql = tied(
    spawn(
      join(bin, 'psql'),
      [...at, '-X', '-q', '-A', '-t', '-F', '\t', '-v', 'VERBOSITY=verbose'],
      {
        stdio: ['pipe', 'pipe', 'pipe'],
      },
    ),
  );
  const query = session(psql);
  return {
    query,
    async dispose() {
      psql.stdin?.end();
      const ended = once(server, 'exit');
      // Fast shutdown.
      server.kill('SIGINT');
      await ended;
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

const END = '\u0001end\u0001';

/** One question after the other; each answer ends with a line of our own that has the state of the last statement. */
function session(psql: ChildProcess): PostgresServer['query'] {
  let out = '';
  let errors = '';
  let arrived = (): void => {};
  psql.stdout?.setEncoding('utf8').on('data', (text: string) => {
    out += text;
    if (out.includes(END)) arrived();
  });
  psql.stderr?.setEncoding('utf8').on('data', (text: string) => {
    errors += text;
  });
  let last: Promise<unknown> = Promise.resolve();
  const ask = async (sql: string, as?: string): Promise<readonly (readonly string[])[]> => {
    out = '';
    errors = '';
    const answered = new Promise<void>((done) => {
      arrived = done;
    });
    const [before, after] =
      as === undefined
        ? ['', '']
        : [`SET SESSION AUTHORIZATION ${as};\n`, 'RESET SESSION AUTHORIZATION;\n'];
    psql.stdin?.write(`${before}${sql};\n\\set code :SQLSTATE\n${after}\\echo '${END}' :code\n`);
    await answered;
    const [rows = '', state = ''] = out.split(END);
    const code = state.trim();
    if (code !== '00000') throw new PostgresError(code, errors.trim());
    return rows
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => line.split('\t'));
  };
  return (sql, as) => {
    const next = last.then(() => ask(sql, as));
    last = next.catch(() => {});
    return next;
  };
}
