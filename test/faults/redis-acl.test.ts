/**
 * A Redis user with the least rights. Promise: Postern needs no more than is documented, the user can do nothing
 * else, and a right that is missing is told with the place that lists them, before anything is half done (CONS-5).
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { stringify } from 'yaml';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RedisOptions } from '../../src/store/redis/store.ts';
import { openUsage } from '../../src/identity/usage.ts';
import { UnusableStoreError, type Store } from '../../src/store/store.ts';
import { keepUsage } from '../../src/identity/usage-writer.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';
import { connectTo, type Answer } from '../support/server.ts';
import { serve } from '../support/process.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { ask } from '../support/asking.ts';
import { gone, key, NEVER_MS, put, role, user } from '../support/records.ts';
import { startCluster, startRedis, until, type RedisServer } from '../support/redis-server.ts';
import {
  COMFORT,
  COMMANDS,
  COMMANDS_OF_CLUSTER,
  COMMANDS_TO_READ,
  COMMANDS_TO_WAIT,
  rules,
} from './acl.ts';
import { endingWithEach, redisFor, roomFor, sleep, storeFor, type Cleanup } from './support.ts';

const PREFIX = 'authz';
const ending = endingWithEach();

let server: RedisServer;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.dispose());

let users = 0;
/** A user of its own, and the address that it opens. */
async function userWith(
  commands: readonly string[],
  at: RedisServer = server,
): Promise<{ readonly name: string; readonly url: string }> {
  const name = `postern-${users++}`;
  await at.command('ACL', 'SETUSER', name, 'reset', 'on', '>secret', ...rules(PREFIX, commands));
  return { name, url: at.url.replace('//', `//${name}:secret@`) };
}

function open(url: string, options: Partial<RedisOptions> = {}, end: Cleanup = ending): Store {
  return storeFor(end, url, { keyPrefix: PREFIX, connectTimeoutMs: 500, ...options });
}

/** All that an instance and a manager do. */
async function cycle(
  url: string,
  tenant: string,
  options: Partial<RedisOptions> = {},
): Promise<void> {
  const problems: string[] = [];
  const opened = (): Store =>
    open(url, { ...options, onProblem: (problem) => void problems.push(problem) });
  const writer = opened();
  const store = opened();
  const reader = role('reader', ['doc:read']);
  const alice = user('alice', { roles: ['reader'] });
  await put(writer, tenant, reader, alice);
  expect(await store.tenants()).toContain(tenant);
  const page = await store.scan(tenant, 'user', undefined, 10);
  expect(page.entries).toEqual([['alice', alice.value]]);
  const { head, values } = await store.get(tenant, [alice, gone('user', 'bob')]);
  expect(values).toEqual([alice.value, undefined]);
  expect(await store.heads([tenant])).toEqual([head]);
  const room = roomFor(ending, store, { heartbeatMs: NEVER_MS, maxStalenessMs: 60_000 });
  expect(await ask(room, { tenant, user: 'alice' })).toBe('ALLOWED@1');
  // Neither heartbeat nor age: the hint alone brings it.
  const heard = new Promise<void>((done) => {
    store.watch((changed) => changed === tenant && done());
  });
  // Subscribed, in a cluster at any of the nodes.
  for (let tries = 0; tries < 20 && problems.length === 0; tries++) await sleep(10);
  if (problems.length > 0) throw new Error(problems.join('\n'));
  await put(writer, tenant, gone('user', 'alice'));
  await Promise.race([heard, sleep(5_000).then(() => Promise.reject(new Error('no hint came')))]);
  await until(
    async () => (await ask(room, { tenant, user: 'alice' })) === 'NO_GRANT@2',
    3_000,
  ).catch((error: unknown) =>
    Promise.reject(new Error([error, ...room.errors].map(String).join('\n'))),
  );
  expect((await store.feed(tenant, 0, 10)).entries).toHaveLength(2);
  expect(problems).toEqual([]);
}

