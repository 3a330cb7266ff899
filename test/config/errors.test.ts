/** Bad files: each error names file, line, column, the field, the value and the remedy; nothing is half-loaded. */
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { toFacts } from '../../src/admin/state/to-facts.ts';
import { fromDefaults } from '../../src/admin/state/tenant-facts.ts';
import { parseCatalog } from '../../src/config/catalog.ts';
import { readSource, parseSource } from '../../src/config/document.ts';
import { parsePolicySet } from '../../src/config/policy-set.ts';
import { parsePolicyTest } from '../../src/config/policy-test.ts';
import { ConfigError } from '../../src/config/problem.ts';
import { parseDefaultRoles } from '../../src/config/roles.ts';
import { parseState } from '../../src/config/state.ts';
import fc from '../support/fast-check.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';
import { problemsOf, source } from '../support/yaml.ts';

const catalog = parseCatalog(readSource(join(PACKAGE_ROOT, 'config/actions.yaml')));
const defaults = parseDefaultRoles(readSource(join(PACKAGE_ROOT, 'config/roles.yaml')));

const set = (rules: string): string =>
  `policy_set:\n  name: s\n  mode: enforce\n  rules:\n${rules}`;

describe('policy sets (ABAC-2)', () => {
  it.each([
    [
      set('    - { id: a, effect: allow, actions: [graph.serach] }'),
      'file.yaml:5:41: policy_set.rules[0].actions[0]: unknown action graph.serach: did you mean `graph.search`?',
    ],
    [
      set('    - { id: a, effect: allow, actions: [] }'),
      'file.yaml:5:31: policy_set.rules[0].actions: `[]` is too small: at least 1',
    ],
    [
      set('    - { id: a, effect: allow, actions: [readonly], attributes: {} }'),
      'file.yaml:5:52: policy_set.rules[0].attributes: `{}` constrains nothing: leave `attributes` out',
    ],
    [
      set('    - { id: a, effect: allow, actions: [readonly], attributes: { t: [] } }'),
      'file.yaml:5:66: policy_set.rules[0].attributes.t: `[]` is too small: at least 1',
    ],
    [
      set('    - { id: a, effect: alow, actions: [readonly] }'),
      'file.yaml:5:16: policy_set.rules[0].effect: `"alow"` is not one of allow, deny: did you mean `allow`?',
    ],
    [
      set('    - { id: a, effect: allow, acitons: [readonly] }'),
      'file.yaml:5:31: policy_set.rules[0].acitons: unknown key `acitons`: did you mean `actions`?',
    ],
    [
      set('    - { id: a, effect: allow, actions: ["kb:*"] }'),
      'policy_set.rules[0].actions[0]: wildcard in action kb:*: rules match exact names, list them or use readonly',
    ],
    [
      set(
        '    - { id: a, effect: allow, actions: [readonly] }\n    - { id: a, effect: deny, actions: [user.delete] }',
      ),
      'file.yaml:6:9: policy_set.rules[1].id: `a` is used twice: rename one',
    ],
    [
      'policy_set: { name: s, mode: enforced, rules: [] }',
      'file.yaml:1:24: policy_set.mode: `"enforced"` is not one of off, report_only, enforce: did you mean `enforce`?',
    ],
    [
      'policy_set: { name: s, rules: [] }',
      'policy_set.mode: is missing: give one of off, report_only, enforce',
    ],
    [
      set(
        '    - { id: a, effect: deny, actions: [readonly], attributes: { "__proto__": [{ x: 1 }] } }',
      ),
      'policy_set.rules[0].attributes.__proto__: has a value that is not a string, number or boolean',
    ],
    [
      set(
        '    - { id: a, effect: deny, actions: [readonly], attributes: { n: [12345678901234567890] } }',
      ),
      'is too large to be kept exactly, it would become 12345678901234567000: quote it',
    ],
  ])('%#', (text, expected) => {
    const problems = problemsOf(() => parsePolicySet(source(text), catalog));
    expect(problems.join('\n')).toContain(expected);
  });
});

