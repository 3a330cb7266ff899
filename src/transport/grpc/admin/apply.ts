/** Apply: one message or many, the pieces of one state file. */
import type { sendUnaryData, ServerReadableStream } from '@grpc/grpc-js';
import type { Actor } from '../../../admin/actor.ts';
import type { AdminRequest } from '../../../admin/admin-contract.ts';
import type { ApplyFlags } from '../../../admin/state/apply-text.ts';
import { toServiceError } from '../handlers.ts';
import { mustAgree, Upload } from '../upload.ts';
import { toWire, UNREADABLE, unreadable } from './messages.ts';
import { callerOf, type AdminServiceOptions } from './options.ts';
import { asRpcError } from './refusals.ts';
import type { AdminRequests } from './requests.ts';

type ApplyMessage = AdminRequests['Apply'];
type ApplyRequest = AdminRequest & ApplyFlags;
type ApplyCall = ServerReadableStream<ApplyMessage, object>;

/** The first message without its piece, and the actor that it is authorized for. */
interface FirstMessage {
  readonly request: ApplyRequest;
  readonly actor: Promise<Actor>;
}

const NO_TENANT: ApplyRequest = { tenant: '', prune: false, keep: false };

export function applying(options: AdminServiceOptions) {
  return (call: ApplyCall, reply: sendUnaryData<object>): void => {
    new ApplyStream(call, reply, options).open();
  };
}

class ApplyStream {
  readonly #call: ApplyCall;
  readonly #reply: sendUnaryData<object>;
  readonly #options: AdminServiceOptions;
  readonly #upload: Upload;
  /** Aborts when the caller is gone. */
  readonly #gone = new AbortController();
  #first: FirstMessage | undefined;
  /** `ended`: the upload is planned and committed, or refused as one that is not whole; `failed`: it was refused. */
  #state: 'open' | 'ended' | 'failed' = 'open';

  constructor(call: ApplyCall, reply: sendUnaryData<object>, options: AdminServiceOptions) {
    this.#call = call;
    this.#reply = reply;
    this.#options = options;
    this.#upload = new Upload(options.maxStateBytes);
  }

  open(): void {
    const call = this.#call;
    call.on('data', (message: ApplyMessage) => this.#take(message));
    // A stream that is cancelled or lost may end like one that is whole: it tells `cancelled` before or after.
    call.on('cancelled', () => {
      this.#upload.cut();
      this.#gone.abort();
      if (this.#first !== undefined) this.#end();
    });
    call.on('error', this.#fail);
    call.on('end', () => {
      // A cancellation is told in another tick than the end that it brings.
      setImmediate(() => this.#end());
    });
  }

  #take(message: ApplyMessage): void {
    if (this.#state === 'failed') return;
    if (message === UNREADABLE) return this.#fail(unreadable());
    if (this.#first === undefined) {
      // Before the whole state is here: nobody else fills our memory.
      this.#first = this.#begin(message);
      this.#first.actor.catch(this.#fail);
    }
    try {
      mustAgree(this.#first.request, message);
      this.#upload.add(message);
    } catch (error) {
      this.#fail(error);
    }
  }

  #begin({ tenant, options, prune, keep }: ApplyRequest): FirstMessage {
    const request = { tenant, options: options ?? null, prune, keep };
    return { request, actor: this.#admit(request) };
  }

  /** Once a call: each refusal is a record. */
  async #admit(request: AdminRequest): Promise<Actor> {
    const { admin, authenticate } = this.#options;
    const actor = await authenticate(callerOf(this.#call.metadata, request.tenant));
    await admin.mayApply(actor, request);
    return actor;
  }

  /** Plans and commits the upload, or records why it is none. */
  #end(): void {
    if (this.#state !== 'open') return;
    this.#state = 'ended';
    const { request, actor } = (this.#first ??= this.#begin(NO_TENANT));
    const { admin } = this.#options;
    actor
      .then((known) => admin.apply(known, request, () => this.#upload.whole(), this.#gone.signal))
      .then((answer) => this.#reply(null, toWire(answer)))
      .catch(this.#fail);
  }

  readonly #fail = (error: unknown): void => {
    if (this.#state === 'failed') return;
    this.#state = 'failed';
    this.#upload.drop();
    this.#reply(toServiceError(asRpcError(error), this.#options.onError));
  };
}
