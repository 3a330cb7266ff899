/** The parts of the Redis store that need no server: addresses, records, keys. */
import { describe, expect, it } from 'vitest';
import { storeDirectory } from '../../src/store/registry.ts';
import { parseRedisAddress, withoutSecrets } from '../../src/store/redis/address.ts';
import { keysOf, KINDS } from '../../src/store/redis/keys.ts';
import { decodeRecord, encodeRecord } from '../../src/store/redis/compact-record.ts';
import { openRedisStore, REDIS_DEFAULTS } from '../../src/store/redis/store.ts';
import fc from '../support/fast-check.ts';
import { user } from '../support/records.ts';

describe('addresses', () => {
  const NONE = {
    kind: 'single',
    primary: '',
    db: 0,
    tls: false,
    username: undefined,
    password: undefined,
    sentinelPassword: undefined,
  };

  it.each([
    ['redis://h', { hosts: [{ host: 'h', port: 6379 }] }],
    ['redis://h:1/3', { hosts: [{ host: 'h', port: 1 }], db: 3 }],
    ['rediss://[::1]:7000', { hosts: [{ host: '::1', port: 7000 }], tls: true }],
    [
      'redis://u:p%40%3A%2F@h',
      { hosts: [{ host: 'h', port: 6379 }], username: 'u', password: 'p@:/' },
    ],
    ['redis://:p@h', { hosts: [{ host: 'h', port: 6379 }], password: 'p' }],
    [
      'redis-sentinel://u:p@a,b:7/main?sentinel_password=s&db=2',
      {
        kind: 'sentinel',
        hosts: [
          { host: 'a', port: 26_379 },
          { host: 'b', port: 7 },
        ],
        primary: 'main',
        db: 2,
        username: 'u',
        password: 'p',
        sentinelPassword: 's',
      },
    ],
    [
      'rediss-cluster://a:1,b:2',
      {
        kind: 'cluster',
        tls: true,
        hosts: [
          { host: 'a', port: 1 },
          { host: 'b', port: 2 },
        ],
      },
    ],
  ])('%s is read', (text, expected) => {
    expect(parseRedisAddress(text)).toEqual({ ...NONE, ...expected });
  });

  it.each([
    ['redis://', 'is not an address'],
    ['http://h', 'is not an address'],
    ['redis://h:0', 'has a host that is not host or host:port'],
    ['redis://h:99999', 'has a host that is not host or host:port'],
    ['redis://a,b', 'use redis-sentinel:// or redis-cluster://'],
    ['redis://h/x', 'has a db that is no number'],
    ['redis-sentinel://h', 'names no primary'],
    ['redis-cluster://h/2', 'a cluster has only db 0'],
    ['redis://h?tls=true', 'unknown parameter'],
    ['redis://u:%zz@h', 'not percent-encoded'],
  ])('%s is refused with the remedy', (text, problem) => {
    expect(() => parseRedisAddress(text)).toThrow(problem);
  });

  it('no password is ever in a message', () => {
    const secret = 'hunter2';
    for (const rest of ['@h:0', '@h/x', '@a,b', '@h?x=1', '@h', '@'])
      for (const name of ['redis', 'rediss', 'redis-sentinel', 'redis-cluster', 'redis-other']) {
        const text = `${name}://user:${secret}${rest}`;
        expect(withoutSecrets(text)).not.toContain(secret);
        try {
          parseRedisAddress(text);
        } catch (error) {
          expect(String(error)).not.toContain(secret);
        }
      }
    for (const text of [
      `redis://user:${secret}/${secret}@host`,
      `redis://:p@${secret}@host`,
      `redis://host?password=${secret}`,
      `redis-sentinel://h/m?sentinel_password=${secret}&db=1`,
      `redis-sentinel://h/m?sentinel%5Fpassword=a&${secret}`,
      `REDIS://user:${secret}@host`,
      ` redis://user:${secret}@host`,
      `redis+tls://user:${secret}@host`,
    ]) {
      expect(withoutSecrets(text)).not.toContain(secret);
      for (const read of [parseRedisAddress, storeDirectory])
        try {
          read(text);
        } catch (error) {
          expect(String(error)).not.toContain(secret);
        }
    }
    expect(withoutSecrets('redis://user:p@h:1/2')).toBe('redis://user:***@h:1/2');
    expect(withoutSecrets('redis://h:1/2')).toBe('redis://h:1/2');
    expect(withoutSecrets('embedded:/a/b')).toBe('embedded:/a/b');
  });

  it.each(['', 'a b', 'a{b', 'a}'])('the key prefix `%s` is refused', (keyPrefix) => {
    const options = { ...REDIS_DEFAULTS, address: 'redis://h', keyPrefix, onProblem: () => {} };
    expect(() => openRedisStore(options)).toThrow('redis.key_prefix');
  });
});

