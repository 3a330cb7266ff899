/**
 * Records and feed entries that this version cannot read, or that are not what they say (CONS-6): never believed, never
 * an end for the tenant, and over when they are.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checked } from '../../src/store/format/checked.ts';
import type { FeedEntry } from '../../src/store/store.ts';
import { ask, settled } from '../support/asking.ts';
import {
  failing,
  openMemoryStore,
  type FailingStore,
  type MemoryStore,
} from '../support/memory-store.ts';
import { key, openRoom, policySet, put, role, user, type TestRoom } from '../support/records.ts';

let memory: MemoryStore;
let store: FailingStore;
let room: TestRoom;

const HEARTBEAT_MS = 50;

beforeEach(async () => {
  memory = openMemoryStore();
  store = failing(checked(memory));
  room = openRoom(store, { heartbeatMs: HEARTBEAT_MS });
  await put(
    memory,
    't',
    role('reader', ['doc:read']),
    role('other', []),
    policySet('open', 'allow', ['doc:read']),
    user('alice', { roles: ['reader'] }),
    user('root', { superuser: true }),
    user('bob'),
    key('k', { role: 'default_allow' }),
    key('set', { policySets: ['open'] }),
  );
});
afterEach(() => room.close());

const notice = async (): Promise<void> => {
  store.hint();
  await settled();
};

/** Writes what no version of ours would have written. */
function forge(
  kind: 'user' | 'role' | 'key' | 'policy_set',
  id: string,
  edit: (record: Record<string, unknown>) => unknown,
): void {
  const image = memory.image();
  const records = image.get('t')?.facts.get(kind);
  const before = JSON.parse(records?.get(id) ?? '{}') as Record<string, unknown>;
  records?.set(id, JSON.stringify(edit(before)));
  memory.restore(image);
}

function forgeEntry(edit: (entry: FeedEntry) => FeedEntry): void {
  const image = memory.image();
  const feed = image.get('t')?.feed;
  const last = feed?.pop();
  if (last !== undefined) feed?.push(edit(last));
  memory.restore(image);
}

const broken: readonly (readonly [string, Record<string, unknown>])[] = [
  ['superuser: "no"', { superuser: 'no' }],
  ['superuser: 1', { superuser: 1 }],
  ['deleted: 0', { deleted: 0 }],
  ['suspended: null', { suspended: null }],
  ['roles as a text', { roles: 'reader' }],
  ['roles as an object', { roles: { 0: 'reader' } }],
  ['a role that is no text', { roles: [['reader']] }],
  ['grants as an object', { grants: {} }],
  ['a grant without a path', { grants: [{ actions: ['read'], grantor: '', grantOption: false }] }],
  [
    'a grant of an unknown action',
    { grants: [{ path: '', actions: ['own'], grantor: '', grantOption: false }] },
  ],
  ['an unknown type', { type: 'root' }],
  ["another user's id", { id: 'bob' }],
  ['an id that is no text', { id: 7 }],
  ['metadata as a list', { metadata: [] }],
  ['sessions as a text', { sessions: 'all' }],
];

describe('a user', () => {
  it.each(broken)('with %s is denied, and others are not', async (_, fields) => {
    forge('user', 'root', (record) => ({ ...record, ...fields }));
    expect(await ask(room, { user: 'root' })).toBe('SUBJECT_INACTIVE@1');
    expect(await ask(room, { user: 'alice' })).toBe('ALLOWED@1');
    expect(String(room.errors[0])).toContain('the user `root` of tenant `t`');
  });

  it.each([null, [], 'root', 7, true])('that is %j is denied', async (value) => {
    forge('user', 'root', () => value);
    expect(await ask(room, { user: 'root' })).toBe('SUBJECT_INACTIVE@1');
  });

  it('is believed again when it is mended, without a commit', async () => {
    forge('user', 'root', (record) => ({ ...record, superuser: 'no' }));
    expect(await ask(room, { user: 'root' })).toBe('SUBJECT_INACTIVE@1');
    forge('user', 'root', (record) => ({ ...record, superuser: true }));
    await expect.poll(() => ask(room, { user: 'root' })).toBe('ALLOWED@1');
  });

  it('that cannot be read is in no snapshot', async () => {
    forge('user', 'root', (record) => ({ ...record, superuser: 'no' }));
    await ask(room, { user: 'root' });
    await ask(room, { user: 'alice' });
    const [kept] = room.snapshot();
    expect([...(kept?.users ?? [])].map(([id]) => id)).toEqual(['alice']);
  });
});

