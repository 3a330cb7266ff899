/** Full Unicode case folding (ID-2). Pure and independent of the Unicode version of the runtime. */
import { FULL, RUNS } from './folding-data.ts';

const FOLDED: ReadonlyMap<string, string> = foldings();

function foldings(): Map<string, string> {
  const found = new Map<string, string>();
  for (let at = 0; at < RUNS.length; at += 4) {
    const [first = 0, last = -1, step = 1, offset = 0] = RUNS.slice(at, at + 4);
    for (let code = first; code <= last; code += step)
      found.set(String.fromCodePoint(code), String.fromCodePoint(code + offset));
  }
  for (const [from = 0, ...to] of FULL)
    found.set(String.fromCodePoint(from), String.fromCodePoint(...to));
  return found;
}

/** Whether a text is ASCII, whose folding is its lower case. */
function isAscii(text: string): boolean {
  for (let at = 0; at < text.length; at++) if (text.charCodeAt(at) > 0x7f) return false;
  return true;
}

/**
 * Common form of texts that differ only in case: `Straße` and `STRASSE`, `ſam` and `sam`, `ΣΑΣ` and `σας`. It is
 * the canonical caseless match of the Unicode standard (D145), in normal form C. A folded text folds to itself.
 */
export function foldCase(text: string): string {
  if (isAscii(text)) return text.toLowerCase();
  // Decomposed before, because a folding character can be part of a composed one; and after, because folding composes.
  let folded = text;
  for (let round = 0; round < 2; round++) {
    let next = '';
    for (const char of folded.normalize('NFD')) next += FOLDED.get(char) ?? char;
    folded = next;
  }
  return folded.normalize('NFC');
}
