/**
 * YAML text as a document, with an end to what is collected on the way: the library keeps every error of a text,
 * compares each key of a map with every other one, and calls itself once for each `- ` of `- - - …`, so that a few
 * megabytes could take all memory of a process (ADM-11).
 */
import {
  Composer,
  isScalar,
  Lexer,
  Parser,
  visit,
  type Document,
  type ErrorCode,
  type LineCounter,
} from 'yaml';
import { yamlProblem } from './yaml-errors.ts';

/** Errors that are collected: one mistake may cause many, and the first ones are the ones to mend. */
const MAX_SYNTAX_ERRORS = 20;

export type Complaint = readonly [offset: number, message: string];

/** More is wrong than is worth to be collected. */
class TooWrong extends Error {}

export interface Composed {
  /** `undefined` where so much is wrong that the text was not read to its end. */
  readonly document: Document.Parsed | undefined;
  /** What is no YAML, in the order of the text where that is known. */
  readonly broken: readonly Complaint[];
}

/** Reads one document. @throws what the library cannot take */
export function compose(text: string, counter: LineCounter): Composed {
  const broken: Complaint[] = [];
  const complain = (offset: number, code: ErrorCode): void => {
    // The library goes on behind the part that it is in: nothing more is kept then.
    if (broken.length >= MAX_SYNTAX_ERRORS) throw new TooWrong();
    broken.push([offset, yamlProblem(code)]);
  };
  const composer = new Composer({ stringKeys: true, uniqueKeys: false, version: '1.2' });
  // The library has no bound for errors, and its handler is a property that it reads at each use.
  Object.assign(composer, {
    onError: (source: ErrorPlace, code: ErrorCode) => {
      complain(offsetOf(source), code);
    },
  });
  let document: Document.Parsed | undefined;
  let ends = 0;
  try {
    for (const token of new Parser(counter.addNewLine).parse(text)) {
      if (token.type === 'error') {
        complain(token.offset, 'UNEXPECTED_TOKEN');
        continue;
      }
      // One end is enough; the library keeps an error for each that has no document.
      if (token.type === 'doc-end' && ++ends > MAX_SYNTAX_ERRORS)
        complain(token.offset, 'UNEXPECTED_TOKEN');
      for (const composed of composer.next(token)) {
        if (document !== undefined) {
          complain(composed.range[0], 'MULTIPLE_DOCS');
          throw new TooWrong();
        }
        document = composed;
      }
    }
    for (const composed of composer.end(true, text.length)) {
      if (document !== undefined) complain(composed.range[0], 'MULTIPLE_DOCS');
      document ??= composed;
    }
  } catch (error) {
    if (error instanceof TooWrong) return { document: undefined, broken };
    throw error;
  }
  if (document === undefined) return { document, broken };
  // What the handler was not called for.
  for (const { pos, code } of [...document.errors, ...document.warnings])
    if (broken.length < MAX_SYNTAX_ERRORS) broken.push([pos[0], yamlProblem(code)]);
  broken.push(...keysTwice(document));
  return { document, broken };
}

/** Comes before each text that stands without quotes. */
const SCALAR_MARK = '\u{1f}';
/** A document, its end in a flow, a scalar. */
const LEXER_MARKS = new Set(['\u{2}', '\u{18}', '\u{1f}']);
/** Maps and lists that begin on one line within each other: `- - x`, `? - x`, `a: b: x`. */
const BEGINS = new Set(['-', '?', ':']);

export interface TextShape {
  /** Maps and lists within each other. */
  readonly maxDepth: number;
  /** Words, marks, blanks and ends of lines; absent: however many. */
  readonly maxTokens?: number | undefined;
  /** Texts, keys among them, aliases, and lists and maps with nothing in them; absent: however many. */
  readonly maxValues?: number | undefined;
}

/** What a text has too much of. */
export type Excess = 'depth' | 'tokens' | 'values';

/**
 * Where brackets, or maps and lists that begin on one line, stand deeper within each other than they may, or the words
 * are too many: looked at before anything is parsed, for the parser takes long and much memory for them. Brackets in
 * texts and comments do not count.
 */
export function tooMuch(
  text: string,
  { maxDepth, maxTokens = Infinity, maxValues = Infinity }: TextShape,
): { readonly offset: number; readonly what: Excess } | undefined {
  if (text.length <= Math.min(maxTokens, maxValues) && !mayBeDeep(text, maxDepth)) return undefined;
  let [depth, begun, offset, tokens, values] = [0, 0, 0, 0, 0];
  let before = '';
  for (const token of new Lexer().lex(text)) {
    if (token === '[' || token === '{') depth++;
    else if (token === ']' || token === '}') depth--;
    else if (depth === 0 && BEGINS.has(token)) begun++;
    else if (token.endsWith('\n')) begun = 0;
    if (depth > maxDepth || begun > maxDepth) return { offset, what: 'depth' };
    if (isValue(token, before) && ++values > maxValues) return { offset, what: 'values' };
    if (++tokens > maxTokens) return { offset, what: 'tokens' };
    if (!isBlank(token)) before = token;
    // The lexer puts marks between: a document, a scalar.
    if (!LEXER_MARKS.has(token)) offset += token.length;
  }
  return undefined;
}

/** A text, an alias, or the end of a list or map with nothing in it. */
function isValue(token: string, before: string): boolean {
  switch (token.charAt(0)) {
    case SCALAR_MARK:
    case '"':
    case "'":
      return true;
    case '*':
      // A text that begins so is in quotes; what follows the mark of a text is a text.
      return before !== SCALAR_MARK;
    case ']':
      return before === '[';
    case '}':
      return before === '{';
    default:
      return false;
  }
}

function isBlank(token: string): boolean {
  const first = token.charAt(0);
  return first === ' ' || first === '\n' || first === '\t' || first === '\r';
}

/** Fewer brackets, or fewer marks on each line, cannot be too deep. */
function mayBeDeep(text: string, maxDepth: number): boolean {
  let [open, begun] = [0, 0];
  for (let at = 0; at < text.length && open <= maxDepth && begun <= maxDepth; at++) {
    const code = text.charCodeAt(at);
    if (code === 0x5b || code === 0x7b) open++;
    else if (code === 0x0a) begun = 0;
    else if (code === 0x2d || code === 0x3f || code === 0x3a) begun++;
  }
  return open > maxDepth || begun > maxDepth;
}

/** As the library gives it: an offset, a range, or something that has an offset. */
type ErrorPlace = number | readonly number[] | { readonly offset: number };

function offsetOf(place: ErrorPlace): number {
  if (typeof place === 'number') return place;
  return 'offset' in place ? place.offset : (place[0] ?? 0);
}

function keysTwice(document: Document.Parsed): readonly Complaint[] {
  const twice: Complaint[] = [];
  visit(document, {
    Map(_key, { items }): symbol | undefined {
      const seen = new Set<unknown>();
      for (const { key } of items) {
        if (!isScalar(key)) continue;
        if (seen.has(key.value)) twice.push([key.range?.[0] ?? 0, yamlProblem('DUPLICATE_KEY')]);
        if (twice.length >= MAX_SYNTAX_ERRORS) return visit.BREAK;
        seen.add(key.value);
      }
      return undefined;
    },
  });
  return twice;
}
