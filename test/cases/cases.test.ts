/** Every policy test file beside this one, on the engine. The files are the readable form of semantics.md. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseCatalog } from '../../src/config/catalog.ts';
import { readSource } from '../../src/config/document.ts';
import { parseDefaultRoles } from '../../src/config/roles.ts';
import { loadSuite, runSuite } from '../../src/offline/policy-tests.ts';

const CONFIG = join(import.meta.dirname, '../../config');

/** The rules of semantics.md, sections 2 to 6. */
const RULES = [
  ...numbered('ID', 3),
  ...numbered('PATH', 2),
  ...numbered('ACT', 5),
  ...numbered('RBAC', 4),
  ...numbered('TREE', 5),
  ...numbered('ACL', 4),
  ...numbered('ABAC', 9),
  ...numbered('COMB', 6),
  ...numbered('FILT', 4),
];

/** Rules that no case file can show, and why. */
const NOT_SHOWN: Readonly<Record<string, string>> = {
  'ID-2': 'two users that differ only in case are refused as facts, so that no state holds them',
  'COMB-5': 'no state or request makes a layer fail',
};

const catalog = parseCatalog(readSource(join(CONFIG, 'actions.yaml')));
const defaults = parseDefaultRoles(readSource(join(CONFIG, 'roles.yaml')));
const suites = readdirSync(import.meta.dirname)
  .filter((name) => name.endsWith('_test.yaml'))
  .sort()
  .map((name) => loadSuite(readSource(join(import.meta.dirname, name)), catalog, defaults));

describe('policy tests', () => {
  for (const { suite, name, failures } of suites.flatMap((suite) => runSuite(suite, { now: 0 })))
    it(`${suite}: ${name}`, () => {
      expect(failures).toEqual([]);
    });
});

describe('the case files', () => {
  const cited = new Set(
    suites.flatMap(({ file }) => [
      ...(file.rules ?? []),
      ...file.tests.flatMap((test) => test.rules ?? []),
    ]),
  );

  it('cite every rule that they can show', () => {
    expect(RULES.filter((rule) => !cited.has(rule) && !(rule in NOT_SHOWN))).toEqual([]);
  });

  it('cite no other rule', () => {
    expect([...cited].filter((rule) => !RULES.includes(rule) || rule in NOT_SHOWN)).toEqual([]);
  });

  it('have titles of their own', () => {
    const titles = suites.flatMap(({ file }) =>
      file.tests.map((test) => `${file.name}: ${test.name}`),
    );
    expect(titles.filter((title, index) => titles.indexOf(title) !== index)).toEqual([]);
  });
});

function numbered(group: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${group}-${index + 1}`);
}
