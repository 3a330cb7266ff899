/** Identifiers (ID-1, ID-3). Pure: no Buffer, so byte lengths are counted here. */

/** Longest id in bytes of UTF-8 (ID-1). */
const MAX_ID_BYTES = 256;

/** The common case: printable ASCII without a blank at either end. */
function isPlain(id: string): boolean {
  const { length } = id;
  if (length === 0 || length > MAX_ID_BYTES) return false;
  for (let i = 0; i < length; i++) {
    const unit = id.charCodeAt(i);
    if (unit < 0x20 || unit > 0x7e) return false;
  }
  return id.charCodeAt(0) !== 0x20 && id.charCodeAt(length - 1) !== 0x20;
}

const CONTROL = /\p{Cc}/u;

/**
 * What is wrong with a caller's own id of a request, or `undefined`. It is echoed and recorded, and names nothing here: it may
 * be empty, and spelled in any way.
 */
export function correlationIdProblem(id: string): string | undefined {
  if (id === '' || isPlain(id)) return undefined;
  if (!id.isWellFormed()) return 'holds a lone surrogate: send valid UTF-8';
  // First: a search through megabytes is none of it.
  const bytes = id.length > MAX_ID_BYTES ? id.length : utf8Length(id);
  if (bytes > MAX_ID_BYTES)
    return `is longer than ${MAX_ID_BYTES} bytes: send a shorter one, or none`;
  return CONTROL.test(id) ? 'holds a control character: remove it' : undefined;
}

/** Length of a well-formed string in bytes of UTF-8. */
function utf8Length(text: string): number {
  let bytes = text.length;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x80) continue;
    // A surrogate pair is two units and four bytes: each unit counts one more than itself.
    bytes += unit < 0x800 || (unit >= 0xd800 && unit <= 0xdfff) ? 1 : 2;
  }
  return bytes;
}

/** Format characters, those of bidirectional text among them, and separators of lines and paragraphs: nobody sees them. */
const UNSEEN = /[\p{Cf}\p{Zl}\p{Zp}]/u;

/**
 * The problem of an id, or `undefined` if it is valid (ID-1).
 * The sentence names the remedy; the caller names the field and shows the value.
 */
export function idProblem(id: string): string | undefined {
  if (isPlain(id)) return undefined;
  const problem = storedIdProblem(id);
  if (problem !== undefined) return problem;
  const code = UNSEEN.exec(id)?.[0].codePointAt(0);
  return code === undefined
    ? undefined
    : `holds U+${code.toString(16).toUpperCase().padStart(4, '0')}, which nobody sees: remove it`;
}

/**
 * The problem of an id by the older rule, which allowed invisible characters. Stored ids can have them and stay valid in
 * requests (ID-1): an id that this refuses cannot be stored.
 */
export function storedIdProblem(id: string): string | undefined {
  if (isPlain(id)) return undefined;
  if (id === '') return 'is empty: give 1 to 256 bytes';
  if (!id.isWellFormed()) return 'holds a lone surrogate: send valid UTF-8';
  if (CONTROL.test(id)) return 'holds a control character: remove it';
  if (id.trim() !== id) return 'has white space at an end: remove it';
  if (id.normalize('NFC') !== id) return 'is not in Unicode normal form C: normalize it to NFC';
  const bytes = utf8Length(id);
  return bytes > MAX_ID_BYTES
    ? `has ${bytes} bytes: at most ${MAX_ID_BYTES} are allowed`
    : undefined;
}
