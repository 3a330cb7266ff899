/** Schema violations in our own words: the field, the value, the remedy. */
import * as z from 'zod';
import { $ZodType, type $ZodIssue } from 'zod/v4/core';
import type { Source } from './source.ts';
import { timeProblem } from '../util/time.ts';
import { suggest, type Problem } from './problem.ts';

type Issue = $ZodIssue;

export function issueProblems(
  source: Source,
  schema: z.ZodType,
  issues: readonly Issue[],
): Problem[] {
  return issues.flatMap((issue) => describe(source, schema, issue, issue.path));
}

function describe(
  source: Source,
  schema: z.ZodType,
  issue: Issue,
  path: readonly PropertyKey[],
): Problem[] {
  const value = valueAt(source.value, path);
  switch (issue.code) {
    case 'unrecognized_keys': {
      const known = knownKeys(schemaAt(schema, path));
      return issue.keys.map((key) =>
        source.problem([...path, key], `unknown key \`${key}\`${suggest(key, known)}`),
      );
    }
    case 'invalid_value':
      return [
        source.problem(
          path,
          value === undefined
            ? `is missing: give one of ${issue.values.join(', ')}`
            : `${show(value)} is not one of ${issue.values.join(', ')}${typeof value === 'string' ? didYouMean(value, issue.values.map(String)) : ''}`,
        ),
      ];
    case 'invalid_type':
      return [
        source.problem(
          path,
          value === undefined
            ? `is missing: give ${article(issue.expected)}`
            : `${show(value)} is not ${article(issue.expected)}`,
        ),
      ];
    case 'invalid_union':
      return unionProblems(source, schema, issue, path);
    case 'too_small':
      return [source.problem(path, `${show(value)} is too small: at least ${issue.minimum}`)];
    case 'too_big':
      return [source.problem(path, `${show(value)} is too large: at most ${issue.maximum}`)];
    case 'custom':
      return [source.problem(path, `${show(value)} ${issue.message}`)];
    case 'invalid_format':
      return [source.problem(path, `${show(value)} ${formProblem(issue, value)}`)];
    case 'not_multiple_of':
      return [source.problem(path, `${show(value)} is not a multiple of ${issue.divisor}`)];
    case 'invalid_key':
    case 'invalid_element':
      return issue.issues.flatMap((inner) =>
        describe(source, schema, inner, [...path, ...inner.path]),
      );
  }
}

/** None of several forms: the problems of the branch that matched deepest say best what was meant. */
function unionProblems(
  source: Source,
  schema: z.ZodType,
  issue: Extract<Issue, { code: 'invalid_union' }>,
  path: readonly PropertyKey[],
): Problem[] {
  const value = valueAt(source.value, path);
  const branches = issue.errors.map((errors) =>
    errors.map((inner) => ({ inner, full: [...path, ...inner.path] })),
  );
  const depth = (branch: (typeof branches)[number]): number =>
    Math.max(0, ...branch.map(({ full }) => full.length));
  const best = branches.toSorted((a, b) => depth(b) - depth(a))[0] ?? [];
  if (depth(best) > path.length)
    return best.flatMap(({ inner, full }) => describe(source, schema, inner, full));
  const issues = branches.flat().map(({ inner }) => inner);
  const wanted = [...new Set(issues.map(expectation))].join(' or ');
  const words = issues.flatMap((inner) =>
    inner.code === 'invalid_value' ? inner.values.map(String) : [],
  );
  const hint = typeof value === 'string' ? didYouMean(value, words) : '';
  return [source.problem(path, `${show(value)} is not ${wanted}${hint}`)];
}

/** A text of the wrong form; schemas say their own forms in words. */
function formProblem(issue: Extract<Issue, { code: 'invalid_format' }>, value: unknown): string {
  if (issue.format === 'datetime' && typeof value === 'string')
    return timeProblem(value) ?? 'is not an RFC 3339 time: write it as 2030-01-31T12:00:00Z';
  if (!issue.message.startsWith('Invalid ')) return issue.message;
  return issue.pattern === undefined
    ? `is not a valid ${issue.format}`
    : `does not have the form ${issue.pattern}`;
}

function expectation(issue: Issue): string {
  if (issue.code === 'invalid_value') return `one of ${issue.values.join(', ')}`;
  if (issue.code === 'invalid_type') return article(issue.expected);
  if (issue.code === 'too_small') return `at least ${issue.minimum}`;
  if (issue.code === 'too_big') return `at most ${issue.maximum}`;
  if (issue.code === 'invalid_format') return `of the form ${issue.pattern ?? issue.format}`;
  if (issue.code === 'unrecognized_keys') return `without ${issue.keys.join(', ')}`;
  return issue.message.startsWith('Invalid ') ? 'a value of another form' : issue.message;
}

function didYouMean(value: string, known: readonly string[]): string {
  const text = suggest(value, known);
  return text.startsWith(': did') ? text : '';
}

function article(type: string): string {
  const names: Record<string, string> = {
    object: 'map',
    record: 'map',
    array: 'list',
    int: 'whole number',
  };
  const name = names[type] ?? type;
  return `a ${name}`;
}

/** A value as it can stand in a message: short, in back-ticks. */
function show(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing';
  return `\`${text.length > 60 ? `${text.slice(0, 57)}...` : text}\``;
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  let at: unknown = value;
  for (const part of path) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, part)) return undefined;
    at = (at as Record<PropertyKey, unknown>)[part];
  }
  return at;
}

/** The object schemas that stand at a path, through unions and optional parts. */
function schemaAt(schema: $ZodType, path: readonly PropertyKey[]): $ZodType[] {
  if (
    schema instanceof z.ZodOptional ||
    schema instanceof z.ZodDefault ||
    schema instanceof z.ZodPrefault
  )
    return schemaAt(schema.def.innerType, path);
  if (schema instanceof z.ZodLazy) return schemaAt(schema.def.getter(), path);
  if (schema instanceof z.ZodUnion)
    return schema.def.options.flatMap((option) => schemaAt(option, path));
  const [head, ...rest] = path;
  if (head === undefined) return [schema];
  if (schema instanceof z.ZodObject) {
    const field: unknown = schema.def.shape[String(head)];
    return field instanceof $ZodType ? schemaAt(field, rest) : [];
  }
  if (schema instanceof z.ZodArray) return schemaAt(schema.def.element, rest);
  if (schema instanceof z.ZodRecord) return schemaAt(schema.def.valueType, rest);
  return [];
}

function knownKeys(schemas: readonly $ZodType[]): string[] {
  return schemas.flatMap((schema) =>
    schema instanceof z.ZodObject ? Object.keys(schema.def.shape) : [],
  );
}
