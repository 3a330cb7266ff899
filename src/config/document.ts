/** One YAML file: its value, and the line and column of everything in it. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import {
  isAlias,
  isCollection,
  isMap,
  isNode,
  isPair,
  isScalar,
  LineCounter,
  visit,
  type Document,
} from 'yaml';
import type * as z from 'zod';
import { compose, tooMuch, type Excess, type TextShape } from './yaml-document.ts';
import { ConfigError, formatPath, type Problem } from './problem.ts';
import { issueProblems } from './issues.ts';
import { jsonTooDeep, parseJson } from './json.ts';
import { errorText } from '../util/system-error.ts';
import { misreadScalars } from './scalars.ts';
import { readStable } from './stable.ts';
import type { Source } from './source.ts';

/** Longer texts are read as JSON only: YAML with the places of all its parts takes a hundred times its length. */
export const MAX_YAML_CHARS = 8 * 1024 * 1024;

/**
 * Values of a YAML text at most: reading one takes some microseconds and a kilobyte, JSON takes a hundredth of both. A
 * tenant of 200,000 users with their roles fits.
 */
const MAX_YAML_VALUES = 1_500_000;

/** Words, marks, blanks and ends of lines of a YAML text at most. */
const MAX_YAML_TOKENS = 6_000_000;

/** Largest file that is read, in bytes: a state of a million grants fits, a runaway file does not. */
const MAX_FILE_BYTES = 512 * 1024 * 1024;

/** Its descriptor. */
const STDIN = 0;

/** Reads and parses a YAML file, whole: what changes meanwhile is read again; `-` is standard input. @throws ConfigError where it is unreadable or not YAML. */
export function readSource(file: string): Source {
  let bytes: Buffer;
  try {
    bytes = file === '-' ? readFileSync(STDIN) : readStable(file);
  } catch (error) {
    throw new ConfigError([at(file, 1, 1, [], `cannot be read: ${errorText(error)}`, 'error')]);
  }
  return decodeSource(file === '-' ? 'stdin' : file, bytes);
}

/** Parses the bytes of a YAML file. @throws ConfigError where they are not UTF-8, not YAML or too many */
export function decodeSource(file: string, bytes: Uint8Array): Source {
  let text: string;
  try {
    if (bytes.length > MAX_FILE_BYTES) throw new Error(`is larger than ${MAX_FILE_BYTES} bytes`);
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw new ConfigError([at(file, 1, 1, [], `cannot be read: ${errorText(error)}`, 'error')]);
  }
  return parseSource(file, text);
}

