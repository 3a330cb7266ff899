/**
 * `postern.v1.AdminService`: two translations around one call of `admin/`, nothing else. Its calls are rare, so that
 * the loader's own codec serves them; it is loaded where the service is enabled.
 */
import { join } from 'node:path';
import type {
  Metadata,
  ServerReadableStream,
  ServerUnaryCall,
  ServerWritableStream,
  sendUnaryData,
  UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { loadPackageDefinition } from '@grpc/grpc-js';
import { load } from '@grpc/proto-loader';
import type { Actor } from '../../admin/actor.ts';
import type { Admin, AdminRequest } from '../../admin/admin.ts';
import { IdempotencyError } from '../../admin/receipt.ts';
import { Refused, type RefusalKind } from '../../admin/refused.ts';
import { fromStruct, toStruct, toValue } from '../../proto-value.ts';
import { StoreError, UnknownOutcomeError } from '../../store/store.ts';
import { badRequest, CODE, withReason } from './status.ts';
import { toServiceError, type Extra } from './server.ts';

export interface AdminServiceOptions {
  readonly admin: Admin;
  readonly packageRoot: string;
  /** Who calls. @throws Refused UNAUTHENTICATED, alike for every cause */
  readonly authenticate: (caller: Caller) => Promise<Actor>;
  /** Largest state that Apply takes, bytes. */
  readonly maxStateBytes: number;
  readonly onError: (error: unknown) => void;
}

/** What a caller says of itself. */
export interface Caller {
  /** The value of `authorization`, or `''`. */
  readonly authorization: string;
  /** The value of `postern-actor`, or `''`. */
  readonly actor: string;
  readonly tenant: string;
}

/** Pieces of an export. */
const CHUNK_BYTES = 1_048_576;

export async function adminService(options: AdminServiceOptions): Promise<Extra> {
  const definition = await load('postern/v1/admin.proto', {
    includeDirs: [join(options.packageRoot, 'proto')],
    keepCase: true,
    longs: Number,
    enums: String,
    defaults: true,
    arrays: true,
  });
  const loaded = loadPackageDefinition(definition) as unknown as {
    postern: {
      v1: {
        AdminService: {
          service: Record<string, { requestStream: boolean; responseStream: boolean }>;
        };
      };
    };
  };
  const { service } = loaded.postern.v1.AdminService;
  const implementation: UntypedServiceImplementation = {};
  for (const [name, { requestStream, responseStream }] of Object.entries(service))
    if (!requestStream && !responseStream) implementation[name] = unary(name, options);
  implementation['Apply'] = apply(options);
  implementation['Export'] = exporting(options);
  implementation['WatchChanges'] = watching(options);
  // The loader's definition is what `addService` takes; its own types do not say so.
  return (server) => server.addService(service as never, implementation);
}

type Reply = sendUnaryData<object>;

function unary(name: string, { admin, authenticate, onError }: AdminServiceOptions) {
  return (call: ServerUnaryCall<AdminRequest, object>, reply: Reply): void => {
    const request = fromWire(call.request);
    authenticate(callerOf(call.metadata, request.tenant ?? ''))
      .then((actor) => admin.call(name, actor, request))
      .then(
        (answer) => reply(null, toWire(answer)),
        (error: unknown) => reply(toServiceError(translated(error), onError)),
      );
  };
}

/** One message or many: the pieces of one state file. */
function apply({ admin, authenticate, maxStateBytes, onError }: AdminServiceOptions) {
  return (
    call: ServerReadableStream<AdminRequest & { readonly chunk: Buffer }, object>,
    reply: Reply,
  ): void => {
    const pieces: Buffer[] = [];
    let bytes = 0;
    let first: AdminRequest | undefined;
    let over = false;
    const fail = (error: unknown): void => {
      if (over) return;
      over = true;
      reply(toServiceError(translated(error), onError));
    };
    call.on('data', (message: AdminRequest & { readonly chunk: Buffer }) => {
      if (over) return;
      first ??= message;
      bytes += message.chunk.length;
      pieces.push(message.chunk);
      if (bytes > maxStateBytes)
        fail(
          withReason(
            CODE.RESOURCE_EXHAUSTED,
            'LIMIT',
            `the state has more than ${maxStateBytes} bytes: raise \`admin.max_state_bytes\`, or apply it where the store is`,
          ),
        );
    });
    call.on('error', fail);
    call.on('end', () => {
      if (over) return;
      const request = first ?? { tenant: '' };
      authenticate(callerOf(call.metadata, request.tenant))
        .then((actor) => admin.apply(actor, request, decoded(Buffer.concat(pieces))))
        .then((answer) => reply(null, toWire(answer)), fail);
    });
  };
}

function decoded(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new Refused('invalid_argument', 'chunk: is not UTF-8', '', 'chunk');
  }
}

