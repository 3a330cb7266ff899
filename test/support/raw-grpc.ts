/** gRPC calls put together by hand: messages that no client library would send. */
import { readFileSync, writeFileSync } from 'node:fs';
import * as http2 from 'node:http2';

/** A message with its prefix. */
export function frame(body: Buffer, compressed = false): Buffer {
  const prefix = Buffer.alloc(5);
  prefix[0] = compressed ? 1 : 0;
  prefix.writeUInt32BE(body.length, 1);
  return Buffer.concat([prefix, body]);
}

export interface RawAnswer {
  /** `grpc-status`; `reset`: the stream ended without one. */
  readonly status: string;
  readonly message: string;
  readonly headers: http2.IncomingHttpHeaders;
}

export interface RawConnection {
  /** @param end whether the call says that nothing comes after the body */
  call(
    path: string,
    body: Buffer,
    headers?: Readonly<Record<string, string>>,
    end?: boolean,
  ): Promise<RawAnswer>;
  close(): void;
}

/** @param address `host:port` */
export async function connectRaw(address: string): Promise<RawConnection> {
  const session = http2.connect(`http://${address}`, { maxSessionMemory: 4_096 });
  session.on('error', () => {});
  await new Promise((done) => session.once('remoteSettings', done));
  return {
    call: (path, body, headers = {}, end = true) =>
      new Promise((done) => {
        const stream = session.request({
          ':method': 'POST',
          ':path': path,
          'content-type': 'application/grpc',
          te: 'trailers',
          ...headers,
        });
        let found: http2.IncomingHttpHeaders = {};
        const add = (fields: http2.IncomingHttpHeaders): void => {
          found = { ...found, ...fields };
          if (found['grpc-status'] !== undefined && !end) stream.close();
        };
        stream.on('response', add).on('trailers', add);
        stream.on('error', () => {});
        stream.on('close', () =>
          done({
            status: String(found['grpc-status'] ?? 'reset'),
            message: decodeURIComponent(String(found['grpc-message'] ?? '')),
            headers: found,
          }),
        );
        stream.resume();
        if (end) stream.end(body);
        else stream.write(body);
      }),
    close: () => session.destroy(),
  };
}

/** Resident memory of a process at its highest since `forgetPeak`, MiB. */
export function peakMiB(pid: number): number {
  const [, kib = '0'] = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kib) / 1_024;
}

export function forgetPeak(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, '5');
}
