/** Messages of AdminService between the loader's codec and the rules: structs are plain JSON, texts are UTF-8. */
import type { AdminRequest } from '../../../admin/admin-contract.ts';
import { Refused } from '../../../admin/refused.ts';
import { fromStruct, toStruct, toValue } from '../../../util/proto-value.ts';
import { hasExactText } from '../../codec/exact-text.ts';
import { badRequest, type RpcError } from '../status.ts';

/** A method as the loader defines it. */
export interface LoadedMethod {
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  readonly requestDeserialize: (bytes: Buffer) => object;
}

/** Stands for a message that cannot be read: the library would answer it with INTERNAL. */
export const UNREADABLE = Object.freeze({});

/** Reads a message; one that cannot be read becomes `UNREADABLE`. */
export function readable({ requestDeserialize }: LoadedMethod): LoadedMethod['requestDeserialize'] {
  return (bytes) => {
    try {
      const message = requestDeserialize(bytes);
      return hasExactText(bytes, message) ? message : UNREADABLE;
    } catch {
      return UNREADABLE;
    }
  };
}

export function unreadable(): RpcError {
  return badRequest('', 'the message cannot be read: send one of this method, with texts in UTF-8');
}

/** A message with a struct in it. */
interface WireUser {
  readonly metadata?: object | null | undefined;
}

/** Messages as rules take them: structs are plain JSON. @throws Refused */
export function fromWire(request: AdminRequest): AdminRequest {
  const message: AdminRequest & {
    readonly [field: string]: unknown;
    readonly metadata?: object | null | undefined;
    readonly user?: WireUser | string | null;
    readonly users?: readonly WireUser[];
  } = { ...request };
  const { metadata, user, users } = message;
  for (const field of REQUIRED)
    if (message[field] === null)
      throw new Refused('invalid_argument', `${field}: is missing`, '', field);
  const plain = (one: WireUser): WireUser => ({ ...one, metadata: jsonOf(one.metadata) });
  return {
    ...message,
    ...(metadata === undefined ? {} : { metadata: jsonOf(metadata) }),
    ...(typeof user === 'object' && user !== null ? { user: plain(user) } : {}),
    ...(users === undefined ? {} : { users: users.map(plain) }),
  };
}

function jsonOf(struct: object | null | undefined): object | undefined {
  if (struct === undefined || struct === null) return undefined;
  const json = fromStruct(struct);
  // Stored, it would come back as another value, or as a state file that is refused.
  if (!isJson(json))
    throw new Refused(
      'invalid_argument',
      'metadata: holds NaN or an infinity, which JSON has not: send a string or null',
      '',
      'metadata',
    );
  return json;
}

function isJson(value: unknown): boolean {
  if (typeof value === 'number') return Number.isFinite(value);
  return typeof value !== 'object' || value === null || Object.values(value).every(isJson);
}

/** Messages without which a request says nothing. */
export const REQUIRED = ['user', 'role', 'workspace', 'key'] as const;

/** Answers as the codec takes them: JSON objects are structs, a rule's attributes a map of lists. */
export function toWire(value: unknown): object {
  // Answers are objects, and so are their translations.
  return translate('', value) as object;
}

function translate(name: string, value: unknown): unknown {
  if (name === 'metadata') return value === undefined ? undefined : toStruct(value as never);
  if (Array.isArray(value))
    return value.map((item: unknown) => translate(name === 'rules' ? 'rule' : '', item));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, field]: [string, unknown]) => [
      key,
      name === 'rule' && key === 'attributes' ? constraints(field) : translate(key, field),
    ]),
  );
}

function constraints(field: unknown): object {
  const pairs = (field ?? []) as readonly (readonly [
    string,
    readonly (string | number | boolean)[],
  ])[];
  return Object.fromEntries(
    pairs.map(([key, values]) => [key, { values: values.map((value) => toValue(value)) }]),
  );
}
