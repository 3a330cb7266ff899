/**
 * THE table of audit records, version 1: every field of every record, how it is written, whether it names a subject,
 * whether it may be redacted, and how it is read. The schema (`record/schema.ts`), the reader (`record/reader.ts`), the
 * field policy (`record/redact.ts`), erasure (`logs/erase-subjects.ts`), what a record that is too large leaves out
 * (`record/cut.ts`) and docs/audit-fields.md follow from it. `record/event.ts` and `record/management-record.ts` write it.
 */
import { CREDENTIAL_PROBLEMS } from '../engine/credential-problem.ts';
import { MODES } from '../engine/model.ts';
import type { Field, Fields } from './field-kinds.ts';

/** Version of the record's shape. */
export const AUDIT_VERSION = 1;

/** How a decision was asked for. */
export const APIS = [
  'check',
  'batch_check',
  'filter',
  'explain',
  'check_stream',
  'ext_authz',
] as const;
export type Api = (typeof APIS)[number];

const TEXT = { type: 'text' } as const;
const TEXTS = { type: 'list', of: TEXT } as const;
const COUNT = { type: 'integer', from: 0 } as const;
const COUNTS = { type: 'list', of: COUNT } as const;
const FLAG = { type: 'flag' } as const;
const TRUE = { type: 'constant', value: true } as const;
const HASH = { type: 'text', pattern: /^[0-9a-f]{64}$/ } as const;

// prettier-ignore
/** The resource of a question, and each object of a Filter. */
const RESOURCE = {
  type: 'object',
  id: 'resource',
  fields: {
    type: { shape: TEXT, optional: true, names: 'nobody', redact: 'inside', read: 'may',
      about: 'Its type' },
    id: { shape: TEXT, optional: true, names: 'own_id', redact: 'inside', read: 'may',
      about: 'Its id' },
    path: { shape: TEXT, optional: true, names: 'nobody', redact: 'inside', read: 'may',
      about: 'Its tree path; absent: the request gave none' },
    attributes: { shape: { type: 'attributes' }, optional: true, names: 'attributes', redact: 'input', read: 'may', cut: 4,
      about: 'Lists of scalars by key; only with `audit.attributes: true`' },
    sources: { shape: { type: 'list', of: { type: 'attributes' } }, optional: true, names: 'attributes', redact: 'input', read: 'may', cut: 3,
      about: 'The same of each contributing source; only with `audit.attributes: true`' },
  },
} as const;

// prettier-ignore
/** Of a Filter. */
const OBJECTS = {
  type: 'object',
  fields: {
    total: { shape: COUNT, optional: true, names: 'nobody', redact: 'inside', read: 'may',
      about: 'Objects that were asked for' },
    visible: { shape: COUNT, optional: true, names: 'nobody', redact: 'inside', read: 'may',
      about: 'Of them, visible on this page' },
    shadow_hidden: { shape: COUNT, optional: true, names: 'nobody', redact: 'inside', read: 'may',
      about: 'Visible ones that full enforcement would hide' },
    shadow_shown: { shape: COUNT, optional: true, names: 'nobody', redact: 'inside', read: 'may',
      about: 'Hidden ones that full enforcement would show' },
    offset: { shape: COUNT, optional: true, names: 'nobody', redact: 'inside', read: 'may',
      about: 'Where the page began; only with `audit.attributes: true`' },
    limit: { shape: COUNT, optional: true, names: 'nobody', redact: 'inside', read: 'may',
      about: 'Visible objects on a page, 0: all; likewise' },
    invalid: { shape: COUNT, optional: true, names: 'nobody', redact: 'inside', read: 'no',
      about: 'Malformed objects, which are not visible; absent: none' },
    invalid_indexes: { shape: COUNTS, optional: true, names: 'nobody', redact: 'inside', read: 'may',
      about: 'Which of the objects are malformed; their `items` are empty' },
    items: { shape: { type: 'list', of: RESOURCE }, optional: true, names: 'inside', redact: 'input', read: 'may', cut: 1,
      about: 'In the order of the request; likewise' },
    visible_indexes: { shape: COUNTS, optional: true, names: 'nobody', redact: 'inside', read: 'may', cut: 2,
      about: 'Which of `items` are visible on the page; likewise' },
  },
} as const;

// prettier-ignore
const SHADOW = {
  type: 'object',
  fields: {
    allowed: { shape: FLAG, names: 'nobody', read: 'must',
      about: 'Whether it was allowed' },
    differs: { shape: FLAG, names: 'nobody', read: 'must',
      about: 'It is not the decision that was given' },
  },
} as const;

