/** Directories as commands read them: links, loops, the layout of a ConfigMap, endings, bounds. */
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadMigrations } from '../../src/config/migration.ts';
import { ConfigError } from '../../src/config/problem.ts';
import { scanFiles } from '../../src/config/scan.ts';
import { postern } from '../support/process.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const SET =
  'policy_set: { name: p, mode: off, rules: [{ id: r, effect: deny, actions: [user.delete] }] }\n';

/** A directory of files by their names; `-> target` makes a link. */
function tree(files: Readonly<Record<string, string>>): string {
  const directory = temporaryDirectory();
  for (const [name, text] of Object.entries(files)) {
    const at = join(directory, name);
    mkdirSync(join(at, '..'), { recursive: true });
    if (text.startsWith('-> ')) symlinkSync(text.slice(3), at);
    else writeFileSync(at, text);
  }
  return directory;
}

const CONFIG_MAP = {
  '..2030_01_31_12_00_00.1/a.yaml': SET,
  '..2030_01_31_12_00_00.1/b_test.yaml':
    'name: b\nstate: { tenant: t }\ntests: [{ name: x, request: { subject: a, action: kb:read }, expect: { allowed: false } }]\n',
  '..data': '-> ..2030_01_31_12_00_00.1',
  'a.yaml': '-> ..data/a.yaml',
  'b_test.yaml': '-> ..data/b_test.yaml',
};

const found = (directory: string): readonly string[] =>
  scanFiles(directory).map((file) => relative(directory, file));

function problemOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  return '';
}

describe('a scan', () => {
  it('reads each file of a ConfigMap once, under its own name', () => {
    expect(found(tree(CONFIG_MAP))).toEqual(['a.yaml', 'b_test.yaml']);
  });

  it('takes .yaml, .yml and .json, and neither schemas nor what belongs to others', () => {
    const directory = tree({
      'a.yaml': '',
      'b.yml': '',
      'c.json': '',
      'd.txt': '',
      'e.schema.json': '',
      'deep/er/f.yaml': '',
      'node_modules/x/y.yaml': '',
      '.git/z.yaml': '',
      yaml: '',
    });
    expect(found(directory)).toEqual(['a.yaml', 'b.yml', 'c.json', 'deep/er/f.yaml']);
  });

  it('reads a file once that has several names, linked or hard', () => {
    const directory = tree({ 'a.yaml': '', 'b.yaml': '-> a.yaml', 'd/c.yaml': '-> ../a.yaml' });
    expect(found(directory)).toEqual(['a.yaml']);
    const twice = tree({ 'real/a.yaml': '', again: '-> real' });
    expect(found(twice)).toHaveLength(1);
  });

  it.each([
    [{ 'a.yaml': '', loop: '-> .' }, /loop:1:1: is a link to .*, which is above it: remove/],
    [{ 'd/e/back': '-> ../..', 'd/e/a.yaml': '' }, /back:1:1: is a link/],
    [{ 'x/up': '-> ../y', 'y/down': '-> ../x' }, /which is above it/],
    [
      { 'self.yaml': '-> self.yaml' },
      /self\.yaml:1:1: cannot be read: its symbolic links lead back/,
    ],
    [{ 'gone.yaml': '-> nowhere.yaml' }, /gone\.yaml:1:1: cannot be read: there is no such file/],
  ])('ends on %j with a sentence', (files, told) => {
    // What is written here has the names of the files alone.
    expect(problemOf(() => scanFiles(tree(files as unknown as Record<string, string>)))).toMatch(
      told,
    );
  });

  it('passes over a link that is no file of Postern and leads nowhere', () => {
    expect(found(tree({ 'a.yaml': '', notes: '-> nowhere', self: '-> self' }))).toEqual(['a.yaml']);
  });

  it('is bounded in depth', () => {
    const deep = tree({ [`${'d/'.repeat(20)}a.yaml`]: '' });
    expect(problemOf(() => scanFiles(deep))).toContain('is more than 16 directories deep');
  });

  it('of a file is the file, and of nothing a sentence', () => {
    const directory = tree({ 'a.txt': '' });
    expect(scanFiles(join(directory, 'a.txt'))).toEqual([join(directory, 'a.txt')]);
    expect(problemOf(() => scanFiles(join(directory, 'none')))).toContain('there is no such file');
  });
});

describe('commands', () => {
  it('validate and test see a ConfigMap once, and JSON too', async () => {
    const directory = tree({ ...CONFIG_MAP, 'c.json': JSON.stringify({ tenant: 't', users: [] }) });
    const validated = await postern(['validate', directory]);
    expect([validated.code, validated.stdout.split('\n').at(-2)]).toEqual([
      0,
      '3 file(s), 0 error(s), 0 warning(s)',
    ]);
    const tested = await postern(['test', directory]);
    expect([tested.code, tested.stdout]).toEqual([
      0,
      expect.stringContaining('1 passed, 0 failed'),
    ]);
  });

  it('tell a loop, and end', async () => {
    const ran = await postern(['validate', tree({ 'a.yaml': SET, loop: '-> .' })]);
    expect([ran.code, ran.stdout]).toEqual([2, '']);
    expect(ran.stderr).toMatch(
      /^\S+loop:1:1: is a link to `.*`, which is above it: remove the link\n$/,
    );
  });

  it('migrations are read from a ConfigMap, with every ending', () => {
    const steps = (name: string): object => ({
      migration: {
        description: 'x',
        steps: [{ grant_permissions: { roles: ['member'], permissions: [`${name}:read`] } }],
      },
    });
    const one = (name: string): string => JSON.stringify(steps(name));
    const directory = tree({
      '..1/0001-a.yaml': one('a'),
      '..data': '-> ..1',
      '0001-a.yaml': '-> ..data/0001-a.yaml',
      '0002-b.yml': one('b'),
      '0003-c.json': one('c'),
    });
    expect(loadMigrations(directory).map(({ name }) => name)).toEqual([
      '0001-a',
      '0002-b',
      '0003-c',
    ]);
  });
});
