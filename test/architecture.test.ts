/** The house keeps its plan: who may import whom, no circles, and an engine that sees nobody (architecture, layout). */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, it } from 'vitest';

const SRC = join(import.meta.dirname, '../src');

interface Import {
  readonly from: string;
  readonly to: string;
}

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((name) =>
  name.endsWith('.ts'),
);
const imports: Import[] = files.flatMap((from) =>
  [
    ...readFileSync(join(SRC, from), 'utf8').matchAll(
      /(?:^|\n)(?:import|export)\s+(?:[^'";]*?\sfrom\s)?'([^']+)'|import\('([^']+)'\)/g,
    ),
  ].map((match) => {
    const target = match[1] ?? match[2] ?? '';
    return {
      from,
      to: target.startsWith('.') ? normalize(join(dirname(from), target)) : target,
    };
  }),
);

/** A room is a folder of src. */
const roomOf = (file: string): string => file.split('/')[0] ?? '';

const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  util: [],
  engine: [],
  store: ['util', 'engine'],
  facts: ['util', 'engine', 'store'],
  audit: ['util', 'engine', 'store'],
  identity: ['util', 'engine', 'store'],
  config: ['util', 'engine', 'audit'],
  telemetry: ['util', 'engine', 'store', 'facts', 'audit'],
  admin: ['util', 'engine', 'store', 'config'],
  service: ['util', 'engine', 'facts', 'audit', 'identity'],
  management: ['util', 'engine', 'store', 'audit', 'identity', 'config', 'admin'],
  transport: ['util', 'engine', 'store', 'config', 'admin', 'service'],
  offline: [
    'util',
    'engine',
    'facts',
    'audit',
    'identity',
    'config',
    'admin',
    'service',
    'transport',
  ],
  server: [
    'util',
    'engine',
    'store',
    'facts',
    'audit',
    'identity',
    'config',
    'telemetry',
    'admin',
    'service',
    'management',
    'transport',
  ],
  cli: ['util', 'engine', 'store', 'audit', 'identity', 'config', 'admin', 'offline', 'server'],
};

describe('imports', () => {
  it('every room is on the plan', () => {
    expect([...new Set(files.map(roomOf))].sort()).toEqual(Object.keys(MAY_IMPORT).sort());
  });

  it('go in one direction, those of types too', () => {
    const wrong = imports.filter(({ from, to }) => {
      if (!to.endsWith('.ts') || roomOf(from) === roomOf(to)) return false;
      return MAY_IMPORT[roomOf(from)]?.includes(roomOf(to)) !== true;
    });
    expect(wrong).toEqual([]);
  });

  it('the plan has no row that nobody needs, and lists each room after those that it may import', () => {
    const rooms = Object.keys(MAY_IMPORT);
    for (const [room, imported] of Object.entries(MAY_IMPORT))
      for (const other of imported) {
        expect(rooms.indexOf(other), `${room} → ${other}`).toBeLessThan(rooms.indexOf(room));
        const isNeeded = imports.some(
          ({ from, to }) => roomOf(from) === room && roomOf(to) === other,
        );
        expect(isNeeded, `${room} → ${other}`).toBe(true);
      }
  });

  it('make no circle, those of types too', () => {
    const edges = new Map<string, string[]>();
    for (const { from, to } of imports)
      if (to.endsWith('.ts')) edges.set(from, [...(edges.get(from) ?? []), to]);
    const done = new Set<string>();
    const visit = (file: string, path: readonly string[]): void => {
      if (path.includes(file)) expect.fail(`circle: ${[...path, file].join(' → ')}`);
      if (done.has(file)) return;
      for (const next of edges.get(file) ?? []) visit(next, [...path, file]);
      done.add(file);
    };
    for (const file of files) visit(file, []);
    expect(done.size).toBe(files.length);
  });

  it('a proof that they were found', () => {
    expect(imports.length).toBeGreaterThan(150);
    expect(imports).toContainEqual({
      from: 'service/check.ts',
      to: 'engine/decide.ts',
    });
  });
});

describe('the engine', () => {
  const engine = files.filter((file) => roomOf(file) === 'engine');

  it('imports nothing outside itself', () => {
    const outside = imports.filter(
      ({ from, to }) => roomOf(from) === 'engine' && roomOf(to) !== 'engine',
    );
    expect(outside).toEqual([]);
  });

  it.each(engine)('%s has no I/O, no clock, no chance, no await and throws nothing', (file) => {
    const code = readFileSync(join(SRC, file), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '');
    expect(code).not.toMatch(
      /\b(async|await|Promise|throw|try|Date|performance|process|Buffer|setTimeout|console|fetch|require)\b|Math\.random|node:/,
    );
  });
});

describe('argv and exit codes', () => {
  it('are known to the command line alone', () => {
    const others = files.filter(
      (file) =>
        roomOf(file) !== 'cli' &&
        /process\.(argv|exit)\b/.test(readFileSync(join(SRC, file), 'utf8')),
    );
    expect(others).toEqual([]);
  });
});
