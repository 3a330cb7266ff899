/** Calls of a running server's AdminService: who asks, for which tenant, and what a refusal means. */
import type { ConnectionOptions, Headers } from './client.ts';
import { readText } from './arguments.ts';
import { CliError, EXIT, visible, type Format } from './output.ts';

export interface AdminOptions extends ConnectionOptions {
  readonly output: Format;
  readonly tenant?: string;
  /** The principal on whose behalf the operator acts. */
  readonly as?: string;
  readonly token?: string;
  readonly tokenFile?: string;
  /** Of the context in use: after flags and variables. */
  readonly contextTokenFile?: string;
  readonly contextName?: string;
}

export interface Admin {
  readonly output: Format;
  /** Calls a method for the tenant of the options. @throws AdminError */
  readonly call: <T>(method: string, request: object) => Promise<T>;
  /** Calls a method that is about no tenant, or about one that the request names. @throws AdminError */
  readonly send: <T>(method: string, request: object) => Promise<T>;
  /** Sends messages and returns the one answer; the first names the tenant. @throws AdminError */
  readonly upload: <T>(
    method: string,
    messages: Iterable<object>,
    signal?: AbortSignal,
  ) => Promise<T>;
  /** Messages of a streaming method as they come, until the signal ends them. @throws AdminError */
  watch<T>(method: string, request: object, signal: AbortSignal): AsyncIterable<T>;
  close(): void;
}

/** A call that failed: its message for the user, and its exit code. */
export class AdminError extends CliError {
  /** `NOT_FOUND`, …: the name of the gRPC status. */
  readonly status: string;
  /** The server says so, with its reason; else it may be the connection that failed. */
  readonly isReasoned: boolean;

  constructor(message: string, status: string, isReasoned = false) {
    super(message, REFUSALS.has(status) ? EXIT.refused : EXIT.usage);
    this.status = status;
    this.isReasoned = isReasoned;
  }
}

/** The server understood and says no; everything else is usage, malformed input among it, or transport. */
const REFUSALS: ReadonlySet<string> = new Set([
  'PERMISSION_DENIED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'FAILED_PRECONDITION',
  'ABORTED',
]);

/** A thousand users in one commit take a while. */
const TIMEOUT_MS = 60_000;
/** So does a whole state of a million grants. */
const UPLOAD_TIMEOUT_MS = 600_000;

/** The gRPC client is loaded here: help and completion need none. */
export async function openAdmin(options: AdminOptions): Promise<Admin> {
  const headers = headersOf(options);
  warnOfPlainText(options, headers);
  const { CallError, openService } = await import('./client.ts');
  const service = openService('AdminService', options);
  const explain = (error: unknown): unknown =>
    error instanceof CallError
      ? toAdminError(
          error.status === 'UNAUTHENTICATED'
            ? `${error.message}${tokenStory(options)}`
            : error.message,
          error.status,
          error.isReasoned,
        )
      : error;
  const send = async <T>(method: string, request: object): Promise<T> => {
    try {
      return await service.call<T>(method, request, headers, TIMEOUT_MS);
    } catch (error) {
      throw explain(error);
    }
  };
  return {
    output: options.output,
    call: <T>(method: string, request: object) =>
      send<T>(method, { tenant: tenantOf(options), ...request }),
    send,
    async upload<T>(method: string, messages: Iterable<object>, signal?: AbortSignal): Promise<T> {
      try {
        return await service.upload<T>(method, messages, headers, UPLOAD_TIMEOUT_MS, signal);
      } catch (error) {
        throw explain(error);
      }
    },
    async *watch<T>(method: string, request: object, signal: AbortSignal) {
      const message = { tenant: tenantOf(options), ...request };
      try {
        yield* service.watch<T>(method, message, headers, signal);
      } catch (error) {
        throw explain(error);
      }
    },
    close: () => service.close(),
  };
}

function tenantOf({ tenant }: AdminOptions): string {
  if (tenant !== undefined && tenant !== '') return tenant;
  throw new CliError('no tenant: give --tenant NAME, or set POSTERN_TENANT');
}

function headersOf(options: AdminOptions): Headers {
  const token = tokenOf(options)?.token;
  const actor = actorOf(options.as);
  return {
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    ...(actor === undefined ? {} : { 'postern-actor': actor }),
  };
}

/** A token, and what it was found in. */
interface FoundToken {
  readonly token: string;
  readonly where: string;
}

type TokenOptions = Pick<AdminOptions, 'token' | 'tokenFile' | 'contextTokenFile' | 'contextName'>;

function tokenOf(options: TokenOptions): FoundToken | undefined {
  const found = findToken(options);
  // Checked here, because the library's own error would show the token.
  if (found !== undefined && !/^[\x21-\x7e]+$/.test(found.token))
    throw new CliError(
      `token of ${found.where}: it is empty, or holds a blank or a character that no token has`,
    );
  return found;
}

const TOKEN_VARIABLES = ['POSTERN_TOKEN', 'POSTERN_ADMIN_TOKEN'] as const;

