/**
 * Values of YAML that are not what they look like: `02142` is the number 2142, `1.10` is 1.1, and `no` is a text here and
 * false to other readers. Whoever wrote one may have meant either, so it is refused: a policy would compare with the
 * other one, and nothing would say so.
 */
import { isPair, isScalar, Schema, visit, type Document, type Pair, type Scalar } from 'yaml';

/** Where it stands in the text, and what is wrong. */
export type Misread = readonly [offset: number, message: string];

/** Values that are reported of one file. */
const MAX_REPORTED = 20;

/** Every scalar whose text is not the canonical form of its value, the first twenty of them. */
export function misreadScalars(document: Document.Parsed): Misread[] {
  const found: Misread[] = [];
  visit(document, {
    Scalar(key, node, path): symbol | undefined {
      const parent = path.at(-1);
      if (isPair(parent) && isMode(parent, node)) return undefined;
      const message = key === 'key' ? misreadKey(node) : misread(node);
      if (message === undefined) return undefined;
      found.push([node.range?.[0] ?? 0, message]);
      return found.length < MAX_REPORTED ? undefined : visit.BREAK;
    },
  });
  return found;
}

/** `mode: off` is a word of ours, which nobody takes for anything else there. */
export function isMode({ key, value }: Pair, node: Scalar): boolean {
  return value === node && isScalar(key) && key.value === 'mode' && node.value === 'off';
}

function misread(node: Scalar): string | undefined {
  const { value, type } = node;
  // The parser keeps the text that it has read.
  const source = node.source ?? '';
  if (typeof value === 'string')
    return type === 'PLAIN' && node.tag === undefined ? misreadText(source) : undefined;
  if (value === null) return source === '' || source === 'null' ? undefined : misreadNull(source);
  if (typeof value === 'boolean')
    return source === String(value) ? undefined : twoReadings(source, String(value));
  return typeof value === 'number' ? misreadNumber(source, value) : undefined;
}

/** A key is always a text here; other readers take one that looks like a number for that number. */
function misreadKey(node: Scalar): string | undefined {
  const source = node.source ?? '';
  if (node.type !== 'PLAIN' || node.tag !== undefined || source === 'null') return undefined;
  const other = resolved(CORE, source);
  if (typeof other === 'number' && isCanonical(source, other)) return undefined;
  if (other === undefined || other === null) return misreadText(source);
  if (typeof other === 'boolean' && source === String(other)) return undefined;
  return `\`${shown(source)}\` is the text "${shown(source)}" here and ${textOf(other)} to other readers: quote it`;
}

/** @returns what is wrong with a number as it is written; `undefined`: it is what it looks like */
export function misreadNumber(source: string, value: number): string | undefined {
  if (isCanonical(source, value)) return undefined;
  if (!Number.isFinite(value))
    return `\`${shown(source)}\` is not a number that can be compared: quote it if the text "${shown(source)}" is meant`;
  if (Number.isInteger(value) && !Number.isSafeInteger(value))
    return `\`${shown(source)}\` is too large to be kept exactly, it would become ${String(value)}: quote it if the text "${shown(source)}" is meant`;
  return twoReadings(source, textOf(value));
}

/** Canonical is what JSON writes, of numbers that a double holds exactly. */
function isCanonical(source: string, value: number): boolean {
  return (
    source === JSON.stringify(value) && (!Number.isInteger(value) || Number.isSafeInteger(value))
  );
}

function misreadNull(source: string): string {
  return twoReadings(source, 'null');
}

function misreadText(source: string): string | undefined {
  if (!/^[-+.0-9yYnNoO~]/.test(source)) return undefined;
  const other = resolved(OLDER, source);
  if (other === undefined || other === source) return undefined;
  return `\`${shown(source)}\` is the text "${shown(source)}" here and ${textOf(other)} to other readers of YAML: quote it, or write ${textOf(other)}`;
}

/** Whether a plain text would be refused, so that whoever writes YAML quotes it. */
export function mustBeQuoted(text: string): boolean {
  return misreadText(text) !== undefined;
}

function twoReadings(source: string, value: string): string {
  return `\`${shown(source)}\` may mean the text "${shown(source)}" or ${value}: quote it, or write ${value}`;
}

function textOf(value: unknown): string {
  // The resolvers give scalars.
  return Object.is(value, -0) ? '0' : String(value);
}

function shown(source: string): string {
  const text = JSON.stringify(source).slice(1, -1);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

interface Resolver {
  readonly test: RegExp;
  readonly resolve: (text: string) => unknown;
}

/** What a schema of YAML takes plain texts for, but dates and times: those are the texts that they look like. */
function resolversOf(schema: 'core' | 'yaml-1.1'): readonly Resolver[] {
  return new Schema({ schema }).tags.flatMap((tag): Resolver[] => {
    if (!('resolve' in tag) || !('test' in tag) || tag.test === undefined) return [];
    if (tag.tag.endsWith(':timestamp') || tag.format === 'TIME') return [];
    // Resolvers of scalars take their text alone; what they report and their options are not asked for.
    const scalar = tag as unknown as {
      resolve(text: string, report: () => void, options: object): unknown;
    };
    return [{ test: tag.test, resolve: (text) => scalar.resolve(text, () => {}, {}) }];
  });
}

const CORE = resolversOf('core');
const OLDER = resolversOf('yaml-1.1');

/** What a plain text is to a schema; `undefined`: a text. `y` and `n` are names more often than answers. */
function resolved(resolvers: readonly Resolver[], source: string): unknown {
  if (/^[yYnN]$/.test(source)) return undefined;
  const found = resolvers.find(({ test }) => test.test(source))?.resolve(source);
  const value = isScalar(found) ? found.value : found;
  return typeof value === 'bigint' ? Number(value) : value;
}
