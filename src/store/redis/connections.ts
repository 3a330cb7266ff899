/** The connections of a store on Redis, each made when it is first needed, and what all of its parts share. */
import { StoreError } from '../store.ts';
import { parseRedisAddress, withoutSecrets, type RedisAddress } from './address.ts';
import { openClient, type Client } from './client.ts';
import { keysOf, type Keys } from './keys.ts';
import type { RedisOptions } from './options.ts';
import { Verified } from './verified.ts';
import { verifyRedis } from './verify.ts';

export class Connections {
  readonly options: RedisOptions;
  readonly keys: Keys;
  /** The address without secrets, for messages. */
  readonly shown: string;
  readonly reader: Client;
  readonly #address: RedisAddress;
  readonly #verified: Verified;
  // Of their own: a commit that waits for replicas holds up no read, and a subscriber may do nothing else.
  #writer: Client | undefined;
  #subscriber: Client | undefined;
  #isClosed = false;

  /** @throws Error where the address or an option is wrong */
  constructor(options: RedisOptions) {
    const parsed = parseRedisAddress(options.address);
    this.options = options;
    this.#address = { ...parsed, password: options.password ?? parsed.password };
    this.shown = withoutSecrets(options.address);
    if (/[{}\s]/.test(options.keyPrefix) || options.keyPrefix === '')
      throw new Error(
        `redis.key_prefix: \`${options.keyPrefix}\` is empty or holds a brace or a space: choose a word`,
      );
    this.keys = keysOf(options.keyPrefix, options.shards);
    this.#verified = new Verified(() => verifyRedis(this.reader, this.keys, options, this.shown));
    this.reader = this.#open(options.readTimeoutMs);
  }

  /** Resolves when Redis is verified: nothing else is sent before. @throws StoreError */
  async ready(): Promise<void> {
    if (this.#isClosed) throw new StoreError(`the store \`${this.shown}\` is closed`);
    await this.#verified.wait();
  }

  /** Verifies again. @throws StoreError */
  async verifyAgain(): Promise<void> {
    this.#verified.forget();
    await this.ready();
  }

  writer(): Client {
    this.#writer ??= this.#open(this.options.commitTimeoutMs);
    return this.#writer;
  }

  /** Subscribes to the hints of other instances, once. @param onHint `undefined`: hints may have been missed */
  subscribe(onHint: (hint: string | undefined) => void): void {
    if (this.#subscriber !== undefined || this.#isClosed) return;
    const subscriber = this.#open(this.options.readTimeoutMs);
    this.#subscriber = subscriber;
    subscriber.subscribe(this.keys.channel, onHint);
    subscriber.ready(this.options.connectTimeoutMs).catch(() => {
      // `onProblem` has reported it; until there is a connection, readers poll at every heartbeat.
    });
  }

  close(): void {
    this.#isClosed = true;
    for (const client of [this.reader, this.#writer, this.#subscriber]) client?.close();
  }

  #open(silenceMs: number): Client {
    const { tls, connectTimeoutMs, onProblem } = this.options;
    const onLost = (): void => this.#verified.forget();
    const { shown } = this;
    return openClient(
      { address: this.#address, shown, tls, connectTimeoutMs, onProblem, onLost },
      silenceMs,
    );
  }
}
