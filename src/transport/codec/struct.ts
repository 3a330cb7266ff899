/** `google.protobuf.Struct`: JSON of bounded depth and size. */
import type { Scalar } from '../../engine/model.ts';
import { DecodeProblem } from './problem.ts';
import { WireError, type Reader } from './wire.ts';

/** Levels that a value may nest. */
const MAX_DEPTH = 16;
/** Values that an entry may hold, nested ones included. */
const MAX_VALUES = 1_024;

/** Levels that a value may still nest, and the values that it has so far. */
interface Nesting {
  readonly depth: number;
  values: number;
}

/** An entry of `context`, which is recorded, not decided on. @throws DecodeProblem, WireError */
export function readContextEntry(reader: Reader): readonly [string, unknown] {
  return readField(reader, { depth: MAX_DEPTH, values: 0 });
}

function readField(reader: Reader, nesting: Nesting): readonly [string, unknown] {
  return reader.message('context', (inner) => {
    let key = '';
    let value: unknown = null;
    while (inner.next())
      if (inner.field === 1) key = inner.string('context key');
      else if (inner.field === 2) value = inner.message('context', (v) => readJson(v, nesting));
      else inner.skip();
    return [key, value];
  });
}

function readJson(reader: Reader, nesting: Nesting): unknown {
  if (nesting.depth === 0)
    throw new DecodeProblem('context', `is nested deeper than ${MAX_DEPTH} levels`);
  if (++nesting.values > MAX_VALUES)
    throw new DecodeProblem('context', `an entry has more than ${MAX_VALUES} values: send less`);
  let value: unknown = null;
  while (reader.next())
    switch (reader.field) {
      case 1:
        reader.uint('context');
        value = null;
        break;
      case 5:
        value = Object.fromEntries(readItems(reader, nesting, readField));
        break;
      case 6:
        value = readItems(reader, nesting, (list, within) =>
          list.message('context', (item) => readJson(item, within)),
        );
        break;
      default:
        value = readContextScalar(reader);
    }
  return value;
}

/** A `google.protobuf.Struct` that the reader stands at. @throws DecodeProblem, WireError */
export function readStruct(reader: Reader): Readonly<Record<string, unknown>> {
  const nesting = { depth: MAX_DEPTH, values: 0 };
  return Object.fromEntries(readItems(reader, nesting, readField));
}

/** The repeated field 1 of a struct or a list, one level deeper. */
function readItems<T>(
  reader: Reader,
  nesting: Nesting,
  read: (reader: Reader, nesting: Nesting) => T,
): T[] {
  return reader.message('context', (inner) => {
    const within = { depth: nesting.depth - 1, values: nesting.values };
    const items: T[] = [];
    while (inner.next())
      if (inner.field === 1) items.push(read(inner, within));
      else inner.skip();
    nesting.values = within.values;
    return items;
  });
}

function readContextScalar(reader: Reader): Scalar {
  if (reader.field === 2) return reader.double('context');
  if (reader.field === 3) return reader.string('context');
  if (reader.field === 4) return reader.bool('context');
  throw new WireError(`\`context\` has a value of unknown kind ${reader.field}`);
}
