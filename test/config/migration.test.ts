/** `migrations/NNNN-name.yaml`: what a file may say, what it may be called, and every error with its place. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, it } from 'vitest';
import { lintMigrations } from '../../src/admin/migrations/migration-lint.ts';
import { jsonSchema, kindOf } from '../../src/config/kinds.ts';
import { loadMigrations, parseMigration } from '../../src/config/migration.ts';
import { formatProblem } from '../../src/config/problem.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { problemsOf, source } from '../support/yaml.ts';

const FULL = `migration:
  description: all that there is
  steps:
    - { add_role: { id: auditor, level: 15, permissions: ['kb:read'], description: Looks, system: true } }
    - { grant_permissions: { roles: [owner, admin], permissions: ['kb:export'] } }
    - { revoke_permissions: { roles: [guest], permissions: ['conversation:read'] } }
    - { rename_permission: { from: 'kb:delete', to: 'kb:remove' } }
    - { set_level: { role: admin, level: 70 } }
    - { describe_role: { role: admin, description: Runs it } }
`;
const steps = (...lines: readonly string[]): string =>
  `migration:\n  description: x\n  steps:\n${lines.map((line) => `    - ${line}\n`).join('')}`;

describe('a file', () => {
  it('is a migration by its key, and an editor accepts what the loader does', () => {
    const { value } = source(FULL);
    expect(kindOf(value)).toBe('migration');
    const ajv = new Ajv2020({ strict: false, allErrors: true });
    const accept = ajv.compile(jsonSchema('migration') as object);
    expect(accept(value), JSON.stringify(accept.errors)).toBe(true);
    for (const bad of [
      steps('{}'),
      steps('{ set_level: { role: a, level: 1 }, describe_role: { role: a, description: b } }'),
      steps('{ set_level: { role: admin, level: 100 } }'),
      'migration: { description: x, steps: [] }',
    ])
      expect(accept(source(bad).value), bad).toBe(false);
  });

  it('is named as its file, and its steps are in order', () => {
    const { name, description, steps: said } = parseMigration(source(FULL, 'm/0007-all.yaml'));
    expect([name, description]).toEqual(['0007-all', 'all that there is']);
    expect(said.map(({ verb }) => verb)).toEqual([
      'add_role',
      'grant_permissions',
      'revoke_permissions',
      'rename_permission',
      'set_level',
      'describe_role',
    ]);
  });

  it.each([
    [
      steps('{ set_level: { role: admin, level: 100 } }'),
      'file.yaml:4:35: migration.steps[0].set_level.level: `100` is the level of the owner role alone: give a lower one',
    ],
    [
      steps('{ set_level: { role: admin, level: 101 } }'),
      'migration.steps[0].set_level.level: `101` is too large: at most 100',
    ],
    [
      steps('{ add_role: { id: boss, level: 100, permissions: [] } }'),
      'file.yaml:4:31: migration.steps[0].add_role.level: `100` is the level of the owner role, which a tenant has already: give a lower one',
    ],
    [
      steps('{ rename_permission: { from: "kb:*", to: "kb:x" } }'),
      'migration.steps[0].rename_permission.from: `"kb:*"` has a wildcard, which names no one permission: rename them one by one',
    ],
    [
      steps('{ rename_permission: { from: "kb:x", to: "kb:x" } }'),
      'file.yaml:4:44: migration.steps[0].rename_permission.to: `kb:x` is the old name: give another',
    ],
    [
      steps('{ grant_permission: { roles: [a], permissions: ["kb:x"] } }'),
      'file.yaml:4:9: migration.steps[0].grant_permission: unknown key `grant_permission`: did you mean `grant_permissions`?',
    ],
    [
      steps('{ grant_permissions: { roles: [a], permissions: [kb] } }'),
      'migration.steps[0].grant_permissions.permissions[0]: `"kb"` is not `resource:verb`: give one `:`, for example `kb:read`',
    ],
    [
      steps('{ grant_permissions: { roles: [], permissions: ["kb:x"] } }'),
      'migration.steps[0].grant_permissions.roles: `[]` is too small: at least 1',
    ],
    [
      steps('{}'),
      'file.yaml:4:7: migration.steps[0]: `{}` has nothing to do: a step is one of add_role, grant_permissions, revoke_permissions, rename_permission, set_level, describe_role',
    ],
    [
      steps('{ set_level: { role: a, level: 1 }, describe_role: { role: a, description: b } }'),
      'has several things to do: a step is one of add_role,',
    ],
    ['migration: { description: x, steps: [] }', 'migration.steps: `[]` is too small: at least 1'],
    ['migration: { steps: [] }', 'migration.description: is missing: give a string'],
    ['migration: 1', 'migration: `1` is not a map'],
  ])('%# is refused', (text, expected) => {
    expect(problemsOf(() => parseMigration(source(text))).join('\n')).toContain(expected);
  });

  it('a role below the owner, or one that tenants may edit, has any level', () => {
    const role = (level: number, system: boolean): string =>
      steps(`{ add_role: { id: a, level: ${level}, permissions: [], system: ${system} } }`);
    expect(problemsOf(() => parseMigration(source(role(99, true))))).toEqual([]);
    expect(problemsOf(() => parseMigration(source(role(100, false))))).toEqual([]);
  });
});

describe('a directory', () => {
  const directoryWith = (...names: readonly string[]): string => {
    const directory = temporaryDirectory();
    for (const name of names) writeFileSync(join(directory, name), FULL);
    return directory;
  };
  const problems = (directory: string): string[] =>
    problemsOf(() => loadMigrations(directory)).map((text) => text.replace(`${directory}/`, ''));

  it('that is not there, or is empty, has none', () => {
    expect(loadMigrations(join(temporaryDirectory(), 'none'))).toEqual([]);
    expect(loadMigrations(temporaryDirectory())).toEqual([]);
  });

  it('has them in the order of their numbers, gaps or not; a README and hidden files are none', () => {
    const directory = directoryWith(
      '0010-ten.yaml',
      '0002-two_and-a-half.yaml',
      '0000-first.yaml',
      'README.md',
      'README',
      '.0001-swap.yaml.swp',
    );
    mkdirSync(join(directory, '..data'));
    expect(loadMigrations(directory).map(({ name }) => name)).toEqual([
      '0000-first',
      '0002-two_and-a-half',
      '0010-ten',
    ]);
  });

  it.each([
    '1-short.yaml',
    '00001-long.yaml',
    '0001.yaml',
    '0001-Upper.yaml',
    '0001-x.yaml~',
    'notes.txt',
    '0001-x y.yaml',
  ])('%s is an error that names it', (name) => {
    expect(problems(directoryWith('0002-good.yaml', name))).toEqual([
      `${name}:1:1: \`${name}\` is not a valid migration name: rename it, for example to 0007-export.yaml, or move it elsewhere`,
    ]);
  });

  it('has each number once, and no directories', () => {
    const directory = directoryWith('0001-a.yaml', '0001-b.yaml');
    mkdirSync(join(directory, '0002-c.yaml'));
    expect(problems(directory)).toEqual([
      '0001-b.yaml:1:1: has the number of `0001-a.yaml`: give it another',
      '0002-c.yaml:1:1: is a directory: migrations stand side by side, move it',
    ]);
  });

  it('tells the errors of all files at once', () => {
    const directory = directoryWith('0001-good.yaml');
    writeFileSync(join(directory, '0002-bad.yaml'), 'migration: 1');
    writeFileSync(join(directory, '0003-bad.yaml'), 'tenant: acme');
    expect(problems(directory)).toEqual([
      '0002-bad.yaml:1:1: migration: `1` is not a map',
      expect.stringContaining('0003-bad.yaml:1:1: '),
      expect.stringContaining('0003-bad.yaml:1:1: tenant: unknown key `tenant`'),
    ]);
  });

  it('that is a file is refused', () => {
    const file = join(directoryWith('0001-a.yaml'), '0001-a.yaml');
    expect(problemsOf(() => loadMigrations(file)).join()).toContain(
      'cannot be read as the directory of migrations',
    );
  });
});

describe('default roles that are not what migrations make of older ones', () => {
  const roles = [
    { id: 'owner', level: 100, permissions: ['*:*'] },
    { id: 'admin', level: 80, permissions: ['kb:delete', 'kb:write'] },
  ];
  const lint = (...files: readonly string[]): string[] =>
    lintMigrations(
      files.map((text, at) => source(text, `000${at}-x.yaml`)),
      roles,
    ).map(formatProblem);

  it.each([
    ['{ grant_permissions: { roles: [owner, admin], permissions: ["kb:write"] } }', []],
    ['{ revoke_permissions: { roles: [admin], permissions: ["kb:read"] } }', []],
    ['{ set_level: { role: admin, level: 80 } }', []],
    ['{ describe_role: { role: admin, description: x } }', []],
    ['{ rename_permission: { from: "kb:old", to: "kb:write" } }', []],
    [
      '{ grant_permissions: { roles: [admin], permissions: ["kb:export"] } }',
      [
        '0000-x.yaml:4:9: migration.steps[0].grant_permissions: warning: the default role `admin` does not hold `kb:export`: a new tenant would differ, change it there too',
      ],
    ],
    [
      '{ revoke_permissions: { roles: [admin], permissions: ["kb:write"] } }',
      [expect.stringContaining('the default role `admin` still holds `kb:write`')],
    ],
    [
      '{ set_level: { role: admin, level: 70 } }',
      [expect.stringContaining('the default role `admin` has level 80, here 70')],
    ],
    [
      '{ rename_permission: { from: "kb:delete", to: "kb:remove" } }',
      [expect.stringContaining('`kb:delete`: a new tenant would differ, rename it there too')],
    ],
    [
      '{ add_role: { id: auditor, level: 15, permissions: ["kb:read"] } }',
      [
        expect.stringContaining(
          'the default roles have no `auditor`: a new tenant would lack it, add it to them',
        ),
      ],
    ],
  ])('%s', (step, warnings) => {
    expect(lint(steps(step))).toEqual(warnings);
  });

  it('the last word counts', () => {
    const grant = steps('{ grant_permissions: { roles: [admin], permissions: ["kb:x"] } }');
    expect(
      lint(grant, steps('{ revoke_permissions: { roles: [admin], permissions: ["kb:x"] } }')),
    ).toEqual([]);
    expect(lint(grant, steps('{ rename_permission: { from: "kb:x", to: "kb:write" } }'))).toEqual(
      [],
    );
    expect(lint(grant, 'migration: 1')).toHaveLength(1);
  });
});
