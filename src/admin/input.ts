/** What management requests say, checked field by field (ID-1, PATH-1, RBAC-1). */
import { idProblem } from '../engine/id.ts';
import { TREE_VERBS, actionOfVerb } from '../engine/action.ts';
import { TREE_ACTIONS, type TreeAction } from '../engine/model.ts';
import { pathProblem } from '../engine/path.ts';
import { permissionProblem } from '../engine/permissions.ts';
import { printable } from '../engine/validate.ts';
import { timeProblem } from '../util/time.ts';
import { invalid } from './refused.ts';
import { inOrder } from './tree/rows.ts';

/** Longest free text of a record, characters. */
const MAX_TEXT = 1_024;
/** Largest metadata of a user, as JSON. */
const MAX_METADATA = 16_384;

export function idOf(field: string, value: string): string {
  const problem = idProblem(value);
  if (problem !== undefined) throw invalid(field, shown(value, problem));
  return value;
}

export function pathOf(field: string, value: string): string {
  const problem = pathProblem(value);
  if (problem !== undefined) throw invalid(field, shown(value, problem));
  return value;
}

/** Sorted and without doubles, as records have them. */
export function permissionsOf(field: string, values: readonly string[]): readonly string[] {
  for (const [index, value] of values.entries()) {
    const problem = permissionProblem(value);
    if (problem !== undefined) throw invalid(`${field}[${index}]`, shown(value, problem));
  }
  return [...new Set(values)].sort();
}

export function levelOf(field: string, value: number): number {
  if (!Number.isInteger(value) || value < 0 || value > 100)
    throw invalid(field, `\`${value}\` is no level: give 0 to 100`);
  return value;
}

/** Tree actions in the order of records; `update` is `write` (ACT-1). */
export function actionsOf(field: string, values: readonly string[]): readonly TreeAction[] {
  const actions = values.map((value, index) => {
    const verb = TREE_VERBS.find((one) => one === value);
    if (verb !== undefined) return actionOfVerb(verb);
    throw invalid(
      `${field}[${index}]`,
      `\`${printable(value)}\` is none of ${TREE_ACTIONS.join(', ')}`,
    );
  });
  return inOrder(actions);
}

export function oneOf<T extends string>(field: string, value: string, values: readonly T[]): T {
  const found = values.find((name) => name === value);
  if (found === undefined)
    throw invalid(field, `\`${printable(value)}\` is none of ${values.join(', ')}`);
  return found;
}

/** Free text; `undefined` where it is empty. */
export function textOf(field: string, value: string | undefined): string | undefined {
  if (value === undefined || value === '') return undefined;
  if (value.length > MAX_TEXT)
    throw invalid(field, `has ${value.length} characters: at most ${MAX_TEXT} are allowed`);
  if (!value.isWellFormed()) throw invalid(field, 'holds a lone surrogate: send valid UTF-8');
  return value;
}

/** An e-mail or external id, by which whoever signs in is found: as exact as an id (ID-1); `undefined` where it is empty. */
export function signInOf(field: string, value: string | undefined): string | undefined {
  return value === undefined || value === '' ? undefined : idOf(field, value);
}

export function metadataOf(
  field: string,
  value: Readonly<Record<string, unknown>> | undefined,
): Readonly<Record<string, unknown>> | undefined {
  if (value === undefined) return undefined;
  const size = JSON.stringify(value).length;
  if (size > MAX_METADATA)
    throw invalid(field, `has ${size} characters of JSON: at most ${MAX_METADATA} are allowed`);
  return Object.keys(value).length === 0 ? undefined : value;
}

/** RFC 3339 as ms since the epoch; `undefined` where it is empty. */
export function timeOf(field: string, value: string | undefined, now: number): number | undefined {
  if (value === undefined || value === '') return undefined;
  const problem = timeProblem(value);
  if (problem !== undefined) throw invalid(field, `\`${printable(value)}\` ${problem}`);
  const at = Date.parse(value);
  if (at <= now) throw invalid(field, `\`${printable(value)}\` has passed: give a later time`);
  return at;
}

function shown(value: string, problem: string): string {
  return value === '' ? problem : `\`${printable(value)}\` ${problem}`;
}

/** The text of bytes. @throws Refused where they are not UTF-8 */
export function utf8Of(field: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw invalid(field, 'is not UTF-8');
  }
}
