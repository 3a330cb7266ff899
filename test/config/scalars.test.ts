/** YAML values that are not what they look like are refused with both readings; what is written is read back. */
import { describe, expect, it } from 'vitest';
import { parseJson } from '../../src/config/json.ts';
import { parseSource } from '../../src/config/document.ts';
import { yamlText } from '../../src/config/yaml-text.ts';
import fc from '../support/fast-check.ts';

const refusal = (text: string): string => {
  try {
    parseSource('f.yaml', text);
    return '';
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
};

/** What is written, and what it would be. */
const MISREAD: readonly (readonly [text: string, value: string])[] = [
  ['02142', '2142'],
  ['007', '7'],
  ['00', '0'],
  ['-0', '0'],
  ['1.10', '1.1'],
  ['1.0', '1'],
  ['0.10', '0.1'],
  ['5.', '5'],
  ['.5', '0.5'],
  ['+5', '5'],
  ['+1.5', '1.5'],
  ['7e2', '700'],
  ['7E2', '700'],
  ['1e-2', '0.01'],
  ['0x1F', '31'],
  ['0o17', '15'],
  ['0b11', '3'],
  ['1_000', '1000'],
  ['-1_0', '-10'],
  ['9007199254740993', '9007199254740992'],
  ['-9007199254740993', '-9007199254740992'],
  ['12345678901234567890', '12345678901234567000'],
  ['yes', 'true'],
  ['Yes', 'true'],
  ['ON', 'true'],
  ['no', 'false'],
  ['NO', 'false'],
  ['off', 'false'],
  ['True', 'true'],
  ['FALSE', 'false'],
  ['~', 'null'],
  ['Null', 'null'],
];

describe('values that are not what they look like', () => {
  it.each(MISREAD)('`%s` may be %s', (text, value) => {
    for (const [document, place] of [
      [`zip: [${text}]`, '1:7'],
      [`a: { b: ${text} }`, '1:9'],
      [`- ${text}`, '1:3'],
      [`x:\n  id: ${text} # not what it looks like`, '2:7'],
      [text, '1:1'],
    ] as const) {
      const told = refusal(document);
      expect(told, document).toContain(`f.yaml:${place}:`);
      expect(told, document).toContain(`\`${text}\``);
      expect(told, document).toContain(value);
      expect(told, document).toMatch(/quote it/);
    }
    expect(refusal(`${text}: 1`)).toMatch(/^f\.yaml:1:1: .*quote it/);
    expect(refusal(`a: { ${text}: [x] }`)).toMatch(/quote it/);
    for (const quoted of [`"${text}"`, `'${text}'`, `!!str ${text}`])
      expect(parseSource('f', `a: [${quoted}]`).value).toEqual({ a: [text] });
  });

  it.each(['.inf', '-.INF', '.nan', '.NaN', '1e400', '100000000000000000000'])(
    '`%s` is not a number that can be compared',
    (text) => {
      expect(refusal(`a: [${text}]`)).toMatch(/quote it/);
    },
  );

  it.each<readonly [string, unknown]>([
    ['0', 0],
    ['-1', -1],
    ['1.5', 1.5],
    ['1.5e-7', 1.5e-7],
    ['9007199254740991', 9_007_199_254_740_991],
    ['true', true],
    ['false', false],
    ['null', null],
    ['2027-01-01', '2027-01-01'],
    ['2027-01-01T00:00:00Z', '2027-01-01T00:00:00Z'],
    ['12:30', '12:30'],
    ['10.0.0.1', '10.0.0.1'],
    ['1.2.3', '1.2.3'],
    ['a_1', 'a_1'],
    ['nobody', 'nobody'],
    ['offline', 'offline'],
    ['y', 'y'],
    ['١٢', '١٢'],
  ])('`%s` is what it looks like', (text, value) => {
    expect(parseSource('f', `a: [${text}]`).value).toEqual({ a: [value] });
  });

  it('`mode: off` is a word of ours, elsewhere it is not', () => {
    expect(parseSource('f', 'mode: off').value).toEqual({ mode: 'off' });
    expect(refusal('mode: [off]')).toMatch(/quote it/);
    expect(refusal('off: mode')).toMatch(/quote it/);
    expect(refusal('mode: no')).toMatch(/quote it/);
  });

  it('an anchor is told where it stands, and at most twenty of them', () => {
    expect(refusal('a: &zip 02142\nb: *zip')).toMatch(/^f\.yaml:1:9: /);
    expect(refusal(`a: [${'02142, '.repeat(100)}]`).split('\n')).toHaveLength(20);
  });

  it.each(['1.10', '1.0', '7e2', '-0', '9007199254740993', '1e400'])(
    'so it is in large JSON: %s',
    (text) => {
      expect(() => parseJson('f', `{"a": [${text}]}`)).toThrow(/f:1:8: .*quote it/);
      expect(parseJson('f', `{"a": ["${text}"], "b": [1, 1.5, true, null]}`).value).toEqual({
        a: [text],
        b: [1, 1.5, true, null],
      });
    },
  );

  it('whatever is written is read back, keys and values', () => {
    const text = fc.oneof(
      fc.constantFrom(
        ...MISREAD.map(([one]) => one),
        'mode',
        'off',
        '<<',
        '#',
        '- a',
        '',
        ' ',
        '...',
      ),
      fc.string(),
      fc.stringMatching(/^[-+]?[0-9_.:eExXoObB]{1,6}$/),
    );
    const value = fc.letrec((tie) => ({
      any: fc.oneof(
        { depthSize: 'small' },
        text,
        fc.integer(),
        fc.boolean(),
        fc.array(tie('any'), { maxLength: 3 }),
        fc.dictionary(
          text.filter((key) => key !== '__proto__'),
          tie('any'),
          { maxKeys: 3 },
        ),
      ),
    })).any;
    fc.assert(
      fc.property(value, (one) => {
        expect(parseSource('f', yamlText({ one })).value).toEqual({ one });
      }),
      { numRuns: 500 },
    );
  });
});
