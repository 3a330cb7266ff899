/** What a text may make its reader do is bounded before it is done (ADM-11). */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openPool, type Pool } from '../../src/admin/threads/pool.ts';
import { parseCatalog } from '../../src/config/catalog.ts';
import { isTooMuchYaml, readSource, parseSource } from '../../src/config/document.ts';
import { stateText } from '../../src/admin/state/state-text.ts';
import { POLICY_LIMITS } from '../../src/config/policy-limits.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';
import { problemsOf } from '../support/yaml.ts';

const catalog = parseCatalog(readSource(join(PACKAGE_ROOT, 'config/actions.yaml')));

describe('documents of two megabytes that are hard to read', () => {
  let pool: Pool;
  beforeAll(() => {
    pool = openPool({ threads: 1, maxWaiting: 4, deadlineMs: 60_000, heapMiB: 256 });
  });
  afterAll(() => pool.close());

  // Each took more memory than the thread has; some of them then ended the whole process.
  it.each([
    ['anchors', '&a '.repeat(600_000), /more than 800000 words and marks up to here/],
    [
      'items on one line',
      `x: [${'a,'.repeat(260_000)}]`,
      /more than 190016 values up to here: split/,
    ],
    ['empty lists on one line', `x: [${'[],'.repeat(260_000)}]`, /more than 190016 values up to/],
    ['empty maps', `x: [${'{ },'.repeat(260_000)}]`, /more than 190016 values up to here/],
    ['quoted items', `x: [${'"a",'.repeat(260_000)}]`, /more than 190016 values up to here/],
    ['aliases', `- &a b\n- [${'*a ,'.repeat(260_000)}]`, /more than 190016 values up to here/],
    ['tags', '!a '.repeat(600_000), /more than 800000 words and marks up to here/],
    ['lists within each other', '- '.repeat(1_000_000), /more than 32 maps and lists/],
    ['keys within each other', '? '.repeat(1_000_000), /more than 32 maps and lists/],
    ['bad escapes', `"${'\\q'.repeat(990_000)}"`, /begins no known escape/],
    ['directives', '%FOO\n'.repeat(380_000), /is not a directive/],
  ])('%s are refused within the memory of a thread', async (_what, document, message) => {
    const read = await pool.run('policy_set', { document, catalog, limits: POLICY_LIMITS });
    expect(read.problems[0]?.message).toMatch(message);
    expect(read.problems.length).toBeLessThanOrEqual(20);
  });
});

describe('state files', () => {
  it.each([
    ['items', `tenant: a\nx: [${'a,'.repeat(1_500_001)}]`, '2:3000005'],
    ['lists', `tenant: a\nx: [${'[],'.repeat(1_500_001)}]`, undefined],
    ['nothing', '-\n'.repeat(4_000_000), undefined],
  ])('with too many values (%s) are refused before they are parsed', (_what, text, place) => {
    const [problem = '', ...more] = problemsOf(() => parseSource('state.yaml', text));
    expect(more).toEqual([]);
    expect(problem).toMatch(
      /more than (1500000 values|6000000 words and marks) up to here: write it as JSON/,
    );
    if (place !== undefined) expect(problem).toMatch(/^state\.yaml:2:\d+: /);
  });

  it('of what is exported as YAML are read, and others are exported as JSON', () => {
    const users = (count: number): string =>
      [
        ...stateText(
          { tenant: 'a', users: Array.from({ length: count }, () => ({ id: 'u' })) },
          'yaml',
        ),
      ]
        .join('')
        .slice(0, 12);
    expect(users(10)).toBe('tenant: a\nus');
    // Two values each.
    expect(users(760_000)).toBe('{"tenant":"a');
  });

  it('of 200,000 users with their roles are within the bound', () => {
    const user = (n: number): string => `- { id: user-${n}, roles: [member] }\n`;
    const text = `tenant: a\nusers:\n${Array.from({ length: 200_000 }, (_, n) => user(n)).join('')}`;
    expect(isTooMuchYaml(text)).toBe(false);
  });
});

describe('what is collected of a text', () => {
  it('is its first twenty errors, at their places', () => {
    const problems = problemsOf(() => parseSource('file.yaml', '- "\\q"\n'.repeat(100)));
    expect(problems).toHaveLength(20);
    expect(problems[19]).toMatch(
      /^file\.yaml:20:4: a `\\` in double quotes begins no known escape/,
    );
  });

  it.each([
    ['a: 1\nb: 2\na: 3\n', 'file.yaml:3:1: the key stands twice in one map: keep one'],
    ['{ a: 1, "a": 2 }', 'file.yaml:1:9: the key stands twice in one map: keep one'],
    ['x:\n  - { k: 1, k: 2 }\n', 'file.yaml:2:13: the key stands twice in one map: keep one'],
    ['__proto__: 1\n__proto__: 2\n', 'file.yaml:2:1: the key stands twice in one map: keep one'],
    [
      'a: 1\n---\na: 2\n',
      'file.yaml:2:1: a second document begins here (`---`): keep one, or make a file of each',
    ],
  ])('tells %j', (text, told) => {
    expect(problemsOf(() => parseSource('file.yaml', text))).toEqual([told]);
  });

  it('counts what begins on one line alone', () => {
    const lines = Array.from({ length: 100 }, (_, at) => `- - k${at}: 10:20:30-40-50-60?-:x`);
    const shape = { maxDepth: 5, maxAliases: 10 };
    expect(parseSource('f', lines.join('\n'), shape).value).toHaveLength(100);
    expect(problemsOf(() => parseSource('f', '- '.repeat(6), shape))).toEqual([
      'f:1:11: more than 5 maps and lists stand within each other: nest fewer',
    ]);
  });
});
