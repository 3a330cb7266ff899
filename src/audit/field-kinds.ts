/** What a row of the field table (`fields.ts`) can say of a field of audit records. */

/** How a value is written. */
export type Shape =
  /** @param pattern of all its values, in the schema */
  | { readonly type: 'text'; readonly pattern?: RegExp; readonly least?: number }
  /** ISO 8601, UTC, milliseconds. */
  | { readonly type: 'time' }
  | { readonly type: 'integer'; readonly from: number }
  /** `above` and `below` themselves are no values of it; `from` is. */
  | {
      readonly type: 'number';
      readonly from?: number;
      readonly above?: number;
      readonly below?: number;
    }
  | { readonly type: 'flag' }
  /** The one value that there is. */
  | { readonly type: 'constant'; readonly value: string | number | boolean }
  /** One of a closed list; `grows`: a later version may write others, which readers take as they are. */
  | { readonly type: 'word'; readonly of: readonly string[]; readonly grows?: true }
  /** Any JSON. */
  | { readonly type: 'any' }
  /** Any JSON object. */
  | { readonly type: 'json' }
  /** How many of each name. */
  | { readonly type: 'counts' }
  /** Lists of scalars by key. */
  | { readonly type: 'attributes' }
  | { readonly type: 'list'; readonly of: Shape }
  /** @param id the name of the shape in the JSON Schema, where it stands in several places */
  | { readonly type: 'object'; readonly fields: Fields; readonly id?: string };

/**
 * How a field names subjects, for erasure:
 * - `nobody`: it does not, by what it is. Nothing in it is touched.
 * - `principal`: as `user:alice`.
 * - `sentence`: in back-ticks, within a text.
 * - `own_id`: an id; the field beside it that says of which kind is `type` or `kind`.
 * - `attributes`: as ids in the attributes of access lists (ACL-1).
 * - `fact`: as a stored fact does, see `fact-fields.ts`; the field beside it that says of which kind is `kind`.
 * - `inside`: in the fields of its object, each by its own row.
 */
export type Names =
  'nobody' | 'principal' | 'sentence' | 'own_id' | 'attributes' | 'fact' | 'inside';

/**
 * Whether the field policy may leave it out or alter it. `rule`: where a rule names it. `input`: it comes with the request
 * and may hold personal data, so that it is left out unless `audit.attributes` is on, and altered where a rule names it.
 * `inside`: with the field around it. Absent: never, it says what happened and when.
 */
export type Redaction = 'rule' | 'input' | 'inside';

/** What readers (reports, replay) take of it. `no`: nothing. `must`: a record without it cannot be read. */
export type Reading = 'no' | 'may' | 'must';

export interface Field {
  readonly shape: Shape;
  readonly about: string;
  /** Records may lack it. */
  readonly optional?: true;
  readonly names: Names;
  readonly redact?: Redaction;
  readonly read: Reading;
  /** Of any size: its place in the order in which a record that is too large for a sink leaves fields out. */
  readonly cut?: number;
}

export type Fields = { readonly [name: string]: Field };

/** Lists of scalars by key, as they are read. */
export type ReadAttributes = Readonly<Record<string, readonly (string | number | boolean)[]>>;

/** A value of a shape, as readers get it. */
type Read<S extends Shape> = S extends { type: 'text' | 'time' }
  ? string
  : S extends { type: 'integer' | 'number' }
    ? number
    : S extends { type: 'flag' } | { type: 'constant'; value: true }
      ? boolean
      : S extends { type: 'constant'; value: infer V }
        ? V
        : S extends { type: 'word'; grows: true }
          ? string
          : S extends { type: 'word'; of: readonly (infer W)[] }
            ? W
            : S extends { type: 'attributes' }
              ? ReadAttributes
              : S extends { type: 'list'; of: infer I extends Shape }
                ? Read<I>[]
                : S extends { type: 'object'; fields: infer F extends Fields }
                  ? ReadFields<F>
                  : unknown;

/** An object of fields, as readers get it: those that are read. */
export type ReadFields<F extends Fields> = {
  readonly [N in keyof F as F[N]['read'] extends 'must' ? N : never]: Read<F[N]['shape']>;
} & {
  readonly [N in keyof F as F[N]['read'] extends 'may' ? N : never]?:
    Read<F[N]['shape']> | undefined;
};
