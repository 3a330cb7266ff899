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

/** How often a status that changes by itself is looked at for watchers, ms. */
const LOOK_MS = 1_000;

/**
 * Reports NOT_SERVING until `set(true)`.
 * @param holds whether what decisions need besides is there: without it, the status is NOT_SERVING too
 */
export function createHealth(holds: () => boolean = () => true): Health {
  const state = new HealthState(holds);
  return {
    unary: {
      '/grpc.health.v1.Health/Check': (bytes) => state.check(bytes),
      '/grpc.health.v1.Health/List': () => state.list(),
    },
    extra: (server: Server) =>
      server.addService(
        { Watch: { ...rawMethod('/grpc.health.v1.Health/Watch', true), requestStream: false } },
        { Watch: (call: Watcher) => state.watch(call) },
      ),
    set: (serving) => state.set(serving),
  };
}

type Watcher = ServerWritableStream<Buffer, Buffer>;

interface Watched {
  readonly service: string;
  /** The status that the watcher was sent last. */
  sent: number;
}

class HealthState {
  readonly #holds: () => boolean;
  readonly #watchers = new Map<Watcher, Watched>();
  #serving = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(holds: () => boolean) {
    this.#holds = holds;
  }

  check(bytes: Buffer): Buffer {
    const status = this.#statusOf(readService(bytes));
    if (status === SERVICE_UNKNOWN)
      throw new RpcError(NOT_FOUND, `unknown service: known are ${SERVICES.join(', ')}`);
    return statusMessage(status);
  }

  list(): Buffer {
    const writer = new Writer();
    for (const service of SERVICES)
      writer.message(1, () => {
        writer.string(1, service);
        writer.bytes(2, statusMessage(this.#statusOf(service)));
      });
    return writer.finish();
  }

  watch(call: Watcher): void {
    if (this.#watchers.size >= MAX_WATCHERS) {
      const problem = `more than ${MAX_WATCHERS} health watchers: use Check`;
      refuse(call, CODE.RESOURCE_EXHAUSTED, problem);
      return;
    }
    let service: string;
    try {
      service = readService(call.request);
    } catch (error) {
      refuse(call, CODE.INVALID_ARGUMENT, error instanceof Error ? error.message : String(error));
      return;
    }
    const sent = this.#statusOf(service);
    this.#watchers.set(call, { service, sent });
    this.#timer ??= setInterval(() => this.#send(), LOOK_MS).unref();
    call.on('cancelled', () => this.#forget(call));
    call.on('error', () => this.#forget(call));
    call.write(statusMessage(sent));
  }

  set(serving: boolean): void {
    this.#serving = serving;
    this.#send();
    if (serving) return;
    // A server that drains does not wait for watchers: no other status follows.
    for (const call of this.#watchers.keys()) call.end();
    this.#watchers.clear();
    this.#stopLooking();
  }

  #isServing(): boolean {
    return this.#serving && this.#holds();
  }

  #statusOf(service: string): number {
    if (!SERVICES.includes(service)) return SERVICE_UNKNOWN;
    return this.#isServing() ? SERVING : NOT_SERVING;
  }

  /** Sends each watcher its status where it is another one than it was sent last. */
  #send(): void {
    for (const [call, watched] of this.#watchers) {
      const status = this.#statusOf(watched.service);
      if (status === watched.sent) continue;
      watched.sent = status;
      call.write(statusMessage(status));
    }
  }

  #forget(call: Watcher): void {
    this.#watchers.delete(call);
    if (this.#watchers.size === 0) this.#stopLooking();
  }

  #stopLooking(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}

function refuse(call: Watcher, code: number, details: string): void {
  const metadata = new Metadata();
  endWith(call, Object.assign(new Error(details), { code, details, metadata }));
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
