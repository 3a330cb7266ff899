/**
 * Redis as the store needs it, on ioredis: every call ends by a deadline of its own, nothing is queued while there
 * is no connection, and the library sends nothing a second time by itself.
 */
import { Cluster, Command, type Redis } from 'ioredis';
import { NoRightError, StoreError, UnknownOutcomeError, UnusableStoreError } from '../store.ts';
import { connect, type ConnectOptions } from './connect.ts';
import {
  explain,
  isFromScript,
  isMovingSlot,
  isNoRight,
  isPermanent,
  isRefusal,
  isWrongType,
  messageOf,
} from './reply-errors.ts';
import {
  runWrite,
  ScriptReader,
  type Argument,
  type ReplicaWait,
  type ScriptCall,
  type WriteReply,
} from './script-call.ts';

export interface ClientOptions extends ConnectOptions {
  /** How the address is called in messages, without secrets. */
  readonly shown: string;
  /** Called with each problem of a connection; the connection tries again by itself. */
  readonly onProblem: (message: string) => void;
  /** Called when a connection is lost: what was verified of its other end may be no longer true. */
  readonly onLost: () => void;
}

export interface Client {
  /** Waits until commands can be sent. @throws StoreError where it takes longer */
  ready(ms: number): Promise<void>;
  /** @throws StoreError */
  command(ms: number, name: string, ...args: readonly Argument[]): Promise<unknown>;
  /** Runs a script that only reads. @throws StoreError */
  run(ms: number, call: ScriptCall): Promise<unknown>;
  /**
   * Runs a script that writes, then waits for replicas to have it.
   * @throws UnknownOutcomeError where it may have run or may still run
   */
  write(ms: number, call: ScriptCall, wait: ReplicaWait): Promise<WriteReply>;
  /** One command on each primary; the answers of those that answer. @throws StoreError where none does */
  onPrimaries(ms: number, name: string, ...args: readonly Argument[]): Promise<readonly unknown[]>;
  /** Listens to a channel as long as the client lives; `onMessage(undefined)`: messages may have been missed. */
  subscribe(channel: string, onMessage: (message: string | undefined) => void): void;
  close(): void;
}

/** Time between two attempts to subscribe, ms; heartbeats do without. */
const RESUBSCRIBE_MS = 1_000;
const SILENT = 'it does not answer';

/** @param silenceMs a connection whose peer owes an answer for so long is dropped and made again */
export function openClient(options: ClientOptions, silenceMs: number): Client {
  return new RedisClient(options, silenceMs);
}

class RedisClient implements Client {
  readonly #options: ClientOptions;
  readonly #redis: Redis | Cluster;
  readonly #reader: ScriptReader;
  readonly #connection: ConnectionWait;
  /** The newest problem of the connection; a permanent one stays until there is a connection. */
  #problem = SILENT;
  #isClosed = false;

  constructor(options: ClientOptions, silenceMs: number) {
    const redis = connect(options, silenceMs);
    this.#options = options;
    this.#redis = redis;
    this.#reader = new ScriptReader(redis);
    this.#connection = new ConnectionWait(redis);
    const onError = (error: Error): void => this.#onConnectionError(error);
    redis.on('error', onError);
    for (const event of ['close', '-node', '+node', 'end']) redis.on(event, options.onLost);
    if (redis instanceof Cluster) redis.on('node error', onError);
    redis.on('ready', () => {
      this.#problem = SILENT;
    });
  }

