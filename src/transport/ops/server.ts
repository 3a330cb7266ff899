/** The HTTP listener for operators: liveness, readiness, metrics. */
import type { IncomingMessage, Server } from 'node:http';
import { later, type MaybePromise } from '../../util/later.ts';
import { bind, type BindOptions } from '../bind.ts';

export interface Readiness {
  readonly ready: boolean;
  /** Each condition and whether it holds, for people. */
  readonly checks: Readonly<Record<string, boolean | string>>;
}

export interface OpsOptions extends Omit<BindOptions, 'setting' | 'variable'> {
  readonly readiness: () => MaybePromise<Readiness>;
  /** `undefined`: the server has not come so far yet. */
  readonly metrics: () => { render(): Promise<string>; readonly contentType: string } | undefined;
}

export interface OpsListener {
  readonly address: string;
  close(): Promise<void>;
}

// Imported as a module, it would load all that it offers, an HTTP client of 3 MiB among it.
const { createServer } = process.getBuiltinModule('node:http');

const JSON_TYPE = { 'content-type': 'application/json', 'cache-control': 'no-store' };

type Answer = readonly [status: number, body: string, headers?: Readonly<Record<string, string>>];

/** @throws BindError */
export async function listenOps(options: OpsOptions): Promise<OpsListener> {
  const answers: Readonly<Record<string, () => MaybePromise<Answer>>> = {
    '/healthz': () => [200, '{"status":"ok"}\n'],
    '/readyz': () =>
      later(options.readiness(), ({ ready, checks }) => [
        ready ? 200 : 503,
        `${JSON.stringify({ ready, checks })}\n`,
      ]),
    '/metrics': async () => {
      const metrics = options.metrics();
      if (metrics === undefined) return [503, '{"error":"the server starts: retry"}\n'];
      return [200, await metrics.render(), { 'content-type': metrics.contentType }];
    },
  };
  const answer = ({ method = '', url = '' }: IncomingMessage): MaybePromise<Answer> => {
    const path = url.split('?', 1)[0] ?? '';
    const known = Object.hasOwn(answers, path) ? answers[path] : undefined;
    if (known === undefined) return [404, '{"error":"not found: /healthz, /readyz, /metrics"}\n'];
    // HEAD is GET without the body, which Node leaves out.
    if (method !== 'GET' && method !== 'HEAD')
      return [405, '{"error":"use GET or HEAD"}\n', { ...JSON_TYPE, allow: 'GET, HEAD' }];
    return known();
  };
  const open = (): Server => {
    const server = createServer(
      // Half-sent requests must not keep probes out: they are looked for every second.
      { requestTimeout: 10_000, headersTimeout: 5_000, connectionsCheckingInterval: 1_000 },
      (request, response) => {
        const send = ([status, body, headers = JSON_TYPE]: Answer): void => {
          response
            .writeHead(status, { ...headers, 'content-length': Buffer.byteLength(body) })
            .end(body);
        };
        Promise.resolve(answer(request)).then(send, () => send([500, '{"error":"it failed"}\n']));
      },
    );
    server.maxConnections = 256;
    return server;
  };
  const { servers, address } = await bind(open, {
    ...options,
    setting: 'http.address',
    variable: 'POSTERN_HTTP_ADDRESS',
  });
  const closed = (server: Server): Promise<void> =>
    new Promise((done) => {
      server.close(() => done());
      server.closeAllConnections();
    });
  return {
    address,
    async close(): Promise<void> {
      await Promise.all(servers.map(closed));
    },
  };
}
