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
import type { Admin, AdminRequest } from '../../admin/contract.ts';
import type { ApplyFlags } from '../../admin/state/apply-text.ts';
import { IdempotencyError } from '../../admin/receipt.ts';
import { Refused, type RefusalKind } from '../../admin/refused.ts';
import { fromStruct, toStruct, toValue } from '../../util/proto-value.ts';
import {
  StoreError,
  UnknownOutcomeError,
  UnreadableError,
  VersionError,
} from '../../store/store.ts';
import { mustAgree, Upload, type UploadMessage } from './upload.ts';
import { hasExactText } from '../codec/exact-text.ts';
import { badRequest, CODE, RpcError, withReason } from './status.ts';
import { endWith, toServiceError, type Extra, type JudgeCaller } from './server.ts';

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
/** How often the caller of a stream without an end must prove itself again. */
const AUTHENTICATE_MS = 5_000;

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
          service: Record<string, LoadedMethod>;
        };
      };
    };
  };
  const service = Object.fromEntries(
    Object.entries(loaded.postern.v1.AdminService.service).map(([name, method]) => [
      name,
      { ...method, requestDeserialize: readable(method) },
    ]),
  );
  const implementation: UntypedServiceImplementation = {};
  for (const [name, { requestStream, responseStream }] of Object.entries(service))
    if (!requestStream && !responseStream) implementation[name] = unary(name, options);
  implementation['Apply'] = apply(options);
  implementation['Export'] = exporting(options);
  implementation['WatchChanges'] = watching(options);
  // The loader's definition is what `addService` takes; its own types do not say so.
  return (server) => server.addService(service as never, implementation);
}

interface LoadedMethod {
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  readonly requestDeserialize: (bytes: Buffer) => object;
}

/** Stands for a message that cannot be read: the library would answer it with INTERNAL. */
const UNREADABLE = Object.freeze({});

function readable({ requestDeserialize }: LoadedMethod): LoadedMethod['requestDeserialize'] {
  return (bytes) => {
    try {
      const message = requestDeserialize(bytes);
      return hasExactText(bytes, message) ? message : UNREADABLE;
    } catch {
      return UNREADABLE;
    }
  };
}

function unreadable(): RpcError {
  return badRequest('', 'the message cannot be read: send one of this method, with texts in UTF-8');
}

type Reply = sendUnaryData<object>;

function unary(name: string, { admin, authenticate, onError }: AdminServiceOptions) {
  const answer = async ({
    request: message,
    metadata,
  }: ServerUnaryCall<AdminRequest, object>): Promise<object> => {
    if (message === UNREADABLE) throw unreadable();
    const actor = await authenticate(callerOf(metadata, message.tenant ?? ''));
    return toWire(await admin.call(name, actor, fromWire(message)));
  };
  return (call: ServerUnaryCall<AdminRequest, object>, reply: Reply): void => {
    answer(call).then(
      (wire) => reply(null, wire),
      (error: unknown) => reply(toServiceError(translated(error), onError)),
    );
  };
}

/** One message or many: the pieces of one state file. */
function apply({ admin, authenticate, maxStateBytes, onError }: AdminServiceOptions) {
  return (call: ServerReadableStream<ApplyMessage, object>, reply: Reply): void => {
    const upload = new Upload(maxStateBytes);
    const gone = new AbortController();
    let first: { readonly request: ApplyRequest; readonly actor: Promise<Actor> } | undefined;
    let over = false;
    const fail = (error: unknown): void => {
      if (over) return;
      over = true;
      upload.drop();
      reply(toServiceError(translated(error), onError));
    };
    /** Once a call: each refusal is a record. */
    const admit = async (request: AdminRequest): Promise<Actor> => {
      const actor = await authenticate(callerOf(call.metadata, request.tenant));
      await admin.mayApply(actor, request);
      return actor;
    };
    const begin = ({ tenant, options, prune, keep }: ApplyRequest): NonNullable<typeof first> => {
      const request = { tenant, options: options ?? null, prune, keep };
      return { request, actor: admit(request) };
    };
    let ended = false;
    /** Plans and commits the upload, or records why it is none. */
    const end = (): void => {
      if (over || ended) return;
      ended = true;
      const { request, actor } = (first ??= begin(NO_TENANT));
      actor
        .then((known) => admin.apply(known, request, () => upload.whole(), gone.signal))
        .then((answer) => reply(null, toWire(answer)))
        .catch(fail);
    };
    call.on('data', (message: ApplyMessage) => {
      if (over) return;
      if (message === UNREADABLE) return fail(unreadable());
      if (first === undefined) {
        // Before the whole state is here: nobody else fills our memory.
        first = begin(message);
        first.actor.catch(fail);
      }
      try {
        mustAgree(first.request, message);
        upload.add(message);
      } catch (error) {
        fail(error);
      }
    });
    // A stream that is cancelled or lost may end like one that is whole: it tells `cancelled` before or after.
    call.on('cancelled', () => {
      upload.cut();
      gone.abort();
      if (first !== undefined) end();
    });
    call.on('error', fail);
    call.on('end', () => {
      // A cancellation is told in another tick than the end that it brings.
      setImmediate(end);
    });
  };
}

