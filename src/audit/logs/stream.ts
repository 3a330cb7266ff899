/** Reads records from a Redis stream, where the Redis sink has put them: an entry each, `record` is the line. */
import { parseRedisAddress, withoutSecrets } from '../../store/redis/address.ts';
import { openClient, type Client, type TlsFiles } from '../../store/redis/client.ts';
import { StoreError, UnusableStoreError } from '../../store/store.ts';
import type { Line } from './names.ts';
import { pause, writtenWithin, type Following, type Source } from './log-source.ts';

export interface StreamOptions {
  /** `redis://…` and its like. */
  readonly url: string;
  /** Where the address names none. */
  readonly password: string | undefined;
  readonly tls: TlsFiles;
  /** The stream. */
  readonly key: string;
  /** Told when the connection is lost while the stream is followed; it is tried again. */
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
  const { url, key } = options;
  const address = parseRedisAddress(url);
  const client = openClient(
    {
      address: { ...address, password: address.password ?? options.password },
      shown: withoutSecrets(url),
      tls: options.tls,
      connectTimeoutMs: TIMEOUT_MS,
      // Told by the command that fails.
      onProblem: () => {},
      onLost: () => {},
    },
    TIMEOUT_MS,
  );
  const lineOf = ([id, fields]: Entry): Line => {
    const at = fields.findIndex((name, index) => index % 2 === 0 && name === 'record');
    return { text: at < 0 ? '' : (fields[at + 1] ?? ''), where: `${key} ${id}`, whole: true };
  };
  const entries = async (
    command: 'XRANGE' | 'XREVRANGE',
    from: string,
    to: string,
    count: number,
  ): Promise<readonly Entry[]> =>
    // Both answer with entries.
    (await client.command(TIMEOUT_MS, command, key, from, to, 'COUNT', count)) as readonly Entry[];

  async function* pages(command: 'XRANGE' | 'XREVRANGE', from: string, to: string) {
    for (let at = from; ;) {
      const page = await entries(command, at, to, PAGE);
      yield* page;
      const last = page.at(-1)?.[0];
      if (last === undefined || page.length < PAGE) return;
      at = `(${last}`;
    }
  }
  async function* before(start: string): AsyncGenerator<Line> {
    for await (const one of pages('XREVRANGE', start, '-')) yield lineOf(one);
  }
  return {
    async *read(range): AsyncGenerator<Line> {
      await client.ready(TIMEOUT_MS);
      if ((await client.command(TIMEOUT_MS, 'EXISTS', key)) === 0)
        throw new Error(
          `--stream: there is no stream \`${key}\` at \`${withoutSecrets(url)}\`: check both`,
        );
      const { from, to } = writtenWithin(range);
      const end = to === undefined ? '+' : String(Math.max(0, to));
      for await (const one of pages('XRANGE', String(Math.max(0, from ?? 0)), end))
        yield lineOf(one);
    },
    async follow(): Promise<Following> {
      await client.ready(TIMEOUT_MS);
      const [newest] = await entries('XREVRANGE', '+', '-', 1);
      const start = newest?.[0];
      return {
        before: () => (start === undefined ? [] : [before(start)]),
        async *after(signal): AsyncGenerator<Line> {
          let last = start ?? '0-0';
          for await (const page of comingAfter(() => last, signal))
            for (const one of page) {
              last = one[0];
              yield lineOf(one);
            }
        },
      };
    },
    size: () => Promise.resolve(0),
    close(): Promise<void> {
      client.close();
      return Promise.resolve();
    },
  };

  /** Waits out a Redis that is away: what comes meanwhile is there when it is back. */
  async function* comingAfter(last: () => string, signal: AbortSignal) {
    while (!signal.aborted)
      try {
        await client.ready(TIMEOUT_MS);
        yield await nextAfter(client, key, last());
      } catch (error) {
        if (!(error instanceof StoreError) || error instanceof UnusableStoreError) throw error;
        if (signal.aborted) return;
        options.onProblem(error.message);
        await pause(RETRY_MS, signal);
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
