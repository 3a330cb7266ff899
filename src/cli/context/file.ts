/** Contexts by name, in a file of the user: where a server is and how it is asked. A token is never kept, only its file. */
import { chmodSync, mkdirSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { stringify } from 'yaml';
import * as z from 'zod';
import { parseAs, readSource } from '../../config/document.ts';
import { errorText } from '../../util/system-error.ts';
import { CliError } from '../kit/output.ts';

const context = z.strictObject({
  address: z.string().optional(),
  tenant: z.string().optional(),
  token_file: z.string().optional(),
  tls: z.boolean().optional(),
  ca: z.string().optional(),
  cert: z.string().optional(),
  key_file: z.string().optional(),
});
const file = z.strictObject({
  current: z.string().optional(),
  contexts: z.record(z.string(), context),
});

export type Context = z.infer<typeof context>;

export interface Contexts {
  /** The one in use; `undefined`: none. */
  readonly current: string | undefined;
  readonly contexts: ReadonlyMap<string, Context>;
}

/** Where the contexts of this user are. */
export function contextsFile(environment: NodeJS.ProcessEnv = process.env): string {
  const base = environment['XDG_CONFIG_HOME'];
  return join(
    base === undefined || base === '' ? join(homedir(), '.config') : base,
    'postern',
    'contexts.yaml',
  );
}

/** None where there is no file. @throws ConfigError where it is malformed, CliError where others may write it */
export function readContexts(at: string = contextsFile()): Contexts {
  const about = statSync(at, { throwIfNoEntry: false });
  if (about === undefined) return { current: undefined, contexts: new Map() };
  // It says where tokens are sent.
  if ((about.mode & 0o022) !== 0)
    throw new CliError(`\`${at}\` may be changed by other users: chmod 600 it`);
  const { current, contexts } = parseAs(readSource(at), file);
  return { current, contexts: new Map(Object.entries(contexts)) };
}

/** Replaces the file at once, for this user alone. @throws CliError */
export function writeContexts({ current, contexts }: Contexts, at: string = contextsFile()): void {
  const text = stringify({
    ...(current === undefined ? {} : { current }),
    contexts: Object.fromEntries(contexts),
  });
  const fresh = `${at}.${process.pid}`;
  try {
    mkdirSync(dirname(at), { recursive: true, mode: 0o700 });
    writeFileSync(fresh, text, { mode: 0o600 });
    chmodSync(fresh, 0o600);
    renameSync(fresh, at);
  } catch (error) {
    throw new CliError(`\`${at}\` cannot be written: ${errorText(error)}`);
  }
}
