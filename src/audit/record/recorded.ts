/** Records of an audit log as they are read back: what `event.ts` and `management.ts` wrote, checked. Pure. */
import * as z from 'zod';
import { MODES, type Attributes, type Resource, type Scalar } from '../../engine/model.ts';
import type { Line } from '../logs/names.ts';
import { isObject } from './line.ts';

type RecordedAttributes = Readonly<Record<string, readonly Scalar[]>>;

const attributes = z.custom<RecordedAttributes>(isAttributes);
const resource = z.object({
  type: z.string().optional(),
  id: z.string().optional(),
  path: z.string().optional(),
  attributes: attributes.optional(),
  sources: z.array(attributes).optional(),
});
const index = z.int().min(0);
const rules = z.array(z.string());

const decision = z.object({
  v: z.literal(1),
  type: z.literal('decision'),
  time: z.iso.datetime(),
  decision_id: z.string(),
  api: z.string(),
  tenant: z.string(),
  revision: index,
  subject: z.string().optional(),
  key_id: z.string().optional(),
  action: z.string(),
  resource: resource.optional(),
  objects: z
    .object({
      total: index.optional(),
      visible: index.optional(),
      shadow_hidden: index.optional(),
      shadow_shown: index.optional(),
      offset: index.optional(),
      limit: index.optional(),
      invalid_indexes: z.array(index).optional(),
      items: z.array(resource).optional(),
      visible_indexes: z.array(index).optional(),
    })
    .optional(),
  allowed: z.boolean(),
  reason: z.string(),
  credential_problem: z.string().optional(),
  shadow: z.object({ allowed: z.boolean(), differs: z.boolean() }).optional(),
  shadow_policy: rules.optional(),
  policy: rules.optional(),
  mode: z.enum(MODES).optional(),
  omitted: z.array(z.string()).optional(),
  sample_rate: z.number().gt(0).max(1).optional(),
  erased: z.boolean().optional(),
});

const change = z.object({ kind: z.string(), id: z.string(), value: z.unknown() });
const management = z.object({
  v: z.literal(1),
  type: z.literal('management'),
  time: z.iso.datetime(),
  tenant: z.string(),
  revision: index,
  allowed: z.boolean(),
  dry_run: z.boolean().optional(),
  repeated: z.boolean().optional(),
  before: z.array(change).optional(),
  after: z.array(change).optional(),
  more_changes: index.optional(),
});

export type DecisionRecord = z.output<typeof decision>;
export type ManagementRecord = z.output<typeof management>;

/** `other`: a record that is about no decision and no change. `unreadable`: no record of this version. */
export type Recorded =
  | DecisionRecord
  | ManagementRecord
  | { readonly type: 'other' }
  | { readonly type: 'unreadable'; readonly why: string };

const OTHER: Recorded = { type: 'other' };

/** Without the parts of which it says that they are altered: what stands there is no value of the request. */
export function readRecord({ text, where, whole }: Line): Recorded {
  const unreadable = (why: string): Recorded => ({ type: 'unreadable', why: `${where}: ${why}` });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return unreadable(whole ? 'is no JSON: a record that was cut off' : 'ends within a record');
  }
  if (!isObject(value)) return unreadable('is no JSON object');
  if (value['type'] === 'authentication' || value['type'] === 'seal') return OTHER;
  const schema = value['type'] === 'management' ? management : decision;
  const read = schema.safeParse(withoutAltered(value));
  if (read.success) return read.data;
  const [issue] = read.error.issues;
  return unreadable(`${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'is no audit record'}`);
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

export function resourceOf(recorded: z.output<typeof resource> = {}): Resource {
  return {
    type: recorded.type ?? '',
    id: recorded.id ?? '',
    path: recorded.path,
    attributes: attributesOf(recorded.attributes),
    sources: recorded.sources?.map(attributesOf) ?? [],
  };
}

function attributesOf(recorded: RecordedAttributes = {}): Attributes {
  return new Map(Object.entries(recorded));
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
