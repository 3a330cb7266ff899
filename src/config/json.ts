/** Large JSON files: their value, and the place of a path in them, which is looked for only where it is told. */
import { createHash } from 'node:crypto';
import { visit } from 'jsonc-parser';
import { formatPath, ConfigError, type Problem } from './problem.ts';
import type { Source } from './document.ts';
import { jsonProblem } from './yaml-errors.ts';
import { misreadNumber } from './scalars.ts';

/** @throws ConfigError where it is no JSON, or a key stands twice in one object: the last would win without a word */
export function parseJson(file: string, text: string): Source {
  const place = (offset: number): { readonly line: number; readonly column: number } => {
    const before = text.slice(0, offset);
    const lineStart = before.lastIndexOf('\n') + 1;
    return { line: before.split('\n').length, column: offset - lineStart + 1 };
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
    throw new ConfigError([problem(offset, [], `is no JSON: ${message}`)]);
  }
  const wrong = misread(text);
  if (wrong.length > 0)
    throw new ConfigError(wrong.map(({ offset, message }) => problem(offset, [], message)));
  return {
    file,
    value,
    // JSON that is cut off is no JSON.
    digest: createHash('sha256').update(text).digest('hex'),
    isEnded: true,
    problem: (path, message, severity) => problem(offsetOf(text, path), path, message, severity),
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

/** Mistakes that are told. */
const MAX_TOLD = 20;

/** Keys that stand twice, and numbers that are not what they look like. */
function misread(text: string): { readonly offset: number; readonly message: string }[] {
  const found: { readonly offset: number; readonly message: string }[] = [];
  const tell = (offset: number, message: string): void => {
    if (found.length < MAX_TOLD) found.push({ offset, message });
  };
  const open: Set<string>[] = [];
  visit(text, {
    onObjectBegin: () => void open.push(new Set()),
    onObjectEnd: () => void open.pop(),
    onObjectProperty(key, offset) {
      const keys = open.at(-1);
      if (keys?.has(key) === true) tell(offset, `key \`${key}\` stands twice: keep one`);
      keys?.add(key);
    },
    onLiteralValue(value, offset, length) {
      if (typeof value !== 'number') return;
      const message = misreadNumber(text.slice(offset, offset + length), value);
      if (message !== undefined) tell(offset, message);
    },
  });
  return found;
}

/** Where a path begins: at its key in an object, at its item in a list, else at the nearest parent. */
function offsetOf(text: string, path: readonly PropertyKey[]): number {
  let best = 0;
  let depth = -1;
  const at = (offset: number, here: readonly PropertyKey[]): void => {
    if (here.length <= depth || here.length > path.length) return;
    if (!here.every((part, index) => part === path[index])) return;
    best = offset;
    depth = here.length;
  };
  visit(text, {
    onObjectProperty: (key, offset, _length, _line, _column, parent) =>
      at(offset, [...parent(), key]),
    onObjectBegin: (offset, _length, _line, _column, here) => at(offset, here()),
    onArrayBegin: (offset, _length, _line, _column, here) => at(offset, here()),
    onLiteralValue: (_value, offset, _length, _line, _column, here) => at(offset, here()),
  });
  return best;
}