describe('catalog (ACT-1)', () => {
  it.each([
    [
      'actions: [{ name: read }]\nresource_types: {}',
      'actions[0].name: `read` is a bare verb: give a dotted name',
    ],
    ['actions: [{ name: readonly }]\nresource_types: {}', 'is the name of the macro'],
    [
      'actions: [{ name: a.b }, { name: a.b }]\nresource_types: {}',
      'actions[1].name: `a.b` is listed twice: keep one',
    ],
    [
      'actions: [{ name: a.b, permission: "kb:*" }]\nresource_types: {}',
      'has a wildcard: an action needs one permission',
    ],
    [
      'actions: [{ name: a.b, permission: kb }]\nresource_types: {}',
      '`"kb"` is not `resource:verb`',
    ],
    ['actions: [{ name: a.b, tree: raed }]\nresource_types: {}', 'did you mean `read`?'],
    [
      'actions: [{ name: a.b, min_level: 101 }]\nresource_types: {}',
      '`101` is too large: at most 100',
    ],
    ['actions: [{ name: a.b, min_level: 1.5 }]\nresource_types: {}', '`1.5` is not a whole number'],
    ['actions: []\nresource_types: { doc: { access: { any: [] } } }', 'is too small: at least 1'],
    ['actions: []\nresource_types: { doc: { access: rback } }', 'did you mean `rbac`?'],
    ['actions: []\nresource_types: { doc: { access: { some: [rbac] } } }', 'unknown key `some`'],
  ])('%s', (text, expected) => {
    expect(problemsOf(() => parseCatalog(source(text))).join('\n')).toContain(expected);
  });
});

describe('state', () => {
  const load = (text: string): void => {
    const file = source(text);
    const built = toFacts(parseState(file, catalog), fromDefaults(defaults));
    if ('findings' in built)
      throw new ConfigError(built.findings.map(({ path, message }) => file.problem(path, message)));
  };
  it.each([
    ['users: [{ id: a }]', 'tenant: is missing'],
    ['tenant: t\nusers: [{ id: a }, { id: a }]', '3', 'user `a` is listed twice'],
    [
      'tenant: t\nusers: [{ id: Alice }, { id: alice }]',
      'differs from `Alice` only in case: rename one (ID-2)',
    ],
    ['tenant: t\nusers: [{ id: x }]\nroles: [{ id: x }]', '`x` is a user and a role: rename one'],
    [
      'tenant: t\nusers: [{ id: a, roles: [nope] }]',
      'file.yaml:2:26: users[0].roles[0]: unknown role `nope`',
    ],
    ['tenant: t\nroles: [{ id: r, permissions: ["k*:read"] }]', 'has a `*` inside a segment'],
    ['tenant: t\nroles: [{ id: r, level: -1 }]', '`-1` is too small: at least 0'],
    [
      'tenant: t\nroles: [{ id: a, roles: [b] }, { id: b, roles: [a] }]',
      'membership closes a cycle: a → b → a',
    ],
    ['tenant: t\nroles: [{ id: a, members: ["role:a"] }]', 'membership closes a cycle: a → a'],
    [
      `tenant: t\nroles:\n${Array.from({ length: 1_002 }, (_, n) => `  - { id: r${n}, members: ["role:r${n + 1}"] }\n`).join('')}  - { id: r1002 }\n`,
      'role `r1001` reaches 1001 groups, 1000 are allowed: nest fewer',
    ],
    [
      'tenant: t\nroles: [{ id: owner, level: 50 }]',
      '`owner` is a system role and cannot be edited',
    ],
    ['tenant: t\ngrants: [{ principal: x, path: a, actions: [read] }]', 'unknown principal `x`'],
    [
      'tenant: t\nusers: [{ id: x }]\nworkspaces: [{ id: x }]\ngrants: [{ principal: x, path: a, actions: [read] }]',
      '`x` may mean user:x or workspace:x: write which',
    ],
    [
      'tenant: t\nusers: [{ id: x }]\ngrants: [{ principal: x, path: a..b, actions: [read] }]',
      '`"a..b"` has an empty label',
    ],
    [
      'tenant: t\nusers: [{ id: x }]\ngrants: [{ principal: x, path: a, actions: [] }]',
      'is too small: at least 1',
    ],
    [
      'tenant: t\nusers: [{ id: x }]\ngrants:\n  - { principal: x, path: a, actions: [read] }\n  - { principal: user:x, path: a, actions: [write] }',
      "file.yaml:5:5: grants[1]: `user:x` on 'a' is granted by the same grantor in grants[0]",
    ],
    [
      'tenant: t\nusers: [{ id: x }, { id: y }]\nowners: [{ path: a, owner: x }, { path: a, owner: y }]',
      "'a' is owned by `x` already",
    ],
    [
      'tenant: t\nroles: [{ id: r }]\nowners: [{ path: a, owner: role:r }]',
      'unknown principal `role:r`: list it under users',
    ],
    [
      'tenant: t\nkeys: [{ id: k, role: default_deny, mode: enforce, policy_sets: [nope] }]',
      'unknown policy set `nope`',
    ],
    [
      'tenant: t\nkeys: [{ id: k, role: deny, mode: enforce }]',
      'is not one of default_allow, default_deny',
    ],
    [
      'tenant: t\nkeys: [{ id: k, role: default_deny, mode: enforce, user: nope }]',
      'unknown principal `user:nope`',
    ],
    [
      'tenant: t\nusers: [{ id: x, deleted: true }]\nowners: [{ path: a, owner: x }]',
      'user `x` is deleted: it can hold nothing',
    ],
    [
      'tenant: t\npolicy_sets: [{ name: s, mode: enforce, rules: [{ id: r, effect: deny, actions: [nope.nope] }] }]',
      'policy_sets[0].rules[0].actions[0]: unknown action nope.nope',
    ],
    ['tenant: "a\\u0000b"', 'holds a control character'],
    ['tenant: " a"', 'has white space at an end'],
    ['tenant: t\nusers: alice', 'users: `"alice"` is not a list'],
    ['[]', '`[]` is not a map'],
  ])('%j', (text, ...expected) => {
    const problems = problemsOf(() => load(text)).join('\n');
    expect(problems).toContain(expected.at(-1));
  });
});