/** What tells whether a text is whole. */
export function endOf(text: string): Pick<Source, 'digest' | 'isEnded' | 'isBraced'> {
  return {
    digest: createHash('sha256').update(text).digest('hex'),
    isEnded: /(?:^|\n)\.\.\.\s*$/.test(text.slice(-200)),
    isBraced: /^\s*[{[]/.test(text),
  };
}

/** JSON from here on is read as JSON, which takes a hundredth of the time. */
const SMALL_CHARS = 16_384;

function canParse(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** How a text may be built. */
export interface Shape extends TextShape {
  /** Aliases: each is a place where a short text stands for a long one. */
  readonly maxAliases: number;
  /** The settings that raise the three, by name; `undefined`: none does. */
  readonly settings?: { readonly depth: string; readonly aliases: string; readonly values: string };
}

const SHAPE: Shape = {
  maxDepth: 200,
  maxAliases: 10_000,
  maxValues: MAX_YAML_VALUES,
  maxTokens: MAX_YAML_TOKENS,
};

/**
 * Parses YAML text. JSON is YAML too; a large one is read as JSON, which takes a hundredth of the memory.
 * @throws ConfigError naming each syntax error's place
 */
export function parseSource(file: string, text: string, shape: Shape = SHAPE): Source {
  const unbuilt = unbuildable(text, shape);
  if (unbuilt !== undefined) {
    const before = text.slice(0, unbuilt[0]).split('\n');
    const [line, column] = [before.length, (before.at(-1)?.length ?? 0) + 1];
    throw new ConfigError([at(file, line, column, [], unbuilt[1], 'error')]);
  }
  const isJson = text.length > SMALL_CHARS && /^\s*[{[]/.test(text);
  // What is no JSON may still be YAML in braces, up to its limit.
  if (isJson && (text.length > MAX_YAML_CHARS || canParse(text))) return parseJson(file, text);
  if (text.length > MAX_YAML_CHARS) {
    throw new ConfigError([
      at(
        file,
        1,
        1,
        [],
        `has ${text.length} characters of YAML: at most ${MAX_YAML_CHARS} are read, write it as JSON`,
        'error',
      ),
    ]);
  }
  const counter = new LineCounter();
  let document: Document.Parsed;
  let value: unknown;
  try {
    const composed = compose(text, counter);
    const broken = [
      ...composed.broken,
      ...(composed.document === undefined
        ? []
        : [...badShape(composed.document, shape), ...misreadScalars(composed.document)]),
    ];
    if (composed.document === undefined || broken.length > 0)
      throw new ConfigError(
        broken.map(([offset, message]) => {
          const { line, col } = counter.linePos(offset);
          return at(file, Math.max(line, 1), Math.max(col, 1), [], message, 'error');
        }),
      );
    ({ document } = composed);
    value = document.toJS({ maxAliasCount: 100 });
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    throw new ConfigError([at(file, 1, 1, [], unusable(error), 'error')]);
  }
  const problem: Source['problem'] = (path, message, severity = 'error') => {
    const { line, col } = counter.linePos(offsetOf(document, path));
    return at(file, Math.max(line, 1), Math.max(col, 1), path, message, severity);
  };
  return { file, value, ...endOf(text), problem };
}

/** Whether a YAML text, as this writes it, has more than is read. */
export function isTooMuchYaml(text: string): boolean {
  return text.length > MAX_YAML_CHARS || tooMuch(text, SHAPE) !== undefined;
}

function depthProblem({ maxDepth, settings }: Shape): string {
  return `more than ${maxDepth} maps and lists stand within each other: nest fewer${raise(settings?.depth)}`;
}

function raise(setting: string | undefined): string {
  return setting === undefined ? '' : `, or raise \`${setting}\``;
}

/** Where the text is built of more than may be parsed, and what to do. */
function unbuildable(
  text: string,
  shape: Shape,
): readonly [offset: number, message: string] | undefined {
  if (text.length > MAX_YAML_CHARS) {
    const deep = jsonTooDeep(text, shape.maxDepth);
    return deep === undefined ? undefined : [deep, depthProblem(shape)];
  }
  const found = tooMuch(text, shape);
  if (found === undefined) return undefined;
  return [found.offset, excessProblem(found.what, shape)];
}

function excessProblem(what: Excess, shape: Shape): string {
  const { maxTokens = 0, maxValues = 0, settings } = shape;
  const remedy = settings === undefined ? 'write it as JSON' : `split it${raise(settings.values)}`;
  switch (what) {
    case 'depth':
      return depthProblem(shape);
    case 'values':
      return `more than ${maxValues} values up to here: ${remedy}`;
    case 'tokens':
      return `more than ${maxTokens} words and marks up to here: ${remedy}`;
  }
}

/** Too deep; aliases without an anchor before them, within their own anchor, or too many. */
function badShape(
  document: Document.Parsed,
  shape: Shape,
): (readonly [offset: number, message: string])[] {
  const bad: (readonly [number, string])[] = [];
  const anchors = new Set<string>();
  let count = 0;
  visit(document, {
    Node(_key, node, ancestors): symbol | undefined {
      // Of a map and what is in it three are ancestors at most: only then they are counted.
      if (
        ancestors.length > shape.maxDepth &&
        ancestors.filter((above) => isCollection(above)).length > shape.maxDepth
      ) {
        bad.push([node.range?.[0] ?? 0, depthProblem(shape)]);
        return visit.BREAK;
      }
      if (!isAlias(node)) {
        if (node.anchor !== undefined) anchors.add(node.anchor);
        return undefined;
      }
      const offset = node.range?.[0] ?? 0;
      const name = node.source;
      if (!anchors.has(name)) bad.push([offset, `no anchor \`&${name}\` stands before its alias`]);
      else if (ancestors.some((above) => isCollection(above) && above.anchor === name))
        bad.push([offset, `the alias \`*${name}\` stands inside its own anchor: it has no end`]);
      if (++count <= shape.maxAliases) return undefined;
      bad.push([
        offset,
        `more than ${shape.maxAliases} aliases: write the values out${raise(shape.settings?.aliases)}`,
      ]);
      return visit.BREAK;
    },
  });
  return bad;
}

/**
 * Checks a source against a schema and returns its value as it stands in the file.
 * @throws ConfigError with every violation.
 */
export function parseAs<Schema extends z.ZodType>(source: Source, schema: Schema): z.input<Schema> {
  checkAs(source, schema);
  // The value itself, not the schema's copy of it: a copy would lose keys such as `__proto__` (ID-3).
  return source.value as z.input<Schema>;
}

/** Like `parseAs`, with the schema's defaults filled in. For settings, whose keys are all known. */
export function parseWithDefaults<Schema extends z.ZodType>(
  source: Source,
  schema: Schema,
): z.output<Schema> {
  return checkAs(source, schema);
}

function checkAs<Schema extends z.ZodType>(source: Source, schema: Schema): z.output<Schema> {
  const result = schema.safeParse(source.value);
  if (result.success) return result.data;
  throw new ConfigError(issueProblems(source, schema, result.error.issues));
}

function at(
  file: string,
  line: number,
  column: number,
  path: readonly PropertyKey[],
  message: string,
  severity: Problem['severity'],
): Problem {
  return { file, line, column, path: formatPath(path), message, severity };
}

/** Where a path begins in the text: at its key in a map, at its item in a list, else at the nearest parent. */
function offsetOf(document: Document.Parsed, path: readonly PropertyKey[]): number {
  for (let length = path.length; length > 0; length--) {
    const parent = document.getIn(path.slice(0, length - 1), true);
    const last = path[length - 1];
    if (isMap(parent)) {
      const pair = parent.items.find(
        (item) => isPair(item) && isScalar(item.key) && item.key.value === last,
      );
      if (pair !== undefined && isNode(pair.key) && pair.key.range) return pair.key.range[0];
    }
    const node = document.getIn(path.slice(0, length), true);
    if (isNode(node) && node.range) return node.range[0];
  }
  return document.contents?.range[0] ?? 0;
}

/** What the reader says only once it builds the value. */
function unusable(error: unknown): string {
  const text = errorText(error);
  return /alias/i.test(text)
    ? 'expands to too much by its aliases: write the values out'
    : `is not usable YAML: ${text}`;
}
