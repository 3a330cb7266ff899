/**
 * Judges every call by its headers, before anything of it is read, and meters what is read then. The library has no
 * place for either: its interceptors come after it has begun, and none of them sees bytes. What is used of it beyond
 * its declared interface is named here, and nowhere else.
 */
import {
  Metadata,
  type Server,
  type ServerDuplexStream,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
} from '@grpc/grpc-js';
import type { IncomingHttpHeaders, OutgoingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { later, type MaybePromise } from '../../util/later.ts';
import { ownWords } from './library-words.ts';
import { isOneMessage, Meter, type Budget, type Holding } from './metering.ts';
import { CODE, RpcError } from './status.ts';

export type Compression = 'gzip' | 'deflate';

export interface GateOptions {
  /** Ways in which messages may be compressed. */
  readonly compression: readonly Compression[];
  /**
   * Judges a call by its path and headers.
   * @returns why it is refused; `undefined`: it goes on
   */
  readonly judge: (
    path: string,
    headers: IncomingHttpHeaders,
  ) => MaybePromise<RpcError | undefined>;
}

export interface MeteredBy {
  readonly budget: Budget;
  readonly maxMessageBytes: number;
  /** How long the messages of a path count as being received. */
  readonly holding: (path: string) => Holding;
}

type StreamHandler = (
  interceptors: readonly ServerInterceptor[],
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
) => void;

/** The library's call, of which an interceptor sees less. */
type BaseCall = Omit<ServerInterceptingCallInterface, 'sendStatus'> & {
  readonly stream: ServerHttp2Stream;
  readonly incomingEncoding: string;
  /** Decodes, and inflates, a piece of data. */
  handleDataFrame: (this: BaseCall, piece: Buffer) => void;
  sendStatus(status: {
    readonly code: number;
    readonly details: string;
    readonly metadata: Metadata;
  }): void;
};

function decoded(message: string): string {
  try {
    return decodeURI(message);
  } catch {
    return message;
  }
}

/** The library's own, with its texts in our words. */
function sendInOwnWords(this: BaseCall, status: Parameters<BaseCall['sendStatus']>[0]): void {
  // The class is not exported by the library.
  const library = Object.getPrototypeOf(this) as BaseCall;
  const { code, details } = status;
  library.sendStatus.call(this, code === 0 ? status : { ...status, details: ownWords(details) });
}

/** Meters by the call that they count. */
const meters = new WeakMap<object, Meter>();

/** What the library is told, so that each call's data passes a meter first. */
export function meteredBy({ budget, maxMessageBytes, holding }: MeteredBy): ServerInterceptor {
  return ({ path }, intercepted) => {
    // An interceptor gets the library's own call, and may return it: only the declaration wants a wrapper.
    const call = intercepted as BaseCall;
    call.sendStatus = sendInOwnWords;
    const kept = holding(path);
    const read = call.handleDataFrame;
    let meter: Meter | undefined;
    const open = (): Meter => {
      const opened = new Meter({
        budget,
        maxMessageBytes,
        holding: kept,
        compressed: call.incomingEncoding !== 'identity',
        refuse: (error) => endAtOnce(call, error),
      });
      call.stream.once('close', () => opened.end());
      return opened;
    };
    // Messages are handed over in their order: all of them are counted from the first on.
    if (kept === 'answered') meters.set(call, (meter = open()));
    call.handleDataFrame = (piece): void => {
      if (meter === undefined && isOneMessage(piece, maxMessageBytes)) read.call(call, piece);
      else if ((meter ??= open()).read(piece)) read.call(call, piece);
    };
    return call as unknown as ReturnType<ServerInterceptor>;
  };
}

/** Ends a call in the middle of a message: what still comes is let go of. */
function endAtOnce(call: BaseCall, error: RpcError): void {
  call.stream.once('finish', () => call.stream.close());
  const metadata = new Metadata();
  if (error.statusDetails !== undefined)
    metadata.set('grpc-status-details-bin', error.statusDetails);
  call.sendStatus({ code: error.code, details: error.message, metadata });
}

/**
 * The next message of a stream has been taken: its bytes are held until it is answered.
 * @returns what they are, to be given back to the budget then
 */
export function takeMessage(stream: ServerDuplexStream<Buffer, Buffer>): number {
  // The stream's own call, which its declaration does not show.
  const { call } = stream as unknown as { readonly call: object };
  return meters.get(call)?.taken() ?? 0;
}

/** Puts the gate before everything that the server does with a call. */
export function guard(server: Server, { compression, judge }: GateOptions): void {
  const accepted = ['identity', ...compression].join(',');
  const respond = function (
    this: ServerHttp2Stream,
    headers: OutgoingHttpHeaders,
    options?: Parameters<ServerHttp2Stream['respond']>[1],
  ): void {
    headers['grpc-accept-encoding'] = accepted;
    // Of an answer that is a status alone: the library's own, where no method is called.
    const message = headers['grpc-message'];
    if (typeof message === 'string')
      headers['grpc-message'] = encodeURI(ownWords(decoded(message)));
    prototypeOf(this).respond.call(this, headers, options);
  };
  // Bound once a listener is made, and called with each call that begins.
  const inner: StreamHandler = server['_streamHandler'].bind(server);
  const handle: StreamHandler = (interceptors, stream, headers) => {
    // The library names all encodings that it knows.
    stream.respond = respond;
    const path = headers[':path'] ?? '';
    const encoding = headers['grpc-encoding'];
    if (
      encoding !== undefined &&
      encoding !== 'identity' &&
      !compression.some((one) => one === encoding)
    )
      return refuse(stream, compressed(String(encoding), compression));
    const timeout = timeoutProblem(headers);
    if (timeout !== undefined) return refuse(stream, timeout);
    clampTimeout(headers);
    const judged = judge(path, headers);
    if (judged === undefined) return inner(interceptors, stream, headers);
    if (!(judged instanceof Promise)) return refuse(stream, judged);
    // Nothing is read meanwhile; one that goes away is let go.
    stream.on('error', ignore);
    void later(judged, (error) => {
      if (stream.destroyed || stream.closed) return;
      if (error !== undefined) return refuse(stream, error);
      stream.off('error', ignore);
      inner(interceptors, stream, headers);
    });
  };
  server['_streamHandler'] = handle as never;
}

function compressed(encoding: string, compression: readonly Compression[]): RpcError {
  const remedy =
    compression.length === 0
      ? 'send messages as they are, or set `grpc.compression`'
      : `use ${compression.join(' or ')}, or send messages as they are`;
  const shown = encoding.slice(0, 40).replace(/[^\x20-\x7e]/g, '?');
  return new RpcError(
    CODE.UNIMPLEMENTED,
    `grpc-encoding: \`${shown}\` is not accepted here: ${remedy}`,
  );
}

function prototypeOf(stream: ServerHttp2Stream): ServerHttp2Stream {
  // The class is not exported by Node.
  return Object.getPrototypeOf(stream) as ServerHttp2Stream;
}

/** Answers with the status alone. Nothing of the call was read, so that HTTP/2 ends the stream for both sides. */
function refuse(stream: ServerHttp2Stream, error: RpcError): void {
  stream.on('error', ignore);
  stream.respond(
    {
      ':status': 200,
      'content-type': 'application/grpc+proto',
      'grpc-status': error.code,
      'grpc-message': encodeURI(error.message),
      ...(error.statusDetails === undefined
        ? {}
        : { 'grpc-status-details-bin': error.statusDetails.toString('base64') }),
    },
    { endStream: true },
  );
}

function ignore(): void {
  // Whoever called is gone: nothing is owed to it.
}

/** Longest time that a timer takes, ms. */
const MAX_TIMER_MS = 2_147_483_647;
const UNIT_MS: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1_000,
  m: 1,
  u: 0.001,
  n: 0.000_001,
};

