/** Errors of the YAML and JSON readers in our own words: what stands there, and what to do. */
import { printParseErrorCode, type ParseErrorCode } from 'jsonc-parser';
import type { ErrorCode } from 'yaml';

const YAML: Readonly<Record<ErrorCode, string>> = {
  ALIAS_PROPS: 'an alias has an anchor or a tag: remove it',
  BAD_ALIAS: 'an alias is malformed: write it as `*name`',
  BAD_DIRECTIVE: 'a line that starts with `%` is not a directive of YAML 1.2: remove it',
  BAD_DQ_ESCAPE:
    'a `\\` in double quotes begins no known escape: write `\\\\`, or use single quotes',
  BAD_INDENT:
    'the indentation is wrong here, or a bracket is not closed: align it with its siblings',
  BAD_PROP_ORDER: 'an anchor or a tag stands at the wrong place: put it before the value',
  BAD_SCALAR_START: 'a text begins with a character that YAML reserves: put it in quotes',
  BLOCK_AS_IMPLICIT_KEY:
    'a map starts on a line that already has a key: put the value in quotes, or on a new line',
  BLOCK_IN_FLOW: 'a value by indentation stands inside brackets: write it in brackets, too',
  DUPLICATE_KEY: 'the key stands twice in one map: keep one',
  IMPOSSIBLE: 'this is not valid YAML: look for a missing quote, bracket or blank',
  KEY_OVER_1024_CHARS: 'a key has more than 1024 characters: use a shorter one',
  MISSING_CHAR: 'a character is missing here: close the quote or bracket, or put a blank after `:`',
  MULTILINE_IMPLICIT_KEY:
    'a key goes over several lines: write `key: value`, or close the quote or bracket before it',
  MULTIPLE_ANCHORS: 'a value has more than one anchor: keep one',
  MULTIPLE_DOCS: 'a second document begins here (`---`): keep one, or make a file of each',
  MULTIPLE_TAGS: 'a value has more than one tag: keep one',
  NON_STRING_KEY: 'a key is not a string: put it in quotes',
  RESOURCE_EXHAUSTION: 'this is nested or repeated too much: write less of it',
  TAB_AS_INDENT: 'a tab indents here: use blanks',
  TAG_RESOLVE_FAILED: 'a tag (`!…`) is not known here: remove it',
  UNEXPECTED_TOKEN:
    'this is not expected here: look for a missing quote, comma, bracket or blank before it',
  BAD_COLLECTION_TYPE: 'a tag does not fit its value: remove it',
};

export function yamlProblem(code: ErrorCode): string {
  return YAML[code];
}

type JsonError = ReturnType<typeof printParseErrorCode>;

const JSON_PROBLEMS: Readonly<Partial<Record<JsonError, string>>> = {
  InvalidSymbol: 'a word stands here that JSON has not: put text in double quotes',
  InvalidNumberFormat: 'a number is malformed',
  PropertyNameExpected: 'a key in double quotes is expected, or a comma is too much',
  ValueExpected: 'a value is expected, or a comma is too much',
  ColonExpected: 'a `:` is expected after the key',
  CommaExpected: 'a comma is expected',
  CloseBraceExpected: 'a `}` is expected',
  CloseBracketExpected: 'a `]` is expected',
  EndOfFileExpected: 'the file goes on after its value: remove what follows',
  InvalidCommentToken: 'JSON has no comments: remove it',
  UnexpectedEndOfComment: 'JSON has no comments: remove it',
  UnexpectedEndOfString: 'a text is not closed: end it with a double quote',
  UnexpectedEndOfNumber: 'a number is not complete',
  InvalidEscapeCharacter: 'a `\\` begins no known escape: write `\\\\`',
  InvalidCharacter: 'a control character stands in a text: write it as an escape',
};

export function jsonProblem(code: ParseErrorCode): string {
  return JSON_PROBLEMS[printParseErrorCode(code)] ?? 'look for a missing quote, comma or bracket';
}
