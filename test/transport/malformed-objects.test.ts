/** FILT-5: an object of a Filter that is malformed is named; the others are answered as Check answers them (FILT-1). */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { status, type ServiceError } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeBatch } from '../../src/transport/codec/batch.ts';
import { decodeFilter } from '../../src/transport/codec/filter.ts';
import { Writer } from '../../src/transport/codec/wire.ts';
import { readMessage } from '../support/messages.ts';
import { startTestServer, type Answer, type TestServer } from '../support/server.ts';

const SERVICE = '/postern.v1.AuthorizationService';
const STATE = {
  tenant: 'acme',
  users: [{ id: 'alice' }],
  keys: [{ id: 'agent', role: 'default_allow', mode: 'enforce' }],
  grants: [{ principal: 'alice', path: 'a', actions: ['read'] }],
};

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer(STATE, {
    limits: { sources_per_resource: 3, values_per_resource: 300 },
  });
});
afterAll(() => server.close());

const text = (value: string): object => ({ stringValue: value });
const list = (count: number): object => ({
  listValue: { values: Array.from({ length: count }, (_, i) => ({ numberValue: i })) },
});
const attributes = (value: object): object => ({ id: 'o', attributes: { k: value } });

/** Each with a part of what is said of it. */
const MALFORMED: readonly (readonly [string, object, string])[] = [
  ['a null', attributes({ nullValue: 0 }), 'objects[1].attributes[k]: is null'],
  ['a nested value', attributes({ structValue: { fields: { a: text('b') } } }), 'is nested'],
  [
    'a list in a list',
    attributes({ listValue: { values: [{ listValue: { values: [] } }] } }),
    'is nested',
  ],
  [
    'a null in a list',
    attributes({ listValue: { values: [text('a'), { nullValue: 0 }] } }),
    'objects[1].attributes[k]: is null',
  ],
  ['a number that is none', attributes({ numberValue: NaN }), 'is not a finite number'],
  ['infinity', attributes({ numberValue: Infinity }), 'is not a finite number'],
  ['no value', attributes({}), 'has no value'],
  ['too many values', attributes(list(257)), 'more than 256 values'],
  [
    'too many values over its attributes',
    { id: 'o', attributes: { a: list(200), b: list(101) } },
    'objects[1].attributes[b]: more than 300 values in one resource',
  ],
  [
    'too many values over its sources',
    { sources: [{ attributes: { a: list(200) } }, { attributes: { a: list(101) } }] },
    'objects[1].sources[1].attributes[a]: more than 300 values in one resource',
  ],
  [
    'too many attributes',
    { attributes: Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`k${i}`, text('')])) },
    'more than 64 attributes',
  ],
  ['too many sources', { sources: [{}, {}, {}, {}] }, 'objects[1].sources: more than 3 sources'],
  ['a null in a source', { sources: [{ attributes: { k: { nullValue: 0 } } }] }, 'is null'],
  ['an id that is none', { id: 'a\u0000b' }, 'objects[1].id: `a\\u0000b` holds a control'],
  ['an id with a blank', { id: ' a' }, 'has white space at an end'],
  ['an id that is too long', { id: 'x'.repeat(257) }, 'has 257 bytes'],
  ['a type that is none', { type: 'a:b' }, 'objects[1].type: `a:b` holds a `:`'],
  ['a path that is none', { path: 'a..b' }, 'objects[1].path: `a..b` has an empty label'],
  ['a key that is none', { attributes: { 'a\nb': text('x') } }, 'holds a control character'],
];

const filter = (objects: readonly object[], more: object = {}): Promise<Answer> =>
  server.client.call('Filter', {
    tenant: 'acme',
    key_id: 'agent',
    action: 'doc:read',
    objects,
    ...more,
  });

describe('an object that is malformed', () => {
  it.each(MALFORMED)('%s: is named, and the others are answered', async (_, object, problem) => {
    const answer = await filter([{ id: 'before' }, object, { id: 'after' }]);
    expect(answer).toMatchObject({
      action_allowed: true,
      reason: 'REASON_ALLOWED',
      allowed_ids: ['before', 'after'],
      allowed_indexes: [0, 2],
      complete: true,
      invalid: [{ index: 1 }],
    });
    const [invalid] = answer['invalid'] as { problem: string }[];
    expect(invalid?.problem).toContain(problem);
    expect(invalid?.problem).toMatch(/^objects\[1\]/);
  });

  it.each(MALFORMED)('%s: a Check of it is INVALID_ARGUMENT (FILT-1)', async (_, resource) => {
    const request = { tenant: 'acme', key_id: 'agent', action: 'doc:read', resource };
    const error = await server.client.call('Check', request).then(
      () => expect.fail('it was answered'),
      (refused: ServiceError) => refused,
    );
    expect(error.code).toBe(status.INVALID_ARGUMENT);
  });

  it('many of them are each named, in order, whatever the page', async () => {
    const objects = MALFORMED.flatMap(([, object], i) => [{ id: `good${i}` }, object]);
    const indexes = MALFORMED.map((_, i) => 2 * i + 1);
    const answer = await filter(objects, { limit: 2, offset: 3 });
    expect(answer).toMatchObject({ allowed_indexes: [4, 6], complete: false, next_offset: 8 });
    expect((answer['invalid'] as { index: number }[]).map(({ index }) => index)).toEqual(indexes);
  });

  it('alone, the action is answered by itself', async () => {
    const [[, object]] = MALFORMED as [(typeof MALFORMED)[number]];
    expect(await filter([object])).toMatchObject({ action_allowed: true, allowed_ids: [] });
    const unknown = await filter([object], { action: 'doc.unknown' });
    expect(unknown).toMatchObject({ action_allowed: false, reason: 'REASON_UNKNOWN_ACTION' });
  });

  it('is counted and named in the audit record, with its index', async () => {
    const { decision_id } = await filter([{ path: '.' }, { id: 'b' }, { id: '\u0001' }]);
    await expect
      .poll(() => recordOf(decision_id))
      .toMatchObject({
        allowed: true,
        objects: { total: 3, visible: 1, invalid: 2, invalid_indexes: [0, 2] },
      });
  });
});

