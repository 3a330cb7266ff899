/** Handlers of the library around methods from bytes to bytes: answers at once where they are there, errors, back-pressure. */
import type { EventEmitter } from 'node:events';
import {
  Metadata,
  type sendUnaryData,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type ServiceDefinition,
} from '@grpc/grpc-js';
import type { Answer } from '../intercept.ts';
import { keepShape } from './dead-calls.ts';
import { takeMessage } from './gate.ts';
import type { Budget } from './metering.ts';
import { CODE, RpcError } from './status.ts';

/** A method whose messages stay bytes here: the codec is Postern's own. */
export function rawMethod(path: string, stream: boolean): ServiceDefinition[string] {
  const same = (bytes: Buffer): Buffer => bytes;
  return {
    path,
    requestStream: stream,
    responseStream: stream,
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
  };
}

export function unaryHandler(method: Answer, onError: (error: unknown) => void) {
  return (call: ServerUnaryCall<Buffer, Buffer>, reply: sendUnaryData<Buffer>): void => {
    keepShape(call);
    let answer;
    try {
      answer = method(call.request, call, 0);
    } catch (error) {
      reply(toServiceError(error, onError));
      return;
    }
    if (!(answer instanceof Promise)) reply(null, answer);
    else
      answer.then(
        (bytes) => reply(null, bytes),
        (error: unknown) => reply(toServiceError(error, onError)),
      );
  };
}

export interface StreamOptions {
  /** Bytes of messages that may be held, over all calls. */
  readonly budget: Budget;
  /** Messages of one stream that wait for facts before reading stops. */
  readonly streamInFlight: number;
  readonly onError: (error: unknown) => void;
}

/** Answers each message as it comes; reads no further while too many wait or the peer does not read. */
export function streamHandler(method: Answer, options: StreamOptions) {
  return (call: ServerDuplexStream<Buffer, Buffer>): void => {
    new AnsweredStream(call, method, options).open();
  };
}

class AnsweredStream {
  readonly #call: ServerDuplexStream<Buffer, Buffer>;
  readonly #method: Answer;
  readonly #options: StreamOptions;
  /** Messages whose answers are not there yet. */
  #waiting = 0;
  /** The peer reads. */
  #isWritable = true;
  /** `read`: the peer has sent its last message; `failed`: the stream has ended with an error. */
  #state: 'open' | 'read' | 'failed' = 'open';

  constructor(call: ServerDuplexStream<Buffer, Buffer>, method: Answer, options: StreamOptions) {
    this.#call = call;
    this.#method = method;
    this.#options = options;
  }

  open(): void {
    const call = this.#call;
    call.on('data', (bytes: Buffer) => this.#answer(bytes));
    call.on('drain', () => {
      this.#isWritable = true;
      this.#regulate();
    });
    call.on('end', () => {
      if (this.#state === 'open') this.#state = 'read';
      this.#regulate();
    });
    // The peer went away: nothing is owed to it.
    call.on('error', () => {});
  }

  #answer(bytes: Buffer): void {
    const { budget, onError } = this.#options;
    const held = takeMessage(this.#call);
    try {
      const answer = this.#method(bytes, this.#call, 0);
      if (answer instanceof Promise) {
        this.#waiting++;
        answer
          .then(this.#send, this.#fail)
          .finally(() => {
            budget.give(held);
            this.#waiting--;
            this.#regulate();
          })
          .catch(onError);
      } else {
        budget.give(held);
        this.#send(answer);
      }
    } catch (error) {
      budget.give(held);
      this.#fail(error);
    }
    if (!this.#isWritable || this.#isBusy) this.#regulate();
  }

  get #isBusy(): boolean {
    return this.#waiting >= this.#options.streamInFlight;
  }

  #regulate(): void {
    if (this.#isBusy || !this.#isWritable) this.#call.pause();
    else this.#call.resume();
    if (this.#state === 'read' && this.#waiting === 0) this.#call.end();
  }

  readonly #send = (bytes: Buffer): void => {
    if (this.#state !== 'failed') this.#isWritable = this.#call.write(bytes);
  };

  readonly #fail = (error: unknown): void => {
    if (this.#state === 'failed') return;
    this.#state = 'failed';
    endWith(this.#call, toServiceError(error, this.#options.onError));
  };
}

/** Ends a stream with an error. Destroyed, it would end without a status, and the caller would wait on. */
export function endWith(call: EventEmitter, error: Error): void {
  call.emit('error', error);
}

/** An error as gRPC carries it; one that is not foreseen is told to the log, not to the caller. */
export function toServiceError(
  error: unknown,
  onError: (error: unknown) => void,
): Error & { code: number; details: string; metadata: Metadata } {
  const known = error instanceof RpcError;
  if (!known) onError(error);
  const details = known ? error.message : 'internal error: see the log';
  const metadata = new Metadata();
  if (known && error.statusDetails !== undefined)
    metadata.set('grpc-status-details-bin', error.statusDetails);
  const code = known ? error.code : CODE.INTERNAL;
  return Object.assign(new Error(details), { code, details, metadata });
}
