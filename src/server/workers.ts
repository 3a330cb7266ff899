/**
 * The process that keeps several workers going: each is a whole server but for HTTP, which is served here for all. It
 * hands connections to them in turn (SCHED_RR): connections of HTTP/2 live long, and left to the kernel most of them end
 * up with the same few.
 */
import cluster from 'node:cluster';
import { together } from '../telemetry/exposition.ts';
import { listenOps } from '../transport/ops/server.ts';
import { clearStaleSocket } from '../transport/unix-socket.ts';
import { openLogger } from './loggers.ts';
import type { Running, ServerOptions } from './running.ts';
import { WorkerPool } from './worker-pool.ts';

export { WorkerError } from './worker-slot.ts';

export interface RunningWorkers extends Pick<Running, 'addresses' | 'tenants' | 'waiting' | 'log'> {
  /** Every worker reads catalog and routes again. */
  reload(): void;
  /** All workers drain. @returns whether all ended in order */
  close(): Promise<boolean>;
  /** Resolves when a worker ends again and again: it has written why, and going on is of no use. */
  readonly gaveUp: Promise<void>;
}

/**
 * @param script the file that a worker runs
 * @throws WorkerError where a worker cannot start, Error where HTTP cannot be bound
 */
export async function startWorkers(server: ServerOptions, script: string): Promise<RunningWorkers> {
  const { grpc, http, log: logging, audit } = server.settings;
  const log = openLogger(logging.level, undefined);
  const isRelayed = audit.sinks.some(({ type }) => type === 'stdout');
  cluster.schedulingPolicy = cluster.SCHED_RR;
  cluster.setupPrimary({
    exec: script,
    args: [],
    serialization: 'advanced',
    stdio: ['ignore', isRelayed ? 'pipe' : 'inherit', 'inherit', 'ipc'],
  });
  const pool = new WorkerPool(server, log);
  await clearStaleSocket(grpc.address);
  const { contentType } = together([]);
  const ops = await listenOps({
    address: http.address,
    socketMode: http.socket_mode,
    readiness: () => pool.readiness(),
    metrics: () => ({ render: () => pool.metrics(), contentType }),
    onError: (error) => log.error({ err: error }, 'a connection for HTTP could not be taken'),
  });
  const close = async (): Promise<boolean> => {
    const inOrder = await pool.close();
    await ops.close();
    return inOrder;
  };
  try {
    const { grpc: address, tenants } = await pool.start();
    return {
      addresses: { grpc: address, http: ops.address },
      tenants,
      waiting: pool.isWaiting,
      log,
      gaveUp: pool.gaveUp,
      reload: () => pool.reload(),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
