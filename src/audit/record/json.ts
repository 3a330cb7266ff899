/** JSON texts of records. A terminal that is shown the file, or a reader that splits lines, meets nothing it could act on. */

// Printable ASCII but `"` and `\\` stands in JSON as it is.
const PLAIN = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/;

/** What JSON allows as it is, and terminals or line splitters act on: DEL, C1 controls, separators, direction marks. */
const ACTIVE = /[\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g;

export function quote(text: string): string {
  return PLAIN.test(text) ? `"${text}"` : stringify(text);
}

/** JSON whose texts hold no such characters: they are escaped, as lone surrogates are. */
export function stringify(value: unknown): string {
  return JSON.stringify(value).replaceAll(
    ACTIVE,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
