/** A request's ids, type, path and attributes are looked at wherever they stand (ID-1, PATH-1, COMB-2). */
import { describe, expect, it } from 'vitest';
import type { Attributes, Request, Resource } from '../../src/engine/model.ts';
import {
  printable,
  requestIdProblem,
  requestProblem,
  resourceProblem,
} from '../../src/engine/validate.ts';

const LIMITS = { attributes: 2, valuesPerAttribute: 2 };
const RESOURCE: Resource = {
  type: 'doc',
  id: 'd1',
  path: 'work.a',
  attributes: new Map(),
  sources: [],
};
const REQUEST: Request = {
  tenant: 'acme',
  subject: { type: 'user', id: 'alice' },
  keyId: 'k1',
  action: 'doc:read',
  resource: RESOURCE,
};
/** Refused as an id, a type, a path and a key of an attribute. */
const BAD = 'a\u0000b';
const CONTROL = 'holds a control character: remove it';

const source = (fields: Readonly<Record<string, readonly string[]>>): Attributes =>
  new Map(Object.entries(fields));
const GOOD = source({ team: ['a', 'b'] });
const BAD_KEY = source({ [BAD]: ['a'] });
const TOO_MANY = source({ a: [], b: [], c: [] });
const TOO_LONG = source({ team: ['a', 'b', 'c'] });

describe('a request', () => {
  it('that is well formed has no problem', () => {
    expect(requestProblem(REQUEST, LIMITS)).toBeUndefined();
    const bare = { ...RESOURCE, type: '', id: '', path: undefined, sources: [GOOD, GOOD] };
    expect(requestProblem({ ...REQUEST, resource: bare }, LIMITS)).toBeUndefined();
  });

  it('names somebody', () => {
    const nobody = { ...REQUEST, subject: undefined, keyId: undefined };
    expect(requestProblem(nobody, LIMITS)).toEqual({
      field: 'subject',
      value: '',
      problem: 'is missing, and so is `key_id`: name at least one of them',
    });
    expect(requestProblem({ ...REQUEST, subject: undefined }, LIMITS)).toBeUndefined();
    expect(requestProblem({ ...REQUEST, keyId: undefined }, LIMITS)).toBeUndefined();
  });

  it.each<readonly [string, Request]>([
    ['tenant', { ...REQUEST, tenant: BAD }],
    ['subject.id', { ...REQUEST, subject: { type: 'user', id: BAD } }],
    ['subject.id', { ...REQUEST, subject: { type: 'role', id: BAD }, keyId: undefined }],
    ['key_id', { ...REQUEST, keyId: BAD }],
    ['key_id', { ...REQUEST, subject: undefined, keyId: BAD }],
    ['resource.type', { ...REQUEST, resource: { ...RESOURCE, type: BAD } }],
    ['resource.id', { ...REQUEST, resource: { ...RESOURCE, id: BAD } }],
  ])('%s is an id', (field, request) => {
    expect(requestProblem(request, LIMITS)).toEqual({ field, value: BAD, problem: CONTROL });
  });

  it.each<readonly [string, Partial<Resource>]>([
    ['type', { type: 'a:b' }],
    ['type', { type: ' a' }],
    ['id', { id: ' ' }],
    ['id', { id: 'a'.repeat(257) }],
    ['id', { id: '\ud800' }],
    ['id', { id: 'a\u200b' }],
    ['path', { path: 'a..b' }],
    ['path', { path: BAD }],
    ['attributes', { attributes: TOO_MANY }],
    ['attributes[team]', { attributes: TOO_LONG }],
    ['attributes key', { attributes: BAD_KEY }],
    // A source alone, the first, the last.
    ['sources[0].attributes', { sources: [TOO_MANY] }],
    ['sources[0].attributes[team]', { sources: [TOO_LONG] }],
    ['sources[0].attributes key', { sources: [BAD_KEY] }],
    ['sources[0].attributes key', { sources: [BAD_KEY, GOOD] }],
    ['sources[1].attributes key', { sources: [GOOD, BAD_KEY] }],
    ['sources[1].attributes[team]', { sources: [GOOD, TOO_LONG, GOOD] }],
  ])('its %s is looked at: %j', (field, change) => {
    const resource = { ...RESOURCE, ...change };
    expect(requestProblem({ ...REQUEST, resource }, LIMITS)?.field).toBe(`resource.${field}`);
    // An object of Filter is looked at alike, and is named by its place.
    expect(resourceProblem(resource, 0, LIMITS)?.field).toBe(`objects[0].${field}`);
    expect(resourceProblem(resource, 7, LIMITS)?.field).toBe(`objects[7].${field}`);
  });

  it('has as many attributes and values as the limits allow, and no more', () => {
    const at = {
      attributes: source({ a: ['1', '2'], b: [] }),
      sources: [source({ a: [], b: [] })],
    };
    expect(resourceProblem({ ...RESOURCE, ...at }, -1, LIMITS)).toBeUndefined();
    expect(resourceProblem({ ...RESOURCE, attributes: TOO_MANY }, -1, LIMITS)).toEqual({
      field: 'resource.attributes',
      value: '3 keys',
      problem: 'is over the limit of 2 attributes: send those that policies name',
    });
    expect(resourceProblem({ ...RESOURCE, attributes: TOO_LONG }, -1, LIMITS)).toEqual({
      field: 'resource.attributes[team]',
      value: '3 values',
      problem: 'is over the limit of 2 values an attribute: split the object or raise the limit',
    });
  });
});

describe('a problem', () => {
  it('of a request id names the field and the value', () => {
    expect(requestIdProblem('id', 'a')).toBeUndefined();
    expect(requestIdProblem('id', '')).toBeUndefined();
    expect(requestIdProblem('items[3].id', BAD)).toEqual({
      field: 'items[3].id',
      value: BAD,
      problem: CONTROL,
    });
  });

  it('of an action and of a type has its own words', () => {
    expect(requestProblem({ ...REQUEST, action: '' }, LIMITS)).toMatchObject({ field: 'action' });
    expect(resourceProblem({ ...RESOURCE, type: 'a:b' }, -1, LIMITS)).toEqual({
      field: 'resource.type',
      value: 'a:b',
      problem: 'holds a `:`: name the type alone',
    });
  });

  it('of the object itself comes before that of a source', () => {
    const both = { ...RESOURCE, attributes: BAD_KEY, sources: [TOO_MANY] };
    expect(resourceProblem(both, -1, LIMITS)?.field).toBe('resource.attributes key');
  });
});

it('user input in a message is short, and nothing that a terminal obeys', () => {
  expect(printable('plain')).toBe('plain');
  expect(printable('a\u001b[31m')).toBe('a\\u001b[31m');
  expect(printable('a\u009bb\u007f')).toBe('a\\u009bb\\u007f');
  expect(printable('a'.repeat(80))).toBe('a'.repeat(80));
  expect(printable('a'.repeat(81))).toBe(`${'a'.repeat(77)}...`);
});
