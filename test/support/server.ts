/** A real server in this process, on ports of its own and a store of its own, and a client made from the proto files. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Metadata, type ClientDuplexStream, type ServiceError } from '@grpc/grpc-js';
import { yamlText } from '../../src/config/yaml-text.ts';
import { settingsSchema, type Settings } from '../../src/config/settings/settings-schema.ts';
import { startServer, type Running } from '../../src/server/compose.ts';
import { PACKAGE_ROOT } from './package-root.ts';
import { clientOf } from './proto.ts';

export interface TestServer {
  readonly running: Running;
  readonly client: TestClient;
  readonly directory: string;
  readonly settings: Settings;
  close(): Promise<void>;
}

export interface TestClient {
  /** Resolves with the answer, rejects with the `ServiceError`. */
  call(
    method: string,
    request: object,
    deadlineMs?: number,
    headers?: Readonly<Record<string, string>>,
  ): Promise<Answer>;
  /** Bytes as they are, to any path. */
  raw(path: string, bytes: Buffer, deadlineMs?: number): Promise<Buffer>;
  stream(): ClientDuplexStream<object, Answer>;
  close(): void;
}

/** Any message of the API as the loader's codec gives it. */
export type Answer = Readonly<Record<string, unknown>>;

/** @param adminToken of the operator; without one there is no AdminService */
export async function startTestServer(
  state: object | string,
  overrides: Readonly<Record<string, unknown>> = {},
  adminToken?: string,
): Promise<TestServer> {
  const directory = mkdtempSync(join(tmpdir(), 'postern-server-'));
  const settings = settingsSchema.parse({
    catalog: join(PACKAGE_ROOT, 'config/actions.yaml'),
    default_roles: join(PACKAGE_ROOT, 'config/roles.yaml'),
    store: `embedded:${join(directory, 'store')}`,
    audit: { sinks: [{ type: 'file', path: join(directory, 'audit.jsonl') }] },
    log: { level: 'silent' },
    ...overrides,
    // A busy machine is late: refusing calls for that is what the tests of overload ask for by themselves.
    limits: { max_lag_ms: 0, ...(overrides['limits'] ?? {}) },
    grpc: { address: '127.0.0.1:0', ...(overrides['grpc'] ?? {}) },
    http: { address: '127.0.0.1:0', ...(overrides['http'] ?? {}) },
  });
  const stateFile = typeof state === 'string' ? state : join(directory, 'state.yaml');
  if (typeof state !== 'string') writeFileSync(stateFile, yamlText(state));
  const running = await startServer({
    settings,
    states: [stateFile],
    packageRoot: PACKAGE_ROOT,
    version: 'test',
    adminToken,
  });
  const client = connectTo(running.addresses.grpc);
  return {
    running,
    client,
    directory,
    settings,
    async close(): Promise<void> {
      client.close();
      await running.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

type UnaryMethod = (
  request: object,
  metadata: Metadata,
  options: object,
  done: (error: ServiceError | null, answer: Answer) => void,
) => void;

/** @param options `own`: a connection that no other client here shares */
export function connectTo(
  address: string,
  { own = false }: { readonly own?: boolean } = {},
): TestClient {
  const client = clientOf('AuthorizationService', address, {
    'grpc.max_receive_message_length': -1,
    'grpc.max_send_message_length': -1,
    'grpc.use_local_subchannel_pool': own ? 1 : 0,
  });
  const methods = client as unknown as Record<string, UnaryMethod> & {
    CheckStream(): ClientDuplexStream<object, Answer>;
  };
  const same = (bytes: Buffer): Buffer => bytes;
  return {
    call: (method, request, deadlineMs = 10_000, headers = {}) =>
      new Promise((done, failed) => {
        const options = { deadline: Date.now() + deadlineMs };
        methods[method]?.call(client, request, metadataOf(headers), options, (error, answer) =>
          error === null ? done(answer) : failed(error),
        );
      }),
    raw: (path, bytes, deadlineMs = 10_000) =>
      new Promise((done, failed) => {
        const options = { deadline: Date.now() + deadlineMs };
        client.makeUnaryRequest(path, same, same, bytes, options, (error, answer) =>
          error === null ? done(answer ?? Buffer.alloc(0)) : failed(error),
        );
      }),
    stream: () => methods.CheckStream.call(client),
    close: () => client.close(),
  };
}

function metadataOf(headers: Readonly<Record<string, string>>): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  return metadata;
}
