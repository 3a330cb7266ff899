/**
 * What stands in a real store and none of ours wrote (CONS-6): each record and entry is looked at on its own, carries the
 * version of a reader that it needs, and stops nobody for good.
 */
import { open, type Database, type Key } from 'lmdb';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { openEmbeddedStore } from '../../src/store/embedded/store.ts';
import { checked } from '../../src/store/format/checked.ts';
import { openRedisStore, REDIS_DEFAULTS } from '../../src/store/redis/store.ts';
import { keysOf } from '../../src/store/redis/keys.ts';
import { VersionError, type FactKey, type Store } from '../../src/store/store.ts';
import { ask } from '../support/asking.ts';
import { startRedis, type RedisServer } from '../support/redis-server.ts';
import { openRoom, put, role, user, type TestRoom } from '../support/records.ts';
import { temporaryDirectory } from '../support/temporary.ts';

/** A store, and a way to write behind its back. */
interface Rig {
  readonly store: Store;
  record(key: FactKey, value: unknown, needs?: number): Promise<void>;
  text(key: FactKey, text: string): Promise<void>;
  /** The entry of the newest commit, written anew. @param edit of what it says beside its chain */
  entry(edit: {
    readonly keys?: unknown;
    readonly event?: unknown;
    readonly needs?: number | string;
  }): Promise<void>;
  head(text: string): Promise<void>;
  end(): Promise<void>;
}

const T = 't';
let server: RedisServer;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.dispose());

let prefixes = 0;
async function onRedis(): Promise<Rig> {
  const keyPrefix = `format-${prefixes++}`;
  const keys = keysOf(keyPrefix, REDIS_DEFAULTS.shards);
  const store = openRedisStore({
    ...REDIS_DEFAULTS,
    keyPrefix,
    address: server.url,
    onProblem: () => {},
  });
  const text = async ({ kind, id }: FactKey, value: string): Promise<void> => {
    await server.command('HSET', keys.records(T, kind), id, value);
    await server.command('ZADD', keys.index(T, kind), 0, id);
  };
  return {
    store: checked(store),
    text,
    record: (key, value, needs) =>
      text(key, `${needs === undefined ? '' : `${needs}:`}${JSON.stringify(value)}`),
    async entry({ keys: named = [], event = { actor: 'x', operation: 'y' }, needs }) {
      const [[id, fields]] = (await server.command(
        'XREVRANGE',
        keys.feed(T),
        '+',
        '-',
        'COUNT',
        1,
      )) as [[string, string[]]];
      const chain = fields.slice(0, 4);
      const version = needs === undefined ? [] : ['v', String(needs)];
      const body = JSON.stringify({ keys: named, event, time: 1 });
      await server.command('DEL', keys.feed(T));
      await server.command('XADD', keys.feed(T), id, ...chain, 'e', body, ...version);
    },
    head: async (value) => void (await server.command('SET', keys.head(T), value)),
    end: () => store.close(),
  };
}

async function onLmdb(): Promise<Rig> {
  const directory = temporaryDirectory();
  const store = openEmbeddedStore(directory);
  const root = open({
    path: join(directory, 'postern.mdb'),
    noSubdir: true,
    maxDbs: 4,
    mapSize: 2 ** 36,
  });
  const db = (name: string): Database<string> =>
    root.openDB<string, Key>({ name, encoding: 'string' });
  const text = async ({ kind, id }: FactKey, value: string): Promise<void> =>
    void (await db('facts').put([T, kind, id], value));
  return {
    store: checked(store),
    text,
    record: (key, value, needs) => text(key, JSON.stringify({ id: key.id, value, needs })),
    async entry({ keys = [], event = { actor: 'x', operation: 'y' }, needs }) {
      const { revision } = JSON.parse(db('heads').get(T) ?? '') as { revision: number };
      const old = JSON.parse(db('feed').get([T, revision]) ?? '') as object;
      await db('feed').put([T, revision], JSON.stringify({ ...old, keys, event, needs }));
    },
    head: async (value) => void (await db('heads').put(T, value)),
    async end() {
      await root.close();
      await store.close();
    },
  };
}

