/**
 * The shapes of audit records, as `fields.ts` has them, as a schema: what readers may rely on. `npm run gen` writes it as
 * a JSON Schema and as docs/audit-fields.md. Nothing that serves decisions loads this file.
 */
import * as z from 'zod';
import { RECORDS } from '../fields.ts';
import type { Field, Fields, Shape } from '../field-kinds.ts';

/** What a rule of the field policy leaves in place of a value. */
const altered = z
  .string()
  .regex(/^(\*\*\*|hmac:[\w-]{43})$/)
  .meta({ id: 'altered', description: '`***` (masked) or `hmac:…` (hashed) by the field policy' });

const scalar = z.union([z.string(), z.number(), z.boolean(), z.null()]);
const attributes = z.record(z.string(), z.union([z.array(scalar), altered]));

/** Shapes that stand in several places: one schema each. */
const shared = new Map<Shape, z.ZodType>();

function schemaOf(shape: Shape): z.ZodType {
  switch (shape.type) {
    case 'text': {
      const text = shape.least === undefined ? z.string() : z.string().min(shape.least);
      return shape.pattern === undefined ? text : text.regex(shape.pattern);
    }
    case 'time':
      return z.iso.datetime({ precision: 3 });
    case 'integer':
      return z.int().min(shape.from);
    case 'number': {
      const { from, above, below } = shape;
      let number = z.number();
      if (from !== undefined) number = number.min(from);
      if (above !== undefined) number = number.gt(above);
      return below === undefined ? number : number.lt(below);
    }
    case 'flag':
      return z.boolean();
    case 'constant':
      return z.literal(shape.value);
    case 'word':
      return z.enum(shape.of);
    case 'any':
      return z.unknown();
    case 'json':
      return z.record(z.string(), z.unknown());
    case 'counts':
      return z.record(z.string(), z.int().min(1));
    case 'attributes':
      return attributes;
    case 'list':
      return z.array(shape.of.type === 'text' ? schemaOf(shape.of) : orAltered(shape.of));
    case 'object':
      return objectOf(shape);
  }
}

function objectOf(shape: Extract<Shape, { readonly type: 'object' }>): z.ZodType {
  const known = shared.get(shape);
  if (known !== undefined) return known;
  const plain = strictOf(shape.fields);
  const schema = shape.id === undefined ? plain : plain.meta({ id: shape.id });
  shared.set(shape, schema);
  return schema;
}

function strictOf(fields: Fields): z.ZodObject {
  return z.strictObject(
    Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, fieldOf(field)])),
  );
}

function fieldOf({ shape, optional, redact, about }: Field): z.ZodType {
  const schema = redact === undefined ? schemaOf(shape) : orAltered(shape);
  return (optional === true ? schema.optional() : schema).meta({ description: about });
}

/** What the field policy may hash or mask; a text is one before and after. */
function orAltered(shape: Shape): z.ZodType {
  const schema = schemaOf(shape);
  return shape.type === 'text' || shape.type === 'any' ? schema : z.union([schema, altered]);
}

const records = Object.entries(RECORDS).map(([type, fields]) =>
  strictOf(fields).meta({ title: type }),
);

/** One line of the audit stream. */
export const recordSchema = z
  // There is more than one record.
  .discriminatedUnion('type', records as [z.ZodObject, ...z.ZodObject[]])
  .meta({ title: 'Postern audit record, version 1' });

/** The same for other tools. */
export function recordJsonSchema(): unknown {
  return z.toJSONSchema(recordSchema, { target: 'draft-2020-12' });
}
