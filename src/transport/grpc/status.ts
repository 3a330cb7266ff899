/** gRPC errors: one table of codes, and details as `google.rpc` messages. */
import { DecodeProblem } from '../codec/problem.ts';
import { WireError, Writer } from '../codec/wire.ts';

export const CODE = {
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  UNAUTHENTICATED: 16,
} as const;

/** An error that goes to the caller. Its message names the field, the value and the remedy. */
export class RpcError extends Error {
  readonly code: number;
  readonly #details: (() => Buffer) | undefined;

  /** @param details made when they are sent: what is wrong with one object of many is told as text alone */
  constructor(code: number, message: string, details?: () => Buffer) {
    super(message);
    this.code = code;
    this.#details = details;
  }

  /** `google.rpc.Status` with its details, for the `grpc-status-details-bin` trailer. */
  get statusDetails(): Buffer | undefined {
    return this.#details?.();
  }
}

/** A message travels in a header: a long one would break the connection for all its calls. */
const MAX_MESSAGE_CHARS = 1_000;

function bounded(text: string): string {
  return text.length > MAX_MESSAGE_CHARS ? `${text.slice(0, MAX_MESSAGE_CHARS - 3)}...` : text;
}

/** INVALID_ARGUMENT with a `google.rpc.BadRequest` that names the field. */
export function badRequest(field: string, message: string): RpcError {
  const text = bounded(field === '' ? message : `${field}: ${message}`);
  return new RpcError(
    CODE.INVALID_ARGUMENT,
    text,
    statusWith(CODE.INVALID_ARGUMENT, text, 'google.rpc.BadRequest', (writer) => {
      writer.message(1, () => {
        writer.string(1, bounded(field));
        writer.string(2, bounded(message));
      });
    }),
  );
}

/** What a sender did wrong becomes INVALID_ARGUMENT; an error that is ours stays what it is. */
export function malformedAsBadRequest(error: unknown): unknown {
  if (error instanceof DecodeProblem) return badRequest(error.field, error.problem);
  if (error instanceof WireError)
    return badRequest('', `the message cannot be read: ${error.message}`);
  return error;
}

/** An error with a `google.rpc.ErrorInfo` that carries Postern's reason. */
export function withReason(code: number, reason: string, message: string): RpcError {
  const text = bounded(message);
  return new RpcError(
    code,
    text,
    statusWith(code, text, 'google.rpc.ErrorInfo', (writer) => {
      writer.string(1, reason);
      writer.string(2, 'postern.v1');
    }),
  );
}

/** RESOURCE_EXHAUSTED with a `google.rpc.RetryInfo`. */
export function tooMany(message: string, retryAfterMs: number): RpcError {
  const code = CODE.RESOURCE_EXHAUSTED;
  return new RpcError(
    code,
    message,
    statusWith(code, message, 'google.rpc.RetryInfo', (writer) => {
      writer.message(1, () => {
        writer.uint(1, Math.floor(retryAfterMs / 1_000));
        writer.uint(2, Math.round((retryAfterMs % 1_000) * 1e6));
      });
    }),
  );
}

function statusWith(
  code: number,
  message: string,
  type: string,
  detail: (writer: Writer) => void,
): () => Buffer {
  return () => {
    const writer = new Writer();
    detail(writer);
    const value = writer.finish();
    writer.uint(1, code);
    writer.string(2, message);
    writer.message(3, () => {
      writer.string(1, `type.googleapis.com/${type}`);
      writer.bytes(2, value);
    });
    return writer.finish();
  };
}
