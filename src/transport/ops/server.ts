/** The HTTP listener for operators: liveness, readiness, metrics. */
import { once } from 'node:events';
import createRouter from 'find-my-way';
import { later, type MaybePromise } from '../../later.ts';
import { clearStaleSocket, setSocketMode } from '../unix-socket.ts';

export interface Readiness {
  readonly ready: boolean;
  /** Each condition and whether it holds, for people. */
  readonly checks: Readonly<Record<string, boolean | string>>;
}

export interface OpsOptions {
  /** `host:port`, or `unix:/path`. */
  readonly address: string;
  /** Permissions of a unix socket, octal; `undefined`: what the umask leaves. */
  readonly socketMode: string | undefined;
  readonly readiness: () => MaybePromise<Readiness>;
  readonly metrics: { render(): Promise<string>; readonly contentType: string };
}

export interface OpsListener {
  readonly address: string;
  close(): Promise<void>;
}

// Imported as a module, it would load all that it offers, an HTTP client of 3 MiB among it.
const { createServer } = process.getBuiltinModule('node:http');

/** @throws Error where the address cannot be bound */
export async function listenOps(options: OpsOptions): Promise<OpsListener> {
  const json = { 'content-type': 'application/json', 'cache-control': 'no-store' };
  const router = createRouter({
    defaultRoute: (_request, response) => {
      response.writeHead(404, json).end('{"error":"not found: /healthz, /readyz, /metrics"}\n');
    },
  });
  router.on('GET', '/healthz', (_request, response) => {
    response.writeHead(200, json).end('{"status":"ok"}\n');
  });
  router.on('GET', '/readyz', (_request, response) => {
    void later(options.readiness(), ({ ready, checks }) =>
      response.writeHead(ready ? 200 : 503, json).end(`${JSON.stringify({ ready, checks })}\n`),
    );
  });
  router.on('GET', '/metrics', (_request, response) => {
    options.metrics.render().then(
      (text) => response.writeHead(200, { 'content-type': options.metrics.contentType }).end(text),
      () => response.writeHead(500, json).end('{"error":"metrics failed"}\n'),
    );
  });
  const server = createServer(
    // Half-sent requests must not keep probes out: they are looked for every second.
    { requestTimeout: 10_000, headersTimeout: 5_000, connectionsCheckingInterval: 1_000 },
    (request, response) => router.lookup(request, response),
  );
  server.maxConnections = 256;
  if (options.address.startsWith('unix:')) {
    await clearStaleSocket(options.address);
    server.listen(options.address.slice(5));
  } else {
    const colon = options.address.lastIndexOf(':');
    const host = options.address.slice(0, colon).replace(/^\[|\]$/g, '');
    server.listen(Number(options.address.slice(colon + 1)), host);
  }
  await once(server, 'listening');
  setSocketMode(options.address, options.socketMode);
  const bound = server.address();
  return {
    address:
      typeof bound === 'object' && bound !== null
        ? options.address.replace(/:\d+$/, `:${bound.port}`)
        : options.address,
    close: () =>
      new Promise((done) => {
        server.close(() => done());
        server.closeAllConnections();
      }),
  };
}
