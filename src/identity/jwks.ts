/**
 * The keys of an issuer: read at the start and again and again, from the place that is configured and from no other.
 * While the place is away the last good keys serve, up to an age. However many tokens name unknown keys, reads keep
 * their distance.
 */
import { createReadStream } from 'node:fs';
import { createLocalJWKSet, importJWK, type JSONWebKeySet, type LocalJWKSet } from 'jose';
import type { FullIssuer } from './issuer.ts';

/** Finds the key for a token's header; the same one as long as the issuer's keys are the same. */
export type Keys = LocalJWKSet;

export interface KeySource {
  /** The last good keys unless they are too old. Starts a read in the background where it is time for one. */
  current(): Keys | undefined;
  /** The keys after a read, for a token that none of the current ones fits; after no read where one was just made. */
  newer(): Promise<Keys | undefined>;
  /** The first read is over, well or not. */
  ready(): Promise<void>;
  close(): void;
}

/** Largest set of keys that is read. */
const MAX_BYTES = 1_048_576;
/**
 * Keys of a set at most. Each token that names none of them, or one that several share, is held against all; the largest
 * sets that providers publish have a few dozen.
 */
const MAX_KEYS = 256;
/** Keys that are looked at before other work has its turn. */
const STEP = 16;
/** Least time between two reads while there are no keys at all. */
const RETRY_MS = 1_000;

/** Who is told of reads. */
export interface KeyReads {
  /** Of every read that failed. */
  readonly onError: (error: Error) => void;
  /** Of every read that is over. */
  readonly onRead?: ((ok: boolean) => void) | undefined;
}

export function openKeys(issuer: FullIssuer, now: () => number, reads: KeyReads): KeySource {
  return new IssuerKeys(issuer, now, reads);
}

class IssuerKeys implements KeySource {
  readonly #issuer: FullIssuer;
  readonly #now: () => number;
  readonly #reads: KeyReads;
  readonly #cooldownMs: number;
  readonly #closing = new AbortController();
  readonly #timer: NodeJS.Timeout;
  readonly #first: Promise<void> | undefined;
  #keys: Keys | undefined;
  /** The key set that `#keys` were made of. */
  #text: string | undefined;
  /** When the last good key set was asked for. */
  #goodAt = -Infinity;
  /** When the last read began. */
  #triedAt = -Infinity;
  #pending: Promise<void> | undefined;

  constructor(issuer: FullIssuer, now: () => number, reads: KeyReads) {
    this.#issuer = issuer;
    this.#now = now;
    this.#reads = reads;
    this.#cooldownMs = issuer.cooldown_seconds * 1_000;
    this.#start();
    this.#first = this.#pending;
    this.#timer = setInterval(() => this.#look(), this.#leastMs()).unref();
  }

  current(): Keys | undefined {
    this.#look();
    return this.#usable();
  }

  async newer(): Promise<Keys | undefined> {
    const distance =
      this.#usable() === undefined ? Math.min(this.#cooldownMs, RETRY_MS) : this.#cooldownMs;
    if (this.#now() - this.#triedAt >= distance) this.#start();
    await this.#pending;
    return this.#usable();
  }

  async ready(): Promise<void> {
    await this.#first;
  }

  close(): void {
    clearInterval(this.#timer);
    this.#closing.abort();
  }

  #usable(): Keys | undefined {
    const maxAgeMs = this.#issuer.max_age_seconds * 1_000;
    return this.#now() - this.#goodAt < maxAgeMs ? this.#keys : undefined;
  }

  /** Least time between two reads that nothing but time asks for, ms. */
  #leastMs(): number {
    return Math.min(this.#cooldownMs, this.#issuer.refresh_seconds * 1_000);
  }

  #look(): void {
    const at = this.#now();
    const isOld = at - this.#goodAt >= this.#issuer.refresh_seconds * 1_000;
    if (isOld && at - this.#triedAt >= this.#leastMs()) this.#start();
  }

  #start(): void {
    if (this.#pending !== undefined || this.#closing.signal.aborted) return;
    this.#triedAt = this.#now();
    this.#pending = this.#read().finally(() => (this.#pending = undefined));
  }

  async #read(): Promise<void> {
    const startedAt = this.#now();
    const { onRead, onError } = this.#reads;
    try {
      const next = await readKeys(this.#issuer, this.#closing.signal);
      if (next !== this.#text) this.#keys = await usableSet(parsed(next), this.#issuer);
      this.#text = next;
      // The age counts from when they were asked for: they may have been withdrawn while they came.
      this.#goodAt = startedAt;
      onRead?.(true);
    } catch (error) {
      if (this.#closing.signal.aborted) return;
      onRead?.(false);
      onError(failure(this.#issuer, error));
    }
  }
}

async function readKeys(issuer: FullIssuer, closed: AbortSignal): Promise<string> {
  const { jwks_url: url, jwks_file: file = '', timeout_ms } = issuer;
  const signal = AbortSignal.any([closed, AbortSignal.timeout(timeout_ms)]);
  if (url === undefined) return collect(createReadStream(file, { signal }));
  // A redirect would be followed to wherever the answer says.
  const headers = { accept: 'application/jwk-set+json, application/json' };
  const response = await fetch(url, { redirect: 'error', headers, signal });
  if (response.status === 200 && response.body !== null) return collect(response.body);
  await response.body?.cancel();
  throw new Error(`the answer has the status ${response.status}`);
}

/** The parser's own message shows the text, which is a secret where the path is wrong. */
function parsed(text: string): JSONWebKeySet {
  try {
    // `createLocalJWKSet` looks at the shape.
    return JSON.parse(text) as JSONWebKeySet;
  } catch {
    throw new Error('it is not JSON');
  }
}

/**
 * The keys, where one of them at least can verify something: an empty set must not take the place of the last good one.
 * @throws Error
 */
async function usableSet(set: JSONWebKeySet, issuer: FullIssuer): Promise<Keys> {
  // Before its shape is looked at, which takes a copy. What is no set at all is told by the library.
  const { length } = Array.isArray(set?.keys) ? set.keys : [];
  if (length > MAX_KEYS)
    throw new Error(`it has ${length} keys: at most ${MAX_KEYS} are taken, publish fewer`);
  const keys = createLocalJWKSet(set);
  for (const [index, key] of set.keys.entries()) {
    if (index % STEP === STEP - 1) await new Promise((go) => setImmediate(go));
    for (const algorithm of issuer.algorithms) {
      if ((key.alg ?? algorithm) !== algorithm || (key.use ?? 'sig') !== 'sig') continue;
      if (key.kty === 'oct' || key.kty === undefined) continue;
      try {
        await importJWK({ ...key }, algorithm);
        return keys;
      } catch {
        // Another one may be usable.
      }
    }
  }
  throw new Error(`none of its ${set.keys.length} keys can verify a signature`);
}

/** As text; ends the stream where it is too large. */
async function collect(chunks: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of chunks) {
    bytes += chunk.length;
    if (bytes > MAX_BYTES) throw new Error(`there are more than ${MAX_BYTES} bytes`);
    parts.push(chunk);
  }
  return Buffer.concat(parts).toString();
}

function failure({ issuer, jwks_url, jwks_file }: FullIssuer, error: unknown): Error {
  // What `fetch` itself says is always the same; the cause tells.
  const { cause = error } = error instanceof Error ? error : {};
  const why = cause instanceof Error ? cause.message : String(cause);
  const where = jwks_url ?? jwks_file;
  const message = `the keys of issuer \`${issuer}\` cannot be read from \`${where}\`: ${why}`;
  return new Error(message, { cause: error });
}
