/** One reading of a key (resolve-key.ts): facts of files, of a store, and replays agree on when it is none. */
import { describe, expect, it } from 'vitest';
import { toFacts } from '../../src/admin/state/to-facts.ts';
import { parseCatalog } from '../../src/config/catalog.ts';
import { parseSource } from '../../src/config/document.ts';
import { compileCatalog } from '../../src/engine/action.ts';
import { decide } from '../../src/engine/decide.ts';
import { askingWith, hasExpired, usableKey } from '../../src/engine/resolve-key.ts';
import { staticFacts } from '../../src/offline/static-facts.ts';
import { loadSuite, runSuite } from '../../src/offline/policy-tests.ts';
import { openMemoryStore } from '../support/memory-store.ts';
import { key, openRoom, policySet, put } from '../support/records.ts';

const END = Date.parse('2030-01-01T00:00:00Z');
const request = {
  tenant: 't',
  subject: undefined,
  keyId: 'k',
  action: 'doc:read',
  resource: { type: '', id: '', path: undefined, attributes: new Map(), sources: [] },
};

const TIMES: readonly (readonly [string, number, boolean])[] = [
  ['long before', 0, true],
  ['just before', END - 1, true],
  ['at that instant', END, false],
  ['later', END + 1, false],
];

describe('a key that expires', () => {
  it.each(TIMES)('%s: %d is allowed: %s, from files', (_, now, isAllowed) => {
    const built = toFacts(
      {
        tenant: 't',
        keys: [
          { id: 'k', role: 'default_allow', mode: 'enforce', expires_at: '2030-01-01T00:00:00Z' },
        ],
      },
      [],
    );
    if ('findings' in built) throw new Error(JSON.stringify(built.findings));
    const facts = staticFacts('t', built.facts, compileCatalog({ actions: [] }));
    const { allowed, reason } = decide(request, facts.resolve(request, now));
    expect({ allowed, reason }).toEqual(
      isAllowed ? { allowed: true, reason: 'ALLOWED' } : { allowed: false, reason: 'KEY_INVALID' },
    );
  });

  it.each(TIMES)('%s: %d is allowed: %s, by a policy test', (_, now, isAllowed) => {
    const text = (named: string): string => `
name: s
${named}
state:
  tenant: t
  keys: [{ id: k, role: default_allow, mode: enforce, expires_at: '2030-01-01T00:00:00Z' }]
tests:
  - { name: check, request: { key: k, action: 'doc:read' }, expect: { allowed: ${isAllowed} } }
  - { name: filter, filter: { key: k, action: 'doc:read', objects: [{ id: o }] }, expect: { allowed_ids: [${isAllowed ? 'o' : ''}] } }
`;
    const run = (named: string, present: number): readonly (readonly string[])[] => {
      const catalog = parseCatalog(parseSource('a', 'actions: []\nresource_types: {}\n'));
      const suite = loadSuite(parseSource('s_test.yaml', text(named)), catalog, []);
      return runSuite(suite, { now: present }).map(({ failures }) => failures);
    };
    expect(run('', now)).toEqual([[], []]);
    expect(run(`now: '${new Date(now).toISOString()}'`, END + 5)).toEqual([[], []]);
  });

  it('a time that is not a number has passed', () => {
    expect(hasExpired({ ...key('k').value, expiresAt: NaN }, 0)).toBe(true);
    expect(hasExpired({ ...key('k').value, expiresAt: END }, NaN)).toBe(true);
  });

  it('the facts of a store ask the clock alike', async () => {
    const store = openMemoryStore();
    await put(
      store,
      't',
      { kind: 'tenant', id: '', value: { id: 't' } },
      key('k', { role: 'default_allow', expiresAt: END }),
    );
    for (const [, now, isAllowed] of TIMES) {
      const room = openRoom(store, { wallNow: () => now });
      const loaded = await room.resolve(request, 0, 1_000);
      if (!('facts' in loaded)) throw new Error('no facts');
      expect(decide(request, loaded.facts).allowed).toBe(isAllowed);
      room.close();
    }
  });
});

describe('a key', () => {
  it('that is unknown, revoked or without a set of its own is none', () => {
    const none = (): undefined => undefined;
    expect(usableKey(undefined, none)).toBeUndefined();
    expect(usableKey({ ...key('k').value, revoked: true }, none)).toBeUndefined();
    expect(usableKey({ ...key('k').value, policySets: ['gone'] }, none)).toBe('lost_set');
    const { value: set } = policySet('here', 'allow', ['doc:read']);
    const usable = usableKey({ ...key('k').value, policySets: ['here'] }, () => set);
    expect(usable).toMatchObject({ sets: [set] });
  });

  it('that is bound to a user asks for that user alone', () => {
    const bound = usableKey({ ...key('k').value, policySets: [], user: 'u' }, () => undefined);
    if (bound === undefined || bound === 'lost_set') throw new Error('no key');
    const at = (): number => 0;
    expect(askingWith(bound, undefined, at)).toEqual({ type: 'user', id: 'u' });
    expect(askingWith(bound, { type: 'user', id: 'u' }, at)).toEqual({ type: 'user', id: 'u' });
    expect(askingWith(bound, { type: 'user', id: 'v' }, at)).toBe('invalid');
    expect(askingWith(bound, { type: 'role', id: 'u' }, at)).toBe('invalid');
    expect(askingWith(undefined, undefined, at)).toBe('invalid');
  });
});
