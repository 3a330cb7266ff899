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

export function openKeys(
  issuer: FullIssuer,
  now: () => number,
  { onError, onRead }: KeyReads,
): KeySource {
  const cooldownMs = issuer.cooldown_seconds * 1_000;
  const refreshMs = issuer.refresh_seconds * 1_000;
  const closing = new AbortController();
  let keys: Keys | undefined;
  let text: string | undefined;
  let goodAt = -Infinity;
  let triedAt = -Infinity;
  let pending: Promise<void> | undefined;

  const usable = (): Keys | undefined =>
    now() - goodAt < issuer.max_age_seconds * 1_000 ? keys : undefined;

  const read = async (): Promise<void> => {
    const startedAt = now();
    try {
      const next = await readKeys(issuer, closing.signal);
      if (next !== text) keys = await usableSet(parsed(next), issuer);
      text = next;
      // The age counts from when they were asked for: they may have been withdrawn while they came.
      goodAt = startedAt;
      onRead?.(true);
    } catch (error) {
      if (closing.signal.aborted) return;
      onRead?.(false);
      onError(failure(issuer, error));
    }
  };

  const start = (): void => {
    if (pending !== undefined || closing.signal.aborted) return;
    triedAt = now();
    pending = read().finally(() => (pending = undefined));
  };

  const look = (): void => {
    const at = now();
    if (at - goodAt >= refreshMs && at - triedAt >= Math.min(cooldownMs, refreshMs)) start();
  };

  start();
  const first = pending;
  const timer = setInterval(look, Math.min(cooldownMs, refreshMs)).unref();

  return {
    current(): Keys | undefined {
      look();
      return usable();
    },
    async newer(): Promise<Keys | undefined> {
      const distance = usable() === undefined ? Math.min(cooldownMs, RETRY_MS) : cooldownMs;
      if (now() - triedAt >= distance) start();
      await pending;
      return usable();
    },
    async ready(): Promise<void> {
      await first;
    },
    close(): void {
      clearInterval(timer);
      closing.abort();
    },
  };
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
