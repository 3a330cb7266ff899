/** `grpc.health.v1.Health/Watch`: each watcher ends with the status that Check would tell it. */
import { Client, credentials, Server, ServerCredentials } from '@grpc/grpc-js';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createHealth } from '../../src/transport/grpc/health.ts';

const bytes = (message: Buffer): Buffer => message;
const word = (message: Buffer): string => (message[1] === 1 ? 'SERVING' : 'NOT_SERVING');

describe('Watch', () => {
  it('tells a watcher that came while the status was another one for a moment', async () => {
    let isThere = true;
    const health = createHealth(() => isThere);
    const server = new Server();
    health.extra(server);
    const port = await new Promise<number>((done, failed) => {
      server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? done(bound) : failed(error),
      );
    });
    onTestFinished(() => server.forceShutdown());
    health.set(true);
    const watch = (): string[] => {
      const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
      const heard: string[] = [];
      const stream = client.makeServerStreamRequest(
        '/grpc.health.v1.Health/Watch',
        bytes,
        bytes,
        Buffer.alloc(0),
      );
      stream.on('data', (message: Buffer) => heard.push(word(message)));
      stream.on('error', () => {});
      onTestFinished(() => {
        stream.cancel();
        client.close();
      });
      return heard;
    };
    const first = watch();
    await expect.poll(() => first).toEqual(['SERVING']);
    isThere = false;
    const second = watch();
    await expect.poll(() => second[0]).toBe('NOT_SERVING');
    isThere = true;
    await expect.poll(() => second.at(-1)).toBe('SERVING');
    expect(first.at(-1)).toBe('SERVING');
  });
});
