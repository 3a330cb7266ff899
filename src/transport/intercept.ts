/**
 * What every call passes before its method: layers around layers, the same for calls of one message and for streams. A
 * layer judges a call by its headers, before anything of it is read, or wraps what answers its messages, or both.
 */
import type { IncomingHttpHeaders } from 'node:http2';
import type { MaybePromise } from '../util/later.ts';
import type { RpcError } from './grpc/status.ts';

/** What layers see of a call beside its messages. */
export interface CallContext {
  /** When the caller gives up, ms since the epoch; Infinity: never. */
  getDeadline(): Date | number;
  /** Its headers: all values of a name; empty: it was not sent. */
  readonly metadata: { get(name: string): readonly (string | Buffer)[] };
}

/**
 * Answers one message. Throws or rejects with `RpcError`.
 * @param waitMs how long the caller waits for the answer
 */
export type Answer = (bytes: Buffer, call: CallContext, waitMs: number) => MaybePromise<Buffer>;

/** A method by its full path, `/package.Service/Method`. */
export interface Route {
  readonly path: string;
  /** Each message of the call is answered by one; else there is one message. */
  readonly isStream: boolean;
}

export interface Layer {
  /** Judges a call by its headers. @returns why it is refused; `undefined`: it goes on */
  readonly admit?: (
    path: string,
    headers: IncomingHttpHeaders,
  ) => MaybePromise<RpcError | undefined>;
  /** Wraps a method, once at the start of the server; each message passes what is returned. */
  readonly wrap?: (next: Answer, route: Route) => Answer;
}

/** The judgement of all layers, the first one first; the first refusal counts. */
export function admitBy(layers: readonly Layer[]): NonNullable<Layer['admit']> {
  const judges = layers.flatMap(({ admit }) => admit ?? []);
  const judge = (
    path: string,
    headers: IncomingHttpHeaders,
    from: number,
  ): MaybePromise<RpcError | undefined> => {
    for (let at = from; at < judges.length; at++) {
      const refused = judges[at]?.(path, headers);
      if (refused instanceof Promise)
        return refused.then((error) => error ?? judge(path, headers, at + 1));
      if (refused !== undefined) return refused;
    }
    return undefined;
  };
  return (path, headers) => judge(path, headers, 0);
}

/** A method within all layers; the first one is the outermost. */
export function wrapIn(layers: readonly Layer[], method: Answer, route: Route): Answer {
  return layers.reduceRight((next, { wrap }) => wrap?.(next, route) ?? next, method);
}
