/** Lint of policy sets tells what a naive reading tells, in time that grows with the text (ABAC-5, ADM-11). */
import { describe, expect, it } from 'vitest';
import { parseSource } from '../../src/config/document.ts';
import { lintKey, lintPolicySet } from '../../src/config/lint.ts';
import { POLICY_LIMITS } from '../../src/config/policy-limits.ts';
import { parsePolicySet, type PolicySetBody } from '../../src/config/policy-set.ts';
import { ConfigError } from '../../src/config/problem.ts';
import { resolveAction } from '../../src/engine/action.ts';
import { catalog } from '../support/admin.ts';
import fc from '../support/fast-check.ts';

type Rule = PolicySetBody['rules'][number];

const source = parseSource('policy set', '{}');
const names = [
  'readonly',
  'memory.get',
  'user.delete',
  'graph.search',
  'kb:read',
  'kb:write',
  'read',
];

const rule = fc.record(
  {
    effect: fc.constantFrom('allow' as const, 'deny' as const),
    actions: fc.uniqueArray(fc.constantFrom(...names), { minLength: 1, maxLength: 3 }),
    attributes: fc.record({ a: fc.constantFrom<string[][]>(['x'], ['y', 'x'], ['x', 'y']) }),
  },
  { requiredKeys: ['effect', 'actions'] },
);
const rulesOf = fc
  .array(rule, { maxLength: 7 })
  .map((rules): Rule[] => rules.map((one, index) => ({ ...one, id: `r${index}` })));

const isReadonly = (name: string): boolean => resolveAction(catalog, name, '')?.readonly === true;
const covers = (one: Rule, name: string): boolean =>
  one.actions.includes(name) ||
  (name !== 'readonly' && one.actions.includes('readonly') && isReadonly(name));
const overlap = (one: Rule, other: Rule): string | undefined =>
  one.actions.includes('readonly') && other.actions.includes('readonly')
    ? 'readonly'
    : (other.actions.find((name) => covers(one, name)) ??
      one.actions.find((name) => covers(other, name)));

/** Every rule against every other one. */
function nullified(
  sets: readonly { name: string; rules: readonly Rule[] }[],
  across: boolean,
): string[] {
  const all = sets.flatMap(({ name, rules }) => rules.map((one) => ({ set: name, one })));
  return all.flatMap(({ set, one: narrow }) => {
    if (narrow.effect !== 'allow' || narrow.attributes === undefined) return [];
    const wide = all.find(
      (other) =>
        other.one.effect === 'allow' &&
        other.one.attributes === undefined &&
        (!across || other.set !== set) &&
        overlap(other.one, narrow) !== undefined,
    );
    return wide === undefined
      ? []
      : [
          `rule ${narrow.id} restricts nothing for ${overlap(wide.one, narrow) ?? ''}: rule ${wide.set}/${wide.one.id} allows`,
        ];
  });
}

function shadowed(rules: readonly Rule[]): string[] {
  const form = ({ actions, attributes }: Rule): string =>
    JSON.stringify([
      actions.toSorted(),
      attributes && [...new Set(Object.values(attributes).flat().map(String))].toSorted(),
    ]);
  return rules.flatMap((one, index) => {
    const open = one.effect === 'deny' && one.attributes === undefined;
    const denies = rules.filter(
      (other, at) =>
        other !== one &&
        other.effect === 'deny' &&
        other.attributes === undefined &&
        (!open || at < index),
    );
    if (one.actions.every((name) => denies.some((deny) => covers(deny, name))))
      return [`rule ${one.id} can never decide`];
    const twin = rules.find(
      (other, at) => at < index && other.effect === one.effect && form(other) === form(one),
    );
    return twin === undefined ? [] : [`rule ${one.id} says what rule ${twin.id} says`];
  });
}

const messages = (found: readonly { readonly message: string }[], form: RegExp): string[] =>
  found.flatMap(({ message }) => form.exec(message)?.[0] ?? []);

