/**
 * Consistency tokens (CONS-1): a revision of a tenant by its name, as an opaque text that callers hand back. It proves
 * nothing and opens nothing: it says which facts an answer must at least contain.
 */
import { crc32 } from 'node:zlib';
import type { Head } from '../store.ts';

/** The first byte of a token. */
const VERSION = 1;
/** Bytes before the nonce: version, checksum, revision. */
const HEADER_BYTES = 11;
const MAX_NONCE_BYTES = 64;
/** The longest token, characters. */
const MAX_CHARS = Math.ceil(((HEADER_BYTES + MAX_NONCE_BYTES) * 4) / 3);

/** The token of a tenant's revision; `''`: the tenant has none. */
export function tokenOf(tenant: string, head: Head | undefined): string {
  return head === undefined || head.nonce === '' ? '' : encodeToken(tenant, head);
}

/** @returns base64url */
function encodeToken(tenant: string, { revision, nonce }: Head): string {
  const name = Buffer.from(nonce);
  const bytes = Buffer.alloc(HEADER_BYTES + name.length);
  bytes.writeUInt8(VERSION, 0);
  bytes.writeUIntBE(revision, 5, 6);
  name.copy(bytes, HEADER_BYTES);
  bytes.writeUInt32BE(checksum(tenant, bytes), 1);
  return bytes.toString('base64url');
}

/** @returns the revision and its name; `undefined`: it is no token of this tenant, or was altered */
export function decodeToken(tenant: string, token: string): Head | undefined {
  if (token.length > MAX_CHARS) return undefined;
  const bytes = Buffer.from(token, 'base64url');
  // The decoder skips what it does not know.
  if (bytes.length <= HEADER_BYTES || bytes.toString('base64url') !== token) return undefined;
  if (bytes.readUInt8(0) !== VERSION) return undefined;
  if (bytes.readUInt32BE(1) !== checksum(tenant, bytes)) return undefined;
  const revision = bytes.readUIntBE(5, 6);
  return revision === 0 ? undefined : { revision, nonce: bytes.toString('utf8', HEADER_BYTES) };
}

/** Of the tenant's name and of all that follows the checksum. */
function checksum(tenant: string, bytes: Buffer): number {
  return crc32(bytes.subarray(5), crc32(tenant));
}
