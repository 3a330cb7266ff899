/**
 * Postern's own credentials: API keys `pstk.<tenant>.<key id>.<secret>` and sessions
 * `psts.<tenant>.<user>.<session id>.<secret>`. A token names its record, and its secret proves it; the record keeps
 * a digest of the secret only. A secret is 32 random bytes, so that a fast digest is enough: there is nothing to guess.
 */
import { hash as digestOf, randomBytes, timingSafeEqual } from 'node:crypto';
import type { CredentialProblem } from '../engine/credential-problem.ts';
import { storedIdProblem } from '../engine/id.ts';
import type { KeyRecord, UserRecord } from '../engine/records.ts';

/** What a token says. `hash` is the SHA-256 of its secret, base64url, as records keep it. */
export type Token = KeyToken | SessionToken;

export interface KeyToken {
  readonly kind: 'key';
  readonly tenant: string;
  readonly keyId: string;
  readonly hash: string;
}

export interface SessionToken {
  readonly kind: 'session';
  readonly tenant: string;
  readonly user: string;
  readonly sessionId: string;
  readonly hash: string;
}

/** A new credential: the token is shown once, the hash is kept. */
export interface Minted {
  readonly token: string;
  readonly hash: string;
}

const KEY = 'pstk';
const SESSION = 'psts';
const SECRET_BYTES = 32;
/** Longer than any token can be: three ids of 256 bytes and a secret take 1.1 KiB. */
const MAX_TOKEN = 4_096;
/** Secrets that are compared at least: one in use and one that is rotated out. */
const COMPARED = 2;
/** Stands in for a digest that is not there. */
const NO_DIGEST = randomBytes(SECRET_BYTES);

/** @throws RangeError for an id that no token may name (ID-1) */
export function mintKey(tenant: string, keyId: string): Minted {
  return mint(KEY, [tenant, keyId]);
}

/** @throws RangeError for an id that no token may name (ID-1) */
export function mintSession(tenant: string, user: string, sessionId: string): Minted {
  return mint(SESSION, [tenant, user, sessionId]);
}

/** A random id, `<prefix>-<16 hex digits>`. It names and does not prove. */
export function newId(prefix: string): string {
  return `${prefix}-${randomBytes(8).toString('hex')}`;
}

/** Postern's own token, whole or not: such a text is never taken for a JWT. */
export function isOwnToken(text: string): boolean {
  return text.startsWith(`${KEY}.`) || text.startsWith(`${SESSION}.`);
}

/** Postern's own token of a session, whole or not. */
export function isSessionToken(text: string): boolean {
  return text.startsWith(`${SESSION}.`);
}

/** What a token says; nothing of it is proven yet. `undefined`: not one that was ever minted. */
export function parseToken(text: string): Token | undefined {
  if (text.length > MAX_TOKEN) return undefined;
  const [prefix, ...parts] = text.split('.');
  const secret = parts.pop();
  if (secret === undefined || decoded(secret)?.length !== SECRET_BYTES) return undefined;
  const hash = digest(secret);
  const [tenant, first, second, ...more] = parts.map(idIn);
  if (tenant === undefined || first === undefined || more.length > 0) return undefined;
  if (prefix === KEY && parts.length === 2) return { kind: 'key', tenant, keyId: first, hash };
  if (prefix === SESSION && second !== undefined)
    return { kind: 'session', tenant, user: first, sessionId: second, hash };
  return undefined;
}

/** A key that may be used: neither revoked nor expired. */
export function keyIsLive({ revoked, expiresAt }: KeyRecord, now: number): boolean {
  return revoked !== true && isLive(expiresAt, now);
}

/**
 * Whether a secret is one of a live key's. Takes as long for a key that does not exist or is no more: how long an
 * answer took shall not tell which keys there are.
 */
