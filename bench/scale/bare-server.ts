/**
 * What a revocation takes at least, by gRPC and Redis alone: `bare-server.ts URL CHANNEL` allows whoever was not yet
 * named on the channel. It reads no facts, decides nothing and records nothing, and believes whatever it hears.
 */
import {
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServiceDefinition,
} from '@grpc/grpc-js';
import { Redis } from 'ioredis';
import { checkStream, type Answer, type Question } from './asking.ts';

const [url = '', channel = ''] = process.argv.slice(2);
const revoked = new Set<string>();
const redis = new Redis(url);
redis.on('message', (_channel: string, user: string) => void revoked.add(user));
await redis.subscribe(channel);

const server = new Server();
// The codecs are made for these messages.
server.addService({ CheckStream: checkStream } as unknown as ServiceDefinition, {
  CheckStream: (call: ServerDuplexStream<Question, Partial<Answer>>) => {
    call.on('data', ({ id, subject }: Question) => {
      call.write({ id, allowed: !revoked.has(subject?.id ?? '') });
    });
    call.on('end', () => call.end());
  },
});
server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
  if (error !== null) throw error;
  process.stderr.write(`ready: gRPC on 127.0.0.1:${port}\n`);
});
process.once('SIGTERM', () => {
  server.tryShutdown(() => redis.disconnect());
});
