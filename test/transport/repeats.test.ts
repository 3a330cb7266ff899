/** A question that comes again is the same question, and its answer follows the facts (CONS-1). */
import { compileRedaction } from '../../src/audit/record/redact.ts';
import { collectingLog } from '../support/audit.ts';
import { describe, expect, it, vi } from 'vitest';
import { compileCatalog } from '../../src/engine/action.ts';
import { createMetrics } from '../../src/telemetry/metrics.ts';
import { openIdentity } from '../../src/identity/identity.ts';
import { openRateLimits } from '../../src/identity/rate.ts';
import { openUsage } from '../../src/identity/usage.ts';
import { createService } from '../../src/service/service.ts';
import { decodeCheck } from '../../src/transport/codec/check.ts';
import { authorizationMethods } from '../../src/transport/grpc/methods.ts';
import { rememberingRepeats } from '../../src/transport/codec/repeats.ts';
import fc from '../support/fast-check.ts';
import { decode, encode } from '../support/general-codec.ts';
import { openMemoryStore } from '../support/memory-store.ts';
import { key, openRoom, policySet, put, role, user } from '../support/records.ts';

const LIMITS = {
  checksPerBatch: 10,
  objectsPerFilter: 10,
  attributesPerResource: 8,
  valuesPerAttribute: 8,
  sourcesPerResource: 4,
  valuesPerResource: 64,
};

const check = (fields: object): Buffer =>
  encode('CheckRequest', { tenant: 't', subject: { id: 'alice' }, action: 'a.read', ...fields });

const decodeOnce = (bytes: Buffer): ReturnType<typeof decodeCheck> => decodeCheck(bytes, LIMITS);

function remembering(maxBytes = 4_194_304) {
  const decode = vi.fn<typeof decodeOnce>(decodeOnce);
  return { decode, ...rememberingRepeats(decode, maxBytes) };
}

/** A call without what a cache adds. */
const plain = (call: ReturnType<typeof decodeCheck>): object => ({ ...call, isKept: undefined });

describe('questions that come again', () => {
  it('are read once, whatever id they have', () => {
    const { read, decode } = remembering();
    const first = read(check({ id: 'one' }));
    const second = read(check({ id: 'two' }));
    const third = read(check({}));
    expect(decode).toHaveBeenCalledTimes(1);
    expect([first.id, second.id, third.id]).toEqual(['one', 'two', '']);
    expect(second.request).toBe(first.request);
    expect([first.isKept, second.isKept, third.isKept]).toEqual([true, true, true]);
  });

  it('are read again where anything but the id differs', () => {
    const { read, decode } = remembering();
    const calls = [
      {},
      { action: 'b.read' },
      { min_revision: 1 },
      { context: { a: { boolValue: true } } },
    ];
    for (const fields of calls) read(check(fields));
    expect(decode).toHaveBeenCalledTimes(calls.length);
  });

  it('equal what the decoder reads, for any requests in any order', () => {
    const { read } = remembering();
    const text = fc.oneof(fc.constantFrom('', 'a', 'é', '\u{1f600}', 'x'.repeat(130)), fc.string());
    const request = fc.record({
      id: text,
      tenant: fc.constantFrom('t', 'u'),
      subject: fc.record({ id: fc.constantFrom('alice', 'bob') }),
      resource: fc.record({ path: fc.constantFrom('a', 'a.b') }),
    });
    fc.assert(
      fc.property(request, (fields) => {
        const bytes = encode('CheckRequest', fields);
        expect(plain(read(bytes))).toEqual(plain(decodeCheck(bytes, LIMITS)));
      }),
      { numRuns: 500 },
    );
  });

  it('take the last id where one is sent twice, and the id that is not first', () => {
    const { read } = remembering();
    const id = (text: string) => encode('CheckRequest', { id: text });
    const rest = check({});
    for (let round = 0; round < 2; round++) {
      expect(read(Buffer.concat([id('one'), rest, id('two')])).id).toBe('two');
      expect(read(Buffer.concat([rest, id('late')])).id).toBe('late');
      expect(read(Buffer.concat([rest, id('later')])).id).toBe('later');
    }
  });

  it('are not kept with a secret in them', () => {
    const { read, decode } = remembering();
    const bytes = check({ credential: { bearer_token: 'secret' } });
    expect(read(bytes).isKept).toBeUndefined();
    expect(read(bytes).isKept).toBeUndefined();
    expect(decode.mock.calls.length).toBeGreaterThan(2);
  });

  it('are refused as often as they are malformed', () => {
    const { read } = remembering();
    const bad = Buffer.concat([check({ id: 'one' }), Buffer.from([0x3a, 0x7f])]);
    for (let round = 0; round < 3; round++) expect(() => read(bad)).toThrow('cannot be read');
    const overlong = Buffer.concat([Buffer.from([0x0a, 0x7f]), Buffer.from('short')]);
    expect(() => read(overlong)).toThrow('cannot be read');
  });

  it('take no more memory than they may, and say how much they take', () => {
    const { read, decode, bytes, forget } = remembering(100_000);
    const ask = (n: number): void => void read(check({ resource: { id: `o${n}` } }));
    for (let n = 0; n < 500; n++) {
      ask(n);
      expect(bytes()).toBeLessThanOrEqual(100_000);
    }
    expect(bytes()).toBeGreaterThan(40_000);
    const before = decode.mock.calls.length;
    ask(499);
    expect(decode.mock.calls.length).toBe(before);
    forget();
    expect(bytes()).toBe(0);
  });

  it('are not kept where there is room for none', () => {
    const { read, decode } = remembering(100);
    for (let round = 0; round < 3; round++) read(check({}));
    expect(decode.mock.calls.length).toBeGreaterThanOrEqual(3);
  });

  it('are forgotten when others come, and the newest stay', () => {
    const { read, decode } = remembering();
    read(check({ action: 'kept.read' }));
    for (let n = 0; n < 10_000; n++) {
      read(check({ action: `other.${n}` }));
      if (n % 1_000 === 0) read(check({ action: 'kept.read' }));
    }
    decode.mockClear();
    read(check({ action: 'kept.read' }));
    expect(decode).toHaveBeenCalledTimes(0);
    read(check({ action: 'other.0' }));
    expect(decode).toHaveBeenCalledTimes(1);
  });

  it('are all forgotten where there is no memory for them', () => {
    const { read, decode, forget } = remembering();
    for (let n = 0; n < 2_000; n++) read(check({ action: `some.${n}` }));
    forget();
    decode.mockClear();
    for (let n = 0; n < 2_000; n++) read(check({ action: `some.${n}` }));
    expect(decode).toHaveBeenCalledTimes(2_000);
  });
});

