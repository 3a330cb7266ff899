/** Records, feed entries and heads as the embedded store keeps them: JSON, each read without trust (CONS-6). */
import { fields, integer, listOf, number, oneOf, text, type Shape } from '../format/shape.ts';
import { KINDS } from '../format/kinds.ts';
import { versionProblem } from '../format/version.ts';
import {
  TenantError,
  Unreadable,
  type FactKey,
  type FactValue,
  type FeedEntry,
  type Head,
} from '../store.ts';

/** What stands under a key: the id again, as long ids are stored under their hash. */
export interface StoredFact {
  readonly id: string;
  readonly value: FactValue;
  /** Least version of a reader; absent: 1. */
  readonly needs?: number;
}

const fact = fields({ id: text });
const head: Shape = fields({ revision: integer(1), nonce: text });
const changed = fields({ kind: oneOf(...KINDS), id: text });
const entry: Shape = fields(
  {
    nonce: text,
    previous: text,
    event: fields({ actor: text, operation: text }),
    time: number,
  },
  { keys: listOf(changed) },
);

/** @param json `undefined`: there is none */
export function readFact(
  key: FactKey,
  json: string | undefined,
): FactValue | Unreadable | undefined {
  return json === undefined ? undefined : readParsed(key, parsedFact(json));
}

/** What stands in the store, not yet looked at; `undefined`: it is no JSON. */
export type ParsedFact = Readonly<Record<string, unknown>> | undefined;

export function parsedFact(json: string): ParsedFact {
  // Nothing is believed of it but that it has fields or none.
  return parsed(json) as ParsedFact;
}

export function readParsed(key: FactKey, stored: ParsedFact): FactValue | Unreadable {
  const problem = fact(stored);
  if (stored === undefined || problem !== undefined)
    return new Unreadable(key, 'it is no record of ours');
  const version = versionProblem(stored['needs']);
  if (version !== undefined) return new Unreadable(key, version.problem, version.needs);
  if (stored['id'] !== key.id)
    return new Unreadable(key, `it is the record of \`${String(stored['id']).slice(0, 80)}\``);
  // What it holds is looked at by `checked`.
  return stored['value'] as FactValue;
}

/** The id of a record, as far as it has one. */
export function idOfFact(stored: ParsedFact): string | undefined {
  return fact(stored) === undefined ? (stored as unknown as { readonly id: string }).id : undefined;
}

/** @throws TenantError where it is no head */
export function readHead(tenant: string, json: string | undefined): Head | undefined {
  if (json === undefined) return undefined;
  const stored = parsed(json);
  if (head(stored) !== undefined)
    throw new TenantError(`the head of \`${tenant}\` in the store is not one of ours`);
  const { revision, nonce } = stored as Head;
  return { revision, nonce };
}

export function readEntry(revision: number, json: string): FeedEntry {
  const stored = (parsed(json) ?? {}) as Partial<FeedEntry>;
  const version = versionProblem(stored.needs);
  const problem = version?.problem ?? entry(stored);
  // The shape says that it is one.
  if (problem === undefined) {
    const { keys, ...rest } = stored as FeedEntry;
    return { ...rest, revision, keys };
  }
  const { nonce, previous } = stored;
  return {
    revision,
    nonce: typeof nonce === 'string' ? nonce : '',
    previous: typeof previous === 'string' ? previous : '',
    keys: undefined,
    event: { actor: '', operation: 'unreadable' },
    time: 0,
    needs: version?.needs,
    unreadable: problem,
  };
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}