function recordOf(decisionId: unknown): unknown {
  const lines = readFileSync(join(server.directory, 'audit.jsonl'), 'utf8').split('\n');
  return lines
    .filter((line) => line.includes(String(decisionId)))
    .map((line): unknown => JSON.parse(line))[0];
}

// ── bytes ─────────────────────────────────────────────────────────────────────────────────────────

/** A Filter of the objects' bytes as they are. */
function filterOf(objects: readonly Buffer[]): Buffer {
  const writer = new Writer();
  writer.string(1, 'acme');
  writer.string(3, 'agent');
  writer.string(5, 'doc:read');
  for (const object of objects) writer.bytes(6, object);
  return writer.finish();
}

const good = Buffer.from('12016f', 'hex');

const NO_RESOURCES: readonly (readonly [string, string])[] = [
  ['a length beyond its end', '12ff6f'],
  ['half a number', '1280'],
  ['a wire type that does not exist', '0f'],
  ['a field without a number', '0001'],
  ['a text as a number', '1005'],
  ['a text that is not UTF-8', '1201ff'],
  ['an attribute without an end', '2205 0a01'.replace(' ', '')],
  ['an attribute sent twice', '220a0a016b1205 1a03616263'.replace(' ', '').repeat(2)],
  ['rubbish', 'deadbeefdeadbeef'],
];

describe('bytes that are no Resource', () => {
  it.each(NO_RESOURCES)('%s: the object is named, the others are answered', async (_, hex) => {
    const bytes = filterOf([good, Buffer.from(hex, 'hex'), good]);
    const answer = readMessage(
      'FilterResponse',
      await server.client.raw(`${SERVICE}/Filter`, bytes),
    );
    expect(answer).toMatchObject({ allowed_indexes: [0, 2], invalid: [{ index: 1 }] });
  });

  it('an object that is a number is named, too', async () => {
    const number = Buffer.concat([filterOf([good]), Buffer.from([0x30, 5]), filterOf([good])]);
    const answer = readMessage(
      'FilterResponse',
      await server.client.raw(`${SERVICE}/Filter`, number),
    );
    expect(answer).toMatchObject({
      allowed_indexes: [0, 2],
      invalid: [{ index: 1, problem: 'objects[1]: is not a Resource message: send one' }],
    });
  });

  it('a call that ends within an object is refused whole', async () => {
    const bytes = filterOf([good, good]).subarray(0, -1);
    const error = await server.client.raw(`${SERVICE}/Filter`, bytes).then(
      () => expect.fail('it was answered'),
      (refused: ServiceError) => refused,
    );
    expect(error.code).toBe(status.INVALID_ARGUMENT);
  });

  it('a check of a batch that cannot be read keeps its id', () => {
    const writer = new Writer();
    writer.bytes(8, Buffer.from('0a017212ff', 'hex'));
    writer.bytes(8, Buffer.from('0a0173', 'hex'));
    const { checks } = decodeBatch(writer.finish(), LIMITS);
    expect(checks[0]).toMatchObject({
      id: 'r',
      error: expect.stringContaining('ends early') as string,
    });
    expect(checks[1]).toMatchObject({ id: 's', request: { tenant: '' } });
  });

  it('10,000 objects that cannot be read are 10,000 problems, and no more', () => {
    const { objects, invalid } = decodeFilter(
      filterOf(Array.from({ length: 10_000 }, () => Buffer.from('0f', 'hex'))),
      LIMITS,
    );
    expect(objects).toHaveLength(10_000);
    expect(invalid.size).toBe(10_000);
  });
});

const LIMITS = {
  checksPerBatch: 10,
  objectsPerFilter: 10_000,
  attributesPerResource: 64,
  valuesPerAttribute: 256,
  sourcesPerResource: 4,
  valuesPerResource: 300,
};