describe('the least rights', () => {
  it('are enough for all that Postern does', async () => {
    const { name, url } = await userWith(COMMANDS);
    await server.command('SCRIPT', 'FLUSH');
    await cycle(url, 'enough');
    // Nothing was refused on the way.
    const log = JSON.stringify(await server.command('ACL', 'LOG'));
    expect(log).not.toContain(`"${name}"`);
  });

  it('are enough to wait for replicas, with the one right more', async () => {
    const primary = await redisFor(ending);
    const replica = await redisFor(ending, [`replicaof 127.0.0.1 ${primary.port}`]);
    await until(async () =>
      String(await replica.command('INFO', 'replication')).includes('master_link_status:up'),
    );
    const { url } = await userWith([...COMMANDS, ...COMMANDS_TO_WAIT], primary);
    await put(open(url, { waitReplicas: 1 }), 'waits', role('reader', []));
    const without = await userWith(COMMANDS, primary);
    const outcome = put(open(without.url, { waitReplicas: 1 }), 'waits', role('reader', []));
    await expect(outcome).rejects.toThrow(/docs\/redis\.md/);
  });

  it('are enough in a cluster, with three rights more', async () => {
    const cluster = ending.add(await startCluster(), (all) => all.dispose());
    const commands = [...COMMANDS, ...COMMANDS_OF_CLUSTER];
    for (const node of cluster.nodes)
      await node.command('ACL', 'SETUSER', 'postern', 'on', '>secret', ...rules(PREFIX, commands));
    const url = cluster.url.replace('//', '//postern:secret@');
    await cycle(url, 'one');
    await cycle(url, 'two');
    for (const node of cluster.nodes)
      expect(JSON.stringify(await node.command('ACL', 'LOG'))).not.toContain('"postern"');
  });

  it('allow nothing else: no other keys, no channel, nothing that looks around or destroys', async () => {
    const { url } = await userWith(COMMANDS);
    const redis = ending.add(new Redis(url, { protocol: 2, disableClientInfo: true }), (one) =>
      one.disconnect(),
    );
    await server.command('SET', 'other:secret', 'x');
    for (const [command, ...args] of [
      ['FLUSHALL'],
      ['FLUSHDB'],
      ['KEYS', '*'],
      ['SCAN', '0'],
      ['CONFIG', 'GET', '*'],
      ['CONFIG', 'SET', 'maxmemory', '1'],
      ['SHUTDOWN'],
      ['REPLICAOF', 'NO', 'ONE'],
      ['ACL', 'LIST'],
      ['MONITOR'],
      ['SCRIPT', 'FLUSH'],
      ['FUNCTION', 'LIST'],
      ['DEL', `${PREFIX}:layout`],
      ['EXPIRE', `${PREFIX}:layout`, '1'],
      ['RENAME', `${PREFIX}:layout`, 'x'],
      ['XTRIM', `${PREFIX}:{0}:feed:t`, 'MAXLEN', '0'],
      ['GET', 'other:secret'],
      ['SET', 'other:secret', 'y'],
      ['MGET', `${PREFIX}:layout`, 'other:secret'],
      ['PUBLISH', 'other:commits', 'x'],
      ['SUBSCRIBE', 'other:commits'],
      ['PSUBSCRIBE', '*'],
    ] as const)
      await expect(redis.call(command ?? '', ...args), command).rejects.toThrow(/NOPERM/);
    // Nor by the way of a script.
    const script = (lua: string): Promise<unknown> => redis.call('EVAL', lua, 0);
    await expect(script(`return redis.call('FLUSHALL')`)).rejects.toThrow(/can't run this command/);
    await expect(script(`return redis.call('GET', 'other:secret')`)).rejects.toThrow(
      /can't access/,
    );
    expect(await server.command('GET', 'other:secret')).toBe('x');
  });
});

describe('a right that is missing', () => {
  // `eval` is needed where somebody flushes the scripts of a Redis in use: see below.
  it.each(COMMANDS.filter((command) => command !== 'eval' && !COMFORT.includes(command)))(
    '%s: said, with the place that lists the rights',
    async (missing) => {
      const { url } = await userWith(COMMANDS.filter((command) => command !== missing));
      await server.command('SCRIPT', 'FLUSH');
      const outcome = await cycle(url, `without-${missing}`).catch((error: unknown) => error);
      expect(String(outcome)).toMatch(/docs\/redis\.md/);
    },
  );

  it.each(COMFORT)('%s: it works without', async (missing) => {
    const { url } = await userWith(COMMANDS.filter((command) => command !== missing));
    await server.command('SCRIPT', 'FLUSH');
    await expect(cycle(url, `comfort-${missing}`)).resolves.toBeUndefined();
  });

  it('eval: needed once somebody has flushed the scripts, and said then', async () => {
    for (const [commands, outcome] of [
      [COMMANDS, 'undefined'],
      [COMMANDS.filter((command) => command !== 'eval'), 'docs/redis.md'],
    ] as const) {
      const store = open((await userWith(commands)).url);
      await store.tenants();
      await server.command('SCRIPT', 'FLUSH');
      const tenant = `flushed-${outcome}`;
      const got = await put(store, tenant, user('alice')).then(
        () => undefined,
        (error: unknown) => error,
      );
      expect(String(got)).toContain(outcome);
    }
  });

  it.each(['xadd', 'set', 'sadd', 'hset', 'hdel', 'zadd', 'zrem', 'publish'])(
    '%s: a commit is refused whole, not half done (CONS-5)',
    async (missing) => {
      const tenant = `whole-${missing}`;
      const whole = storeFor(ending, server.url, { keyPrefix: PREFIX });
      await put(whole, tenant, user('alice'), user('bob'));
      const before = await whole.get(tenant, [user('alice'), user('bob'), user('carol')]);
      const { url } = await userWith(COMMANDS.filter((command) => command !== missing));
      const changes = [user('carol'), gone('user', 'alice'), user('bob', { superuser: true })];
      await expect(put(open(url), tenant, ...changes)).rejects.toThrow(/docs\/redis\.md/);
      const after = await whole.get(tenant, [user('alice'), user('bob'), user('carol')]);
      expect(after).toEqual(before);
      expect((await whole.feed(tenant, 0, 10)).entries).toHaveLength(1);
    },
  );

  it('other keys and another channel: said, with the place that lists the rights', async () => {
    const { url } = await userWith(COMMANDS);
    const store = open(url, { keyPrefix: 'other' });
    await expect(store.tenants()).rejects.toThrow(/NOPERM.*docs\/redis\.md/);
  });
});

describe('read access alone (CONS-7)', () => {
  const readers = async (
    commands: readonly string[],
    at: RedisServer = server,
    prefix = PREFIX,
  ): Promise<{ readonly name: string; readonly url: string }> => {
    const name = `reader-${users++}`;
    const all = rules(prefix, commands, '%R~');
    await at.command('ACL', 'SETUSER', name, 'reset', 'on', '>secret', ...all);
    return { name, url: at.url.replace('//', `//${name}:secret@`) };
  };

  /** What an instance does that only decides; another one writes. */
  const decide = async (url: string, writer: Store, tenant: string): Promise<void> => {
    const problems: string[] = [];
    const onProblem = (problem: string): void => void problems.push(problem);
    await put(writer, tenant, role('reader', ['doc:read']), user('alice', { roles: ['reader'] }));
    const store = open(url, { onProblem });
    const room = roomFor(ending, store, { heartbeatMs: 50, maxStalenessMs: 60_000 });
    expect(await room.warmUp()).toContain(tenant);
    expect(await ask(room, { tenant, user: 'alice' })).toBe('ALLOWED@1');
    const head = await put(writer, tenant, role('reader', []));
    await until(async () => (await ask(room, { tenant, user: 'alice' })) === 'NO_GRANT@2', 5_000);
    expect(await ask(room, { tenant, user: 'alice', since: head })).toBe('NO_GRANT@2');
    await expect(put(store, tenant, user('bob'))).rejects.toThrow(/docs\/redis\.md/);
    expect((await writer.get(tenant, [])).head?.revision).toBe(2);
    expect(problems).toEqual([]);
  };

  it('is enough to decide, to follow changes, and to prove tokens', async () => {
    const { name, url } = await readers(COMMANDS_TO_READ);
    await server.command('SCRIPT', 'FLUSH');
    await decide(url, open((await userWith(COMMANDS)).url), 'reads');
    const log = JSON.stringify(await server.command('ACL', 'LOG'));
    // Of all that, the commit alone was refused.
    const refused = [...log.matchAll(/"object","([^"]*)","username","([^"]*)"/g)];
    expect(refused.filter(([, , user]) => user === name).map(([, what]) => what)).toEqual([
      'evalsha',
    ]);
  });

  it('is enough with every command that there is', async () => {
    const { url } = await readers(['@all']);
    const writer = open((await userWith(COMMANDS)).url);
    await expect(decide(url, writer, 'reads-with-all')).resolves.toBeUndefined();
  });

  it('waits for a store that somebody else creates', async () => {
    const { url } = await readers(COMMANDS_TO_READ, server, 'fresh');
    const store = open(url, { keyPrefix: 'fresh' });
    await expect(store.tenants()).rejects.toThrow(/holds nothing under `fresh` yet/);
    await expect(store.tenants()).rejects.not.toBeInstanceOf(UnusableStoreError);
    await put(storeFor(ending, server.url, { keyPrefix: 'fresh' }), 't', user('alice'));
    await until(async () => {
      const known = await Promise.resolve(store.tenants()).catch((): string[] => []);
      return known.includes('t');
    });
  });

  it('says once that it does not write down when keys are used', async () => {
    const { url } = await readers(COMMANDS_TO_READ);
    const writer = storeFor(ending, server.url, { keyPrefix: PREFIX });
    await put(writer, 'used', key('k'));
    const usage = openUsage(() => 1);
    const errors: unknown[] = [];
    const end = keepUsage(open(url), usage, 10, (error) => void errors.push(error));
    for (let at = 0; at < 20; at++) {
      usage.used('used', 'k');
      await sleep(10);
    }
    await end();
    expect(errors.map(String)).toEqual([
      'Error: when keys are used is not written down: this instance may not write to the store',
    ]);
  });

  it.each([1, 2])(
    'is enough for a whole server of %i processes: ready, follows changes, says once what it cannot write',
    async (workers) => {
      const prefix = `served-${workers}`;
      const { name, url } = await readers(COMMANDS_TO_READ, server, prefix);
      const writer = storeFor(ending, server.url, { keyPrefix: prefix });
      const named = key('k', { role: 'default_allow' });
      await put(writer, 't', role('reader', ['doc:read']), named, user('alice'));
      const directory = temporaryDirectory();
      const catalog = join(directory, 'actions.yaml');
      writeFileSync(
        catalog,
        'resource_types: {}\nactions:\n  - { name: doc.read, permission: doc:read }\n',
      );
      const settings = {
        catalog,
        default_roles: join(PACKAGE_ROOT, 'config/roles.yaml'),
        store: url,
        workers,
        redis: { key_prefix: prefix },
        grpc: { address: '127.0.0.1:0' },
        http: { address: '127.0.0.1:0' },
        audit: { sinks: [{ type: 'file', path: join(directory, 'audit.jsonl') }] },
        identity: { usage_interval_ms: 50 },
        facts: { heartbeat_ms: 100 },
      };
      const running = ending.add(await serve([], { settings: stringify(settings) }), (one) =>
        one.dispose(),
      );
      const ready = await fetch(`http://${running.http}/readyz`);
      expect([ready.status, await ready.text()]).toEqual([200, expect.anything()]);
      const client = ending.add(connectTo(running.grpc, { own: true }), (one) => one.close());
      const check = (more: object = {}): Promise<Answer> =>
        client.call('Check', {
          tenant: 't',
          subject: { id: 'alice' },
          action: 'doc.read',
          ...more,
        });
      expect(await check()).toMatchObject({ reason: 'REASON_NO_GRANT', revision: 1 });
      await put(writer, 't', user('alice', { roles: ['reader'] }));
      await until(async () => (await check())['allowed'] === true, 5_000);
      await put(writer, 't', user('alice', { suspended: true }));
      await until(async () => (await check())['reason'] === 'REASON_SUBJECT_INACTIVE', 5_000);
      // A key is used over many intervals.
      for (let at = 0; at < 30; at++) {
        await check({ key_id: 'k' });
        await sleep(20);
      }
      expect((await writer.get('t', [{ kind: 'usage', id: 'k' }])).values).toEqual([undefined]);
      expect(await running.stop()).toBe(0);
      const lines = running.stderr().split('\n');
      const told = lines.filter((line) => line.includes('when keys are used is not written down'));
      expect(told, running.stderr()).toHaveLength(1);
      // Nothing else was missing, or tried.
      expect(lines.filter((line) => /NOPERM/.test(line) && !told.includes(line))).toEqual([]);
      const log = JSON.stringify(await server.command('ACL', 'LOG'));
      const refused = [...log.matchAll(/"object","([^"]*)","username","([^"]*)"/g)]
        .filter(([, , who]) => who === name)
        .map(([, what]) => what);
      expect([...new Set(refused)]).toEqual(['evalsha']);
    },
  );

  it.each([
    ['the rights of an instance that writes', COMMANDS, '~'],
    ['read access alone', COMMANDS_TO_READ, '%R~'],
  ] as const)('with %s, reads go on while writes are paused', async (_, commands, access) => {
    const at = await redisFor(ending);
    const writer = storeFor(ending, at.url, { keyPrefix: PREFIX });
    await put(writer, 't', role('reader', ['doc:read']), user('alice', { roles: ['reader'] }));
    const all = rules(PREFIX, commands, access);
    await at.command('ACL', 'SETUSER', 'paused', 'reset', 'on', '>secret', ...all);
    const store = open(at.url.replace('//', '//paused:secret@'));
    await store.tenants();
    await at.command('CLIENT', 'PAUSE', 20_000, 'WRITE');
    const startedAt = performance.now();
    const room = roomFor(ending, store, { heartbeatMs: 50, maxStalenessMs: 5_000 });
    expect(await room.warmUp()).toEqual(['t']);
    expect(await ask(room, { user: 'alice' })).toBe('ALLOWED@1');
    // Another one, that was not there before.
    const late = open(at.url.replace('//', '//paused:secret@'));
    expect(await late.tenants()).toEqual(['t']);
    expect((await late.feed('t', 0, 10)).entries).toHaveLength(1);
    expect(performance.now() - startedAt).toBeLessThan(5_000);
    await at.command('CLIENT', 'UNPAUSE');
  });
});

it('docs/redis.md lists exactly the rights that are proved here', () => {
  const text = readFileSync(join(PACKAGE_ROOT, 'docs/redis.md'), 'utf8');
  const [, line = ''] = /ACL SETUSER postern ([^`]*)```/.exec(text) ?? [];
  expect(line.match(/\+\S+/g)?.toSorted()).toEqual(
    COMMANDS.map((command) => `+${command}`).toSorted(),
  );
  expect(line).toContain('~postern:* &postern:* -@all');
  const [, reading = ''] = /ACL SETUSER decider ([^`]*)```/.exec(text) ?? [];
  expect(reading.match(/\+\S+/g)?.toSorted()).toEqual(
    COMMANDS_TO_READ.map((command) => `+${command}`).toSorted(),
  );
  expect(reading).toContain('%R~postern:* &postern:* -@all');
  for (const more of [...COMMANDS_TO_WAIT, ...COMMANDS_OF_CLUSTER])
    expect(text).toContain(`+${more}`);
});
