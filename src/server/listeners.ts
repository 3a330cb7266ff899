/** Binds the listeners of a server, for gRPC and for HTTP. */
import type { Logger } from 'pino';
import type { Metrics } from '../telemetry/metrics.ts';
import { openConnections, type Connections } from '../transport/grpc/connections.ts';
import { listenOps, type OpsListener } from '../transport/ops/server.ts';
import { errorLogger } from './loggers.ts';
import type { ServerReadiness } from './readiness.ts';
import type { ServerOptions } from './running.ts';

export interface Listeners {
  /** Connections for gRPC; they wait until a service answers their calls. */
  readonly connections: Connections;
  /** `undefined`: this is a worker. */
  readonly http: OpsListener | undefined;
}

/** Where HTTP finds the metrics, which come into being after it. */
export interface MetricsPlace {
  metrics: Metrics | undefined;
}

/** @throws BindError */
export async function listen(
  { settings, worker }: ServerOptions,
  readiness: ServerReadiness,
  place: MetricsPlace,
  log: Logger,
): Promise<Listeners> {
  const onError = errorLogger(log, 'a connection could not be taken');
  const { grpc, http } = settings;
  const connections = await openConnections({
    address: grpc.address,
    socketMode: grpc.socket_mode,
    shared: worker !== undefined,
    setting: 'grpc.address',
    variable: 'POSTERN_GRPC_ADDRESS',
    onError,
  });
  if (worker !== undefined) return { connections, http: undefined };
  try {
    const ops = await listenOps({
      address: http.address,
      socketMode: http.socket_mode,
      readiness: () => readiness.report(),
      metrics: () => place.metrics,
      onError,
    });
    return { connections, http: ops };
  } catch (error) {
    await cut(connections);
    throw error;
  }
}

/** Takes no more connections, and ends those that are open. */
export function cut(connections: Connections): Promise<void> {
  const closed = connections.refuse();
  connections.cut();
  return closed;
}
