/** Large JSON files: their value, and the place of a path in them, which is looked for only where something is wrong. */
import { createHash } from 'node:crypto';
import { visit } from 'jsonc-parser';
import { LineCounter } from 'yaml';
import { formatPath, ConfigError, type Problem } from './problem.ts';
import type { Source } from './source.ts';
import { jsonProblem } from './yaml-errors.ts';
import { misreadNumber } from './scalars.ts';

/** @throws ConfigError where it is no JSON, or a key stands twice in one object: the last would win without a word */
export function parseJson(file: string, text: string): Source {
  let lines: LineCounter | undefined;
  const place = (offset: number): { readonly line: number; readonly column: number } => {
    lines ??= linesOf(text);
    const { line, col: column } = lines.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(column, 1) };
  };
  const problem = (
    offset: number,
    path: readonly PropertyKey[],
    message: string,
    severity: Problem['severity'] = 'error',
  ): Problem => ({ file, ...place(offset), path: formatPath(path), message, severity });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    const { offset, message } = firstError(text);
    throw new ConfigError([problem(offset, [], `is not valid JSON: ${message}`)]);
  }
  const wrong = misread(text);
  if (wrong.length > 0)
    throw new ConfigError(wrong.map(({ offset, message }) => problem(offset, [], message)));
  const locate = locator(text);
  return {
    file,
    value,
    // JSON that is cut off is no JSON.
    digest: createHash('sha256').update(text).digest('hex'),
    isEnded: true,
    isBraced: true,
    problem: (path, message, severity) => problem(locate(path), path, message, severity),
  };
}

/** Where a JSON text is deeper than it may be; `undefined`: nowhere. */
export function jsonTooDeep(text: string, maxDepth: number): number | undefined {
  let depth = 0;
  let quoted = false;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (quoted) {
      if (code === BACKSLASH) at++;
      else if (code === QUOTE) quoted = false;
    } else if (code === QUOTE) quoted = true;
    else if (code === 0x5b || code === 0x7b) {
      if (++depth > maxDepth) return at;
    } else if (code === 0x5d || code === 0x7d) depth--;
  }
  return undefined;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

function linesOf(text: string): LineCounter {
  const counter = new LineCounter();
  for (let at = 0; at >= 0; at = text.indexOf('\n', at) + 1 || -1) counter.addNewLine(at);
  return counter;
}

/** Ends the reading at the first error. */
class Found extends Error {
  readonly offset: number;

  constructor(offset: number, message: string) {
    super(message);
    this.offset = offset;
  }
}

function firstError(text: string): { readonly offset: number; readonly message: string } {
  try {
    visit(
      text,
      {
        onError: (code, offset) => {
          throw new Found(offset, jsonProblem(code));
        },
      },
      { disallowComments: true },
    );
  } catch (error) {
    if (error instanceof Found) return error;
    throw error;
  }
  return { offset: 0, message: 'look for a missing quote, comma or bracket' };
}

/** Mistakes that are reported. */
const MAX_REPORTED = 20;

/** Keys that stand twice, and numbers that are not what they look like. */
function misread(text: string): { readonly offset: number; readonly message: string }[] {
  const found: { readonly offset: number; readonly message: string }[] = [];
  const report = (offset: number, message: string): void => {
    if (found.length < MAX_REPORTED) found.push({ offset, message });
  };
  const open: Set<string>[] = [];
  visit(text, {
    onObjectBegin: () => void open.push(new Set()),
    onObjectEnd: () => void open.pop(),
    onObjectProperty(key, offset) {
      const keys = open.at(-1);
      if (keys?.has(key) === true) report(offset, `key \`${key}\` stands twice: keep one`);
      keys?.add(key);
    },
    onLiteralValue(value, offset, length) {
      if (typeof value !== 'number') return;
      const message = misreadNumber(text.slice(offset, offset + length), value);
      if (message !== undefined) report(offset, message);
    },
  });
  return found;
}

type Locate = (path: readonly PropertyKey[]) => number;

/** Where each entry of a map or list begins: at its key, and at its value. */
type Children = ReadonlyMap<PropertyKey, { readonly at: number; readonly value: number }>;

/**
 * Finds where a path begins: at its key in an object, at its item in a list, else at the nearest parent. What is walked
 * over is remembered, so that many places in one text cost one walk.
 */
function locator(text: string): Locate {
  const visited = new Map<number, Children>();
  return (path) => {
    let value = skipBlanks(text, 0);
    let best = value;
    for (const part of path) {
      const children = visited.get(value) ?? childrenOf(text, value);
      visited.set(value, children);
      const child = children.get(part);
      if (child === undefined) break;
      best = child.at;
      value = child.value;
    }
    return best;
  };
}

/** Of a text that is JSON. */
function childrenOf(text: string, start: number): Children {
  const children = new Map<PropertyKey, { readonly at: number; readonly value: number }>();
  const open = text[start];
  if (open !== '{' && open !== '[') return children;
  let at = skipBlanks(text, start + 1);
  for (let index = 0; at < text.length && text[at] !== '}' && text[at] !== ']'; index++) {
    let value = at;
    let name: PropertyKey = index;
    if (open === '{') {
      const end = skipValue(text, at);
      name = String(JSON.parse(text.slice(at, end)));
      value = skipBlanks(text, skipBlanks(text, end) + 1);
    }
    children.set(name, { at, value });
    at = skipBlanks(text, skipValue(text, value));
    if (text[at] === ',') at = skipBlanks(text, at + 1);
  }
  return children;
}

function skipBlanks(text: string, from: number): number {
  let at = from;
  while (at < text.length && text.charCodeAt(at) <= 0x20) at++;
  return at;
}

/** Where the value that begins there ends. */
function skipValue(text: string, from: number): number {
  let depth = 0;
  for (let at = from; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      for (at++; at < text.length && text.charCodeAt(at) !== QUOTE; at++)
        if (text.charCodeAt(at) === BACKSLASH) at++;
      if (depth === 0) return at + 1;
    } else if (code === 0x5b || code === 0x7b) depth++;
    else if (code === 0x5d || code === 0x7d) {
      if (depth === 0) return at;
      if (--depth === 0) return at + 1;
    } else if (depth === 0 && (code === 0x2c || code <= 0x20)) return at;
  }
  return text.length;
}