/** Digits and a unit, as the protocol has it: what else there is the library would take for a time, or for none. */
function timeoutProblem({ 'grpc-timeout': timeout }: IncomingHttpHeaders): RpcError | undefined {
  if (timeout === undefined || (typeof timeout === 'string' && TIMEOUT.test(timeout)))
    return undefined;
  const shown = String(timeout)
    .slice(0, 40)
    .replace(/[^\x20-\x7e]/g, '?');
  return new RpcError(
    CODE.INVALID_ARGUMENT,
    `grpc-timeout: \`${shown}\` is no time: send 1 to 8 digits and one of H, M, S, m, u, n`,
  );
}

const TIMEOUT = /^\d{1,8}[HMSmun]$/;

/** The library reckons deadlines in 32 bits: a distant one would have passed at once. */
function clampTimeout(headers: IncomingHttpHeaders): void {
  const timeout = headers['grpc-timeout'];
  if (typeof timeout !== 'string') return;
  // As most send it: milliseconds and less, of eight digits at most.
  if (/[mun]$/.test(timeout)) return;
  const [, amount, unit = ''] = /^(\d+)([HMSmun])$/.exec(timeout) ?? [];
  if (amount === undefined) return;
  if (Number(amount) * (UNIT_MS[unit] ?? 0) >= MAX_TIMER_MS)
    headers['grpc-timeout'] = `${Math.floor(MAX_TIMER_MS / 1_000)}S`;
}