describe('keys', () => {
  it('no two of them are the same, and those of a tenant share a slot', () => {
    const keys = keysOf('p', 4);
    const tenants = ['a', 'b', 'a:b', 'user:a', '{1}', '', 'records:user:a'];
    const names = tenants.flatMap((tenant) => [
      keys.head(tenant),
      keys.feed(tenant),
      ...KINDS.flatMap((kind) => [keys.records(tenant, kind), keys.index(tenant, kind)]),
    ]);
    const shards = [0, 1, 2, 3].map((shard) => keys.tenants(shard));
    const all = [...names, ...shards, keys.layout, keys.channel];
    expect(new Set(all).size).toBe(all.length);
    for (const tenant of tenants)
      for (const name of [keys.head(tenant), keys.feed(tenant), keys.index(tenant, 'role')])
        expect(/\{(.*?)\}/.exec(name)?.[1]).toBe(String(keys.shardOf(tenant)));
  });

  it('tenants spread over the shards', () => {
    const keys = keysOf('p', 16);
    const counts = new Map<number, number>();
    for (let at = 0; at < 16_000; at++) {
      const shard = keys.shardOf(`tenant-${at}`);
      counts.set(shard, (counts.get(shard) ?? 0) + 1);
    }
    for (const count of counts.values()) expect(Math.abs(count - 1_000)).toBeLessThan(200);
    expect(counts.size).toBe(16);
  });
});

describe('records', () => {
  const text = fc.string({ unit: 'grapheme' });
  const grant = fc.record({
    path: text,
    actions: fc.subarray(['read', 'write', 'create', 'delete', 'admin'] as const),
    grantor: text,
    grantOption: fc.boolean(),
  });
  const fields = fc.record(
    {
      email: text,
      externalId: text,
      metadata: fc.dictionary(text, fc.jsonValue()),
      superuser: fc.boolean(),
      createrole: fc.boolean(),
      suspended: fc.boolean(),
      deleted: fc.boolean(),
      roles: fc.array(text),
      workspaces: fc.array(text),
      grants: fc.array(grant),
      owns: fc.array(text),
      // What a record of another version may have.
      more: fc.jsonValue(),
    },
    { requiredKeys: [] },
  );

  it('come back as they were, to the order of their fields', () => {
    fc.assert(
      fc.property(text, fields, (id, some) => {
        const { value } = user(id, some);
        expect(JSON.stringify(decodeRecord(encodeRecord(value)))).toBe(JSON.stringify(value));
      }),
      { numRuns: 1_000 },
    );
  });

  it('a user with ten grants takes half of its JSON or less', () => {
    const grants = Array.from({ length: 10 }, (_, at) => ({
      path: `org.team-${at}.project`,
      actions: ['read', 'write'] as const,
      grantor: '',
      grantOption: false,
    }));
    const { value } = user('alice', { roles: ['member'], grants });
    expect(encodeRecord(value).length).toBeLessThan(JSON.stringify(value).length / 2);
  });

  it.each(['"2"', '" 2 "', '["2"]', 'true', 'null', '3', '64', '-2', '0.5'])(
    'a grant whose options are %s is none of ours: nothing is coerced',
    (option) => {
      expect(() => decodeRecord(`["alice","user",0,[],[],[["work",31,"",${option}]],[]]`)).toThrow(
        'a grant is not one of ours',
      );
    },
  );

  it('lists of actions that are shared cannot be changed by one who reads them', () => {
    const grants = [{ path: 'a', actions: ['read'] as const, grantor: '', grantOption: false }];
    const record = decodeRecord(encodeRecord(user('alice', { grants }).value));
    const [first] = (record as unknown as { grants: { actions: string[] }[] }).grants;
    expect(() => first?.actions.push('admin')).toThrow(TypeError);
  });
});
