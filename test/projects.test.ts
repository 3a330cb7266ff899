/** Unit tests start nothing, and what starts nothing is a unit test. */
import { existsSync, globSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { PACKAGE_ROOT } from './support/package-root.ts';
import { UNIT } from './support/projects.ts';

/** Support that starts a process or a server, and the modules that can. */
const STARTS = [
  '@grpc/grpc-js',
  'test/support/child.ts',
  'test/support/postgres-server.ts',
  'test/support/process.ts',
  'test/support/redis-server.ts',
  'test/support/server.ts',
  ...['child_process', 'cluster', 'http', 'http2', 'https', 'net', 'tls'].map(
    (module) => `node:${module}`,
  ),
];

const tests = globSync('test/**/*.test.ts', { cwd: PACKAGE_ROOT });
const unit = new Set(globSync(UNIT, { cwd: PACKAGE_ROOT }));

/** Everything of `test/` that a file imports, by way of others too, and the packages they import; types do not count. */
function importsOf(file: string, seen = new Set<string>()): Set<string> {
  const source = readFileSync(join(PACKAGE_ROOT, file), 'utf8');
  const found = source.matchAll(
    /^(?:import|export)\s(?!type\s)(?:[^'";]*?\sfrom\s)?'([^']+)'|\bimport\('([^']+)'\)/gm,
  );
  for (const [, first, second] of found) {
    const target = first ?? second ?? '';
    const name = target.startsWith('.') ? join(dirname(file), target) : target;
    if (seen.has(name)) continue;
    seen.add(name);
    // An import within a text, such as a script that a child runs, is of another place.
    const isOurs = name.startsWith('test/') && name.endsWith('.ts');
    if (isOurs && existsSync(join(PACKAGE_ROOT, name))) importsOf(name, seen);
  }
  return seen;
}

function startsOf(file: string): readonly string[] {
  const imports = importsOf(file);
  return STARTS.filter((name) => imports.has(name));
}

describe('the unit project', () => {
  it.each([...unit])('%s starts no process and no server', (file) => {
    expect(startsOf(file)).toEqual([]);
  });

  it('takes every test that starts none', () => {
    const left = tests.filter((file) => !unit.has(file) && startsOf(file).length === 0);
    expect(left).toEqual([]);
  });

  it('is held against files and modules that exist', () => {
    for (const pattern of UNIT)
      expect(globSync(pattern, { cwd: PACKAGE_ROOT }), pattern).not.toEqual([]);
    expect(startsOf('test/cli/manage.test.ts')).toContain('test/support/process.ts');
    expect(startsOf('test/cli/manage.test.ts')).toContain('node:child_process');
    for (const name of STARTS) {
      if (name.startsWith('node:')) expect(builtinModules).toContain(name.slice('node:'.length));
      else if (name.startsWith('test/'))
        expect(() => readFileSync(join(PACKAGE_ROOT, name))).not.toThrow();
      else expect(existsSync(join(PACKAGE_ROOT, 'node_modules', name)), name).toBe(true);
    }
  });
});