type ApplyRequest = AdminRequest & ApplyFlags;
type ApplyMessage = ApplyRequest & UploadMessage;

const NO_TENANT: ApplyRequest = { tenant: '', prune: false, keep: false };

function exporting({ admin, authenticate, onError }: AdminServiceOptions) {
  return (call: ServerWritableStream<{ tenant: string; format: string }, object>): void => {
    const send = async (): Promise<void> => {
      if (call.request === UNREADABLE) throw unreadable();
      const actor = await authenticate(callerOf(call.metadata, call.request.tenant));
      const { revision, pieces } = await admin.export(actor, call.request);
      for (const piece of pieces)
        for (let at = 0; at < piece.length && !call.cancelled; at += CHUNK_BYTES)
          if (!call.write({ revision, chunk: piece.subarray(at, at + CHUNK_BYTES) }))
            await drained(call);
      call.end();
    };
    send().catch((error: unknown) => endWith(call, toServiceError(translated(error), onError)));
  };
}

function watching({ admin, authenticate, onError }: AdminServiceOptions) {
  return (call: ServerWritableStream<{ tenant: string; after: number }, object>): void => {
    const over = new AbortController();
    for (const event of ['cancelled', 'close', 'error'] as const)
      call.on(event, () => over.abort());
    const fail = (error: unknown): void => {
      if (!over.signal.aborted) endWith(call, toServiceError(translated(error), onError));
    };
    const send = async (): Promise<void> => {
      if (call.request === UNREADABLE) throw unreadable();
      const caller = callerOf(call.metadata, call.request.tenant);
      const actor = await authenticate(caller);
      if (over.signal.aborted) return;
      // A stream must not outlive the credential that it was begun with.
      const timer = setInterval(() => void authenticate(caller).catch(fail), AUTHENTICATE_MS);
      over.signal.addEventListener('abort', () => clearInterval(timer));
      for await (const { change, gap } of admin.watch(actor, call.request, over.signal)) {
        if (over.signal.aborted) return;
        if (!call.write({ revision: change.revision, change, gap })) await drained(call);
      }
      if (!over.signal.aborted) call.end();
    };
    send().catch(fail);
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
  unavailable: CODE.UNAVAILABLE,
};

/** Paths of this service's methods begin so. */
export const ADMIN_PATHS = '/postern.v1.AdminService/';

/**
 * Judges callers by their headers, before their messages are read.
 * @param admit rejects as `authenticate` does
 */
export function judgeAdmin(
  admit: (authorization: string) => Promise<void>,
  onError: (error: unknown) => void,
): JudgeCaller {
  return (authorization) =>
    admit(authorization).then(
      () => undefined,
      (error: unknown) => {
        const known = translated(error);
        if (known instanceof RpcError) return known;
        onError(error);
        return new RpcError(CODE.INTERNAL, 'internal error: see the log');
      },
    );
}

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
  // No waiting mends it, but an upgrade.
  if (error instanceof VersionError || (error instanceof UnreadableError && error.needs))
    return withReason(CODE.UNAVAILABLE, 'VERSION', error.message);
  if (error instanceof UnreadableError)
    return withReason(CODE.FAILED_PRECONDITION, 'UNREADABLE', error.message);
  if (error instanceof StoreError)
    return withReason(CODE.UNAVAILABLE, 'UNAVAILABLE', error.message);
  return error;
}

/** A message with a struct in it. */
interface WireUser {
  readonly metadata?: object | null | undefined;
}

/** Messages as rules take them: structs are plain JSON. @throws Refused */
function fromWire(request: AdminRequest): AdminRequest {
  const message: AdminRequest & {
    readonly [field: string]: unknown;
    readonly metadata?: object | null | undefined;
    readonly user?: WireUser | string | null;
    readonly users?: readonly WireUser[];
  } = { ...request };
  const { metadata, user, users } = message;
  for (const field of REQUIRED)
    if (message[field] === null)
      throw new Refused('invalid_argument', `${field}: is missing`, '', field);
  const plain = (one: WireUser): WireUser => ({ ...one, metadata: jsonOf(one.metadata) });
  return {
    ...message,
    ...(metadata === undefined ? {} : { metadata: jsonOf(metadata) }),
    ...(typeof user === 'object' && user !== null ? { user: plain(user) } : {}),
    ...(users === undefined ? {} : { users: users.map(plain) }),
  };
}

function jsonOf(struct: object | null | undefined): object | undefined {
  if (struct === undefined || struct === null) return undefined;
  const json = fromStruct(struct);
  // Stored, it would come back as another value, or as a state file that is refused.
  if (!isJson(json))
    throw new Refused(
      'invalid_argument',
      'metadata: holds NaN or an infinity, which JSON has not: send a string or null',
      '',
      'metadata',
    );
  return json;
}

function isJson(value: unknown): boolean {
  if (typeof value === 'number') return Number.isFinite(value);
  return typeof value !== 'object' || value === null || Object.values(value).every(isJson);
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
