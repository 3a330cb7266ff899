/** Messages of an `Apply` upload. */
import { createHash } from 'node:crypto';

/** What the last message announces of a text. */
function endOf(bytes: Buffer): { readonly length: number; readonly sha256: Buffer } {
  return { length: bytes.length, sha256: createHash('sha256').update(bytes).digest() };
}

/** A message, of which only the chunk matters here. */
type Piece = Readonly<Record<string, unknown>> & { readonly chunk?: Buffer };

/** The messages with one more that ends them. */
export function ended(messages: readonly Piece[]): object[] {
  const bytes = Buffer.concat(messages.map(({ chunk }) => chunk ?? Buffer.alloc(0)));
  return [...messages, { end: endOf(bytes) }];
}
