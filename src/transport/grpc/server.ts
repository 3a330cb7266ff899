/** The gRPC listener: limits set, layers around methods, drained on close. */
import {
  Server,
  ServerCredentials,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import type { Socket } from 'node:net';
import { admitBy, wrapIn, type Answer, type Layer } from '../intercept.ts';
import { callerLayer, operatorLayer, type CallerOptions } from './callers.ts';
import type { Connections } from './connections.ts';
import { deadlineLayer } from './deadline.ts';
import { guard, meteredBy, type Compression } from './gate.ts';
import { rawMethod, streamHandler, unaryHandler } from './handlers.ts';
import { openBudget, type Budget } from './metering.ts';
import type { Method, Methods } from './methods.ts';
import { openOverload, overloadLayer, type OverloadCause } from './overload.ts';
import { reloading, type TlsFiles } from './tls.ts';

export interface GrpcOptions extends CallerOptions {
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
  /** A call was refused for an overload. */
  readonly onRefused: (cause: OverloadCause) => void;
  /** How long a call without a deadline waits for facts, ms. */
  readonly maxWaitMs: number;
  /** `undefined`: messages travel in the clear. */
  readonly tls: TlsFiles | undefined;
  /** Makes a method one whose calls are traced; `undefined`: none is. */
  readonly traced?: ((path: string, method: Answer) => Answer) | undefined;
  /** Until when the certificate in force is valid, ms since the epoch. */
  readonly onCertificate: (until: number) => void;
  /** New TLS files cannot be used: the last good ones stay in force. */
  readonly onTls: (error: unknown) => void;
  readonly onError: (error: unknown) => void;
}

export interface GrpcListener {
  /** GOAWAY, then wait for the calls in flight; after `graceMs` they are cut. */
  drain(graceMs: number): Promise<void>;
}

/** Services beside Postern's own, each with its way of adding itself. */
export type Extra = (server: Server) => void;

/** Probes are answered however late, and to whoever asks. */
const PROBES = '/grpc.health.v1.Health/';

/**
 * Answers the calls of connections that are bound already.
 * @param open methods that whoever connects may call, such as those of probes
 */
export function serveGrpc(
  connections: Connections,
  methods: Methods,
  open: Methods['unary'],
  extras: readonly Extra[],
  options: GrpcOptions,
): GrpcListener {
  const budget = openBudget(options.receivingBytes);
  const overload = openOverload(options.maxLagMs, options.isFull);
  const { traced } = options;
  // The outermost first: what is refused for an overload costs the reading of its headers.
  const layers: readonly Layer[] = [
    overloadLayer(overload, options.onRefused, methods.refused),
    callerLayer(options, methods.operator),
    deadlineLayer(options.maxWaitMs),
    ...(traced === undefined ? [] : [{ wrap: tracing(traced) }]),
    operatorLayer(options.isOperator, methods.operator),
  ];
  const server = openServer(options, budget, methods);
  const admit = admitBy(layers);
  guard(server, {
    compression: options.compression,
    judge: (path, headers) => (path.startsWith(PROBES) ? undefined : admit(path, headers)),
  });
  addMethods(server, methods, open, layers, { ...options, budget });
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
    drain(graceMs): Promise<void> {
      overload.close();
      return drained(server, connections, graceMs);
    },
  };
}

function tracing(traced: NonNullable<GrpcOptions['traced']>): NonNullable<Layer['wrap']> {
  return (next, { path }) => traced(path, next);
}

/** Adds all methods, each within the layers; those of `open` are within none but the deadline. */
function addMethods(
  server: Server,
  methods: Methods,
  open: Methods['unary'],
  layers: readonly Layer[],
  options: GrpcOptions & { readonly budget: Budget },
): void {
  const definition: Record<string, ServiceDefinition[string]> = {};
  const implementation: UntypedServiceImplementation = {};
  const add = (path: string, method: Method, isStream: boolean, around: readonly Layer[]): void => {
    const answer: Answer = (bytes, _call, waitMs) => method(bytes, waitMs);
    const layered = wrapIn(around, answer, { path, isStream });
    definition[path] = rawMethod(path, isStream);
    implementation[path] = isStream
      ? streamHandler(layered, options)
      : unaryHandler(layered, options.onError);
  };
  for (const [path, method] of Object.entries(methods.unary)) add(path, method, false, layers);
  for (const [path, method] of Object.entries(methods.stream)) add(path, method, true, layers);
  const bare = [deadlineLayer(options.maxWaitMs)];
  for (const [path, method] of Object.entries(open)) add(path, method, false, bare);
  server.addService(definition, implementation);
}

/** Resolves when all calls are over, or `graceMs` have passed and they are cut. */
function drained(server: Server, connections: Connections, graceMs: number): Promise<void> {
  return new Promise((done) => {
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
  });
}

function openServer(options: GrpcOptions, budget: Budget, methods: Methods): Server {
  const { maxMessageBytes, maxConnectionAgeMs } = options;
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
