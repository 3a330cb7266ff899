/** A gRPC client from the proto files: the command line meets the server as any other client does. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  credentials,
  loadPackageDefinition,
  Metadata,
  status,
  type ChannelCredentials,
  type Client,
  type ClientReadableStream,
  type ClientWritableStream,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { addressProblem } from '../../util/address.ts';
import { quietGrpc } from '../../util/quiet-grpc.ts';
import { errorText } from '../../util/system-error.ts';
import { callFailure } from './no-answer.ts';
import { CliError, visible } from './output.ts';

/** Where the server is, and how it is spoken to. */
export interface ConnectionOptions {
  /** `host:port` or `unix:/path`. */
  readonly address: string;
  readonly packageRoot: string;
  readonly tls?: boolean;
  /** PEM file of the authorities to trust; it and the next two imply `tls`. */
  readonly ca?: string;
  /** PEM file of the client certificate. */
  readonly cert?: string;
  /** PEM file of its key. */
  readonly keyFile?: string;
}

export interface CheckResponse {
  readonly id: string;
  readonly allowed: boolean;
  readonly reason: string;
  readonly detail: string;
  readonly decision_id: string;
  readonly revision: string;
  readonly age_ms: string;
  readonly shadow: { readonly allowed: boolean; readonly differs: boolean } | null;
}

export interface ExplainResponse {
  readonly check: CheckResponse;
  readonly layers: readonly {
    readonly name: string;
    readonly verdict: string;
    readonly summary: string;
    readonly facts: readonly { kind: string; text: string; chain: readonly string[] }[];
  }[];
  readonly missing: readonly { readonly kind: string; readonly text: string }[];
  readonly missing_complete: boolean;
  /** What is wrong with the credential; `''`: nothing, or the caller is not the operator. */
  readonly credential_problem: string;
}

export interface FilterResponse {
  readonly action_allowed: boolean;
  readonly reason: string;
  readonly allowed_ids: readonly string[];
  readonly allowed_indexes: readonly number[];
  readonly complete: boolean;
  readonly next_offset: number;
  readonly revision: string;
  readonly invalid: readonly { readonly index: number; readonly problem: string }[];
}

export interface BatchCheckResponse {
  readonly results: readonly CheckResponse[];
}

const TIMEOUT_MS = 10_000;

export interface DecisionClient {
  check(request: object): Promise<CheckResponse>;
  explain(request: object): Promise<ExplainResponse>;
  batchCheck(request: object): Promise<BatchCheckResponse>;
  filter(request: object): Promise<FilterResponse>;
  close(): void;
}

/** @param headers metadata of every call: the token of a caller that the server knows */
export function connect(options: ConnectionOptions, headers: Headers = {}): DecisionClient {
  const service = openService('AuthorizationService', options);
  const call = async <T>(method: string, request: object): Promise<T> => {
    try {
      return await service.call<T>(method, request, headers, TIMEOUT_MS);
    } catch (error) {
      throw error instanceof CallError ? new NoAnswer(error) : error;
    }
  };
  return {
    check: (request) => call('Check', request),
    explain: (request) => call('Explain', request),
    batchCheck: (request) => call('BatchCheck', request),
    filter: (request) => call('Filter', request),
    close: () => service.close(),
  };
}

/** A call that failed. The message is for people. */
export class CallError extends Error {
  /** `NOT_FOUND`, …: the name of the gRPC status. */
  readonly status: string;
  /** The server says so, with its reason; else it may be the connection that failed. */
  readonly isReasoned: boolean;

  constructor(message: string, name: string, isReasoned = false) {
    super(message);
    this.status = name;
    this.isReasoned = isReasoned;
  }
}

/** A decision that was asked for and did not come. */
export class NoAnswer extends CliError {
  /** The name of the gRPC status. */
  readonly status: string;

  constructor({ message, status: name }: CallError) {
    super(message);
    this.status = name;
  }
}

/** Metadata of a call, ASCII. */
export type Headers = Readonly<Record<string, string>>;

/** One service of a server. */
export interface Service {
  /** @throws CallError */
  call<T>(method: string, request: object, headers: Headers, timeoutMs: number): Promise<T>;
  /**
   * Sends messages, each when the last one has gone, and returns the one answer. Where the messages fail or the signal
   * comes, the call is cancelled.
   * @throws CallError
   */
  upload<T>(
    method: string,
    messages: Iterable<object>,
    headers: Headers,
    timeoutMs: number,
    signal?: AbortSignal,
  ): Promise<T>;
  /** Messages as they come, until the signal ends them or the server does. @throws CallError */
  watch<T>(
    method: string,
    request: object,
    headers: Headers,
    signal: AbortSignal,
  ): AsyncIterable<T>;
  close(): void;
}

const PROTO_FILES = {
  AuthorizationService: 'postern/v1/authorization.proto',
  AdminService: 'postern/v1/admin.proto',
} as const;

/** A proto file, with messages in the shape that this command line takes and gives. */
export function loadProto(
  name: keyof typeof PROTO_FILES,
  packageRoot: string,
): ReturnType<typeof loadSync> {
  return loadSync(PROTO_FILES[name], {
    includeDirs: [join(packageRoot, 'proto')],
    keepCase: true,
    longs: String,
    enums: String,
    defaults: true,
  });
}

type RpcError = Error & {
  readonly code?: number;
  readonly details?: string;
  readonly metadata?: Metadata;
};
type Unary = (
  request: object,
  metadata: Metadata,
  options: { readonly deadline: number },
  done: (error: RpcError | null, answer: unknown) => void,
) => void;
type Uploading = (
  metadata: Metadata,
  options: { readonly deadline: number },
  done: (error: RpcError | null, answer: unknown) => void,
) => ClientWritableStream<unknown>;
type Streaming = (request: object, metadata: Metadata) => ClientReadableStream<unknown>;