describe.each([
  ['Redis', onRedis, [99, 'x'], 'x'],
  ['LMDB', onLmdb, { kind: 'spell', id: 'x' }, { kind: 'user' }],
] as const)('%s', (_name, make, unknownKind, noKey) => {
  let rig: Rig;
  const rooms: TestRoom[] = [];
  const room = (): TestRoom => {
    const one = openRoom(rig.store, { heartbeatMs: 50 });
    rooms.push(one);
    return one;
  };
  const begin = async (): Promise<TestRoom> => {
    rig = await make();
    await put(
      rig.store,
      T,
      role('reader', ['doc:read']),
      user('root', { superuser: true }),
      user('alice', { roles: ['reader'] }),
    );
    const one = room();
    expect(await ask(one, { user: 'alice' })).toBe('ALLOWED@1');
    return one;
  };
  afterEach(async () => {
    for (const one of rooms.splice(0)) one.close();
    await rig.end();
  });

  it('a record that is no JSON, no record, or another id is denied alone, by get and by scan', async () => {
    await begin();
    const key = (id: string): FactKey => ({ kind: 'user', id });
    await rig.text(key('text'), 'superuser');
    await rig.text(key('half'), '{"id":"half","type":"us');
    await rig.text(key('null'), 'null');
    await rig.text(key('list'), '["list","user",1]');
    await rig.record(key('other'), user('root', { superuser: true }).value);
    await rig.record(key('wrong'), { ...user('wrong').value, superuser: 'no' });
    await rig.record({ kind: 'role', id: 'odd' }, { ...role('odd', ['*:*']).value, level: '100' });
    const one = room();
    for (const id of ['text', 'half', 'null', 'list', 'other', 'wrong'])
      expect(await ask(one, { user: id }), id).toBe('SUBJECT_INACTIVE@1');
    for (const id of ['alice', 'root']) expect(await ask(one, { user: id })).toBe('ALLOWED@1');
    const scanned = Promise.resolve().then(() => rig.store.scan(T, 'role', undefined, 10));
    await expect(scanned).rejects.toThrow('the role `odd` in the store cannot be used');
    // A list of many is told as a whole, with the first that is wrong.
    const got = Promise.resolve().then(() => rig.store.get(T, [key('alice'), key('wrong')]));
    await expect(got).rejects.toThrow('superuser is no boolean');
  });

  it('a rate limit whose window has no length is none, and its key is denied', async () => {
    await begin();
    const limited = (seconds: number): object => ({
      id: 'k',
      role: 'default_allow',
      mode: 'enforce',
      policySets: [],
      rateLimit: { requests: 1, seconds },
    });
    for (const seconds of [0, -1]) {
      await rig.record({ kind: 'key', id: 'k' }, limited(seconds));
      expect(await ask(room(), { user: 'alice', key: 'k' }), `${seconds}`).toBe('KEY_INVALID@1');
    }
    await rig.record({ kind: 'key', id: 'k' }, limited(0.5));
    expect(await ask(room(), { user: 'alice', key: 'k' })).toBe('ALLOWED@1');
  });

  it('a record that needs a newer reader makes who asks for it UNAVAILABLE (VERSION), until it does not', async () => {
    const one = await begin();
    await rig.record({ kind: 'user', id: 'new' }, user('new', { superuser: true }).value, 2);
    expect(await ask(one, { user: 'new' })).toBe('VERSION');
    expect(await ask(one, { user: 'alice' })).toBe('ALLOWED@1');
    await rig.record({ kind: 'user', id: 'new' }, user('new', { superuser: true }).value, 1);
    await expect.poll(() => ask(one, { user: 'new' })).toBe('ALLOWED@1');
    // A record of the policies is every question's.
    await rig.record({ kind: 'role', id: 'new' }, { anything: true }, 7);
    const late = room();
    expect(await ask(late, { user: 'alice' })).toBe('VERSION');
    await rig.record({ kind: 'role', id: 'new' }, role('new', []).value);
    await expect.poll(() => ask(late, { user: 'alice' })).toBe('ALLOWED@1');
  });

  it.each([
    ['an unknown kind', { keys: [unknownKind] }],
    ['a key that is none', { keys: [noKey] }],
    ['keys as a text', { keys: 'all' }],
    ['an event that is none', { event: 'commit' }],
    ['a version that is none', { needs: 'two' }],
    ['version 0', { needs: 0 }],
  ])('an entry with %s breaks the plane, which is read again', async (_, edit) => {
    const one = await begin();
    await put(rig.store, T, role('reader', []));
    await rig.entry(edit);
    await expect.poll(() => ask(one, { user: 'alice' })).toBe('NO_GRANT@2');
    await put(rig.store, T, role('reader', ['doc:read']));
    await expect.poll(() => ask(one, { user: 'alice' })).toBe('ALLOWED@3');
    expect(one.lost).toEqual([]);
  });

  it('an entry of a newer version: UNAVAILABLE (VERSION), also after a restart; no commit; over when it is', async () => {
    // What follows the feed sees it with its commit; here it is written behind the back of all.
    (await begin()).close();
    await put(rig.store, T, user('x'));
    await rig.entry({ needs: 2, keys: [unknownKind] });
    const late = room();
    expect(await late.warmUp()).toEqual([T]);
    for (const who of ['alice', 'root', 'nobody'])
      expect(await ask(late, { user: who })).toBe('VERSION');
    await expect(put(rig.store, T, user('y'))).rejects.toBeInstanceOf(VersionError);
    await put(rig.store, 'another', user('root', { superuser: true }));
    expect(await ask(late, { tenant: 'another', user: 'root' })).toBe('ALLOWED@1');
    await rig.entry({ needs: 1 });
    await expect.poll(() => ask(late, { user: 'alice' })).toBe('ALLOWED@2');
    await put(rig.store, T, user('y'));
  });

  it('a head that is none stops its tenant alone, and only as long as it is', async () => {
    await begin();
    await put(rig.store, 'another', user('root', { superuser: true }));
    const one = room();
    await one.warmUp();
    const { head } = await rig.store.get(T, []);
    await rig.head('garbage');
    await expect.poll(() => ask(one, { tenant: T, user: 'new', waitMs: 100 })).toBe('UNAVAILABLE');
    expect(await ask(one, { tenant: 'another', user: 'root' })).toBe('ALLOWED@1');
    const late = room();
    expect([...(await late.warmUp())].sort()).toEqual(['another', T]);
    expect(await ask(late, { tenant: 'another', user: 'root' })).toBe('ALLOWED@1');
    // No number of a revision, or more than one name: on both stores in their own form.
    const bad =
      _name === 'Redis'
        ? [`0 ${head?.nonce}`, `9007199254740993 ${head?.nonce}`, '1 one two']
        : [`{"revision":0,"nonce":"${head?.nonce}"}`, `{"revision":9007199254740993,"nonce":"x"}`];
    for (const text of bad) {
      await rig.head(text);
      await expect(Promise.resolve().then(() => rig.store.get(T, []))).rejects.toThrow(
        'not one of ours',
      );
    }
    const good =
      _name === 'Redis' ? `${head?.revision} ${head?.nonce}` : JSON.stringify({ ...head });
    await rig.head(good);
    for (const asked of [one, late])
      await expect.poll(() => ask(asked, { user: 'alice' })).toBe('ALLOWED@1');
  });

  it('200,000 records in one commit are caught up with, and read at once', async () => {
    const one = await begin();
    const many = Array.from({ length: 200_000 }, (_, at) => ({
      kind: 'owner' as const,
      id: `m${at}`,
      value: { path: `m${at}`, owner: 'root' },
    }));
    await put(rig.store, T, role('reader', []));
    await rig.store.commit({
      tenant: T,
      expected: 2,
      changes: [role('reader', ['doc:read']), ...many],
      event: { actor: 'x', operation: 'y' },
    });
    await expect.poll(() => ask(one, { user: 'alice' }), { timeout: 10_000 }).toBe('ALLOWED@3');
    for (const count of [60_001, 200_000]) {
      const { head, values } = await rig.store.get(T, many.slice(0, count));
      expect(head?.revision).toBe(3);
      expect(values.findIndex((value, at) => (value as { path?: string }).path !== `m${at}`)).toBe(
        -1,
      );
      expect(values).toHaveLength(count);
    }
  }, 60_000);
});

it('more than 60,000 names in commits that each name theirs are caught up with', async () => {
  const rig = await onRedis();
  await put(rig.store, T, role('reader', ['doc:read']), user('alice', { roles: ['reader'] }));
  // No hint reaches it: it looks at its heartbeat, when all is there.
  const room = openRoom({ ...rig.store, watch: () => () => {} }, { heartbeatMs: 8_000 });
  expect(await ask(room, { user: 'alice' })).toBe('ALLOWED@1');
  for (let round = 0; round < 61; round++)
    await put(
      rig.store,
      T,
      ...Array.from({ length: 998 }, (_, at) => role(`r${round}-${at}`, [])),
      role('reader', round === 60 ? [] : ['doc:read']),
    );
  expect(await ask(room, { user: 'alice', minRevision: 62, waitMs: 30_000 })).toBe('NO_GRANT@62');
  expect(room.errors).toEqual([]);
  room.close();
  await rig.end();
}, 60_000);