function findToken(options: TokenOptions): FoundToken | undefined {
  const { token, tokenFile, contextTokenFile, contextName = '' } = options;
  if (token !== undefined) return { token, where: '--token' };
  if (tokenFile !== undefined)
    return {
      token: readText('--token-file', tokenFile).trim(),
      where: `--token-file (\`${tokenFile}\`)`,
    };
  for (const where of TOKEN_VARIABLES) {
    const value = process.env[where];
    if (value !== undefined && value !== '') return { token: value, where };
  }
  if (contextTokenFile === undefined) return undefined;
  const where = `the context \`${contextName}\` (\`${contextTokenFile}\`)`;
  return {
    token: readText(`token_file of the context ${contextName}`, contextTokenFile).trim(),
    where,
  };
}

/** Where a token was found or looked for, for whoever was not let in. */
function tokenStory(options: TokenOptions): string {
  const found = findToken(options);
  if (found !== undefined) return ` (the token is that of ${found.where})`;
  const context =
    options.contextName === undefined
      ? 'no context is in use'
      : `the context \`${options.contextName}\` has no token file`;
  return ` (no token was sent: --token, --token-file, POSTERN_TOKEN and POSTERN_ADMIN_TOKEN are not set, and ${context})`;
}

/** The metadata of a caller of decisions: a token that was given for this, never the operator's of the environment. */
export function callerHeaders(options: Pick<AdminOptions, 'token' | 'tokenFile'>): Headers {
  const given = options.token !== undefined || options.tokenFile !== undefined;
  const token = given ? tokenOf(options)?.token : process.env['POSTERN_TOKEN'];
  return token === undefined || token === '' ? {} : { authorization: `Bearer ${token}` };
}

/** Whether something proves who asks: then a command that works without a server too asks the server. */
export function hasToken(options: TokenOptions): boolean {
  const { token, tokenFile, contextTokenFile } = options;
  const variables = TOKEN_VARIABLES.map((name) => process.env[name]);
  return [token, tokenFile, ...variables, contextTokenFile].some(
    (value) => value !== undefined && value !== '',
  );
}

/** `alice` means `user:alice`. Percent-encoded, because metadata is ASCII. */
function actorOf(principal: string | undefined): string | undefined {
  if (principal === undefined || principal === '') return undefined;
  const actor = /^(user|role|workspace):/.test(principal) ? principal : `user:${principal}`;
  return actor.split(':').map(encodeURIComponent).join(':');
}

function warnOfPlainText(options: AdminOptions, headers: Headers): void {
  const { address, tls, ca, cert } = options;
  const isLocal = /^(unix:|127\.|localhost:|\[::1\]:)/.test(address);
  if (isLocal || tls === true || ca !== undefined || cert !== undefined) return;
  if (headers['authorization'] !== undefined)
    process.stderr.write(`warning: the token goes to ${address} in plain text: use --tls\n`);
}

function toAdminError(details: string, status: string, isReasoned: boolean): AdminError {
  const text = details.split('\n').map(visible).join('\n');
  if (status === 'UNIMPLEMENTED') return new AdminError(NOT_SERVED, status);
  return new AdminError(`${text}${REMEDIES[status] ?? ''}`, status, isReasoned);
}

const NOT_SERVED =
  'the server does not serve AdminService: set POSTERN_ADMIN_TOKEN or `admin.enabled` in its settings';

const OUTCOME =
  ' (where this was a write, it is not known whether it was done: send it again with the same --idempotency-key, or look first)';

const REMEDIES: Readonly<Record<string, string>> = {
  UNKNOWN: OUTCOME,
  DEADLINE_EXCEEDED: OUTCOME,
};

interface Page {
  readonly revision: string;
  readonly next_page_token: string;
  readonly [field: string]: unknown;
}

export interface Listed<Item> {
  readonly items: readonly Item[];
  /** All pages as one answer. */
  readonly answer: object;
}

const PAGE_SIZE = 1_000;

/**
 * Follows the pages of a list.
 * @param field where an answer has its items
 * @param limit items at most; of a list that it cuts, a note says so
 */
export async function listAll<Item>(
  call: Admin['call'],
  method: string,
  request: object,
  field: string,
  limit = Number.POSITIVE_INFINITY,
): Promise<Listed<Item>> {
  const items: Item[] = [];
  let page: Page | undefined;
  do {
    const size = Math.min(PAGE_SIZE, limit - items.length);
    page = await call<Page>(method, {
      ...request,
      page_size: size,
      page_token: page?.next_page_token ?? '',
    });
    // The field is repeated in the proto file, of the type that the caller names.
    for (const item of page[field] as readonly Item[]) items.push(item);
  } while (page.next_page_token !== '' && items.length < limit);
  if (page.next_page_token !== '')
    process.stderr.write(`there are more than these ${items.length}: leave --limit out for all\n`);
  const { revision, next_page_token } = page;
  return { items, answer: { revision, [field]: items, next_page_token } };
}