export function provesKey(record: KeyRecord | undefined, hash: string, now: number): boolean {
  const given = Buffer.from(hash, 'base64url');
  const secrets = record?.secrets ?? [];
  let proven = false;
  for (let at = 0; at < Math.max(COMPARED, secrets.length); at++) {
    const secret = secrets[at];
    const same = sameDigest(secret?.hash, given);
    proven = (same && isLive(secret?.expiresAt, now)) || proven;
  }
  return proven && record !== undefined && keyIsLive(record, now);
}

/** Whether a secret is that of a session which is not over, of a user who may log in. As `provesKey` in time. */
export function provesSession(
  record: UserRecord | undefined,
  sessionId: string,
  hash: string,
  now: number,
): boolean {
  const session = record?.sessions?.find(({ id }) => id === sessionId);
  const proven = sameDigest(session?.hash, Buffer.from(hash, 'base64url'));
  if (!proven || record === undefined || session === undefined) return false;
  return !record.deleted && !record.suspended && isLive(session.expiresAt, now);
}

/** Why a secret proves no key; `undefined`: it does. As `provesKey` in time. */
export function keyProblem(
  record: KeyRecord | undefined,
  hash: string,
  now: number,
): CredentialProblem | undefined {
  const given = Buffer.from(hash, 'base64url');
  const secrets = record?.secrets ?? [];
  let found = false;
  let live = false;
  for (let at = 0; at < Math.max(COMPARED, secrets.length); at++) {
    const secret = secrets[at];
    const same = sameDigest(secret?.hash, given);
    found = same || found;
    live = (same && isLive(secret?.expiresAt, now)) || live;
  }
  if (record === undefined) return 'unknown';
  // Its secrets are gone: nobody can tell any more whether this was one.
  if (record.revoked === true) return 'revoked';
  if (!found) return 'wrong_secret';
  return live && keyIsLive(record, now) ? undefined : 'expired';
}

/** Why a secret proves no session. */
export function sessionProblem(
  record: UserRecord | undefined,
  sessionId: string,
  hash: string,
  now: number,
): CredentialProblem {
  const session = record?.sessions?.find(({ id }) => id === sessionId);
  if (record === undefined || session === undefined) return 'unknown';
  if (!sameDigest(session.hash, Buffer.from(hash, 'base64url'))) return 'wrong_secret';
  return isLive(session.expiresAt, now) ? 'inactive' : 'expired';
}

function mint(prefix: string, ids: readonly string[]): Minted {
  for (const id of ids) {
    const problem = storedIdProblem(id);
    if (problem !== undefined) throw new RangeError(`the id \`${id}\` ${problem}`);
  }
  const secret = randomBytes(SECRET_BYTES).toString('base64url');
  const names = ids.map((id) => Buffer.from(id).toString('base64url'));
  return { token: [prefix, ...names, secret].join('.'), hash: digest(secret) };
}

function digest(secret: string): string {
  return digestOf('sha256', secret, 'base64url');
}

/** Keeps a byte order mark, and refuses what is not UTF-8. */
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function idIn(part: string): string | undefined {
  const bytes = decoded(part);
  if (bytes === undefined) return undefined;
  try {
    const id = utf8.decode(bytes);
    return storedIdProblem(id) === undefined ? id : undefined;
  } catch {
    return undefined;
  }
}

/** The bytes of canonical base64url: each has one spelling, or a token would have several. */
function decoded(part: string): Buffer | undefined {
  const bytes = Buffer.from(part, 'base64url');
  return bytes.toString('base64url') === part ? bytes : undefined;
}

function isLive(expiresAt: number | undefined, now: number): boolean {
  return expiresAt === undefined || now < expiresAt;
}

/** Compares in any case, so that an absent digest takes as long as a wrong one. */
function sameDigest(kept: string | undefined, given: Buffer): boolean {
  const expected = kept === undefined ? NO_DIGEST : Buffer.from(kept, 'base64url');
  const comparable = expected.length === SECRET_BYTES && given.length === SECRET_BYTES;
  const same = timingSafeEqual(
    comparable ? expected : NO_DIGEST,
    comparable ? given : Buffer.alloc(SECRET_BYTES),
  );
  return same && comparable && kept !== undefined;
}
