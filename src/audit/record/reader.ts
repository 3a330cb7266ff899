/**
 * Records of an audit log as reports and replay read them back: the fields that `fields.ts` says are read, checked. A
 * reader is more lenient than the schema: it takes fields that it does not know, and words of later versions. Pure.
 */
import * as z from 'zod';
import type { Attributes, Resource, Scalar } from '../../engine/model.ts';
import { DECISION, MANAGEMENT } from '../fields.ts';
import type { Fields, ReadAttributes, ReadFields, Shape } from '../field-kinds.ts';
import type { Line } from '../logs/names.ts';
import { isObject } from './line.ts';

export type DecisionRecord = ReadFields<typeof DECISION>;
export type ManagementRecord = ReadFields<typeof MANAGEMENT>;

/** `other`: a record that is about no decision and no change. `unreadable`: no record of this version. */
export type ReadRecord =
  | DecisionRecord
  | ManagementRecord
  | { readonly type: 'other' }
  | { readonly type: 'unreadable'; readonly why: string };

const decision = readerOf(DECISION);
const management = readerOf(MANAGEMENT);
const OTHER: ReadRecord = { type: 'other' };

/** Without the parts of which it says that they are altered: what stands there is no value of the request. */
export function readRecord({ text, where, whole }: Line): ReadRecord {
  const unreadable = (why: string): ReadRecord => ({ type: 'unreadable', why: `${where}: ${why}` });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return unreadable(
      whole ? 'is not valid JSON: a record that was cut off' : 'ends within a record',
    );
  }
  if (!isObject(value)) return unreadable('is no JSON object');
  if (value['type'] === 'authentication' || value['type'] === 'seal') return OTHER;
  const reader = value['type'] === 'management' ? management : decision;
  const read = reader.safeParse(withoutAltered(value));
  // The types of records are made of the same table as their readers.
  if (read.success) return read.data as DecisionRecord | ManagementRecord;
  const [issue] = read.error.issues;
  return unreadable(`${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'is no audit record'}`);
}

function readerOf(fields: Fields): z.ZodType {
  return z.object(
    Object.fromEntries(
      Object.entries(fields).flatMap(([name, { shape, read }]): [string, z.ZodType][] => {
        if (read === 'no') return [];
        const reader = readerOfShape(shape);
        return [[name, read === 'may' ? reader.optional() : reader]];
      }),
    ),
  );
}

function readerOfShape(shape: Shape): z.ZodType {
  switch (shape.type) {
    case 'text':
      return z.string();
    case 'time':
      return z.iso.datetime();
    case 'integer':
      return z.int().min(0);
    case 'number': {
      const { from = -Infinity, above = -Infinity, below = Infinity } = shape;
      return z.number().min(from).gt(above).max(below);
    }
    case 'flag':
      return z.boolean();
    case 'constant':
      return shape.value === true ? z.boolean() : z.literal(shape.value);
    case 'word':
      return shape.grows === true ? z.string() : z.enum(shape.of);
    case 'any':
      return z.unknown();
    case 'json':
    case 'counts':
      return z.custom<object>(isObject);
    case 'attributes':
      return z.custom<ReadAttributes>(isAttributes);
    case 'list':
      return z.array(readerOfShape(shape.of));
    case 'object':
      return readerOf(shape.fields);
  }
}

function withoutAltered(record: Readonly<Record<string, unknown>>): unknown {
  const { omitted } = record;
  if (!Array.isArray(omitted)) return record;
  return Object.fromEntries(
    Object.entries(record).flatMap(([name, value]) => {
      if (omitted.includes(name)) return [];
      const parts = omitted.filter((path) => String(path).startsWith(`${name}.`));
      if (parts.length === 0 || !isObject(value)) return [[name, value]];
      const kept = Object.entries(value).filter(([part]) => !parts.includes(`${name}.${part}`));
      return [[name, Object.fromEntries(kept)]];
    }),
  );
}

/** The resource of a record, as the engine has it. */
export function resourceOf(read: NonNullable<DecisionRecord['resource']> = {}): Resource {
  return {
    type: read.type ?? '',
    id: read.id ?? '',
    path: read.path,
    attributes: attributesOf(read.attributes),
    sources: read.sources?.map(attributesOf) ?? [],
  };
}

function attributesOf(read: ReadAttributes = {}): Attributes {
  return new Map(Object.entries(read));
}

/** Own keys one by one: the schema library passes over a `__proto__` (ID-3). */
function isAttributes(value: unknown): boolean {
  return (
    isObject(value) &&
    Object.values(value).every((list: unknown) => Array.isArray(list) && list.every(isScalar))
  );
}

function isScalar(value: unknown): value is Scalar {
  return ['string', 'number', 'boolean'].includes(typeof value);
}
