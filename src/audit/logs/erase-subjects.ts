/**
 * Erases subjects from records: their ids give way to a hash under a key that is then forgotten. What one subject did
 * stays together, who it was is gone. Only what `fields.ts` and `fact-fields.ts` say names a principal is touched: a path,
 * a request id or a context that happens to spell the same is not.
 */
import { createHmac } from 'node:crypto';
import { PRINCIPAL_TYPES } from '../../engine/model.ts';
import { ACL_KEYS, OWNER_KEY } from '../../engine/models/acl.ts';
import { namesOfFact } from '../fact-fields.ts';
import { RECORDS } from '../fields.ts';
import type { Field, Fields } from '../field-kinds.ts';
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

type JsonObject = Readonly<Record<string, unknown>>;
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
/** The fields of all records by name: a line may be of a version that has other records. */
const FIELDS: Fields = Object.assign({}, ...Object.values(RECORDS)) as Fields;

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
    const erasure = new Erasure(subjects, tenant, options.key);
    const without = erasure.object(FIELDS, record);
    const { places } = erasure;
    return places === 0 ? undefined : { tenant, places, text: marked(without, line) };
  };
}

/**
 * Says that a subject was erased, so that nobody takes the rest for what was asked or done. A seal stays, last: it is the
 * one of what the record was, the chain goes on, this link can no longer be proven, nor a guess at what it was: the salt goes.
 */
function marked(record: JsonObject, line: string): string {
  const { erased: _erased, salt: _salt, ...rest } = record;
  if (sealOf(line) === undefined) return stringify({ ...rest, erased: true });
  const { prev_hash, hash, ...body } = rest;
  return stringify({ ...body, erased: true, prev_hash, hash });
}

/** The erasure of some subjects from one record. */
class Erasure {
  readonly #subjects: ReadonlySet<string>;
  readonly #tenant: string;
  readonly #key: Buffer;
  #places = 0;

  constructor(subjects: ReadonlySet<string>, tenant: string, key: Buffer) {
    this.#subjects = subjects;
    this.#tenant = tenant;
    this.#key = key;
  }

  /** How often a subject stood there. */
  get places(): number {
    return this.#places;
  }

  object(fields: Fields, value: JsonObject): JsonObject {
    return mapped(value, (name, inner) => {
      const field = Object.hasOwn(fields, name) ? fields[name] : undefined;
      return field === undefined ? inner : this.#field(field, inner, value);
    });
  }

  /** @param whole the object that the field is in */
  #field({ names, shape }: Field, value: unknown, whole: JsonObject): unknown {
    switch (names) {
      case 'nobody':
        return value;
      case 'principal':
        return each(value, (one) => this.#principal(one));
      case 'sentence':
        return each(value, (one) => this.#sentence(one));
      case 'own_id':
        return this.#id(whole['type'] ?? whole['kind'], value);
      case 'attributes':
        return each(value, (one) => this.#attributes(one));
      case 'fact':
        return this.#fact(whole['kind'], value);
      case 'inside': {
        const inner = shape.type === 'list' ? shape.of : shape;
        if (inner.type !== 'object') return value;
        return each(value, (one) => (isObject(one) ? this.object(inner.fields, one) : one));
      }
    }
  }

  #pseudonym(what: string): string {
    this.#places++;
    const hash = createHmac('sha256', this.#key).update(JSON.stringify([this.#tenant, what]));
    return `erased:${hash.digest('base64url')}`;
  }

  #id(type: unknown, value: unknown): unknown {
    const subject = `${String(type)}:${String(value)}`;
    return typeof value === 'string' && this.#subjects.has(subject)
      ? this.#pseudonym(subject)
      : value;
  }

  #ids(type: Type, value: unknown): unknown {
    return Array.isArray(value) ? value.map((one) => this.#id(type, one)) : value;
  }

  #principal(value: unknown): unknown {
    if (typeof value !== 'string' || !this.#subjects.has(value)) return value;
    return `${value.slice(0, value.indexOf(':'))}:${this.#pseudonym(value)}`;
  }

  /** A sentence names what it is about in back-ticks. */
  #sentence(value: unknown): unknown {
    if (typeof value !== 'string') return value;
    return value.replaceAll(/`([^`]+)`/g, (quoted, inner: string) => {
      if (this.#subjects.has(inner)) return `\`${String(this.#principal(inner))}\``;
      // A bare id may be that of any kind of subject.
      for (const type of PRINCIPAL_TYPES)
        if (this.#subjects.has(`${type}:${inner}`))
          return `\`${this.#pseudonym(`${type}:${inner}`)}\``;
      return quoted;
    });
  }

  #attributes(value: unknown): unknown {
    if (!isObject(value)) return value;
    return mapped(value, (key, values) => {
      const type = ID_ATTRIBUTES.get(key);
      return type === undefined ? values : this.#ids(type, values);
    });
  }

  /** A fact as it is stored. */
  #fact(kind: unknown, value: unknown): unknown {
    if (!isObject(value)) return value;
    const own = `${String(kind)}:${String(value['id'])}`;
    return mapped(value, (name, inner) => this.#factField(kind, own, name, inner));
  }

  /** @param own the principal whose record it is, where it is one */
  #factField(kind: unknown, own: string, name: string, value: unknown): unknown {
    const names = namesOfFact(kind, name);
    switch (names) {
      case 'nobody':
        return value;
      case 'own_id':
        return this.#id(kind, value);
      case 'user':
        return this.#id('user', value);
      case 'users':
        return this.#ids('user', value);
      case 'roles':
        return this.#ids('role', value);
      case 'workspaces':
        return this.#ids('workspace', value);
      case 'principal':
      case 'principals':
        return each(value, (one) => this.#principal(one));
      case 'grants':
        return each(value, (row) => this.#grant(row));
      case 'closure':
        return isObject(value)
          ? mapped(value, (part, inner) => this.#factField('role', own, part, inner))
          : value;
      case 'personal':
        return this.#subjects.has(own)
          ? this.#pseudonym(JSON.stringify([own, name, value]))
          : value;
    }
  }

  #grant(row: unknown): unknown {
    if (!isObject(row)) return row;
    return mapped(row, (name, value) => (name === 'grantor' ? this.#principal(value) : value));
  }
}

/** A value, or each item of a list. */
function each(value: unknown, one: (value: unknown) => unknown): unknown {
  return Array.isArray(value) ? value.map(one) : one(value);
}

/** An object with each of its fields replaced. */
function mapped(value: JsonObject, change: (name: string, field: unknown) => unknown): JsonObject {
  return Object.fromEntries(
    Object.entries(value).map(([name, field]) => [name, change(name, field)]),
  );
}
