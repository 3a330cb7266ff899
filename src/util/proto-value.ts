/**
 * JSON as `google.protobuf.Struct`, `Value` and `ListValue`, and back, in the form of the proto loader's
 * codec. `__proto__` and its like are ordinary keys (ID-3): objects are made from entries, never by assignment.
 */

/** `google.protobuf.Value`: exactly one field is set. */
export type ProtoValue =
  | { readonly stringValue: string }
  | { readonly numberValue: number }
  | { readonly boolValue: boolean }
  | { readonly nullValue: 'NULL_VALUE' }
  | { readonly structValue: ProtoStruct }
  | { readonly listValue: ProtoList };

export interface ProtoStruct {
  readonly fields: Readonly<Record<string, ProtoValue>>;
}

export interface ProtoList {
  readonly values: readonly ProtoValue[];
}

/**
 * A JSON value as a `Value`.
 * @throws TypeError for what is not valid JSON: `undefined`, a function, a bigint
 */
export function toValue(json: unknown): ProtoValue {
  if (typeof json === 'string') return { stringValue: json };
  if (typeof json === 'number') return { numberValue: json };
  if (typeof json === 'boolean') return { boolValue: json };
  if (json === null) return { nullValue: 'NULL_VALUE' };
  if (isArray(json)) return { listValue: toList(json) };
  if (typeof json === 'object') return { structValue: toStruct(json) };
  throw new TypeError(`a ${typeof json} is no JSON value`);
}

/** A JSON object as a `Struct`. @throws TypeError as `toValue` */
export function toStruct(json: object): ProtoStruct {
  return {
    fields: Object.fromEntries(Object.entries(json).map(([key, value]) => [key, toValue(value)])),
  };
}

/** A JSON array as a `ListValue`. @throws TypeError as `toValue` */
function toList(json: readonly unknown[]): ProtoList {
  return { values: json.map(toValue) };
}

/** A `Value` that was decoded as JSON. No field set: `null`. Numbers may be NaN or infinite. */
function fromValue(value: unknown): unknown {
  const kind = record(value);
  if (Object.hasOwn(kind, 'structValue')) return fromStruct(kind['structValue']);
  if (Object.hasOwn(kind, 'listValue')) return fromList(kind['listValue']);
  return kind['stringValue'] ?? kind['numberValue'] ?? kind['boolValue'] ?? null;
}

/** A `Struct` that was decoded as a JSON object; absent: an empty one. */
export function fromStruct(struct: unknown): Record<string, unknown> {
  const fields = record(record(struct)['fields']);
  return Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, fromValue(value)]));
}

/** A `ListValue` that was decoded as a JSON array; absent: an empty one. */
export function fromList(list: unknown): unknown[] {
  const values = record(list)['values'];
  return isArray(values) ? values.map(fromValue) : [];
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  // Any object can be read by key; the value is unknown.
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function isArray(value: unknown): value is readonly unknown[] {
  return Array.isArray(value);
}
