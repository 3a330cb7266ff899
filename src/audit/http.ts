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

/** A batch counts as kept once the collector answers with 2xx. One whose answer is lost is sent again, under the same key. */
export function openHttp(options: HttpOptions): Destination {
  const { url, authorizationFile: file, timeoutMs, writer } = options;
  return {
    async keep({ id, lines }: Batch): Promise<void> {
      const response = await fetch(url, {
        method: 'POST',
        headers: {
          'content-type': 'application/x-ndjson',
          'idempotency-key': `${writer}-${id}`,
          ...(file === undefined ? {} : { authorization: readFileSync(file, 'utf8').trim() }),
        },
        body: `${lines.join('\n')}\n`,
        redirect: 'error',
        signal: AbortSignal.timeout(timeoutMs),
      });
      // Else its connection would not be used again.
      await response.arrayBuffer();
      if (!response.ok) throw new Error(`audit: \`${url}\` answers ${response.status}`);
    },
    close: () => Promise.resolve(),
  };
}