// prettier-ignore
/** A stored fact that was changed. */
const FACT = {
  type: 'object',
  id: 'fact',
  fields: {
    kind: { shape: TEXT, optional: true, names: 'nobody', redact: 'inside', read: 'must',
      about: 'Its kind, for example `user`' },
    id: { shape: TEXT, optional: true, names: 'own_id', redact: 'inside', read: 'must',
      about: 'Its id; of an owner, the path' },
    value: { shape: { type: 'any' }, optional: true, names: 'fact', redact: 'inside', read: 'may',
      about: 'As it is stored, its secrets by their number; null: there is none' },
  },
} as const;
const FACTS = { type: 'list', of: FACT } as const;

// prettier-ignore
/** Of a record that a sink had no room for as it was. */
const CUT = {
  type: 'object',
  fields: {
    bytes: { shape: { type: 'integer', from: 1 }, names: 'nobody', read: 'no',
      about: 'How many it had' },
    digest: { shape: { type: 'text', pattern: /^[\w-]{22}$/ }, names: 'nobody', read: 'no',
      about: 'Its digest, as its seal has it' },
  },
} as const;

// prettier-ignore
const VERSION = {
  shape: { type: 'constant', value: AUDIT_VERSION }, names: 'nobody', read: 'must',
    about: 'Version of the shape',
} as const;
// prettier-ignore
const TIME = {
  shape: { type: 'time' }, names: 'nobody', read: 'must',
    about: 'When it was decided: UTC, milliseconds, by the clock of the machine',
} as const;
// prettier-ignore
const INSTANCE = {
  shape: { type: 'text', pattern: /^[0-9a-f]{12}$/ }, names: 'nobody', read: 'no',
    about: 'Random name of the process',
} as const;
// prettier-ignore
const SEQ = {
  shape: { type: 'integer', from: 1 }, names: 'nobody', read: 'no',
    about: 'Number of the record in its instance: 1, 2, 3 … A missing one is a lost record',
} as const;

// prettier-ignore
/** What every record but a seal begins with, behind `type`. */
const SHARED = {
  time: TIME,
  instance: INSTANCE,
  seq: SEQ,
  salt: { shape: { type: 'text', pattern: /^([\w-]{12}|[\w-]{22})$/ }, optional: true, names: 'nobody', read: 'no',
    about: 'Random: from the digest or `hash` of an erased record, which has none, nothing can be guessed' },
  decision_id: { shape: { type: 'text', least: 1 }, names: 'nobody', read: 'may',
    about: 'The same as in the answer; unique' },
  request_id: { shape: TEXT, optional: true, names: 'nobody', redact: 'rule', read: 'no',
    about: "The caller's own id of the request" },
  tenant: { shape: TEXT, names: 'nobody', read: 'must',
    about: 'Whose facts were asked or changed; `""`: none that could be named' },
} as const;
// prettier-ignore
/** What every record but a seal may end with. */
const MARKS = {
  omitted: { shape: TEXTS, optional: true, names: 'nobody', read: 'may',
    about: 'What the request had and the record leaves out or alters, for example `resource.attributes`; absent: nothing' },
  erased: { shape: TRUE, optional: true, names: 'nobody', read: 'may',
    about: 'A subject was erased from it' },
  cut: { shape: CUT, optional: true, names: 'nobody', read: 'no',
    about: 'It was too large for the sink: this is what is left of it, `omitted` names the rest. Texts that end in `…` are shortened' },
} as const;
const REASON = { type: 'text', pattern: /^[A-Z_]+$/ } as const;
// prettier-ignore
const CREDENTIAL_PROBLEM = {
  shape: { type: 'word', of: CREDENTIAL_PROBLEMS, grows: true }, optional: true, names: 'nobody', read: 'may',
    about: 'Why the credential proved nobody; callers are not told. Absent: it did, or none was sent',
} as const;

