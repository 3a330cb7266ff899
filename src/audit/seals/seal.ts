/**
 * Seals: records of type `seal` that prove the records before them. Each holds a digest of every record since the seal
 * before it, that seal's own line included, and is itself chained by a hash (`chain.ts`), under a key where there is one.
 * A digest a record, so that what is altered is named, and what is erased or lost leaves the others provable.
 */
import { hash, randomFillSync } from 'node:crypto';
import { CHAIN_START, chainHash } from './chain.ts';
import { AUDIT_VERSION } from '../fields.ts';

export interface SealOptions {
  /** `undefined`: a plain SHA-256, which whoever can write the log can make too. */
  readonly key: Buffer | undefined;
  /** A seal comes after so many records, or so many ms after the first of them, whichever is earlier. */
  readonly records: number;
  readonly ms: number;
}

/** Of one instance's records. */
export interface Sealer {
  /** Takes a record's line. */
  add(line: string): void;
  /** As many records wait for their seal as may: it is to be written now. */
  isDue(): boolean;
  /** Makes the seal of all records so far. @param end no record of this instance follows */
  seal(seq: number, end: boolean): string;
}

/** Records of one seal at most, for settings and readers. */
export const MAX_SEALED = 4_096;
/** Characters that a digest takes in `digests`: 132 bits, base64url. */
const DIGEST_CHARACTERS = 22;
/** Text that waits to be sealed, characters: hashing it all at once takes a few milliseconds. */
const MAX_WAITING = 1024 * 1024;
const SALT_BYTES = 9;
const SALTS = 256;

/** The beginning of a line's SHA-256. The line is that of the log, without its line feed. */
export function recordDigest(line: string | Buffer): string {
  return hash('sha256', line, 'base64url').slice(0, DIGEST_CHARACTERS);
}

/** The digests in a seal, of the records `first`, `first + 1`, …; `undefined`: the text is none. */
export function digestsIn(text: unknown): readonly string[] | undefined {
  if (typeof text !== 'string' || text.length % DIGEST_CHARACTERS !== 0) return undefined;
  const count = text.length / DIGEST_CHARACTERS;
  return Array.from({ length: count }, (_, at) =>
    text.slice(at * DIGEST_CHARACTERS, (at + 1) * DIGEST_CHARACTERS),
  );
}

/** @param instance whose records they are */
export function openSealer(
  instance: string,
  { key, records }: Pick<SealOptions, 'key' | 'records'>,
): Sealer {
  let waiting: string[] = [];
  let characters = 0;
  let last = CHAIN_START;
  return {
    add(line): void {
      waiting.push(line);
      characters += line.length;
    },
    isDue: () => waiting.length >= records || characters >= MAX_WAITING,
    seal(seq, end): string {
      let digests = '';
      for (const line of waiting) digests += recordDigest(line);
      const keyed = key === undefined ? '' : ',"keyed":true';
      const time = new Date().toISOString();
      const body = `{"v":${AUDIT_VERSION},"type":"seal","time":"${time}","instance":"${instance}","seq":${seq},"first":${seq - waiting.length}${keyed}${end ? ',"end":true' : ''},"digests":"${digests}"}`;
      const before = last;
      last = chainHash(key, before, body);
      const line = `${body.slice(0, -1)},"prev_hash":"${before}","hash":"${last}"}`;
      // The next seal is of this one, too.
      waiting = [line];
      characters = line.length;
      return line;
    },
  };
}

/**
 * Random texts of 12 characters, one a record. A digest stays where a record is erased: without the salt, which goes,
 * nobody can tell by it whether a guess of who was erased is right.
 */
export function openSalts(): () => string {
  const pool = Buffer.alloc(SALT_BYTES * SALTS);
  let at = pool.length;
  return () => {
    if (at === pool.length) {
      randomFillSync(pool);
      at = 0;
    }
    at += SALT_BYTES;
    return pool.toString('base64url', at - SALT_BYTES, at);
  };
}