/** Loads a service's proto file and makes a client; it connects at the first call. */
export function openService(name: keyof typeof PROTO_FILES, options: ConnectionOptions): Service {
  const { address } = options;
  const problem = addressProblem(address, '127.0.0.1:4700');
  if (problem !== undefined) throw new CliError(`--address: \`${visible(address)}\` ${problem}`);
  quietGrpc();
  const loaded = loadPackageDefinition(loadProto(name, options.packageRoot)) as unknown as {
    postern: { v1: Record<string, new (...args: unknown[]) => Client> };
  };
  const Made = loaded.postern.v1[name];
  if (Made === undefined) throw new Error(`no service ${name}`);
  // The answer is this server's, however long: what is sent, the server limits itself.
  const limits = { 'grpc.max_receive_message_length': -1, 'grpc.max_send_message_length': -1 };
  return new RemoteService(new Made(address, channelCredentials(options), limits), address);
}

class RemoteService implements Service {
  readonly #client: Client;
  readonly #address: string;

  constructor(client: Client, address: string) {
    this.#client = client;
    this.#address = address;
  }

  call<T>(method: string, request: object, headers: Headers, timeoutMs: number): Promise<T> {
    const deadline = Date.now() + timeoutMs;
    // Whether it streams is what the proto file says, and the caller knows. So is what its answer has.
    const send = this.#method(method) as Unary;
    return new Promise<T>((done, failed) =>
      send(
        request,
        metadataOf(headers),
        { deadline },
        this.#answering((answer) => done(answer as T), failed, timeoutMs),
      ),
    );
  }

  upload<T>(
    method: string,
    messages: Iterable<object>,
    headers: Headers,
    timeoutMs: number,
    signal?: AbortSignal,
  ): Promise<T> {
    const deadline = Date.now() + timeoutMs;
    const start = this.#method(method) as Uploading;
    return new Promise<T>((done, failed) => {
      const answering = this.#answering((answer) => done(answer as T), failed, timeoutMs);
      const stream = start(metadataOf(headers), { deadline }, answering);
      signal?.addEventListener('abort', () => stream.cancel());
      // The callback says what went wrong. A stream whose source failed must not end as if it were whole.
      stream.on('error', () => {});
      sendAll(stream, messages).catch(() => stream.cancel());
    });
  }

  async *watch<T>(
    method: string,
    request: object,
    headers: Headers,
    signal: AbortSignal,
  ): AsyncGenerator<T> {
    if (signal.aborted) return;
    const start = this.#method(method) as Streaming;
    const stream = start(request, metadataOf(headers));
    const cancel = (): void => stream.cancel();
    signal.addEventListener('abort', cancel);
    try {
      for await (const message of stream) yield message as T;
    } catch (error) {
      // The caller has seen enough.
      if (!signal.aborted) throw toCallError(error as RpcError, this.#address, 0);
    } finally {
      signal.removeEventListener('abort', cancel);
    }
  }

  close(): void {
    this.#client.close();
  }

  #method(name: string): unknown {
    const found = (this.#client as unknown as Readonly<Record<string, unknown>>)[name];
    if (typeof found !== 'function') throw new Error(`no method ${name}`);
    return found.bind(this.#client);
  }

  #answering(
    done: (answer: unknown) => void,
    failed: (error: unknown) => void,
    timeoutMs: number,
  ): (error: RpcError | null, answer: unknown) => void {
    return (error, answer) =>
      error === null ? done(answer) : failed(toCallError(error, this.#address, timeoutMs));
  }
}

/** Sends each message once the last one has left the process. */
async function sendAll(
  stream: ClientWritableStream<unknown>,
  messages: Iterable<object>,
): Promise<void> {
  for (const message of messages)
    await new Promise<void>((done, failed) =>
      stream.write(message, (error?: Error | null) => (error ? failed(error) : done())),
    );
  stream.end();
}

function metadataOf(headers: Headers): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  return metadata;
}

function channelCredentials({ tls, ca, cert, keyFile }: ConnectionOptions): ChannelCredentials {
  const files = [ca, cert, keyFile];
  if (tls !== true && files.every((file) => file === undefined))
    return credentials.createInsecure();
  if ((cert === undefined) !== (keyFile === undefined))
    throw new CliError('--cert and --key-file: only one is given: give both');
  try {
    return credentials.createSsl(
      readPem('--ca', ca),
      readPem('--key-file', keyFile),
      readPem('--cert', cert),
    );
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw new CliError(`--ca, --cert and --key-file: not usable as PEM files: ${errorText(error)}`);
  }
}

function readPem(option: string, file: string | undefined): Buffer | null {
  if (file === undefined) return null;
  try {
    return readFileSync(file);
  } catch (error) {
    throw new CliError(`${option}: \`${file}\` cannot be read: ${errorText(error)}`);
  }
}

function toCallError(error: RpcError, address: string, timeoutMs: number): CallError {
  const details = (error.details ?? error.message).replace(/\s+/g, ' ');
  const name = (error.code === undefined ? undefined : status[error.code]) ?? 'UNKNOWN';
  const own = error.details ?? error.message;
  const text = callFailure({ status: name, details, address, timeoutMs });
  // What the server says in several lines stays so.
  const isReasoned = (error.metadata?.get('grpc-status-details-bin').length ?? 0) > 0;
  return new CallError(text === details ? own : text, name, isReasoned);
}