// prettier-ignore
export const DECISION = {
  v: VERSION,
  type: { shape: { type: 'constant', value: 'decision' }, names: 'nobody', read: 'must',
    about: 'A question was decided' },
  ...SHARED,
  decision_id: { ...SHARED.decision_id, read: 'must' },
  api: { shape: { type: 'word', of: APIS, grows: true }, names: 'nobody', read: 'must',
    about: 'How it was asked' },
  duration_us: { shape: { type: 'number', from: 0 }, names: 'nobody', read: 'no',
    about: 'Microseconds from a decoded request to the decision' },
  sample_rate: { shape: { type: 'number', above: 0, below: 1 }, optional: true, names: 'nobody', read: 'may',
    about: 'The share of such allows that is recorded; absent: all are' },
  revision: { shape: COUNT, names: 'nobody', read: 'must',
    about: 'Which facts decided; 0: none were loaded' },
  subject: { shape: TEXT, optional: true, names: 'principal', redact: 'rule', read: 'may',
    about: 'Who asked, as `user:alice`; a bound key that was named alone is recorded with its user' },
  key_id: { shape: TEXT, optional: true, names: 'nobody', redact: 'rule', read: 'may',
    about: 'The API key that acted' },
  action: { shape: TEXT, names: 'nobody', read: 'must',
    about: 'As it was asked' },
  resource: { shape: RESOURCE, optional: true, names: 'inside', redact: 'rule', read: 'may',
    about: 'What was asked for, as far as it was given' },
  context: { shape: { type: 'json' }, optional: true, names: 'nobody', redact: 'input', read: 'no', cut: 5,
    about: "The request's context; only with `audit.attributes: true`" },
  objects: { shape: OBJECTS, optional: true, names: 'inside', redact: 'rule', read: 'may',
    about: 'Filter: what was asked for and what is visible' },
  allowed: { shape: FLAG, names: 'nobody', read: 'must',
    about: 'Whether it was allowed' },
  reason: { shape: REASON, names: 'nobody', read: 'must',
    about: 'Why; for Filter, of the action' },
  credential_problem: CREDENTIAL_PROBLEM,
  shadow: { shape: SHADOW, optional: true, names: 'nobody', read: 'may',
    about: 'The decision under full enforcement; absent: it could not differ' },
  shadow_policy: { shape: TEXTS, optional: true, names: 'nobody', read: 'may',
    about: 'Rules that would decide then' },
  policy: { shape: TEXTS, optional: true, names: 'nobody', read: 'may',
    about: 'Rules that decided, as `set/rule`; a base role by its name' },
  mode: { shape: { type: 'word', of: MODES }, optional: true, names: 'nobody', read: 'may',
    about: 'Mode of the key' },
  ...MARKS,
} as const satisfies Fields;

// prettier-ignore
export const MANAGEMENT = {
  v: VERSION,
  type: { shape: { type: 'constant', value: 'management' }, names: 'nobody', read: 'must',
    about: 'Facts were changed, or this was refused' },
  ...SHARED,
  revision: { shape: COUNT, names: 'nobody', read: 'must',
    about: 'Of the commit, or that the facts were read at; 0: refused' },
  actor: { shape: TEXT, optional: true, names: 'principal', redact: 'rule', read: 'no',
    about: 'Who did it: `user:alice`, or `operator`' },
  via: { shape: TEXT, optional: true, names: 'nobody', redact: 'rule', read: 'no',
    about: 'What proved the actor: `admin token`, `session s1`, `JWT`, `key agent-1`' },
  key_id: { shape: TEXT, optional: true, names: 'nobody', redact: 'rule', read: 'no',
    about: 'The API key that the actor came by' },
  operation: { shape: TEXT, names: 'nobody', read: 'no',
    about: 'What was done, for example `user.create`' },
  dry_run: { shape: TRUE, optional: true, names: 'nobody', read: 'may',
    about: 'It was only tried' },
  repeated: { shape: TRUE, optional: true, names: 'nobody', read: 'may',
    about: 'It was done before, under the same idempotency key' },
  allowed: { shape: FLAG, names: 'nobody', read: 'must',
    about: 'Whether it was allowed' },
  reason: { shape: REASON, optional: true, names: 'nobody', read: 'no',
    about: 'Why it was refused' },
  rule: { shape: TEXT, optional: true, names: 'nobody', read: 'no',
    about: 'The rule that refused it, for example ADM-5' },
  detail: { shape: TEXT, optional: true, names: 'sentence', redact: 'rule', read: 'no',
    about: 'The refusal in words' },
  before: { shape: FACTS, optional: true, names: 'inside', redact: 'rule', read: 'may', cut: 7,
    about: 'The facts that changed, before; of 100 changes at most' },
  after: { shape: FACTS, optional: true, names: 'inside', redact: 'rule', read: 'may', cut: 6,
    about: 'The same facts, after' },
  more_changes: { shape: { type: 'integer', from: 1 }, optional: true, names: 'nobody', read: 'may',
    about: 'Changes beyond those that `before` and `after` tell' },
  removed: { shape: { type: 'counts' }, optional: true, names: 'nobody', read: 'no',
    about: 'Of `tenant.remove_records`: how many records it removed, by kind (ADM-9)' },
  ...MARKS,
  prev_hash: { shape: HASH, names: 'nobody', read: 'no',
    about: "`hash` of the instance's management record before it; the first: 64 zeros" },
  hash: { shape: HASH, names: 'nobody', read: 'no',
    about: 'SHA-256, or HMAC-SHA256 under the key of the chain, of `prev_hash` and the line without both, as it was before anything was erased' },
} as const satisfies Fields;