describe('lint', () => {
  it('tells what every rule against every other one tells', () => {
    fc.assert(
      fc.property(rulesOf, (rules) => {
        const found = lintPolicySet(source, [], { name: 's', mode: 'enforce', rules }, catalog);
        expect(messages(found, /^.* restricts nothing for .* allows/)).toEqual(
          nullified([{ name: 's', rules }], false),
        );
        expect(messages(found, /^rule \S+ (can never decide|says what rule \S+ says)/)).toEqual(
          shadowed(rules),
        );
      }),
      { numRuns: 500 },
    );
  });

  it('of a key tells the same of rules of different sets', () => {
    fc.assert(
      fc.property(fc.array(rulesOf, { minLength: 1, maxLength: 4 }), (lists) => {
        const sets = lists.map((rules, index) => ({ name: `s${index}`, rules }));
        const placed = sets.map((set) => ({
          source,
          path: [],
          body: { ...set, mode: 'enforce' as const },
        }));
        const found = lintKey({ id: 'k', role: 'default_deny' }, placed, catalog);
        expect(messages(found, /^.* restricts nothing for .* allows/)).toEqual(
          nullified(sets, true),
        );
      }),
      { numRuns: 300 },
    );
  });

  /** Rules of which each is looked at beside all others by whoever compares them in pairs. */
  const many = (count: number): Rule[] =>
    Array.from({ length: count }, (_unused, index) => ({
      id: `r${index}`,
      effect: index % 2 === 0 ? ('allow' as const) : ('deny' as const),
      actions: [`kb:a${index}`, 'readonly'],
      ...(index % 4 < 2 ? { attributes: { k: [`v${index}`] } } : {}),
    }));

  it('ADM-11: takes twice as long for twice as many rules, not four times', () => {
    // Processor time of this thread: what other processes take from it is not counted.
    const cpuTime = (count: number): number => {
      const rules = many(count);
      const times = Array.from({ length: 5 }, () => {
        const start = process.threadCpuUsage();
        lintPolicySet(source, [], { name: 's', mode: 'enforce', rules }, catalog);
        return process.threadCpuUsage(start).user;
      });
      return Math.min(...times);
    };
    cpuTime(4_000);
    expect(cpuTime(32_000) / cpuTime(4_000)).toBeLessThan(32);
  });

  it('ADM-11: tells how many more warnings there are', () => {
    const found = lintPolicySet(
      source,
      [],
      { name: 's', mode: 'off', rules: many(4_000) },
      catalog,
    );
    expect(found).toHaveLength(201);
    expect(found.at(-1)?.message).toMatch(/^there are \d+ more warnings like these$/);
  });
});

describe('the size of a policy set', () => {
  const problemsOf = (rules: readonly object[], extra: object = {}): string => {
    const text = JSON.stringify({ policy_set: { name: 's', mode: 'off', rules, ...extra } });
    try {
      parsePolicySet(parseSource('policy set', text), catalog);
      return '';
    } catch (error) {
      if (error instanceof ConfigError) return error.message;
      throw error;
    }
  };
  const one = { id: 'r', effect: 'allow', actions: ['readonly'] };

  it.each([
    [
      'max_rules',
      Array.from({ length: POLICY_LIMITS.max_rules + 1 }, (_unused, id) => ({
        ...one,
        id: `r${id}`,
      })),
    ],
    [
      'max_actions',
      [
        {
          ...one,
          actions: Array.from({ length: POLICY_LIMITS.max_actions + 1 }, () => 'readonly'),
        },
      ],
    ],
    [
      'max_attributes',
      [
        {
          ...one,
          attributes: { a: Array.from({ length: POLICY_LIMITS.max_attributes + 1 }, () => 1) },
        },
      ],
    ],
  ])('ADM-11: %s is a limit that is told by its name', (name, rules) => {
    expect(problemsOf(rules)).toContain(`admin.policy_sets.${name}`);
    expect(problemsOf(rules.slice(0, -1))).not.toContain('admin.policy_sets');
  });

  it.each([
    ['brackets', '['.repeat(1_000_000)],
    ['brackets and braces', '[{a: '.repeat(200_000)],
    ['a large JSON', `{"a":${'['.repeat(9_000_000)}`],
    ['dashes', `${'- '.repeat(900)}a`],
    [
      'indents',
      Array.from({ length: 300 }, (_unused, depth) => `${' '.repeat(depth)}a:`).join('\n'),
    ],
  ])('ADM-11: %s that stand deep within each other are refused', (_name, text) => {
    expect(() => parseSource('x', text)).toThrow(/stand within each other|call stack/);
  });

  it('brackets in texts and comments are not counted', () => {
    const text = `a: "${'['.repeat(500)}" # ${'{'.repeat(500)}\nb: '${'['.repeat(500)}'\nc: x${'['.repeat(500)}\n`;
    expect(parseSource('x', text).value).toMatchObject({ a: '['.repeat(500) });
    const json = JSON.stringify({ a: '\\"[{'.repeat(3_000_000) });
    expect(parseSource('x', json).value).toBeDefined();
  });
});
