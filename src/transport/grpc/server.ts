/** The gRPC listener: limits set, bytes handed to methods, back-pressure kept, drained on close. */
import {
  Metadata,
  Server,
  ServerCredentials,
  type sendUnaryData,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { subscribe } from 'node:diagnostics_channel';
import { EventEmitter } from 'node:events';
import type { IncomingHttpHeaders } from 'node:http2';
import type { Socket } from 'node:net';
import type { MaybePromise } from '../../util/later.ts';
import type { Connections } from './connections.ts';
import { guard, meteredBy, takeMessage, type Compression } from './gate.ts';
import { openBudget, type Budget } from './metering.ts';
import type { Method, Methods } from './methods.ts';
import { byCaller, type IsOperator } from './operator.ts';
import { openOverload, type Overload, type OverloadCause } from './overload.ts';
import { CODE, RpcError, withReason } from './status.ts';
import { reloading, type TlsFiles } from './tls.ts';

export interface GrpcOptions {
  readonly maxMessageBytes: number;
  /** Bytes of messages that may be in the middle of being received, over all calls. */
  readonly receivingBytes: number;
  /** Ways in which callers may compress messages; none: compressed ones are refused. */
  readonly compression: readonly Compression[];
  readonly maxConcurrentStreams: number;
  /** Messages of one CheckStream that wait for facts before reading stops. */
  readonly streamInFlight: number;
  /** Connections are asked to come again after so long, so that they spread over new instances, ms; 0: never. */
  readonly maxConnectionAgeMs: number;
  /** Time for the calls in flight on such a connection, ms. */
  readonly connectionGraceMs: number;
  /** How late the process may be before new calls are refused, ms; 0: however late. */
  readonly maxLagMs: number;
  /** Whether there is no memory for new calls. */
  readonly isFull: () => boolean;
  /** A call was refused. */
  readonly onRefused: (cause: OverloadCause) => void;
  /** How long a call without a deadline waits for facts, ms. */
  readonly maxWaitMs: number;
  /** `undefined`: messages travel in the clear. */
  readonly tls: TlsFiles | undefined;
  /** Whether a caller with this `authorization` may ask; `undefined`: whoever connects may. */
  readonly mayCall: ((authorization: string) => boolean) | undefined;
  /** Whether a caller is the operator, who may call the methods that tell it more, and is told more by them. */
  readonly isOperator: IsOperator;
  /** Services that judge their callers by themselves, by the first part of their paths: `/postern.v1.AdminService/`. */
  readonly ownCallers: Readonly<Record<string, JudgeCaller>>;
  /** Makes a method one whose calls are traced; metadata is read there alone. `undefined`: none is. */
  readonly traced?: ((path: string, method: Method) => TracedMethod) | undefined;
  /** Until when the certificate in force is valid, ms since the epoch. */
  readonly onCertificate: (until: number) => void;
  /** New TLS files cannot be used: the last good ones stay in force. */
  readonly onTls: (error: unknown) => void;
  readonly onError: (error: unknown) => void;
}

/** Judges the caller of one service by its `authorization`. @returns why it may not call; `undefined`: it may */
export type JudgeCaller = (authorization: string) => MaybePromise<RpcError | undefined>;

type TracedMethod = (bytes: Buffer, waitMs: number, metadata: Metadata) => ReturnType<Method>;

type Serving = GrpcOptions & { readonly overload: Overload; readonly budget: Budget };

export interface GrpcListener {
  /** GOAWAY, then wait for the calls in flight; after `graceMs` they are cut. */
  drain(graceMs: number): Promise<void>;
}

/** Services beside Postern's own, each with its way of adding itself. */
export type Extra = (server: Server) => void;

/** An answer must leave before the caller's deadline passes: so much of it, and at least so many ms, are kept. */
const DEADLINE_MARGIN = 0.1;
const DEADLINE_MARGIN_MS = 20;

/**
 * Answers the calls of connections that are bound already.
 * @param open methods that whoever connects may call, such as those of probes
 */
export function serveGrpc(
  connections: Connections,
  methods: Methods,
  open: Methods['unary'],
  extras: readonly Extra[],
  asked: GrpcOptions,
): GrpcListener {
  const budget = openBudget(asked.receivingBytes);
  const overload = openOverload(asked.maxLagMs, asked.isFull);
  const options = { ...asked, overload, budget };
  const server = openServer(options, methods);
  guard(server, { compression: asked.compression, judge: judgeOf(options, methods.operator) });
  const definition: Record<string, ServiceDefinition[string]> = {};
  const implementation: UntypedServiceImplementation = {};
  for (const [path, method] of Object.entries(methods.unary)) {
    definition[path] = rawMethod(path, false);
    const others = unaryHandler(method, options, options.traced?.(path, method));
    const own = methods.operator[path];
    implementation[path] =
      own === undefined
        ? others
        : byCaller(
            options.isOperator,
            unaryHandler(own, options, options.traced?.(path, own)),
            others,
          );
  }
  for (const [path, method] of Object.entries(open)) {
    definition[path] = rawMethod(path, false);
    implementation[path] = unaryHandler(method, options);
  }
  for (const [path, method] of Object.entries(methods.stream)) {
    definition[path] = rawMethod(path, true);
    const traced = options.traced?.(path, method);
    implementation[path] = streamHandler(method, methods.refused, options, traced);
  }
  server.addService(definition, implementation);
  for (const add of extras) add(server);
  const { tls } = options;
  const credentials =
    tls === undefined
      ? ServerCredentials.createInsecure()
      : reloading(tls, options.onTls, options.onCertificate);
  const injector = server.createConnectionInjector(credentials);
  // Certificates are taken up in the next tick, and connections before that would be dropped.
  setImmediate(() => connections.serve((socket: Socket) => injector.injectConnection(socket)));
  return {
    drain: (graceMs) =>
      new Promise((done) => {
        overload.close();
        const over = (): void => {
          clearTimeout(late);
          // The library's own end looks for sessions where it keeps none (without channelz): they are cut by their sockets.
          connections.cut();
          server.forceShutdown();
          done();
        };
        const late = setTimeout(over, graceMs);
        // Sessions say GOAWAY, and end with their last call; the library does not wait for them.
        server.tryShutdown(() => {});
        void connections.refuse().then(over);
      }),
  };
}

function openServer(options: Serving, methods: Methods): Server {
  const { maxMessageBytes, budget, maxConnectionAgeMs } = options;
  return new Server({
    'grpc.max_receive_message_length': maxMessageBytes,
    'grpc.max_concurrent_streams': options.maxConcurrentStreams,
    // Costs a fifth of the throughput, and nothing reads it.
    'grpc.enable_channelz': 0,
    'grpc.max_connection_idle_ms': 600_000,
    ...(maxConnectionAgeMs === 0
      ? {}
      : {
          'grpc.max_connection_age_ms': maxConnectionAgeMs,
          'grpc.max_connection_age_grace_ms': options.connectionGraceMs,
        }),
    'grpc.keepalive_time_ms': 60_000,
    'grpc.keepalive_timeout_ms': 20_000,
    interceptors: [
      meteredBy({
        budget,
        maxMessageBytes,
        holding: (path) =>
          Object.hasOwn(methods.stream, path)
            ? 'answered'
            : // A state comes in many messages, and has a bound of its own.
              path === '/postern.v1.AdminService/Apply'
              ? 'received'
              : 'call',
      }),
    ],
  });
}

/** Probes are answered however late, and to whoever asks. */
const PROBES = '/grpc.health.v1.Health/';

/** Overload first, then the caller: what is refused costs the reading of its headers. */
function judgeOf(options: Serving, forOperator: Methods['operator']) {
  const services = Object.entries(options.ownCallers);
  return (path: string, headers: IncomingHttpHeaders): MaybePromise<RpcError | undefined> => {
    if (path.startsWith(PROBES)) return undefined;
    const overloaded = overloadOf(options);
    if (overloaded !== undefined) return overloaded;
    const { authorization = '' } = headers;
    for (const [prefix, judge] of services)
      if (path.startsWith(prefix)) return judge(authorization);
    if (options.mayCall === undefined) return undefined;
    if (Object.hasOwn(forOperator, path) && options.isOperator(authorization)) return undefined;
    return options.mayCall(authorization) ? undefined : UNKNOWN_CALLER;
  };
}

/** A method whose messages stay bytes here: the codec is Postern's own. */
export function rawMethod(path: string, stream: boolean): ServiceDefinition[string] {
  const same = (bytes: Buffer): Buffer => bytes;
  return {
    path,
    requestStream: stream,
    responseStream: stream,
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
  };
}

/**
 * One call that is over. The engine forgets the shape of objects of which a full collection finds none alive, and
 * with it all compiled code that knows the shape: after a pause, calls would cost up to five times as much until
 * the whole HTTP/2 stack is compiled again.
 */
const keptForItsShape: { call: unknown } = { call: undefined };
/** Largest message that is kept with it, bytes. */
const KEPT_BYTES = 4_096;

/**
 * An HTTP/2 session keeps its streams in a Map. Each table that the Map has outgrown points to the next one, so that
 * once one of them is old, all that follow, and every stream in them, outlive the young generation's collections,
 * and through its listeners each stream keeps its whole call: a seventh of the time was spent copying dead calls. A
 * stream that is destroyed emits no more, and lets go of its call.
 */
const closing: (EventEmitter & { readonly destroyed: boolean })[] = [];

subscribe('http2.server.stream.close', (message) => {
  const { stream } = message as { readonly stream: (typeof closing)[number] };
  if (closing.push(stream) === 1) setImmediate(letGo);
});

function letGo(): void {
  for (const stream of closing)
    if (stream.destroyed) {
      // Without the first, each that goes would be told of; a Readable's own would look for a reader in another tick.
      EventEmitter.prototype.removeAllListeners.call(stream, 'removeListener');
      EventEmitter.prototype.removeAllListeners.call(stream);
    }
  closing.length = 0;
}

function unaryHandler(method: Method, options: Serving, traced?: TracedMethod) {
  return (call: ServerUnaryCall<Buffer, Buffer>, reply: sendUnaryData<Buffer>): void => {
    if (call.request.length <= KEPT_BYTES) keptForItsShape.call = call;
    let answer;
    try {
      const wait = waitMs(call.getDeadline(), options);
      answer =
        traced === undefined
          ? method(call.request, wait)
          : traced(call.request, wait, call.metadata);
    } catch (error) {
      reply(toServiceError(error, options.onError));
      return;
    }
    if (!(answer instanceof Promise)) reply(null, answer);
    else
      answer.then(
        (bytes) => reply(null, bytes),
        (error: unknown) => reply(toServiceError(error, options.onError)),
      );
  };
}

const OVERLOADED: Readonly<Record<OverloadCause, string>> = {
  lag: 'more calls come than can be answered in time: retry later, or with another instance; the limit is `limits.max_lag_ms`',
  memory:
    'there is no memory for more calls: retry later, or with another instance; the limit is `limits.memory_bytes`',
};

/** Why nothing can be answered now; `undefined`: it can. */
function overloadOf({ overload, onRefused }: Serving): RpcError | undefined {
  const cause = overload.cause();
  if (cause === undefined) return undefined;
  onRefused(cause);
  return withReason(CODE.RESOURCE_EXHAUSTED, 'OVERLOAD', OVERLOADED[cause]);
}

/** The caller of the service, whoever the question is about. */
const UNKNOWN_CALLER = withReason(
  CODE.UNAUTHENTICATED,
  'CALLER',
  'the caller is not known here: send `authorization: Bearer TOKEN` with a token of `grpc.callers`',
);

/** Answers each message as it comes; reads no further while too many wait or the peer does not read. */
function streamHandler(
  method: Method,
  refused: Methods['refused'],
  options: Serving,
  traced?: TracedMethod,
) {
  const { budget } = options;
  return (call: ServerDuplexStream<Buffer, Buffer>): void => {
    let waiting = 0;
    let writable = true;
    let ended = false;
    const regulate = (): void => {
      if (waiting >= options.streamInFlight || !writable) call.pause();
      else call.resume();
      if (ended && waiting === 0) call.end();
    };
    let over = false;
    const send = (bytes: Buffer): void => {
      if (!over) writable = call.write(bytes);
    };
    const fail = (error: unknown): void => {
      if (over) return;
      over = true;
      ended = false;
      endWith(call, toServiceError(error, options.onError));
    };
    call.on('data', (bytes: Buffer) => {
      const held = takeMessage(call);
      try {
        const wait = waitMs(call.getDeadline(), options);
        const overloaded = overloadOf(options);
        const answer =
          overloaded !== undefined
            ? refused(bytes, overloaded)
            : traced === undefined
              ? method(bytes, wait)
              : traced(bytes, wait, call.metadata);
        if (answer instanceof Promise) {
          waiting++;
          answer
            .then(send, fail)
            .finally(() => {
              budget.give(held);
              waiting--;
              regulate();
            })
            .catch(options.onError);
        } else {
          budget.give(held);
          send(answer);
        }
      } catch (error) {
        budget.give(held);
        fail(error);
      }
      if (!writable || waiting >= options.streamInFlight) regulate();
    });
    call.on('drain', () => {
      writable = true;
      regulate();
    });
    call.on('end', () => {
      ended = true;
      regulate();
    });
    // The peer went away: nothing is owed to it.
    call.on('error', () => {});
  };
}

/** Ends a stream with an error. Destroyed, it would end without a status, and the caller would wait on. */
export function endWith(call: EventEmitter, error: Error): void {
  call.emit('error', error);
}

/** Time to wait for facts: a little less than the caller's deadline leaves, so that the reason still arrives. */
function waitMs(deadline: Date | number, { maxWaitMs }: GrpcOptions): number {
  const left = (typeof deadline === 'number' ? deadline : deadline.getTime()) - Date.now();
  if (left === Infinity) return maxWaitMs;
  const usable = left - Math.max(left * DEADLINE_MARGIN, DEADLINE_MARGIN_MS);
  return Math.max(0, Math.min(usable, maxWaitMs));
}

/** An error as gRPC carries it; what is none of ours is told to the log alone. */
export function toServiceError(
  error: unknown,
  onError: (error: unknown) => void,
): Error & { code: number; details: string; metadata: Metadata } {
  const known = error instanceof RpcError;
  // What we did not foresee is told to the log, not to the caller.
  if (!known) onError(error);
  const details = known ? error.message : 'internal error: see the log';
  const metadata = new Metadata();
  if (known && error.statusDetails !== undefined)
    metadata.set('grpc-status-details-bin', error.statusDetails);
  const code = known ? error.code : CODE.INTERNAL;
  return Object.assign(new Error(details), { code, details, metadata });
}
