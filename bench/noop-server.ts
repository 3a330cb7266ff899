/**
 * The gRPC floor: the same library with the same options and raw bytes, and answers that never change.
 * `node noop-server.js ANSWERS.json` prints its address when it listens.
 */
import { readFileSync } from 'node:fs';
import {
  Server,
  ServerCredentials,
  type sendUnaryData,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';

const file = process.argv[2] ?? '';
/** Method path → base64 of its answer; a path of `stream` answers each message of a stream. */
const answers = JSON.parse(readFileSync(file, 'utf8')) as {
  readonly unary: Readonly<Record<string, string>>;
  readonly stream: Readonly<Record<string, string>>;
};

const server = new Server({
  'grpc.max_receive_message_length': 4_194_304,
  'grpc.max_concurrent_streams': 256,
  'grpc.enable_channelz': 0,
  'grpc.keepalive_time_ms': 60_000,
  'grpc.keepalive_timeout_ms': 20_000,
});
const definition: Record<string, ServiceDefinition[string]> = {};
const implementation: UntypedServiceImplementation = {};
const same = (bytes: Buffer): Buffer => bytes;

function add(path: string, stream: boolean, handler: UntypedServiceImplementation[string]): void {
  definition[path] = {
    path,
    requestStream: stream,
    responseStream: stream,
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
  };
  implementation[path] = handler;
}

for (const [path, base64] of Object.entries(answers.unary)) {
  const answer = Buffer.from(base64, 'base64');
  add(path, false, (_call: ServerUnaryCall<Buffer, Buffer>, reply: sendUnaryData<Buffer>) =>
    reply(null, answer),
  );
}
for (const [path, base64] of Object.entries(answers.stream)) {
  const answer = Buffer.from(base64, 'base64');
  add(path, true, (call: ServerDuplexStream<Buffer, Buffer>) => {
    call.on('data', () => call.write(answer));
    call.on('end', () => call.end());
  });
}
server.addService(definition, implementation);
server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
  if (error !== null) throw error;
  process.stderr.write(`ready: gRPC on 127.0.0.1:${port}\n`);
});
process.once('SIGTERM', () => server.forceShutdown());
