/** Keeps records with a collector that takes them by HTTP: a POST a batch, a JSON object a line. */
import { readFileSync } from 'node:fs';
import { cutDown } from '../record/cut.ts';
import type { Batch, Destination } from './queue.ts';

export interface HttpOptions {
  readonly url: string;
  /** File with the value of the header `authorization`, read for every batch: it may be changed at any time. */
  readonly authorizationFile: string | undefined;
  /** How long a batch may take, ms. */
  readonly timeoutMs: number;
  /** Names this process and sink: with the batch's number it is the idempotency key. */
  readonly writer: string;
  /** Told of a record that the collector refuses for itself, and that it got a stub of. */
  readonly onCut?: ((problem: string) => void) | undefined;
}

/** Statuses that refuse what was sent, not who sends it, where, or how often. */
const REFUSES_CONTENT: ReadonlySet<number> = new Set([400, 413, 422]);
/** Of what is refused for its content, bytes: any collector takes as much. */
const STUB_BYTES = 4_096;

/** A batch, and how far it was taken. */
interface Sending {
  readonly id: number;
  readonly lines: string[];
  taken: number;
}

/**
 * A batch counts as kept once the collector answers with 2xx. One whose answer is lost is sent again, under the same key.
 * What a collector refuses for its content is sent in halves, each under a key of its own, and a single record as a stub:
 * one record must not keep all others from being kept.
 */
export function openHttp(options: HttpOptions): Destination {
  return new HttpCollector(options);
}

class HttpCollector implements Destination {
  readonly #options: HttpOptions;
  /** The address for messages: its query may hold a secret. */
  readonly #shown: string;
  #current: Sending | undefined;
  #cut = 0;

  constructor(options: HttpOptions) {
    this.#options = options;
    const { origin, pathname } = new URL(options.url);
    this.#shown = `${origin}${pathname}`;
  }

  async keep({ id, lines }: Batch): Promise<void> {
    if (this.#current?.id !== id) this.#current = { id, lines: [...lines], taken: 0 };
    await this.#send(this.#current, this.#current.taken, this.#current.lines.length);
    this.#current = undefined;
  }

  counts(): { readonly cut: number } {
    return { cut: this.#cut };
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  /** @returns the status, where it accepted the lines or refused their content @throws Error for any other */
  async #post(lines: readonly string[], key: string): Promise<number> {
    const { url, authorizationFile: file, timeoutMs } = this.#options;
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
    const { status } = response;
    if (response.ok || REFUSES_CONTENT.has(status)) return status;
    throw new Error(`audit: \`${this.#shown}\` answers ${status}`);
  }

  /** Sends lines, or each half of them, up to what cannot be sent. */
  async #send(batch: Sending, from: number, to: number): Promise<void> {
    const { id, lines } = batch;
    if (from >= to) return;
    const isWhole = from === 0 && to === lines.length;
    const { writer } = this.#options;
    const key = isWhole ? `${writer}-${id}` : `${writer}-${id}.${from}-${to}`;
    const status = await this.#post(lines.slice(from, to), key);
    if (!REFUSES_CONTENT.has(status)) {
      batch.taken = to;
      return;
    }
    if (to - from > 1) {
      const half = from + Math.ceil((to - from) / 2);
      await this.#send(batch, from, half);
      await this.#send(batch, half, to);
    } else await this.#sendStub(batch, from, status, key);
  }

  /** @throws Error where the stub is refused, too: then it is not the record that is wrong */
  async #sendStub(batch: Sending, at: number, status: number, key: string): Promise<void> {
    const line = batch.lines[at] ?? '';
    const refused = `audit: \`${this.#shown}\` answers ${status} to a record of ${Buffer.byteLength(line)} bytes`;
    const answer = await this.#post([cutDown(line, STUB_BYTES)], `${key}.cut`);
    if (REFUSES_CONTENT.has(answer))
      throw new Error(`${refused}, and ${answer} to a stub of it: look at what it takes`);
    batch.taken = at + 1;
    this.#cut++;
    this.#options.onCut?.(
      `${refused}: it got a stub of it, raise its limit or lower max_record_bytes`,
    );
  }
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