describe('YAML itself', () => {
  it.each([
    ['a: 1\na: 2', 'file.yaml:2:1', 'the key stands twice in one map: keep one'],
    ['a: [1', 'file.yaml:1', 'a bracket is not closed'],
    ['a: !!binary x\nb: *nope', 'file.yaml:2:4', 'no anchor `&nope`'],
    ['? [1, 2]\n: x', 'file.yaml:1', 'a key is not a string'],
  ])('%j', (text, place, expected) => {
    const problems = problemsOf(() => parseSource('file.yaml', text)).join('\n');
    expect(problems).toContain(place);
    expect(problems).toContain(expected);
  });

  it('refuses aliases that multiply', () => {
    const levels = Array.from(
      { length: 12 },
      (_, i) =>
        `a${i}: &a${i} [${Array(10)
          .fill(i === 0 ? 'x' : `*a${i - 1}`)
          .join(', ')}]`,
    );
    const problems = problemsOf(() => parseSource('file.yaml', levels.join('\n')));
    expect(problems.join()).toContain('expands to too much by its aliases');
  });

  it('names a file that is not there, or not UTF-8', () => {
    expect(problemsOf(() => readSource('/nonexistent/x.yaml')).join()).toContain('cannot be read');
  });
});

describe('any document', () => {
  const loaders: Record<string, (text: string) => unknown> = {
    catalog: (text) => parseCatalog(source(text)),
    roles: (text) => parseDefaultRoles(source(text)),
    'policy set': (text) => parsePolicySet(source(text), catalog),
    state: (text) => toFacts(parseState(source(text), catalog), []),
    'policy test': (text) => parsePolicyTest(source(text)),
  };
  const keys = [
    'tenant',
    'users',
    'roles',
    'actions',
    'policy_set',
    'name',
    'id',
    'rules',
    'tests',
    'mode',
    'grants',
    'keys',
    '__proto__',
    'attributes',
    'effect',
    'permissions',
    'level',
    'path',
    'state',
    'request',
    'expect',
  ];
  const value = fc.letrec<{ any: unknown }>((tie) => ({
    any: fc.oneof(
      { maxDepth: 4 },
      fc.oneof(
        fc.constantFrom<unknown>(null, true, 0, -1, 1e300, 'allow', 'deny', 'enforce', '', 'x'),
        fc.string(),
        fc.double(),
      ),
      fc.array(tie('any'), { maxLength: 4 }),
      fc.dictionary(fc.oneof(fc.constantFrom(...keys), fc.string({ maxLength: 5 })), tie('any'), {
        maxKeys: 6,
      }),
    ),
  })).any;

  it.each(Object.keys(loaders))('%s: random JSON is accepted or refused with places', (name) => {
    const load = loaders[name];
    fc.assert(
      fc.property(value, (document) => {
        for (const problem of problemsOf(() => load?.(stringify(document) || '{}')))
          expect(problem).toMatch(/^file\.yaml:\d+:\d+: ./);
      }),
      { numRuns: 1_000 },
    );
  });

  it.each(Object.keys(loaders))('%s: random bytes are accepted or refused with places', (name) => {
    const load = loaders[name];
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => {
        for (const problem of problemsOf(() => load?.(text)))
          expect(problem).toMatch(/^file\.yaml:\d+:\d+: ./);
      }),
      { numRuns: 1_000 },
    );
  });
});
