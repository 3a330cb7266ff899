/** Full case folding against the engine's own regular expressions, and against what the standard names (ID-2). */
import { describe, expect, it } from 'vitest';
import { foldCase } from '../../src/engine/fold.ts';

describe('case folding', () => {
  it.each([
    ['Straße', 'strasse'],
    ['STRASSE', 'strasse'],
    ['ſam', 'sam'],
    ['ẞ', 'ss'],
    ['ﬀ', 'ff'],
    ['ﬃ', 'ffi'],
    ['ŉ', 'ʼn'],
    ['ΌΣΟΣ', 'όσοσ'],
    ['όσος', 'όσοσ'],
    ['İ', 'i̇'],
    ['ı', 'ı'],
    ['K', 'k'],
    ['ꭰ', 'Ꭰ'],
    ['ᾳ', 'αι'],
    ['𐐀', '𐐨'],
    ['e\u0301', 'é'],
    ['', ''],
  ])('%s is %s', (text, folded) => {
    expect(foldCase(text)).toBe(folded.normalize('NFC'));
  });

  it('letters that a regular expression takes for one, whatever their case, fold to one', () => {
    let letters = 0;
    for (let code = 0; code < 0x1_04ff; code++) {
      const char = String.fromCodePoint(code);
      if (!/\p{L}/u.test(char)) continue;
      for (const other of new Set([char.toLowerCase(), char.toUpperCase()])) {
        if (other === char || Array.from(other).length > 1) continue;
        if (!new RegExp(`^${char}$`, 'iu').test(other)) continue;
        letters++;
        expect(foldCase(other), code.toString(16)).toBe(foldCase(char));
      }
    }
    expect(letters).toBeGreaterThan(2_000);
  });

  it('what is folded folds to itself', () => {
    const moved: string[] = [];
    for (let code = 0; code < 0x1_ffff; code++) {
      if (code >= 0xd800 && code <= 0xdfff) continue;
      const folded = foldCase(String.fromCodePoint(code));
      if (foldCase(folded) !== folded) moved.push(code.toString(16));
    }
    expect(moved).toEqual([]);
  });
});
