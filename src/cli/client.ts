/** A gRPC client from the proto files: the command line meets the server as any other client does. */
import { join } from 'node:path';
import { credentials, loadPackageDefinition, status, type Client } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import type { Scalar } from '../engine/model.ts';
import { CliError } from './output.ts';

/** `google.protobuf.Value` as the loader's codec takes it. */
export type ProtoValue =
  | { readonly stringValue: string }
  | { readonly numberValue: number }
  | { readonly boolValue: boolean }
  | { readonly listValue: { readonly values: readonly ProtoValue[] } };

export interface CheckResponse {
  readonly id: string;
  readonly allowed: boolean;
  readonly reason: string;
  readonly detail: string;
  readonly decision_id: string;
  readonly revision: string;
  readonly age_ms: string;
  readonly shadow: { readonly allowed: boolean; readonly differs: boolean } | null;
}

export interface ExplainResponse {
  readonly check: CheckResponse;
  readonly layers: readonly {
    readonly name: string;
    readonly verdict: string;
    readonly summary: string;
    readonly facts: readonly { kind: string; text: string; chain: readonly string[] }[];
  }[];
  readonly missing: readonly { readonly kind: string; readonly text: string }[];
  readonly missing_complete: boolean;
}

type Unary = (
  request: object,
  options: { deadline: number },
  done: (error: (Error & { code?: number; details?: string }) | null, answer: unknown) => void,
) => void;

const TIMEOUT_MS = 10_000;

export interface DecisionClient {
  check(request: object): Promise<CheckResponse>;
  explain(request: object): Promise<ExplainResponse>;
  close(): void;
}

export function connect(address: string, packageRoot: string): DecisionClient {
  const definition = loadSync('postern/v1/authorization.proto', {
    includeDirs: [join(packageRoot, 'proto')],
    keepCase: true,
    longs: String,
    enums: String,
    defaults: true,
  });
  const loaded = loadPackageDefinition(definition) as unknown as {
    postern: {
      v1: {
        AuthorizationService: new (
          address: string,
          credentials: unknown,
        ) => Client & Record<string, Unary>;
      };
    };
  };
  const client = new loaded.postern.v1.AuthorizationService(address, credentials.createInsecure());
  const call = <T>(method: string, request: object): Promise<T> =>
    new Promise((done, failed) => {
      const send = client[method];
      if (send === undefined) throw new Error(`no method ${method}`);
      send.call(client, request, { deadline: Date.now() + TIMEOUT_MS }, (error, answer) =>
        // The loader's codec has made the answer from the proto file.
        error === null ? done(answer as T) : failed(explainError(error, address)),
      );
    });
  return {
    check: (request) => call('Check', request),
    explain: (request) => call('Explain', request),
    close: () => client.close(),
  };
}

function explainError(
  error: Error & { code?: number; details?: string },
  address: string,
): CliError {
  const details = error.details ?? error.message;
  if (error.code === status.UNAVAILABLE && !details.includes('revision'))
    return new CliError(
      `no answer from ${address}: is \`postern serve\` running there? (${details})`,
    );
  return new CliError(details);
}

/** A scalar or list of scalars as a `google.protobuf.Value`. */
export function toProtoValue(value: Scalar | readonly Scalar[]): ProtoValue {
  if (typeof value === 'string') return { stringValue: value };
  if (typeof value === 'number') return { numberValue: value };
  if (typeof value === 'boolean') return { boolValue: value };
  return { listValue: { values: value.map(toProtoValue) } };
}