  async ready(ms: number): Promise<void> {
    this.#mustBeOpen();
    const { status } = this.#redis;
    if (status === 'ready') return;
    if (status === 'wait' || status === 'end')
      this.#redis.connect().catch(() => {
        // The `error` event reports it, and the library tries again.
      });
    try {
      await this.#within(ms, () => this.#connection.wait());
    } catch (error) {
      if (error instanceof StoreError) throw error;
      throw new StoreError(
        `\`${this.#options.shown}\` cannot be reached within ${ms} ms: ${this.#problem}`,
      );
    }
  }

  command(ms: number, name: string, ...args: readonly Argument[]): Promise<unknown> {
    const sent = new Command(name, [...args], { replyEncoding: 'utf8' });
    // The library's type says nothing of the reply.
    return this.#read(ms, () => this.#redis.sendCommand(sent) as Promise<unknown>);
  }

  run(ms: number, call: ScriptCall): Promise<unknown> {
    return this.#read(ms, () => this.#reader.run(call));
  }

  async write(ms: number, call: ScriptCall, wait: ReplicaWait): Promise<WriteReply> {
    try {
      return await this.#within(ms, () => runWrite(this.#redis, call, wait));
    } catch (error) {
      throw this.#writeFailure(error);
    }
  }

  async onPrimaries(
    ms: number,
    name: string,
    ...args: readonly Argument[]
  ): Promise<readonly unknown[]> {
    const redis = this.#redis;
    const nodes = redis instanceof Cluster ? redis.nodes('master') : [redis];
    const replies = await Promise.allSettled(
      nodes.map((node) => this.#read(ms, () => node.call(name, ...args))),
    );
    const answers = replies.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    const failed = replies.find(({ status }) => status === 'rejected');
    if (answers.length === 0)
      throw this.#failure(failed?.status === 'rejected' ? failed.reason : new Error(SILENT));
    return answers;
  }

  subscribe(channel: string, onMessage: (message: string | undefined) => void): void {
    const redis = this.#redis;
    redis.on('message', (from: string, message: string) => {
      if (from === channel) onMessage(message);
    });
    // Not left to the library: after each new subscription the reader must look for what it has missed.
    const listen = (): void => {
      redis.subscribe(channel).then(
        () => onMessage(undefined),
        (error: unknown) => {
          this.#options.onProblem(explain(messageOf(error)));
          if (!this.#isClosed) setTimeout(listen, RESUBSCRIBE_MS).unref();
        },
      );
    };
    redis.on('ready', listen);
    if (redis.status === 'ready') listen();
  }

  close(): void {
    this.#isClosed = true;
    this.#redis.disconnect(false);
  }

  #onConnectionError({ message }: Error): void {
    const problem = explain(message);
    // A cluster sums up the problems of its nodes in one that gives no reason.
    if (!this.#isPermanent(this.#problem)) this.#problem = problem;
    this.#options.onProblem(problem);
    if (this.#isPermanent(this.#problem))
      this.#connection.fail(new UnusableStoreError(`\`${this.#options.shown}\`: ${this.#problem}`));
  }

  #isPermanent(message: string): boolean {
    return isPermanent(message, this.#options.address.kind);
  }

  #mustBeOpen(): void {
    if (this.#isClosed) throw new StoreError(`the store \`${this.#options.shown}\` is closed`);
  }

  /** @throws StoreError */
  async #read<T>(ms: number, send: () => Promise<T>): Promise<T> {
    try {
      return await this.#within(ms, send);
    } catch (error) {
      throw this.#failure(error);
    }
  }

  /** @throws StoreError where the client is closed, DeadlineError, or what `send` throws */
  async #within<T>(ms: number, send: () => Promise<T>): Promise<T> {
    this.#mustBeOpen();
    let timer: NodeJS.Timeout | undefined;
    try {
      return await Promise.race([
        send(),
        new Promise<never>((_, failed) => {
          timer = setTimeout(() => failed(new DeadlineError(ms)), ms);
        }),
      ]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Without the library's error as cause: it carries the command, and with it facts or a password. */
  #failure(error: unknown): StoreError {
    if (error instanceof StoreError) return error;
    const message = messageOf(error);
    const text = `\`${this.#options.shown}\`: ${explain(message)}`;
    if (isNoRight(message)) return new NoRightError(text);
    return this.#isPermanent(message) ? new UnusableStoreError(text) : new StoreError(text);
  }

  /** An UnknownOutcomeError, unless nothing was done. */
  #writeFailure(error: unknown): StoreError {
    const failure = this.#failure(error);
    const message = messageOf(error);
    if (this.#redis instanceof Cluster && isMovingSlot(message)) {
      this.#redis.refreshSlotsCache();
      return new UnknownOutcomeError(failure.message);
    }
    if (error instanceof StoreError || isRefusal(message) || isWrongType(message)) return failure;
    // A script that has ended stays ended: sending it again would not help.
    return new UnknownOutcomeError(failure.message, isFromScript(message) ? 'ended' : 'lost');
  }
}

/** All that wait for a connection share one promise, so that they take one listener. */
class ConnectionWait {
  readonly #redis: Redis | Cluster;
  #current: { readonly ready: Promise<void>; readonly fail: (error: Error) => void } | undefined;

  constructor(redis: Redis | Cluster) {
    this.#redis = redis;
  }

  /** Resolves when there is a connection. */
  wait(): Promise<void> {
    if (this.#current !== undefined) return this.#current.ready;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#current = { ready: promise, fail: reject };
    this.#redis.once('ready', resolve);
    const end = (): void => {
      this.#current = undefined;
      this.#redis.off('ready', resolve);
    };
    promise.then(end, end);
    return promise;
  }

  /** Rejects for all that wait. */
  fail(error: Error): void {
    this.#current?.fail(error);
  }
}

/** The deadline of a call has passed. */
class DeadlineError extends Error {
  constructor(ms: number) {
    super(`has not answered within ${ms} ms`);
  }
}
