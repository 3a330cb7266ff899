/** Lengths of ids are counted in bytes of UTF-8, from the first character to the last (ID-1). */
import { describe, expect, it } from 'vitest';
import { correlationIdProblem, idProblem, storedIdProblem } from '../../src/engine/id.ts';

const MAX = 256;
/** Characters of two, three and four bytes, and those at the ends of each range. */
const WIDE = [
  '\u00e9',
  '\u07ff',
  '\u0800',
  '\u20ac',
  '\ufffd',
  '\ud83d\ude00',
  '\u{10000}',
  '\u{103ff}',
];
const bytesOf = (text: string): number => Buffer.byteLength(text);

/** A text of so many bytes that has the character at its start, in its middle or at its end. */
function textOf(bytes: number, wide: string, place: 'first' | 'middle' | 'last'): string {
  const rest = bytes - bytesOf(wide);
  if (place === 'first') return wide + 'a'.repeat(rest);
  if (place === 'last') return 'a'.repeat(rest) + wide;
  return 'a'.repeat(rest >> 1) + wide + 'a'.repeat(rest - (rest >> 1));
}

describe.each(['first', 'middle', 'last'] as const)('a wide character that stands %s', (place) => {
  it.each(WIDE)('%s: 256 bytes are an id, 257 are none', (wide) => {
    const longest = textOf(MAX, wide, place);
    const tooLong = textOf(MAX + 1, wide, place);
    expect([bytesOf(longest), bytesOf(tooLong)]).toEqual([MAX, MAX + 1]);
    for (const problemOf of [idProblem, storedIdProblem]) {
      expect(problemOf(longest)).toBeUndefined();
      expect(problemOf(tooLong)).toBe('has 257 bytes: at most 256 are allowed');
    }
    expect(correlationIdProblem(longest)).toBeUndefined();
    expect(correlationIdProblem(tooLong)).toBe(
      'is longer than 256 bytes: send a shorter one, or none',
    );
  });
});

it.each([...WIDE, 'a'])('a text of %s alone is counted whole', (wide) => {
  const count = Math.floor(MAX / bytesOf(wide));
  expect(idProblem(wide.repeat(count))).toBeUndefined();
  const bytes = (count + 1) * bytesOf(wide);
  expect(idProblem(wide.repeat(count + 1))).toBe(`has ${bytes} bytes: at most 256 are allowed`);
});

describe('what is wrong with an id', () => {
  it.each<readonly [string, string | undefined]>([
    ['a', undefined],
    ['a b', undefined],
    ['~!@', undefined],
    ['é', undefined],
    ['', 'is empty: give 1 to 256 bytes'],
    ['a\ud800', 'holds a lone surrogate: send valid UTF-8'],
    ['a\u007f', 'holds a control character: remove it'],
    ['\u001fa', 'holds a control character: remove it'],
    [' a', 'has white space at an end: remove it'],
    ['a ', 'has white space at an end: remove it'],
    ['\u00a0é', 'has white space at an end: remove it'],
    ['e\u0301', 'is not in Unicode normal form C: normalize it to NFC'],
  ])('%j', (id, problem) => {
    expect(idProblem(id)).toBe(problem);
    expect(storedIdProblem(id)).toBe(problem);
  });

  it.each([
    ['a\u200bb', 'holds U+200B, which nobody sees: remove it'],
    ['a\u00adb', 'holds U+00AD, which nobody sees: remove it'],
    ['a\u2028b', 'holds U+2028, which nobody sees: remove it'],
    ['a\u{e0001}b', 'holds U+E0001, which nobody sees: remove it'],
  ])('%j, which only a stored id may have', (id, problem) => {
    expect(idProblem(id)).toBe(problem);
    expect(storedIdProblem(id)).toBeUndefined();
  });

  it.each<readonly [string, string | undefined]>([
    ['', undefined],
    [' a ', undefined],
    ['é', undefined],
    ['e\u0301', undefined],
    ['é\ud800', 'holds a lone surrogate: send valid UTF-8'],
    ['a\u0000', 'holds a control character: remove it'],
    ['a'.repeat(257), 'is longer than 256 bytes: send a shorter one, or none'],
  ])('of a request: %j', (id, problem) => {
    expect(correlationIdProblem(id)).toBe(problem);
  });
});
