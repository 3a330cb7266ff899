/** `Resource`: what a request asks about, with its attributes and those of its sources. */
import type { Attributes, Resource, Scalar } from '../../engine/model.ts';
import { printable } from '../../engine/validate.ts';
import type { CodecLimits } from './limits.ts';
import { DecodeProblem } from './problem.ts';
import type { Reader } from './wire.ts';

const NO_ATTRIBUTES: Attributes = new Map();
export const NO_RESOURCE: Resource = {
  type: '',
  id: '',
  path: undefined,
  attributes: NO_ATTRIBUTES,
  sources: [],
};
/** @param at index of an object of Filter, -1 for the resource of a check: names are made only for errors */
export function readResource(reader: Reader, at: number, limits: CodecLimits): Resource {
  const outer = reader.enter('resource');
  const resource = readResourceFields(reader, at, limits);
  reader.leave(outer);
  return resource;
}

/** The fields of a resource that the reader has gone into. */
export function readResourceFields(reader: Reader, at: number, limits: CodecLimits): Resource {
  let type = '';
  let id = '';
  let path: string | undefined;
  let attributes: Map<string, readonly Scalar[]> | undefined;
  let sources: Attributes[] | undefined;
  const place: Place = { at, source: -1, values: 0 };
  while (reader.next())
    switch (reader.field) {
      case 1:
        type = reader.string('type');
        break;
      case 2:
        id = reader.string('id');
        break;
      case 3:
        path = reader.string('path');
        break;
      case 4:
        attributes ??= new Map();
        place.source = -1;
        readAttribute(reader, attributes, place, limits);
        break;
      case 5:
        sources ??= [];
        if (sources.length === limits.sourcesPerResource)
          throw new DecodeProblem(
            `${at < 0 ? 'resource' : `objects[${at}]`}.sources`,
            `more than ${limits.sourcesPerResource} sources: raise \`limits.sources_per_resource\` if they are needed`,
          );
        place.source = sources.length;
        sources.push(readSource(reader, place, limits));
        break;
      default:
        reader.skip();
    }
  return {
    type,
    id,
    path,
    attributes: attributes ?? NO_ATTRIBUTES,
    sources: sources ?? NO_RESOURCE.sources,
  };
}

/** Where an attribute stands. */
interface Place {
  readonly at: number;
  /** -1: the resource's own attributes. */
  source: number;
  /** Values of the resource so far, those of its sources included. */
  values: number;
}

function nameOf({ at, source }: Place, key?: string): string {
  const resource = at < 0 ? 'resource' : `objects[${at}]`;
  const holder = source < 0 ? resource : `${resource}.sources[${source}]`;
  return `${holder}.attributes${key === undefined ? '' : `[${printable(key)}]`}`;
}

function readSource(reader: Reader, place: Place, limits: CodecLimits): Attributes {
  const outer = reader.enter('sources');
  const attributes = new Map<string, readonly Scalar[]>();
  while (reader.next())
    if (reader.field === 1) readAttribute(reader, attributes, place, limits);
    else reader.skip();
  reader.leave(outer);
  return attributes;
}

function readAttribute(
  reader: Reader,
  into: Map<string, readonly Scalar[]>,
  place: Place,
  limits: CodecLimits,
): void {
  const outer = reader.enter('attributes');
  let key = '';
  let values: readonly Scalar[] | undefined;
  while (reader.next())
    if (reader.field === 1) key = reader.string('attributes key');
    else if (reader.field === 2) values = readValues(reader, key, place, limits);
    else reader.skip();
  reader.leave(outer);
  if (values === undefined)
    throw new DecodeProblem(nameOf(place, key), 'has no value: send a scalar or a list');
  if (into.has(key)) throw new DecodeProblem(nameOf(place, key), 'is sent twice: send one list');
  if (into.size === limits.attributesPerResource)
    throw new DecodeProblem(
      nameOf(place),
      `more than ${limits.attributesPerResource} attributes: send those that policies name, or raise \`limits.attributes_per_resource\``,
    );
  place.values += values.length;
  if (place.values > limits.valuesPerResource)
    throw new DecodeProblem(
      nameOf(place, key),
      `more than ${limits.valuesPerResource} values in one resource, its sources included: send those that policies name, or raise \`limits.values_per_resource\``,
    );
  into.set(key, values);
}

/** A `google.protobuf.Value` that is a scalar or a list of scalars; a scalar is a list of one. */
function readValues(
  reader: Reader,
  key: string,
  place: Place,
  limits: CodecLimits,
): readonly Scalar[] | undefined {
  const outer = reader.enter('attributes value');
  let values: readonly Scalar[] | undefined;
  while (reader.next())
    values =
      reader.field === LIST_VALUE
        ? readList(reader, key, place, limits)
        : [readScalar(reader, key, place)];
  reader.leave(outer);
  return values;
}

/** Field of `google.protobuf.Value`. */
const LIST_VALUE = 6;

function readList(reader: Reader, key: string, place: Place, limits: CodecLimits): Scalar[] {
  const outer = reader.enter('list_value');
  const items: Scalar[] = [];
  while (reader.next()) {
    if (reader.field !== 1) {
      reader.skip();
      continue;
    }
    if (items.length === limits.valuesPerAttribute)
      throw new DecodeProblem(
        nameOf(place, key),
        `more than ${limits.valuesPerAttribute} values: raise \`limits.values_per_attribute\` if they are needed`,
      );
    items.push(readListItem(reader, key, place));
  }
  reader.leave(outer);
  return items;
}

function readListItem(reader: Reader, key: string, place: Place): Scalar {
  const outer = reader.enter('values');
  let value: Scalar | undefined;
  while (reader.next()) value = readScalar(reader, key, place);
  reader.leave(outer);
  if (value === undefined)
    throw new DecodeProblem(nameOf(place, key), 'holds an empty value: send scalars');
  return value;
}

function readScalar(reader: Reader, key: string, place: Place): Scalar {
  switch (reader.field) {
    case 2: {
      const value = reader.double('number_value');
      if (!Number.isFinite(value))
        throw new DecodeProblem(nameOf(place, key), `\`${value}\` is not a finite number`);
      return value;
    }
    case 3:
      return reader.string('string_value');
    case 4:
      return reader.bool('bool_value');
    case 1:
      throw new DecodeProblem(
        nameOf(place, key),
        'is null: leave the attribute out, or send a value',
      );
    default:
      throw new DecodeProblem(nameOf(place, key), 'is nested: send a scalar or a list of scalars');
  }
}
