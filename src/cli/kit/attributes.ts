/** `--attr` and `--source` arguments. */
import type { Scalar } from '../../engine/model.ts';
import { CliError } from './output.ts';

/** Attributes by key; a key given several times is a list. */
export type AttributeArguments = ReadonlyMap<string, Scalar | readonly Scalar[]>;

/** `key=text` or, for other types and lists, `key:=JSON` (`level:=5`, `tags:=["a","b"]`). */
export function parseAttributes(given: readonly string[]): AttributeArguments {
  const parsed = new Map<string, Scalar | readonly Scalar[]>();
  for (const argument of given) {
    const at = argument.indexOf('=');
    if (at < 1) throw new CliError(`--attr: \`${argument}\` is not key=value or key:=JSON`);
    const typed = argument[at - 1] === ':';
    const key = argument.slice(0, typed ? at - 1 : at);
    const text = argument.slice(at + 1);
    const value = typed ? parseJson(`--attr ${key}`, text) : text;
    const before = parsed.get(key);
    parsed.set(key, before === undefined ? value : [before, value].flat());
  }
  return parsed;
}

/** `{"tenant": "acme"}`: the metadata of one source. */
export function parseSourceArgument(text: string): AttributeArguments {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new CliError(`--source: \`${text}\` is not JSON`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new CliError(`--source: \`${text}\` is not a JSON object`);
  return new Map(
    Object.entries(value).map(([key, entry]) => [key, scalars(`--source ${key}`, entry)]),
  );
}

function parseJson(name: string, text: string): Scalar | readonly Scalar[] {
  try {
    return scalars(name, JSON.parse(text));
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw new CliError(`${name}: \`${text}\` is not JSON: use key=text for a string`);
  }
}

function scalars(name: string, value: unknown): Scalar | readonly Scalar[] {
  const list: readonly unknown[] = Array.isArray(value) ? value : [value];
  const checked = list.filter(isScalar);
  if (checked.length !== list.length)
    throw new CliError(`${name}: only strings, numbers, booleans and lists of them are values`);
  const [first] = checked;
  return Array.isArray(value) || first === undefined ? checked : first;
}

function isScalar(value: unknown): value is Scalar {
  return ['string', 'number', 'boolean'].includes(typeof value);
}
