/** `postern completion`: the scripts as shells run them, and that they know what the help knows. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { postern } from '../support/process.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';

const COMMAND = join(PACKAGE_ROOT, 'dist/postern.js');
const NOUNS = 'user role workspace grant owner policy-set key session tenant changes audit'.split(
  ' ',
);

/** What bash offers for the last of these words. */
function complete(...words: readonly string[]): string[] {
  const script = `
    source <("$0" "$1" completion bash)
    shift
    COMP_WORDS=(postern "$@"); COMP_CWORD=$#
    _postern
    (( \${#COMPREPLY[@]} )) && printf '%s\\n' "\${COMPREPLY[@]}"
    complete -p postern >&2`;
  const ran = spawnSync('bash', ['--norc', '-c', script, process.execPath, COMMAND, ...words], {
    encoding: 'utf8',
    cwd: PACKAGE_ROOT,
  });
  expect(ran.stderr).toBe('complete -F _postern postern\n');
  return ran.stdout.split('\n').filter((line) => line !== '');
}

describe('in bash', () => {
  it.each([
    [['us'], ['user']],
    [['key', 'ro'], ['rotate']],
    [
      ['key', 'create', '--role', ''],
      ['default_allow', 'default_deny'],
    ],
    // `--role=` comes as two words.
    [['key', 'create', '--role', '=', 'default_d'], ['default_deny']],
    [
      ['key', 'create', '--role', '='],
      ['default_allow', 'default_deny'],
    ],
    [
      ['completion', ''],
      ['bash', 'zsh', 'fish'],
    ],
    // Options of the program, before the noun and after the verb.
    [
      ['--output', ''],
      ['table', 'json', 'yaml'],
    ],
    [['user', 'create', 'alice', '-o', 'j'], ['json']],
    [
      ['user', 'create', 'alice', '--to'],
      ['--token', '--token-file'],
    ],
    // Values are none of the nouns, and arguments none of the verbs.
    [['--tenant', 'user', 'role', 'rem'], ['remove-member']],
    [['--as', 'user', ':', 'alice', 'owner', 'g'], ['get']],
    [['user', 'delete', 'create', '--reass'], ['--reassign-to']],
    [['user', 'create', '--email', ''], []],
    [['policy-set', 'create', '-f', 'package.j'], ['package.json']],
    [['validate', 'package.j'], ['package.json']],
    [['grant', 'create', 'package.j'], []],
    [['audit', 'verify', '--file', 'package.j'], ['package.json']],
    [
      ['audit', 'tail', '--outcome', ''],
      ['allowed', 'denied'],
    ],
    [['policy-set', 'get', 'acme', '--v'], ['--version']],
    [['user', 'get', 'alice', '--v'], []],
  ])('%j becomes %j', (words, expected) => {
    expect(complete(...words)).toEqual(expected);
  });

  it('a star is a star', () => {
    expect(complete('user', '*')).toEqual([]);
  });

  it('knows all commands and options that the help knows', async () => {
    const program = (await postern(['--help'])).stdout;
    expect(complete('').toSorted()).toEqual(commandsIn(program).toSorted());
    expect(complete('')).toEqual(expect.arrayContaining(NOUNS));
    for (const noun of NOUNS) {
      const verbs = commandsIn((await postern([noun, '--help'])).stdout);
      expect(complete(noun, '')).toEqual(verbs);
      const verb = verbs[0] ?? '';
      const help = (await postern([noun, verb, '--help'])).stdout;
      // Those of the options, not of the examples.
      const options = [...help.matchAll(/^ {2}(?:-\w, )?(--[a-z-]+)/gm)].map(
        ([, name = '']) => name,
      );
      expect(options.length).toBeGreaterThan(5);
      expect(complete(noun, verb, '--').toSorted()).toEqual(options.toSorted());
    }
  });
});

/** The names in the first column of the help's lists of commands. */
function commandsIn(help: string): string[] {
  const lists = help.slice(help.indexOf('\nCommands:'));
  return [...lists.matchAll(/^ {2}([a-z-]+)[ \n]/gm)].map(([, name = '']) => name);
}

describe('in other shells', () => {
  const scripts = new Map<string, string>();
  beforeAll(async () => {
    for (const shell of ['zsh', 'fish']) {
      scripts.set(shell, (await postern(['completion', shell])).stdout);
    }
  });
  const isThere = (shell: string): boolean => spawnSync(shell, ['--version']).status === 0;

  it.each(['zsh', 'fish'].filter(isThere))('%s takes the script', (shell) => {
    const ran = spawnSync(shell, ['-n'], { input: scripts.get(shell), encoding: 'utf8' });
    expect(ran).toMatchObject({ status: 0, stderr: '' });
  });

  it('zsh is told verbs, options and choices', () => {
    const script = scripts.get('zsh');
    expect(script).toMatch(/^#compdef postern\n/);
    expect(script).toContain(`'rotate:create a new secret of a key, which is printed only once'`);
    expect(script).toContain(`'--overlap:time for which the old secret remains valid`);
    expect(script).toContain(`'key create:--role') compadd -- 'default_allow' 'default_deny' ;;`);
  });

  it('fish is told verbs, options and choices', () => {
    const script = scripts.get('fish');
    expect(script).toContain(`-n '__postern_at \\'key\\'' -f -a 'rotate' -d`);
    expect(script).toContain(
      `-n '__postern_at \\'key create\\'' -l role -x -a 'default_allow default_deny' -d`,
    );
    expect(script).toContain(`complete -c postern -l output -s o -x -a 'table json yaml' -d`);
  });

  it('no other shell is known', async () => {
    const ran = await postern(['completion', 'tcsh']);
    expect(ran.code).toBe(2);
    expect(ran.stderr).toContain('allowed are bash, zsh, fish');
  });
});
