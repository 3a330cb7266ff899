/** Cuts a record that is too large for a sink down to a stub that says so: what it names, what it omits, and its digest. */
import { CUTTABLE } from '../fields.ts';
import { stringify } from './json.ts';
import { isObject, parseRecord } from './line.ts';
import { recordDigest } from '../seals/seal.ts';

/** A text that is longer is shortened where that is not enough, characters. */
const SHORT = 256;

type Fields = Readonly<Record<string, unknown>>;

/**
 * @param line of a record; what is no record is cut to nothing but `cut`
 * @param maxBytes that the stub should have at most, 4 KiB or more
 * @returns a record with `cut`: the bytes that it had, and its digest as its seal has it; `omitted` names what is left out
 */
export function cutDown(line: string, maxBytes: number): string {
  const record = parseRecord(line);
  const cut = { bytes: Buffer.byteLength(line), digest: recordDigest(line) };
  if (record === undefined) return stringify({ cut });
  const before = Array.isArray(record['omitted']) ? record['omitted'].map(String) : [];
  const omitted = new Set(before);
  const { prev_hash, hash, salt: _salt, ...fields } = record;
  let stub: Fields = fields;
  const textOf = (): string => {
    const seal = hash === undefined ? {} : { prev_hash, hash };
    return stringify({ ...stub, omitted: [...omitted], cut, ...seal });
  };
  let text = textOf();
  for (const [field = '', part] of CUTTABLE) {
    if (Buffer.byteLength(text) <= maxBytes) return text;
    const rest = without(stub, field, part);
    if (rest === undefined) continue;
    stub = rest;
    omitted.add(part === undefined ? field : `${field}.${part}`);
    text = textOf();
  }
  if (Buffer.byteLength(text) <= maxBytes) return text;
  stub = shortened(stub, omitted);
  return textOf();
}

/** `undefined`: it has no such part. */
function without(record: Fields, field: string, part: string | undefined): Fields | undefined {
  const { [field]: value, ...others } = record;
  if (value === undefined) return undefined;
  if (part === undefined) return others;
  if (!isObject(value) || !(part in value)) return undefined;
  const { [part]: _part, ...rest } = value;
  return { ...record, [field]: rest };
}

/** Long texts by their beginnings, long lists and objects not at all. */
function shortened(record: Fields, omitted: Set<string>): Fields {
  return Object.fromEntries(
    Object.entries(record).flatMap(([name, value]): [string, unknown][] => {
      if (name === 'omitted' || JSON.stringify(value).length <= SHORT) return [[name, value]];
      omitted.add(name);
      return typeof value === 'string' ? [[name, `${value.slice(0, SHORT).toWellFormed()}…`]] : [];
    }),
  );
}
