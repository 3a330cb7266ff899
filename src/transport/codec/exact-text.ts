/**
 * Whether the texts of a message were sent as UTF-8. The library puts U+FFFD where a text is not, so that two different
 * ids would become one: such a message is refused (ID-1).
 */

const REPLACEMENT = '\ufffd';
const REPLACEMENT_BYTES = Buffer.from(REPLACEMENT);

/** @param bytes the message as it came @param message the same, decoded; its fields of bytes are Buffers */
export function hasExactText(bytes: Buffer, message: object): boolean {
  const found = replacementsIn(message);
  if (found.texts === 0) return true;
  // A sender may mean the character itself: then its three bytes stand in the message, outside of fields of bytes.
  return found.texts <= countOf(bytes) - found.bytes;
}

interface Found {
  readonly texts: number;
  readonly bytes: number;
}

/** How often the character stands in texts, keys of maps included, and its bytes in fields of bytes. */
function replacementsIn(value: unknown): Found {
  if (typeof value === 'string') return { texts: value.split(REPLACEMENT).length - 1, bytes: 0 };
  if (Buffer.isBuffer(value)) return { texts: 0, bytes: countOf(value) };
  let texts = 0;
  let bytes = 0;
  if (typeof value !== 'object' || value === null) return { texts, bytes };
  for (const [key, item] of Object.entries(value)) {
    const inside = replacementsIn(item);
    texts += inside.texts + key.split(REPLACEMENT).length - 1;
    bytes += inside.bytes;
  }
  return { texts, bytes };
}

function countOf(bytes: Buffer): number {
  let count = 0;
  let at = bytes.indexOf(REPLACEMENT_BYTES);
  while (at >= 0) {
    count++;
    at = bytes.indexOf(REPLACEMENT_BYTES, at + REPLACEMENT_BYTES.length);
  }
  return count;
}
