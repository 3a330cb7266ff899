/** What a catalog that is read again allows more; files that change while they are read, or were cut off. */
import { appendFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseCatalog } from '../../src/config/catalog.ts';
import { parseSource, readSource } from '../../src/config/document.ts';
import { readStable } from '../../src/config/stable.ts';
import { catalogWidening } from '../../src/config/widening.ts';
import { compileCatalog, type CatalogEntries } from '../../src/engine/action.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const more = (before: CatalogEntries, after: CatalogEntries): string[] =>
  catalogWidening(compileCatalog(before), compileCatalog(after));
const action = (fields: object = {}): CatalogEntries => ({
  actions: [{ name: 'a.b', permission: 'kb:read', ...fields }],
});
const types = (resource_types: CatalogEntries['resource_types']): CatalogEntries => ({
  actions: [],
  resource_types,
});

describe('what a catalog widens', () => {
  it.each<readonly [string, CatalogEntries, CatalogEntries]>([
    ['is new', { actions: [] }, action()],
    ['readonly is true', action(), action({ readonly: true })],
    ['readonly is false', action({ readonly: true }), action()],
    ['object_scoped', action(), action({ object_scoped: true })],
    ['min_level 50 became none', action({ min_level: 50 }), action()],
    ['min_level 50 became 20', action({ min_level: 50 }), action({ min_level: 20 })],
    ['permission kb:read became kb:write', action(), action({ permission: 'kb:write' })],
    ['permission none became kb:read', { actions: [{ name: 'a.b' }] }, action()],
    ['acl none became write', action(), action({ acl: 'write' })],
    ['acl write became read', action({ acl: 'write' }), action({ acl: 'read' })],
    ['tree action', action({ tree: 'delete' }), action({ tree: 'read' })],
    ['was removed: access tree became any(rbac', types({ memory: { access: 'tree' } }), types({})],
    [
      'access tree became any(tree, acl)',
      types({ memory: { access: 'tree' } }),
      types({ memory: { access: { any: ['tree', 'acl'] } } }),
    ],
    [
      'access all(rbac, acl) became acl',
      types({ memory: { access: { all: ['rbac', 'acl'] } } }),
      types({ memory: { access: 'acl' } }),
    ],
    ['is implied by admin', { actions: [] }, { actions: [], implies: { admin: ['read'] } }],
    // An action `resource:verb` that is left out is derived, without its level.
    ['min_level', { actions: [{ name: 'kb:read', min_level: 90 }] }, { actions: [] }],
  ])('%s', (told, before, after) => {
    expect(more(before, after).join('\n')).toContain(told);
  });

  it.each<readonly [string, CatalogEntries, CatalogEntries]>([
    [
      'nothing changes',
      action({ tree: 'read', acl: 'read' }),
      action({ tree: 'read', acl: 'read' }),
    ],
    ['an action is gone', action(), { actions: [] }],
    ['a higher level', action({ min_level: 10 }), action({ min_level: 20 })],
    ['no tree action', action({ tree: 'read' }), action()],
    ['a type asks for more', types({}), types({ memory: { access: { all: ['rbac', 'acl'] } } })],
    [
      'the same in other words',
      types({ memory: { access: { any: ['acl', 'rbac'] } } }),
      types({ memory: { access: { any: ['rbac', { any: ['acl', 'acl'] }] } } }),
    ],
    ['fewer verbs imply', { actions: [], implies: { admin: ['read'] } }, { actions: [] }],
  ])('nothing where %s', (_name, before, after) => {
    expect(more(before, after)).toEqual([]);
  });
});

describe('a file that is cut off', () => {
  it('ACT-1: a catalog without resource_types is refused, wherever it was cut', () => {
    const whole =
      'actions:\n  - { name: memory.get, permission: "memory:read" }\nresource_types:\n  memory: { access: tree }\n';
    const lines = whole.split('\n');
    for (let count = 0; count < 3; count++) {
      const text = lines
        .slice(0, count)
        .map((line) => `${line}\n`)
        .join('');
      expect(() => parseCatalog(parseSource('actions.yaml', text)), text).toThrow(
        /is missing|is not/,
      );
    }
    expect(() => parseCatalog(parseSource('a', `${lines.slice(0, 3).join('\n')}\n`))).toThrow(
      /is not a map/,
    );
    expect(parseCatalog(parseSource('a', 'actions: []\nresource_types: {}\n')).access.size).toBe(0);
  });

  it.each([
    ['a: 1\n...\n', true],
    ['a: 1\n...', true],
    ['...\n', true],
    ['a: 1\n... \n\n', true],
    ['a: 1\n', false],
    ['a: "..."\n', false],
    ['a: |\n  ...\n', false],
    ['', false],
  ])('%j has its end: %s', (text, ended) => {
    expect(parseSource('f', text).isEnded).toBe(ended);
  });
});

describe('a file that is written while it is read', () => {
  it('is taken once two reads agree, and is refused where they never do', async () => {
    const file = join(temporaryDirectory(), 'actions.yaml');
    writeFileSync(file, 'a: 1\n');
    expect(readStable(file).toString()).toBe('a: 1\n');
    expect(readSource(file).digest).toMatch(/^[0-9a-f]{64}$/);
    // A thread of its own writes on: the reader holds this one.
    const { Worker } = await import('node:worker_threads');
    const writer = new Worker(
      `const { appendFileSync } = require('node:fs'); const { workerData, parentPort } = require('node:worker_threads');
       const end = Date.now() + 3000; parentPort.postMessage('on');
       while (Date.now() < end) appendFileSync(workerData, 'b\\n');`,
      { eval: true, workerData: file },
    );
    await new Promise((done) => writer.once('message', done));
    expect(() => readStable(file)).toThrow(/changes while it is read/);
    await writer.terminate();
    appendFileSync(file, 'c\n');
    expect(readStable(file).toString()).toMatch(/c\n$/);
  });
});
