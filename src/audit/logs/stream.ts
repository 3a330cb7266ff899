/** Reads records from a Redis stream, where the Redis sink has put them: an entry each, `record` is the line. */
import { parseRedisAddress, withoutSecrets } from '../../store/redis/address.ts';
import { openClient, type Client } from '../../store/redis/client.ts';
import type { TlsFiles } from '../../store/redis/credentials.ts';
import { StoreError, UnusableStoreError } from '../../store/store.ts';
import type { Line } from './names.ts';
import { pause, writtenWithin, type Following, type Range, type Source } from './log-source.ts';

export interface StreamOptions {
  /** `redis://…` and its like. */
  readonly url: string;
  /** Where the address names none. */
  readonly password: string | undefined;
  readonly tls: TlsFiles;
  /** The stream. */
  readonly key: string;
  /** Called when the connection is lost while the stream is followed; it is tried again. */
  readonly onProblem: (message: string) => void;
}

/** How long a command may take, and a connection, ms. */
const TIMEOUT_MS = 10_000;
/** How long Redis waits for the next entry, ms. */
const BLOCK_MS = 1_000;
const RETRY_MS = 500;
const PAGE = 1_000;

/** `[id, [field, value, …]]`, as Redis answers. */
type Entry = readonly [id: string, fields: readonly string[]];

/** @throws Error where the address is none */
export function openStream(options: StreamOptions): Source {
  const address = parseRedisAddress(options.url);
  const client = openClient(
    {
      address: { ...address, password: address.password ?? options.password },
      shown: withoutSecrets(options.url),
      tls: options.tls,
      connectTimeoutMs: TIMEOUT_MS,
      // The command that fails tells its reason.
      onProblem: () => {},
      onLost: () => {},
    },
    TIMEOUT_MS,
  );
  return new RedisStream(client, options);
}

class RedisStream implements Source {
  readonly #client: Client;
  readonly #options: StreamOptions;

  constructor(client: Client, options: StreamOptions) {
    this.#client = client;
    this.#options = options;
  }

  async *read(range: Range): AsyncGenerator<Line> {
    const { key, url } = this.#options;
    await this.#client.ready(TIMEOUT_MS);
    if ((await this.#client.command(TIMEOUT_MS, 'EXISTS', key)) === 0)
      throw new Error(
        `--stream: there is no stream \`${key}\` at \`${withoutSecrets(url)}\`: check both`,
      );
    const { from, to } = writtenWithin(range);
    const end = to === undefined ? '+' : String(Math.max(0, to));
    for await (const one of this.#pages('XRANGE', String(Math.max(0, from ?? 0)), end))
      yield this.#lineOf(one);
  }

  async follow(): Promise<Following> {
    await this.#client.ready(TIMEOUT_MS);
    const [newest] = await this.#entries('XREVRANGE', '+', '-', 1);
    const start = newest?.[0];
    return {
      before: () => (start === undefined ? [] : [this.#before(start)]),
      after: (signal) => this.#after(start ?? '0-0', signal),
    };
  }

  size(): Promise<number> {
    return Promise.resolve(0);
  }

  close(): Promise<void> {
    this.#client.close();
    return Promise.resolve();
  }

  async *#before(start: string): AsyncGenerator<Line> {
    for await (const one of this.#pages('XREVRANGE', start, '-')) yield this.#lineOf(one);
  }

  /** Waits while Redis is away: entries that are added meanwhile are read when it is back. */
  async *#after(start: string, signal: AbortSignal): AsyncGenerator<Line> {
    const { key, onProblem } = this.#options;
    let last = start;
    while (!signal.aborted)
      try {
        await this.#client.ready(TIMEOUT_MS);
        for (const one of await nextAfter(this.#client, key, last)) {
          last = one[0];
          yield this.#lineOf(one);
        }
      } catch (error) {
        if (!(error instanceof StoreError) || error instanceof UnusableStoreError) throw error;
        if (signal.aborted) return;
        onProblem(error.message);
        await pause(RETRY_MS, signal);
      }
  }

  #lineOf([id, fields]: Entry): Line {
    const at = fields.findIndex((name, index) => index % 2 === 0 && name === 'record');
    const where = `${this.#options.key} ${id}`;
    return { text: at < 0 ? '' : (fields[at + 1] ?? ''), where, whole: true };
  }

  async #entries(
    command: 'XRANGE' | 'XREVRANGE',
    from: string,
    to: string,
    count: number,
  ): Promise<readonly Entry[]> {
    const { key } = this.#options;
    const answer = await this.#client.command(TIMEOUT_MS, command, key, from, to, 'COUNT', count);
    // Both commands answer with entries.
    return answer as readonly Entry[];
  }

  async *#pages(command: 'XRANGE' | 'XREVRANGE', from: string, to: string): AsyncGenerator<Entry> {
    for (let at = from; ;) {
      const page = await this.#entries(command, at, to, PAGE);
      yield* page;
      const last = page.at(-1)?.[0];
      if (last === undefined || page.length < PAGE) return;
      at = `(${last}`;
    }
  }
}

async function nextAfter(client: Client, key: string, last: string): Promise<readonly Entry[]> {
  const answer = await client.command(
    TIMEOUT_MS,
    ...(['XREAD', 'COUNT', PAGE, 'BLOCK', BLOCK_MS, 'STREAMS', key, last] as const),
  );
  // `[[key, entries]]`, or null: nothing came.
  return (answer as readonly (readonly [string, readonly Entry[]])[] | null)?.[0]?.[1] ?? [];
}
