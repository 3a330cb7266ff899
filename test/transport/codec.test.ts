/** The hand-written codec against a general one, made from the same proto file; and against bytes that are no message. */
import { describe, expect, it } from 'vitest';
import type { Decision } from '../../src/engine/decision.ts';
import { decodeBatch, encodeBatch } from '../../src/transport/codec/batch.ts';
import { decodeCheck, encodeCheck } from '../../src/transport/codec/check.ts';
import { encodeExplain } from '../../src/transport/codec/explain.ts';
import { decodeFilter, encodeFilter } from '../../src/transport/codec/filter.ts';
import { DecodeProblem } from '../../src/transport/codec/problem.ts';
import { Reader, WireError, Writer } from '../../src/transport/codec/wire.ts';
import fc from '../support/fast-check.ts';
import { decode, encode } from '../support/general-codec.ts';

const LIMITS = {
  checksPerBatch: 1_000,
  objectsPerFilter: 10_000,
  attributesPerResource: 64,
  valuesPerAttribute: 256,
  sourcesPerResource: 256,
  valuesPerResource: 16_384,
};

const word = fc.oneof(
  fc.string({ maxLength: 40 }).filter((text) => text.isWellFormed()),
  fc.string({ unit: 'grapheme', maxLength: 20 }),
  fc.constantFrom('__proto__', 'constructor', '*', 'a'.repeat(300), 'naïve', '日本語', '\u{1f600}'),
);
const key = word.filter((text) => text !== '__proto__');
const scalar = fc.oneof(word, fc.double({ noNaN: true, noDefaultInfinity: true }), fc.boolean());
const protoScalar = (value: string | number | boolean): object =>
  typeof value === 'string'
    ? { stringValue: value }
    : typeof value === 'number'
      ? { numberValue: value }
      : { boolValue: value };
const attributesArb = fc.uniqueArray(
  fc.tuple(key, fc.oneof(scalar, fc.array(scalar, { maxLength: 5 }))),
  { selector: ([name]) => name, maxLength: 6 },
);
type AttributeEntries = [string, string | number | boolean | (string | number | boolean)[]][];
const protoAttributes = (entries: AttributeEntries): object =>
  Object.fromEntries(
    entries.map(([name, value]) => [
      name,
      Array.isArray(value) ? { listValue: { values: value.map(protoScalar) } } : protoScalar(value),
    ]),
  );
const readAttributes = (entries: AttributeEntries): Map<string, unknown> =>
  new Map(entries.map(([name, value]) => [name, Array.isArray(value) ? value : [value]]));

const resourceArb = fc.record({
  type: word,
  id: word,
  path: fc.option(word, { nil: undefined }),
  attributes: attributesArb,
  sources: fc.array(attributesArb, { maxLength: 3 }),
});
type ResourceSample = {
  type: string;
  id: string;
  path: string | undefined;
  attributes: AttributeEntries;
  sources: AttributeEntries[];
};
const protoResource = (sample: ResourceSample): object => ({
  type: sample.type,
  id: sample.id,
  ...(sample.path === undefined ? {} : { path: sample.path }),
  attributes: protoAttributes(sample.attributes),
  sources: sample.sources.map((source) => ({ attributes: protoAttributes(source) })),
});
const readResource = (sample: ResourceSample): object => ({
  type: sample.type,
  id: sample.id,
  path: sample.path,
  attributes: readAttributes(sample.attributes),
  sources: sample.sources.map(readAttributes),
});