describe('answers to questions that come again', () => {
  it('follow users, roles, keys and the catalog, in answer and audit (CONS-1)', async () => {
    const store = openMemoryStore();
    const facts = openRoom(store);
    const lines: string[] = [];
    const service = createService({
      facts,
      metrics: createMetrics({
        facts: () => facts.stats(),
        factsAgeMs: () => 0,
        storeUp: () => true,
        sinks: [],
        ready: () => true,
        operations: [],
        version: 'test',
      }),
      log: collectingLog(lines),
      redact: compileRedaction({ attributes: false, rules: [], hashKey: undefined }),
      sampling: undefined,
      limits: { attributes: 8, valuesPerAttribute: 8 },
      identity: openIdentity({ now: Date.now }),
      rateLimits: openRateLimits({ now: Date.now }),
      filterObjectCost: 1,
      usage: openUsage(Date.now),
      onCredential: () => {},
      onError: (error) => {
        throw error;
      },
    });
    const method = authorizationMethods(service, LIMITS, 1_000_000).unary[
      '/postern.v1.AuthorizationService/Check'
    ];
    let calls = 0;
    /** The reason in the answer, asked twice, and in the last audit record. */
    const ask = async (fields: object = {}): Promise<string> => {
      const bytes = (): Buffer =>
        encode('CheckRequest', {
          id: `call-${++calls}`,
          tenant: 't',
          subject: { id: 'alice' },
          action: 'doc:read',
          resource: { type: 'doc', id: 'd' },
          ...fields,
        });
      const reasons = [];
      for (let time = 0; time < 2; time++) {
        const answer = decode('CheckResponse', (await method?.(bytes(), 1_000)) ?? Buffer.alloc(0));
        const record: unknown = JSON.parse(lines.at(-1) ?? '');
        expect(record).toMatchObject({ seq: calls, request_id: `call-${calls}` });
        expect(answer).toMatchObject({ id: `call-${calls}` });
        reasons.push(answer['reason'], `REASON_${(record as { reason: string }).reason}`);
      }
      expect(new Set(reasons).size).toBe(1);
      return String(reasons[0]);
    };
    const withKey = { key_id: 'agent' };
    await put(store, 't', user('alice', { roles: ['reader'] }), role('reader', ['doc:read']));
    expect(await ask()).toBe('REASON_ALLOWED');
    await put(store, 't', role('reader', []));
    expect(await ask()).toBe('REASON_NO_GRANT');
    await put(store, 't', role('reader', ['doc:*']));
    expect(await ask()).toBe('REASON_ALLOWED');
    await put(store, 't', user('alice', { roles: ['reader'], suspended: true }));
    expect(await ask()).toBe('REASON_SUBJECT_INACTIVE');
    await put(store, 't', user('alice', { roles: ['reader'] }), key('agent'));
    expect(await ask(withKey)).toBe('REASON_ACTION_DENIED');
    await put(store, 't', key('agent', { role: 'default_allow' }));
    expect(await ask(withKey)).toBe('REASON_ALLOWED');
    await put(
      store,
      't',
      policySet('no-docs', 'deny', ['doc:read']),
      key('agent', { role: 'default_allow', policySets: ['no-docs'] }),
    );
    expect(await ask(withKey)).toBe('REASON_ACTION_DENIED');
    await put(store, 't', policySet('no-docs', 'deny', ['doc:write']));
    expect(await ask(withKey)).toBe('REASON_ALLOWED');
    const access = { doc: { access: 'acl' as const } };
    facts.setCatalog(compileCatalog({ actions: [], resource_types: access }));
    expect(await ask()).toBe('REASON_NO_GRANT');
    facts.close();
  });
});