describe('a key', () => {
  it.each([
    ['another base role', { role: 'allow' }],
    ['a mode of another version', { mode: 'enforced' }],
    ["another key's id", { id: 'set' }],
    ['sets as a text', { policySets: 'open' }],
    ['an end that is no number', { expiresAt: '2099-01-01' }],
    ['revoked: "true"', { revoked: 'true' }],
    ['a limit that is none', { rateLimit: { requests: '5', seconds: 1 } }],
  ])('with %s is no key', async (_, fields) => {
    forge('key', 'k', (record) => ({ ...record, ...fields }));
    expect(await ask(room, { key: 'k' })).toBe('KEY_INVALID@1');
    expect(await ask(room, { key: 'set' })).toBe('ALLOWED@1');
  });
});

describe('a role or a policy set', () => {
  it.each([
    ['permissions as a text', { permissions: '*:*' }],
    ['a level that is a text', { level: '100' }],
    ['no closure', { closure: undefined }],
    ["another role's id", { id: 'other' }],
  ])('a role with %s gives nothing, and its tenant goes on', async (_, fields) => {
    forge('role', 'reader', (record) => ({ ...record, ...fields }));
    expect(await ask(room, { user: 'alice' })).toBe('NO_GRANT@1');
    expect(await ask(room, { user: 'root' })).toBe('ALLOWED@1');
  });

  it('a role that is changed into one is given up, and believed again when it is mended', async () => {
    expect(await ask(room, { user: 'alice' })).toBe('ALLOWED@1');
    await put(memory, 't', role('reader', ['doc:read'], { level: 'high' as unknown as number }));
    await notice();
    expect(await ask(room, { user: 'alice' })).toBe('NO_GRANT@2');
    expect(await ask(room, { user: 'root' })).toBe('ALLOWED@2');
    // Mended by hand: no feed tells of it.
    forge('role', 'reader', (record) => ({ ...record, level: 10 }));
    await expect.poll(() => ask(room, { user: 'alice' })).toBe('ALLOWED@2');
  });

  it.each([
    ['an unknown effect', { rules: [{ id: 'r', effect: 'Allow', actions: ['doc:read'] }] }],
    [
      'empty attributes',
      { rules: [{ id: 'r', effect: 'allow', actions: ['doc:read'], attributes: [] }] },
    ],
    ['rules as an object', { rules: {} }],
    ['another name', { name: 'shut' }],
    ['an unknown mode', { mode: 'on' }],
  ])('a set with %s shuts the key that it hangs on', async (_, fields) => {
    forge('policy_set', 'open', (record) => ({ ...record, ...fields }));
    expect(await ask(room, { key: 'set' })).toBe('KEY_INVALID@1');
    expect(await ask(room, { key: 'k' })).toBe('ALLOWED@1');
  });
});

describe('a feed entry', () => {
  it('that cannot be read breaks the plane, which is read again', async () => {
    expect(await ask(room, { user: 'alice' })).toBe('ALLOWED@1');
    await put(memory, 't', role('reader', []));
    forgeEntry((entry) => ({ ...entry, keys: undefined, unreadable: 'kind 99' }));
    await notice();
    expect(await ask(room, { user: 'alice' })).toBe('NO_GRANT@2');
    expect(room.resyncCauses).toEqual(['t: unreadable']);
    await put(memory, 't', role('reader', ['doc:read']));
    await notice();
    expect(await ask(room, { user: 'alice' })).toBe('ALLOWED@3');
    expect(room.lost).toEqual([]);
  });

  it('above the head is no commit, and stops nobody', async () => {
    expect(await ask(room, { user: 'alice' })).toBe('ALLOWED@1');
    const image = memory.image();
    const feed = image.get('t')?.feed;
    const [first] = feed ?? [];
    if (first !== undefined)
      feed?.push({ ...first, revision: 2, nonce: 'ghost', previous: first.nonce });
    memory.restore(image);
    await notice();
    expect(await ask(room, { user: 'alice' })).toBe('ALLOWED@1');
    const late = openRoom(store);
    expect(await ask(late, { user: 'alice' })).toBe('ALLOWED@1');
    late.close();
  });

  it('that needs a newer version makes its tenant UNAVAILABLE (VERSION), and that is over when it is', async () => {
    await put(memory, 'u', user('root', { superuser: true }));
    expect(await ask(room, { user: 'alice' })).toBe('ALLOWED@1');
    await put(memory, 't', user('bob'));
    forgeEntry((entry) => ({ ...entry, needs: 2, keys: undefined, unreadable: 'version 2' }));
    await notice();
    const late = openRoom(store, { heartbeatMs: HEARTBEAT_MS });
    await late.warmUp();
    for (const one of [room, late]) {
      for (const user of ['alice', 'root', 'nobody'])
        expect(await ask(one, { user })).toBe('VERSION');
      expect(await ask(one, { tenant: 'u', user: 'root' })).toBe('ALLOWED@1');
    }
    forgeEntry(({ needs: _needs, unreadable: _unreadable, ...entry }) => ({ ...entry, keys: [] }));
    for (const one of [room, late])
      await expect.poll(() => ask(one, { user: 'alice' })).toBe('ALLOWED@2');
    late.close();
  });
});
