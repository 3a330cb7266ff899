/**
 * Erases subjects from records: their ids give way to a hash under a key that is then forgotten. What one subject did
 * stays together, who it was is gone. Only what is typed as that principal is touched: a path, a request id or a
 * context that happens to spell the same is not.
 */
import { createHmac } from 'node:crypto';
import { ACL_KEYS, OWNER_KEY } from '../../engine/models/acl.ts';
import { sealOf } from '../seals/chain.ts';
import { stringify } from '../record/json.ts';
import { isObject, parseRecord } from '../record/line.ts';

export interface EraseOptions {
  /** `user:alice`, `role:team`, `workspace:w1`. */
  readonly subjects: readonly string[];
  /** Of whose records; `undefined`: of all. An id means somebody else in another tenant. */
  readonly tenant: string | undefined;
  readonly key: Buffer;
}

export interface Erased {
  readonly tenant: string;
  /** How often a subject stood in the record. */
  readonly places: number;
  /** The line without them. */
  readonly text: string;
}

type Fields = Readonly<Record<string, unknown>>;
type Type = 'user' | 'role' | 'workspace';

/** Attributes that list ids (ACL-1). */
const ID_ATTRIBUTES: ReadonlyMap<string, Type> = new Map<string, Type>([
  [OWNER_KEY, 'user'],
  ...[ACL_KEYS.read, ACL_KEYS.write].flatMap((keys): [string, Type][] => [
    [keys.user, 'user'],
    [keys.workspace, 'workspace'],
    [keys.role, 'role'],
  ]),
  ['workspace_id', 'workspace'],
]);
/** What a user's record tells of the person besides the id. */
const PERSONAL: ReadonlySet<string> = new Set(['email', 'externalId', 'metadata']);

/** @returns what becomes of a line; `undefined`: none of the subjects stands in it */
export function openEraser(options: EraseOptions): (line: string) => Erased | undefined {
  const subjects = new Set(options.subjects);
  const ids = options.subjects.map((name) => name.slice(name.indexOf(':') + 1));
  return (line) => {
    // Where nothing is escaped, an id stands in JSON as it is: most lines need not be parsed.
    if (!line.includes('\\') && !ids.some((id) => line.includes(id))) return undefined;
    const record = parseRecord(line);
    if (record === undefined) return undefined;
    const tenant = typeof record['tenant'] === 'string' ? record['tenant'] : '';
    if (options.tenant !== undefined && tenant !== options.tenant) return undefined;
    let places = 0;
    const pseudonym = (what: string): string => {
      places++;
      const hash = createHmac('sha256', options.key).update(JSON.stringify([tenant, what]));
      return `erased:${hash.digest('base64url')}`;
    };
    const told = withoutSubjects(record, subjects, pseudonym);
    return places === 0 ? undefined : { tenant, places, text: marked(told, line) };
  };
}

/**
 * Says that a subject was erased, so that nobody takes the rest for what was asked or done. A seal stays, last: it is the
 * one of what the record was, the chain goes on, this link can no longer be proven, nor a guess at what it was: the salt goes.
 */
function marked(record: Fields, line: string): string {
  const { erased: _erased, salt: _salt, ...rest } = record;
  if (sealOf(line) === undefined) return stringify({ ...rest, erased: true });
  const { prev_hash, hash, ...body } = rest;
  return stringify({ ...body, erased: true, prev_hash, hash });
}

function withoutSubjects(
  record: Fields,
  subjects: ReadonlySet<string>,
  pseudonym: (what: string) => string,
): Fields {
  const id = (type: unknown, value: unknown): unknown =>
    typeof value === 'string' && subjects.has(`${String(type)}:${value}`)
      ? pseudonym(`${String(type)}:${value}`)
      : value;
  const name = (value: unknown): unknown => {
    if (typeof value !== 'string' || !subjects.has(value)) return value;
    return `${value.slice(0, value.indexOf(':'))}:${pseudonym(value)}`;
  };
  /** A sentence names what it is about in back-ticks. */
  const sentence = (value: unknown): unknown =>
    typeof value === 'string'
      ? value.replaceAll(/`([^`]+)`/g, (quoted, inner: string) =>
          subjects.has(inner)
            ? `\`${String(name(inner))}\``
            : subjects.has(`user:${inner}`)
              ? `\`${String(id('user', inner))}\``
              : quoted,
        )
      : value;
  const list =
    (one: (value: unknown) => unknown) =>
    (value: unknown): unknown =>
      Array.isArray(value) ? value.map(one) : value;
  const ids = (type: Type) => list((value) => id(type, value));

  const attributes = (value: unknown): unknown =>
    mapped(value, (key, values) => {
      const type = ID_ATTRIBUTES.get(key);
      return type === undefined ? values : ids(type)(values);
    });
  const resource = (value: unknown): unknown =>
    mapped(value, (key, field, { type }) => {
      if (key === 'id') return id(type, field);
      if (key === 'attributes') return attributes(field);
      return key === 'sources' ? list(attributes)(field) : field;
    });
  const grant = (value: unknown): unknown =>
    mapped(value, (key, field) => (key === 'grantor' ? name(field) : field));
  /** Of facts as they are stored, by the name of the field. */
  const fields: Changes = new Map([
    ['owner', (value) => id('user', value)],
    ['user', (value) => id('user', value)],
    ['roles', ids('role')],
    ['workspaces', ids('workspace')],
    ['closure', (value) => mapped(value, (key, field) => changed(fields, key, field))],
    ['adminOf', list(name)],
    ['creator', name],
    ['grants', list(grant)],
  ]);
  const stored = (kind: unknown, value: unknown): unknown =>
    mapped(value, (key, field, fact) => {
      if (key === 'id') return id(kind, field);
      const own = `${String(kind)}:${String(fact['id'])}`;
      if (PERSONAL.has(key) && subjects.has(own)) return personal(own, key, field);
      return changed(fields, key, field);
    });
  const personal = (subject: string, key: string, value: unknown): string =>
    pseudonym(JSON.stringify([subject, key, value]));
  const fact = (value: unknown): unknown =>
    mapped(value, (key, field, { kind }) => {
      if (key === 'id') return id(kind, field);
      return key === 'value' ? stored(kind, field) : field;
    });
  const parts: Changes = new Map([
    ['subject', name],
    ['actor', name],
    ['detail', sentence],
    ['resource', resource],
    [
      'objects',
      (value) => mapped(value, (key, field) => (key === 'items' ? list(resource)(field) : field)),
    ],
    ['before', list(fact)],
    ['after', list(fact)],
  ]);
  return mapped(record, (key, field) => changed(parts, key, field));
}

/** What becomes of fields, by their names. */
type Changes = ReadonlyMap<string, (value: unknown) => unknown>;

function changed(changes: Changes, key: string, field: unknown): unknown {
  const change = changes.get(key);
  return change === undefined ? field : change(field);
}

type Change = (key: string, field: unknown, whole: Fields) => unknown;

/** An object with each of its fields replaced; what is none stays as it is. */
function mapped(value: Fields, change: Change): Fields;
function mapped(value: unknown, change: Change): unknown;
function mapped(value: unknown, change: Change): unknown {
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, field]) => [key, change(key, field, value)]),
  );
}
