/**
 * `grpc.health.v1.Health` (Check, List, Watch): three messages of one field each. The package made for it brings a
 * compiler for proto files, which would be a fifth of the idle server's memory.
 */
import { Metadata, type Server, type ServerWritableStream } from '@grpc/grpc-js';
import type { Method } from './methods.ts';
import { endWith, rawMethod } from './handlers.ts';
import type { Extra } from './server.ts';
import { badRequest, CODE, RpcError } from './status.ts';
import { Reader, WireError, Writer } from '../codec/wire.ts';

const SERVING = 1;
const NOT_SERVING = 2;
const SERVICE_UNKNOWN = 3;
const NOT_FOUND = 5;

/** Watchers at most; a client that opens more is told so. */
const MAX_WATCHERS = 1_000;

const SERVICES = ['', 'postern.v1.AuthorizationService'];

export interface Health {
  readonly unary: Readonly<Record<string, Method>>;
  /** Watch, which answers one request with a stream. */
  readonly extra: Extra;
  set(serving: boolean): void;
}

/** How often watchers are told what has changed by itself, ms. */
const LOOK_MS = 1_000;

/**
 * Not serving until it is told.
 * @param holds whether what decisions need besides is there: without it, it is not serving either
 */
export function createHealth(holds: () => boolean = () => true): Health {
  let told = false;
  let serving = false;
  let timer: NodeJS.Timeout | undefined;
  const watchers = new Map<ServerWritableStream<Buffer, Buffer>, string>();
  const statusOf = (service: string): number => {
    if (!SERVICES.includes(service)) return SERVICE_UNKNOWN;
    return serving && holds() ? SERVING : NOT_SERVING;
  };
  const forget = (call: ServerWritableStream<Buffer, Buffer>): void => {
    watchers.delete(call);
    if (watchers.size > 0) return;
    clearInterval(timer);
    timer = undefined;
  };
  /** Tells all who watch where it is another now. */
  const look = (): void => {
    const now = serving && holds();
    if (now === told) return;
    told = now;
    for (const [call, service] of watchers) call.write(statusMessage(statusOf(service)));
  };
  const watch = (call: ServerWritableStream<Buffer, Buffer>): void => {
    if (watchers.size >= MAX_WATCHERS) {
      const details = `more than ${MAX_WATCHERS} health watchers: use Check`;
      const metadata = new Metadata();
      endWith(
        call,
        Object.assign(new Error(details), { code: CODE.RESOURCE_EXHAUSTED, details, metadata }),
      );
      return;
    }
    let service: string;
    try {
      service = readService(call.request);
    } catch (error) {
      const details = error instanceof Error ? error.message : String(error);
      const metadata = new Metadata();
      endWith(
        call,
        Object.assign(new Error(details), { code: CODE.INVALID_ARGUMENT, details, metadata }),
      );
      return;
    }
    watchers.set(call, service);
    if (timer === undefined) {
      told = serving && holds();
      timer = setInterval(look, LOOK_MS).unref();
    }
    call.on('cancelled', () => forget(call));
    call.on('error', () => forget(call));
    call.write(statusMessage(statusOf(service)));
  };
  return {
    unary: {
      '/grpc.health.v1.Health/Check': (bytes) => {
        const service = readService(bytes);
        const status = statusOf(service);
        if (status === SERVICE_UNKNOWN)
          throw new RpcError(NOT_FOUND, `unknown service: known are ${SERVICES.join(', ')}`);
        return statusMessage(status);
      },
      '/grpc.health.v1.Health/List': () => {
        const writer = new Writer();
        for (const service of SERVICES)
          writer.message(1, () => {
            writer.string(1, service);
            writer.bytes(2, statusMessage(statusOf(service)));
          });
        return writer.finish();
      },
    },
    extra: (server: Server) =>
      server.addService(
        { Watch: { ...rawMethod('/grpc.health.v1.Health/Watch', true), requestStream: false } },
        { Watch: watch },
      ),
    set(next): void {
      serving = next;
      told = serving && holds();
      for (const [call, service] of watchers) {
        call.write(statusMessage(statusOf(service)));
        // A server that drains must not wait for watchers: they have heard the last word.
        if (!next) call.end();
      }
      if (next) return;
      watchers.clear();
      clearInterval(timer);
      timer = undefined;
    },
  };
}

function readService(bytes: Buffer): string {
  let service = '';
  try {
    const reader = new Reader(bytes);
    while (reader.next())
      if (reader.field === 1) service = reader.string('service');
      else reader.skip();
  } catch (error) {
    if (error instanceof WireError)
      throw badRequest('service', `the message cannot be read: ${error.message}`);
    throw error;
  }
  return service;
}

function statusMessage(status: number): Buffer {
  const writer = new Writer();
  writer.uint(1, status);
  return writer.finish();
}