describe('requests', () => {
  it('reads a CheckRequest as the general codec writes it', () => {
    fc.assert(
      fc.property(
        fc.record({
          id: word,
          tenant: word,
          subject: fc.option(
            fc.record({ type: fc.constantFrom('', 'user', 'role', 'workspace'), id: word }),
            { nil: undefined },
          ),
          keyId: word,
          action: word,
          resource: fc.option(resourceArb, { nil: undefined }),
          minRevision: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
        }),
        (sample) => {
          const call = decodeCheck(
            encode('CheckRequest', {
              id: sample.id,
              tenant: sample.tenant,
              ...(sample.subject === undefined ? {} : { subject: sample.subject }),
              key_id: sample.keyId,
              action: sample.action,
              ...(sample.resource === undefined
                ? {}
                : { resource: protoResource(sample.resource) }),
              min_revision: sample.minRevision,
            }),
            LIMITS,
          );
          expect(call.id).toBe(sample.id);
          expect(call.minRevision).toBe(sample.minRevision);
          expect(call.request.tenant).toBe(sample.tenant);
          expect(call.request.action).toBe(sample.action);
          expect(call.request.keyId).toBe(sample.keyId === '' ? undefined : sample.keyId);
          expect(call.request.subject).toEqual(
            sample.subject && { type: sample.subject.type || 'user', id: sample.subject.id },
          );
          if (sample.resource !== undefined)
            expect(call.request.resource).toEqual(readResource(sample.resource));
        },
      ),
      { numRuns: 500 },
    );
  });

  it('reads a FilterRequest and a BatchCheckRequest as the general codec writes them', () => {
    fc.assert(
      fc.property(
        fc.array(resourceArb, { maxLength: 8 }),
        fc.nat(50),
        fc.boolean(),
        (objects, n, flag) => {
          const samples = objects as ResourceSample[];
          const filter = decodeFilter(
            encode('FilterRequest', {
              tenant: 't',
              subject: { id: 's' },
              action: 'a:b',
              objects: samples.map(protoResource),
              limit: n,
              offset: n + 1,
              indexes_only: flag,
            }),
            LIMITS,
          );
          expect(filter.objects).toEqual(samples.map(readResource));
          expect([filter.limit, filter.offset, filter.indexesOnly]).toEqual([n, n + 1, flag]);
          const batch = decodeBatch(
            encode('BatchCheckRequest', {
              tenant: 't',
              subject: { id: 's' },
              action: 'a:b',
              semantic: 2,
              checks: samples.map((sample, index) => ({
                id: String(index),
                resource: protoResource(sample),
              })),
            }),
            LIMITS,
          );
          expect(batch.semantic).toBe('DENY_ON_FIRST_DENY');
          expect(batch.checks).toHaveLength(samples.length);
          for (const [index, check] of batch.checks.entries())
            expect(check).toMatchObject({
              id: String(index),
              request: { tenant: 't', action: 'a:b', subject: { type: 'user', id: 's' } },
            });
        },
      ),
      { numRuns: 200 },
    );
  });

  it('ID-3: keeps `__proto__` as an ordinary attribute key', () => {
    const writer = new Writer();
    writer.string(2, 't');
    writer.message(7, () =>
      writer.message(4, () => {
        writer.string(1, '__proto__');
        writer.message(2, () => writer.string(3, 'x'));
      }),
    );
    const { request } = decodeCheck(writer.finish(), LIMITS);
    expect(request.resource.attributes.get('__proto__')).toEqual(['x']);
  });

  it.each([
    ['null', { a: { nullValue: 0 } }, 'resource.attributes[a]: is null'],
    ['a struct', { a: { structValue: { fields: {} } } }, 'resource.attributes[a]: is nested'],
    [
      'a nested list',
      { a: { listValue: { values: [{ listValue: { values: [] } }] } } },
      'resource.attributes[a]: is nested',
    ],
    ['NaN', { a: { numberValue: NaN } }, 'is not a finite number'],
    ['infinity', { a: { numberValue: -Infinity } }, 'is not a finite number'],
    ['no value', { a: {} }, 'resource.attributes[a]: has no value'],
    [
      'too many values',
      { a: { listValue: { values: Array.from({ length: 257 }, () => ({ boolValue: true })) } } },
      'more than 256 values',
    ],
    [
      'too many keys',
      Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`k${i}`, { boolValue: true }])),
      'more than 64 attributes',
    ],
  ])('refuses %s as an attribute, naming it', (_name, attributes, message) => {
    const bytes = encode('CheckRequest', { tenant: 't', resource: { attributes } });
    expect(() => decodeCheck(bytes, LIMITS)).toThrow(message);
  });

  it('refuses a key id beside a credential, and a credential of two kinds', () => {
    const both = { tenant: 't', key_id: 'k', credential: { api_key: 'secret' } };
    expect(() => decodeCheck(encode('CheckRequest', both), LIMITS)).toThrow(
      'key_id: is given together with `credential`: send one of the two',
    );
    const call = decodeCheck(
      encode('CheckRequest', { tenant: 't', credential: { bearer_token: 'secret' } }),
      LIMITS,
    );
    expect(call.credential).toEqual({ bearerToken: 'secret' });
  });

  it('refuses a message field that is sent twice: decoders disagree on it', () => {
    const subject = encode('CheckRequest', { subject: { id: 'alice' } });
    const other = encode('CheckRequest', { subject: { id: 'bob' } });
    expect(() => decodeCheck(Buffer.concat([subject, other]), LIMITS)).toThrow(
      'subject: is sent twice',
    );
  });

  it('gives a malformed item of a batch its own error', () => {
    const good = encode('CheckRequest', {
      id: '1',
      tenant: 't',
      action: 'a:b',
      subject: { id: 's' },
    });
    const bad = Buffer.from([0x0a, 0xff]);
    const writer = new Writer();
    for (const item of [good, bad, good]) writer.bytes(8, item);
    const { checks } = decodeBatch(writer.finish(), LIMITS);
    expect(checks.map((check) => 'error' in check)).toEqual([false, true, false]);
  });

  it.each([
    [
      'a check of a batch',
      decodeBatch,
      'BatchCheckRequest',
      { checks: [{ resource: { sources: [{}] } }] },
    ],
    ['an object of a Filter', decodeFilter, 'FilterRequest', { objects: [{ sources: [{}] }] }],
  ] as const)('tells nobody that a fault of its own is in %s', (_what, decoder, name, message) => {
    const faulty = {
      ...LIMITS,
      get sourcesPerResource(): number {
        throw new TypeError('a fault of this program');
      },
    };
    expect(() => decoder(encode(name, message), faulty)).toThrow(TypeError);
  });

  it.each(['decodeCheck', 'decodeBatch', 'decodeFilter'] as const)(
    '%s answers any bytes with a message or INVALID_ARGUMENT',
    (name) => {
      const decoder = { decodeCheck, decodeBatch, decodeFilter }[name];
      const valid = encode('CheckRequest', {
        id: 'x',
        tenant: 't',
        subject: { id: 's' },
        action: 'a:b',
        resource: { path: 'a.b', attributes: { k: { stringValue: 'v' } } },
      });
      const mutated = fc
        .tuple(fc.nat(valid.length - 1), fc.nat(255), fc.nat(valid.length))
        .map(([at, byte, cut]) => {
          const bytes = Buffer.from(valid.subarray(0, Math.max(1, cut)));
          bytes[at % bytes.length] = byte;
          return bytes;
        });
      const noise = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes));
      fc.assert(
        fc.property(fc.oneof(mutated, noise), (bytes) => {
          try {
            decoder(bytes, LIMITS);
          } catch (error) {
            expect(error).toBeInstanceOf(DecodeProblem);
          }
        }),
        { numRuns: 5_000 },
      );
    },
  );

  it('refuses text that is not UTF-8, and keeps a replacement character that was sent', () => {
    const text = (bytes: readonly number[]): Buffer => Buffer.from([0x12, bytes.length, ...bytes]);
    for (const bad of [[0xff], [0xc0, 0xaf], [0xed, 0xa0, 0x80], [0xf5, 0x80, 0x80, 0x80]])
      expect(() => decodeCheck(text(bad), LIMITS)).toThrow('`tenant` is not valid UTF-8');
    expect(decodeCheck(text([0xef, 0xbf, 0xbd]), LIMITS).request.tenant).toBe('\ufffd');
  });

  it('stops at its depth for nested context', () => {
    let nested: object = { numberValue: 1 };
    for (let i = 0; i < 40; i++) nested = { listValue: { values: [nested] } };
    expect(() => decodeCheck(encode('CheckRequest', { context: { a: nested } }), LIMITS)).toThrow(
      'nested deeper than 16 levels',
    );
    const fine = encode('CheckRequest', {
      context: { a: { structValue: { fields: { b: { boolValue: true } } } } },
    });
    expect(decodeCheck(fine, LIMITS).context).toEqual({ a: { b: true } });
  });
});

