/** Validation of requests (ID-1, PATH-1, COMB-2). Returns the first problem, or nothing. */
import { actionProblem } from './action.ts';
import type { Facts } from './decision.ts';
import { correlationIdProblem, idProblem, storedIdProblem } from './id.ts';
import type { Attributes, Request, Resource } from './model.ts';
import { pathProblem } from './path.ts';

/** A field, its value, and its problem with the remedy. */
export interface Problem {
  readonly field: string;
  readonly value: string;
  readonly problem: string;
}

export interface RequestLimits {
  readonly attributes: number;
  readonly valuesPerAttribute: number;
}

/** The caller's request id; `''`: none. */
export function requestIdProblem(field: string, id: string): Problem | undefined {
  const found = correlationIdProblem(id);
  return found === undefined ? undefined : problem(field, id, found);
}

export function requestProblem(request: Request, limits: RequestLimits): Problem | undefined {
  return callerProblem(request) ?? resourceProblem(request.resource, -1, limits);
}

/**
 * The part that all objects of a Filter share. Accepts ids that are valid only for stored records; `strangerProblem`
 * checks those after the facts are read.
 */
export function callerProblem(request: Omit<Request, 'resource'>): Problem | undefined {
  const { tenant, subject, keyId, action } = request;
  if (subject === undefined && keyId === undefined)
    return problem('subject', '', 'is missing, and so is `key_id`: name at least one of them');
  return (
    check('tenant', tenant, storedIdProblem) ??
    (subject && check('subject.id', subject.id, storedIdProblem)) ??
    (keyId === undefined ? undefined : check('key_id', keyId, storedIdProblem)) ??
    check('action', action, actionProblem)
  );
}

/** ID-1: the problem of an id that only stored records may have, if it is not stored. */
export function strangerProblem(
  { tenant, subject, keyId }: Pick<Request, 'tenant' | 'subject' | 'keyId'>,
  facts: Pick<Facts, 'tenantExists' | 'subject' | 'key'>,
): Problem | undefined {
  return (
    (facts.tenantExists ? undefined : check('tenant', tenant, idProblem)) ??
    (subject === undefined || isStored(subject, facts)
      ? undefined
      : check('subject.id', subject.id, idProblem)) ??
    (keyId === undefined || typeof facts.key === 'object'
      ? undefined
      : check('key_id', keyId, idProblem))
  );
}

function isStored(
  { type, id }: NonNullable<Request['subject']>,
  { subject }: Pick<Facts, 'subject'>,
): boolean {
  if (subject === undefined) return false;
  if (type === 'user') return subject.record !== undefined;
  return (type === 'role' ? subject.groups.roles : subject.groups.workspaces).has(id);
}

/** @param at index of an object of a Filter, -1 for the resource of a check */
export function resourceProblem(
  resource: Resource,
  at: number,
  limits: RequestLimits,
): Problem | undefined {
  const found = problemWithin(resource, limits);
  // The name is built only for a problem: most objects of a Filter have none.
  return found && { ...found, field: `${at < 0 ? 'resource' : `objects[${at}]`}.${found.field}` };
}

function problemWithin(resource: Resource, limits: RequestLimits): Problem | undefined {
  const { type, id, path, attributes, sources } = resource;
  const own =
    (type === '' ? undefined : check('type', type, typeProblem)) ??
    (id === '' ? undefined : check('id', id, idProblem)) ??
    (path === undefined ? undefined : check('path', path, pathProblem)) ??
    attributesProblem(attributes, limits);
  if (own !== undefined || sources.length === 0) return own;
  for (const [index, source] of sources.entries()) {
    const found = attributesProblem(source, limits);
    if (found !== undefined) return { ...found, field: `sources[${index}].${found.field}` };
  }
  return undefined;
}

function attributesProblem(attributes: Attributes, limits: RequestLimits): Problem | undefined {
  if (attributes.size > limits.attributes)
    return problem(
      'attributes',
      `${attributes.size} keys`,
      `is over the limit of ${limits.attributes} attributes: send those that policies name`,
    );
  for (const [key, values] of attributes) {
    const found = idProblem(key);
    if (found !== undefined) return problem('attributes key', key, found);
    if (values.length > limits.valuesPerAttribute)
      return problem(
        `attributes[${printable(key)}]`,
        `${values.length} values`,
        `is over the limit of ${limits.valuesPerAttribute} values an attribute: split the object or raise the limit`,
      );
  }
  return undefined;
}

/** A type is the part before the `:` of an action, so it must not contain one (ACT-3). */
function typeProblem(type: string): string | undefined {
  return type.includes(':') ? 'holds a `:`: name the type alone' : idProblem(type);
}

function check(
  field: string,
  value: string,
  of: (value: string) => string | undefined,
): Problem | undefined {
  const found = of(value);
  return found === undefined ? undefined : problem(field, value, found);
}

function problem(field: string, value: string, text: string): Problem {
  return { field, value, problem: text };
}

/** User input in a message: shortened, without control sequences for terminals or logs. */
export function printable(value: string): string {
  const text = JSON.stringify(value)
    .slice(1, -1)
    .replace(/[\u007f-\u009f]/g, (c) => `\\u00${c.charCodeAt(0).toString(16)}`);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}
