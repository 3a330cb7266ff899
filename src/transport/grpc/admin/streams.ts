/** Calls of AdminService that answer with a stream: the export of a tenant's state, and the watch of its changes. */
import type { ServerWritableStream } from '@grpc/grpc-js';
import { endWith, toServiceError } from '../handlers.ts';
import { UNREADABLE, unreadable } from './messages.ts';
import { callerOf, type AdminServiceOptions } from './options.ts';
import { asRpcError } from './refusals.ts';
import type { AdminRequests } from './requests.ts';

/** Pieces of an export. */
const CHUNK_BYTES = 1_048_576;
/** How often the caller of a stream without an end must prove itself again. */
const AUTHENTICATE_MS = 5_000;

export function exporting({ admin, authenticate, onError }: AdminServiceOptions) {
  return (call: ServerWritableStream<AdminRequests['Export'], object>): void => {
    const send = async (): Promise<void> => {
      if (call.request === UNREADABLE) throw unreadable();
      const actor = await authenticate(callerOf(call.metadata, call.request.tenant));
      const { revision, pieces } = await admin.export(actor, call.request);
      for (const piece of pieces)
        for (let at = 0; at < piece.length && !call.cancelled; at += CHUNK_BYTES)
          if (!call.write({ revision, chunk: piece.subarray(at, at + CHUNK_BYTES) }))
            await drained(call);
      call.end();
    };
    send().catch((error: unknown) => endWith(call, toServiceError(asRpcError(error), onError)));
  };
}

export function watching({ admin, authenticate, onError }: AdminServiceOptions) {
  return (call: ServerWritableStream<AdminRequests['WatchChanges'], object>): void => {
    const over = new AbortController();
    for (const event of ['cancelled', 'close', 'error'] as const)
      call.on(event, () => over.abort());
    const fail = (error: unknown): void => {
      if (!over.signal.aborted) endWith(call, toServiceError(asRpcError(error), onError));
    };
    const send = async (): Promise<void> => {
      if (call.request === UNREADABLE) throw unreadable();
      const caller = callerOf(call.metadata, call.request.tenant);
      const actor = await authenticate(caller);
      if (over.signal.aborted) return;
      // A stream must not outlive the credential that it was begun with.
      const timer = setInterval(() => void authenticate(caller).catch(fail), AUTHENTICATE_MS);
      over.signal.addEventListener('abort', () => clearInterval(timer));
      for await (const { change, gap } of admin.watch(actor, call.request, over.signal)) {
        if (over.signal.aborted) return;
        if (!call.write({ revision: change.revision, change, gap })) await drained(call);
      }
      if (!over.signal.aborted) call.end();
    };
    send().catch(fail);
  };
}

/** The caller reads again, or is gone. */
async function drained(call: ServerWritableStream<unknown, object>): Promise<void> {
  const events = ['drain', 'cancelled', 'close', 'error'];
  await new Promise<void>((done) => {
    const end = (): void => {
      for (const event of events) call.off(event, end);
      done();
    };
    for (const event of events) call.on(event, end);
  });
}