describe('wire', () => {
  it('refuses numbers that are too long or too large, and unknown wire types', () => {
    const read = (bytes: readonly number[]): number => {
      const reader = new Reader(Buffer.from(bytes));
      reader.next();
      return reader.uint('n');
    };
    expect(read([0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f])).toBe(2 ** 53 - 1);
    expect(() => read([0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10])).toThrow(WireError);
    expect(() => read([0x08, ...Array<number>(11).fill(0x80), 1])).toThrow(WireError);
    const skip = (wireType: number): void => {
      const reader = new Reader(Buffer.from([(1 << 3) | wireType, 0, 0, 0]));
      reader.next();
      reader.skip();
    };
    for (const wireType of [3, 4, 6, 7]) expect(() => skip(wireType)).toThrow(WireError);
  });

  it('passes over unknown fields of every wire type', () => {
    // 100: varint, 101: fixed64, 102: bytes, 103: fixed32
    const unknown = Buffer.from('a00605a9060102030405060708b206026162bd0601020304', 'hex');
    const known = encode('CheckRequest', { tenant: 't' });
    expect(decodeCheck(Buffer.concat([unknown, known, unknown]), LIMITS).request.tenant).toBe('t');
  });
});

describe('answers', () => {
  const decision: Decision = {
    allowed: true,
    reason: 'ALLOWED',
    by: 'tree',
    actionRule: undefined,
    objectRule: undefined,
    shadow: { reason: 'ACTION_DENIED', actionRule: undefined, objectRule: undefined },
  };
  const answered = { id: 'x', decision, decisionId: 'i-1', revision: 7, ageMs: 12.4 };

  it('writes a CheckResponse that the general codec reads', () => {
    expect(decode('CheckResponse', encodeCheck(answered))).toEqual({
      id: 'x',
      allowed: true,
      reason: 'REASON_ALLOWED',
      detail: 'a grant or ownership covers the path',
      decision_id: 'i-1',
      revision: 7,
      age_ms: 12,
      shadow: { differs: true },
    });
  });

  it('never sends an empty message', () => {
    const denied: Decision = { ...decision, allowed: false, reason: 'NO_GRANT', shadow: undefined };
    expect(encodeCheck({ ...answered, id: '', decision: denied }).length).toBeGreaterThan(2);
  });

  it('writes strings of every length and alphabet', () => {
    fc.assert(
      fc.property(fc.oneof(word, fc.string({ unit: 'binary', maxLength: 20_000 })), (id) => {
        const bytes = encodeBatch([
          { ...answered, id },
          { ...answered, id: `${id}2` },
        ]);
        const { results } = decode('BatchCheckResponse', bytes) as { results: { id?: string }[] };
        expect(results.map((result) => result.id ?? '')).toEqual([id, `${id}2`]);
      }),
      { numRuns: 300 },
    );
  });

  it('writes a FilterResponse with ids and indexes, packed', () => {
    const object = (id: string) => ({
      type: '',
      id,
      path: undefined,
      attributes: new Map(),
      sources: [],
    });
    const call = {
      id: '',
      request: { tenant: 't', subject: undefined, keyId: 'k', action: 'a:b', resource: object('') },
      credential: undefined,
      context: undefined,
      minRevision: 0,
      objects: Array.from({ length: 300 }, (_, index) => object(`o${index}`)),
      invalid: new Map<number, string>(),
      limit: 0,
      offset: 0,
      indexesOnly: false,
    };
    const visible = call.objects.map((_, index) => index);
    const result = {
      actionAllowed: true,
      reason: 'ALLOWED' as const,
      visible,
      complete: false,
      nextOffset: 299,
      shadowHidden: [0],
      shadowShown: [1, 2],
      examined: 300,
    };
    const invalid = new Map([[7, 'objects[7]: is not a Resource message: send one']]);
    const answer = { result, invalid, decisionId: 'd', revision: 1, ageMs: 0 };
    expect(decode('FilterResponse', encodeFilter(call, answer))).toMatchObject({
      action_allowed: true,
      allowed_ids: call.objects.map(({ id }) => id),
      allowed_indexes: visible,
      next_offset: 299,
      shadow_hidden: ['o0'],
      shadow_shown: ['o1', 'o2'],
      invalid: [{ index: 7, problem: 'objects[7]: is not a Resource message: send one' }],
    });
    const lean = decode('FilterResponse', encodeFilter({ ...call, indexesOnly: true }, answer));
    expect(lean['allowed_ids']).toEqual([]);
    expect(lean['allowed_indexes']).toEqual(visible);
  });

  it('writes an ExplainResponse', () => {
    const bytes = encodeExplain({
      ...answered,
      explanation: {
        decision,
        layers: [
          {
            name: 'tree',
            verdict: 'allow',
            summary: 's',
            facts: [{ kind: 'grant', text: 'g', chain: ['user:a', 'role:b'] }],
          },
        ],
        missing: [{ kind: 'grant', text: 'm' }],
        missingComplete: true,
      },
    });
    expect(decode('ExplainResponse', bytes)).toMatchObject({
      check: { allowed: true },
      layers: [
        {
          name: 'tree',
          verdict: 'VERDICT_ALLOW',
          facts: [{ kind: 'grant', text: 'g', chain: ['user:a', 'role:b'] }],
        },
      ],
      missing: [{ kind: 'grant', text: 'm' }],
      missing_complete: true,
    });
  });
});