// prettier-ignore
const AUTHENTICATION = {
  v: VERSION,
  type: { shape: { type: 'constant', value: 'authentication' }, names: 'nobody', read: 'no',
    about: 'A credential was refused' },
  ...SHARED,
  allowed: { shape: { type: 'constant', value: false }, names: 'nobody', read: 'no',
    about: 'Always false' },
  reason: { shape: REASON, names: 'nobody', read: 'no',
    about: 'Always UNAUTHENTICATED' },
  credential_problem: CREDENTIAL_PROBLEM,
  detail: { shape: TEXT, optional: true, names: 'sentence', redact: 'rule', read: 'no',
    about: 'Why, without anything of the credential' },
  count: { shape: { type: 'integer', from: 2 }, optional: true, names: 'nobody', read: 'no',
    about: 'So many of the same kind came since the last such record; absent: one' },
  ...MARKS,
} as const satisfies Fields;

// prettier-ignore
const SEAL = {
  v: VERSION,
  type: { shape: { type: 'constant', value: 'seal' }, names: 'nobody', read: 'no',
    about: 'It proves the records before it' },
  time: TIME,
  instance: INSTANCE,
  seq: SEQ,
  first: { shape: { type: 'integer', from: 1 }, names: 'nobody', read: 'no',
    about: 'Number of the first record that it proves; the last is the one before it' },
  keyed: { shape: TRUE, optional: true, names: 'nobody', read: 'no',
    about: 'Its hash is made with a key' },
  end: { shape: TRUE, optional: true, names: 'nobody', read: 'no',
    about: 'No record of the instance follows: the process has ended in order' },
  digests: { shape: { type: 'text', pattern: /^([\w-]{22})+$/ }, names: 'nobody', read: 'no',
    about: "Of each record, in order: the first 22 characters of the base64url of its line's SHA-256" },
  prev_hash: { shape: HASH, names: 'nobody', read: 'no',
    about: '`hash` of the seal before it; the first: 64 zeros' },
  hash: { shape: HASH, names: 'nobody', read: 'no',
    about: 'SHA-256, or HMAC-SHA256 under the key of the chain, of `prev_hash` and the line without both' },
} as const satisfies Fields;

/** The records, by their `type`. */
export const RECORDS = {
  decision: DECISION,
  management: MANAGEMENT,
  authentication: AUTHENTICATION,
  seal: SEAL,
} as const satisfies { readonly [type: string]: Fields };

const TOP_LEVEL: readonly (readonly [name: string, field: Field])[] = Object.values(
  RECORDS,
).flatMap((fields: Fields) => Object.entries(fields));

/** Fields that rules of the field policy may name; the others say what happened and when, and are no person's. */
export const REDACTABLE: readonly string[] = [
  ...new Set(TOP_LEVEL.flatMap(([name, { redact }]) => (redact === undefined ? [] : [name]))),
];

/** Paths of what a request brings along, and may hold personal data. */
export const INPUTS: readonly (readonly string[])[] = placesOf(({ redact }) => redact === 'input');

/** Fields of any size, in the order in which a record that is too large leaves them out: first what a caller sends. */
export const CUTTABLE: readonly (readonly string[])[] = placesOf(({ cut }) => cut !== undefined);

/** Redactable objects: `omitted` names their fields one by one, as `resource.attributes`. */
export const REDACTED_BY_FIELD: ReadonlySet<string> = new Set(
  TOP_LEVEL.flatMap(([name, { shape, redact }]) =>
    redact !== undefined && shape.type === 'object' ? [name] : [],
  ),
);

/** The paths of fields at the top of records and in objects there, each once, in the order of `cut`. */
function placesOf(isWanted: (field: Field) => boolean): readonly (readonly string[])[] {
  const places = new Map<string, readonly [path: readonly string[], cut: number]>();
  for (const [name, field] of TOP_LEVEL) {
    if (isWanted(field)) places.set(name, [[name], field.cut ?? 0]);
    if (field.shape.type !== 'object') continue;
    for (const [part, inner] of Object.entries(field.shape.fields))
      if (isWanted(inner)) places.set(`${name} ${part}`, [[name, part], inner.cut ?? 0]);
  }
  return [...places.values()].sort((one, other) => one[1] - other[1]).map(([path]) => path);
}
