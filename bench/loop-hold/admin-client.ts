/** Calls of AdminService by names and plain objects. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { Client, credentials, Metadata } from '@grpc/grpc-js';
import { loadSync, type MethodDefinition } from '@grpc/proto-loader';
import { PACKAGE_ROOT } from '../../test/support/package-root.ts';
import type { Answer } from '../../test/support/server.ts';

/** What proves the operator to the servers of `server.ts`. */
export const OPERATOR_TOKEN = 'operator-of-the-loop-hold-measurement';

const METHODS = loadSync('postern/v1/admin.proto', {
  includeDirs: [join(PACKAGE_ROOT, 'proto')],
  keepCase: true,
  longs: Number,
  enums: String,
  defaults: true,
})['postern.v1.AdminService'] as unknown as Readonly<
  Record<string, MethodDefinition<object, object>>
>;

const DEADLINE_MS = 300_000;
const CHUNK_BYTES = 1_000_000;

interface Opened {
  readonly client: Client;
  readonly metadata: Metadata;
  readonly method: MethodDefinition<object, object>;
}

async function opened<T>(
  address: string,
  rpc: string,
  use: (one: Opened) => Promise<T>,
): Promise<T> {
  const method = METHODS[rpc];
  if (method === undefined) throw new Error(`there is no method ${rpc}`);
  const client = new Client(address, credentials.createInsecure(), {
    'grpc.max_receive_message_length': -1,
    'grpc.max_send_message_length': -1,
  });
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${OPERATOR_TOKEN}`);
  try {
    return await use({ client, metadata, method });
  } finally {
    client.close();
  }
}

const deadline = (): { readonly deadline: number } => ({ deadline: Date.now() + DEADLINE_MS });

/** An error of the call is an answer of the field `code`. */
export function call(address: string, rpc: string, message: object): Promise<Answer> {
  return opened(
    address,
    rpc,
    ({ client, metadata, method }) =>
      new Promise<Answer>((done) => {
        client.makeUnaryRequest(
          method.path,
          method.requestSerialize,
          method.responseDeserialize,
          message,
          metadata,
          deadline(),
          // The proto file says what the answer is.
          (error, answer) => done((error ?? answer) as unknown as Answer),
        );
      }),
  );
}

/** Uploads a state file. */
export function apply(address: string, first: object, text: string): Promise<Answer> {
  const bytes = Buffer.from(text);
  return opened(
    address,
    'Apply',
    ({ client, metadata, method }) =>
      new Promise<Answer>((done) => {
        const stream = client.makeClientStreamRequest(
          method.path,
          method.requestSerialize,
          method.responseDeserialize,
          metadata,
          deadline(),
          // The proto file says what the answer is.
          (error, answer) => done((error ?? answer) as unknown as Answer),
        );
        for (let at = 0; at < bytes.length; at += CHUNK_BYTES)
          stream.write({
            ...(at === 0 ? first : {}),
            chunk: bytes.subarray(at, at + CHUNK_BYTES),
          });
        const sha256 = createHash('sha256').update(bytes).digest();
        stream.write({ end: { length: bytes.length, sha256 } });
        stream.end();
      }),
  );
}

/** Reads a stream of the server. @returns messages @param end whether a message is the last that is wanted */
export function stream(
  address: string,
  rpc: string,
  message: object,
  end: (count: number) => boolean = () => false,
): Promise<number> {
  return opened(
    address,
    rpc,
    ({ client, metadata, method }) =>
      new Promise<number>((done, failed) => {
        const reading = client.makeServerStreamRequest(
          method.path,
          method.requestSerialize,
          method.responseDeserialize,
          message,
          metadata,
          deadline(),
        );
        let count = 0;
        reading.on('data', () => {
          count++;
          if (end(count)) reading.cancel();
        });
        reading.on('end', () => done(count));
        reading.on('error', (error) => (end(count) ? done(count) : failed(error)));
      }),
  );
}
