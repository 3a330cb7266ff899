/** Bearer tokens in headers (RFC 6750). */

/** The token of the value of an `authorization` header; `undefined`: it is no bearer token. */
export function bearerOf(authorization: string): string | undefined {
  return /^bearer ([^\s]+)$/i.exec(authorization)?.[1];
}
