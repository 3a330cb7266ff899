/** Keeps records with a collector that takes them by HTTP: a POST a batch, a JSON object a line. */
import { readFileSync } from 'node:fs';
import type { Batch, Destination } from './queue.ts';

export interface HttpOptions {
  readonly url: string;
  /** File with the value of the header `authorization`, read for every batch: it may be changed at any time. */
  readonly authorizationFile: string | undefined;
  /** How long a batch may take, ms. */
  readonly timeoutMs: number;
  /** Names this process and sink: with the batch's number it is the idempotency key. */
  readonly writer: string;
}

const TOO_LARGE = 413;

/** A batch counts as kept once the collector answers with 2xx. One whose answer is lost is sent again, under the same key. */
export function openHttp(options: HttpOptions): Destination {
  const { url, authorizationFile: file, timeoutMs, writer } = options;
  const { origin, pathname } = new URL(url);
  /** What is too large for the collector is sent as two halves, each under a key of its own. */
  const post = async (lines: readonly string[], key: string): Promise<void> => {
    const response = await fetch(url, {
      method: 'POST',
      headers: {
        'content-type': 'application/x-ndjson',
        'idempotency-key': key,
        ...(file === undefined ? {} : { authorization: authorizationOf(file) }),
      },
      body: `${lines.join('\n')}\n`,
      redirect: 'error',
      signal: AbortSignal.timeout(timeoutMs),
    });
    await response.body?.cancel();
    if (response.ok) return;
    if (response.status === TOO_LARGE && lines.length > 1) {
      const half = Math.ceil(lines.length / 2);
      await post(lines.slice(0, half), `${key}.1`);
      await post(lines.slice(half), `${key}.2`);
      return;
    }
    const remedy =
      response.status === TOO_LARGE ? ': one record is too large, raise its limit on bodies' : '';
    // Its query may hold a secret.
    throw new Error(`audit: \`${origin}${pathname}\` answers ${response.status}${remedy}`);
  };
  return {
    keep: ({ id, lines }: Batch) => post(lines, `${writer}-${id}`),
    close: () => Promise.resolve(),
  };
}

/** @throws Error that does not tell it */
export function authorizationOf(file: string): string {
  const value = readFileSync(file, 'utf8').trim();
  if (!/^[\x20-\x7e]+$/.test(value))
    throw new Error(
      `audit.sinks.authorization_file: \`${file}\` is not one line of printable ASCII: write \`Bearer TOKEN\``,
    );
  return value;
}