function exporting({ admin, authenticate, onError }: AdminServiceOptions) {
  return (call: ServerWritableStream<{ tenant: string; format: string }, object>): void => {
    const send = async (): Promise<void> => {
      const actor = await authenticate(callerOf(call.metadata, call.request.tenant));
      const { revision, text } = await admin.export(actor, call.request);
      const bytes = Buffer.from(text);
      for (let at = 0; at < bytes.length && !call.cancelled; at += CHUNK_BYTES)
        if (!call.write({ revision, chunk: bytes.subarray(at, at + CHUNK_BYTES) }))
          await drained(call);
      call.end();
    };
    send().catch((error: unknown) => call.destroy(toServiceError(translated(error), onError)));
  };
}

function watching({ admin, authenticate, onError }: AdminServiceOptions) {
  return (call: ServerWritableStream<{ tenant: string; after: number }, object>): void => {
    const over = new AbortController();
    for (const event of ['cancelled', 'close', 'error'] as const)
      call.on(event, () => over.abort());
    const send = async (): Promise<void> => {
      const actor = await authenticate(callerOf(call.metadata, call.request.tenant));
      for await (const { change, gap } of admin.watch(actor, call.request, over.signal))
        if (!call.write({ revision: change.revision, change, gap })) await drained(call);
      call.end();
    };
    send().catch((error: unknown) => call.destroy(toServiceError(translated(error), onError)));
  };
}

/** The caller reads again, or is gone. */
async function drained(call: ServerWritableStream<unknown, object>): Promise<void> {
  await new Promise<void>((done) => {
    for (const event of ['drain', 'cancelled', 'close', 'error']) call.once(event, () => done());
  });
}

function callerOf(metadata: Metadata, tenant: string): Caller {
  const one = (name: string): string => {
    const values = metadata.get(name);
    if (values.length > 1)
      throw new Refused(
        'unauthenticated',
        `the metadata \`${name}\` is given ${values.length} times`,
      );
    return String(values[0] ?? '');
  };
  return { authorization: one('authorization'), actor: one('postern-actor'), tenant };
}

const CODES: Readonly<Record<RefusalKind, number>> = {
  permission_denied: CODE.PERMISSION_DENIED,
  failed_precondition: CODE.FAILED_PRECONDITION,
  invalid_argument: CODE.INVALID_ARGUMENT,
  not_found: CODE.NOT_FOUND,
  already_exists: CODE.ALREADY_EXISTS,
  aborted: CODE.ABORTED,
  unauthenticated: CODE.UNAUTHENTICATED,
};

/** The one table from refusals to codes. */
function translated(error: unknown): unknown {
  if (error instanceof Refused) {
    if (error.field !== '')
      return badRequest(error.field, error.message.slice(error.field.length + 2));
    return withReason(CODES[error.kind], error.rule || error.kind.toUpperCase(), error.message);
  }
  if (error instanceof IdempotencyError)
    return withReason(CODE.INVALID_ARGUMENT, 'IDEMPOTENCY_KEY', error.message);
  if (error instanceof UnknownOutcomeError)
    return withReason(
      CODE.UNKNOWN,
      'UNKNOWN_OUTCOME',
      `${error.message}: send it again with the same idempotency_key, or look first`,
    );
  if (error instanceof StoreError)
    return withReason(CODE.UNAVAILABLE, 'UNAVAILABLE', error.message);
  return error;
}

interface WireUser {
  readonly metadata?: Parameters<typeof fromStruct>[0] | null;
}

/** Messages as rules take them: structs are plain JSON. */
function fromWire(request: AdminRequest): AdminRequest {
  const { metadata, user, users } = request as AdminRequest &
    WireUser & { user?: WireUser | null | string; users?: readonly WireUser[] };
  const plain = <T extends WireUser>(one: T): object => ({
    ...one,
    metadata: one.metadata == null ? undefined : fromStruct(one.metadata),
  });
  for (const field of REQUIRED) {
    if (
      Object.hasOwn(request, field) &&
      (request as unknown as Record<string, unknown>)[field] == null
    )
      throw new Refused('invalid_argument', `${field}: is missing`, '', field);
  }
  return {
    ...request,
    ...(metadata === undefined
      ? {}
      : { metadata: metadata === null ? undefined : fromStruct(metadata) }),
    ...(typeof user === 'object' && user !== null ? { user: plain(user) } : {}),
    ...(users === undefined ? {} : { users: users.map(plain) }),
  } as AdminRequest;
}

/** Messages without which a request says nothing. */
const REQUIRED = ['user', 'role', 'workspace', 'key'];

/** Answers as the codec takes them: JSON objects are structs, a rule's attributes a map of lists. */
function toWire(value: unknown): object {
  // Answers are objects, and so are their translations.
  return translate('', value) as object;
}

function translate(name: string, value: unknown): unknown {
  if (name === 'metadata') return value === undefined ? undefined : toStruct(value as never);
  if (Array.isArray(value))
    return value.map((item: unknown) => translate(name === 'rules' ? 'rule' : '', item));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, field]: [string, unknown]) => [
      key,
      name === 'rule' && key === 'attributes' ? constraints(field) : translate(key, field),
    ]),
  );
}

function constraints(field: unknown): object {
  const pairs = (field ?? []) as readonly (readonly [
    string,
    readonly (string | number | boolean)[],
  ])[];
  return Object.fromEntries(
    pairs.map(([key, values]) => [key, { values: values.map((value) => toValue(value)) }]),
  );
}
