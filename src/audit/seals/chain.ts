/** The chain of management records: each is sealed with the hash of the one before it, so that a changed one is found. */
import { createHash, createHmac, randomBytes } from 'node:crypto';

/** `prev_hash` of the first record of an instance. */
export const CHAIN_START = '0'.repeat(64);

const SALT_BYTES = 16;
const SEAL = /,"prev_hash":"([0-9a-f]{64})","hash":"([0-9a-f]{64})"\}$/;

export interface Seal {
  /** The record's text without its seal. */
  readonly body: string;
  readonly prevHash: string;
  readonly hash: string;
}

/** Hex. @param key `undefined`: a plain SHA-256, which whoever can write the log can make too */
export function chainHash(key: Buffer | undefined, prevHash: string, body: string): string {
  const hash = key === undefined ? createHash('sha256') : createHmac('sha256', key);
  return hash.update(prevHash).update(body).digest('hex');
}

/**
 * Seals records in their order. A salt is part of what is hashed, and goes where a record is erased: or else the hash that
 * stays would tell whether a guess of who was erased is right.
 * @param key of the chain
 */
export function openChain(key: Buffer | undefined): (body: string) => string {
  let last = CHAIN_START;
  return (body) => {
    const prevHash = last;
    const salt = randomBytes(SALT_BYTES).toString('base64url');
    const fields = `${body.slice(0, -1)},"salt":"${salt}"`;
    last = chainHash(key, prevHash, `${fields}}`);
    return `${fields},"prev_hash":"${prevHash}","hash":"${last}"}`;
  };
}

/** A line's seal, or `undefined` where it has none. */
export function sealOf(line: string): Seal | undefined {
  const [text, prevHash, hash] = SEAL.exec(line) ?? [];
  if (text === undefined || prevHash === undefined || hash === undefined) return undefined;
  return { body: `${line.slice(0, -text.length)}}`, prevHash, hash };
}
