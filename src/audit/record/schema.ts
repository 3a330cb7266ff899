/**
 * The shapes of audit records, version 1: what readers may rely on. `npm run gen` writes them as a JSON Schema and as
 * docs/audit-fields.md. Nothing that serves decisions loads this file.
 */
import * as z from 'zod';
import { CREDENTIAL_PROBLEMS } from '../../engine/credential-problem.ts';
import { MODES } from '../../engine/model.ts';
import { APIS, AUDIT_VERSION } from './event.ts';

/** What a rule of the field policy leaves in place of a value. */
const altered = z
  .string()
  .regex(/^(\*\*\*|hmac:[\w-]{43})$/)
  .meta({ id: 'altered', description: '`***` (masked) or `hmac:…` (hashed) by the field policy' });

function text(description: string): z.ZodOptional<z.ZodString> {
  return z.string().optional().meta({ description });
}

/** What the field policy may hash or mask, and is no text anyway. */
function redactable<T extends z.ZodType>(
  schema: T,
  description: string,
): z.ZodOptional<z.ZodUnion<readonly [T, typeof altered]>> {
  return z.union([schema, altered]).optional().meta({ description });
}

const scalar = z.union([z.string(), z.number(), z.boolean(), z.null()]);
const attributes = z.record(z.string(), z.union([z.array(scalar), altered]));
const outcome = z.boolean().meta({ description: 'Whether it was allowed' });
const reason = z.string().regex(/^[A-Z_]+$/);
const count = z.int().min(0);

const resource = z
  .strictObject({
    type: text('Its type'),
    id: text('Its id'),
    path: text('Its tree path; absent: the request gave none'),
    attributes: redactable(
      attributes,
      'Lists of scalars by key; only with `audit.attributes: true`',
    ),
    sources: redactable(
      z.array(z.union([attributes, altered])),
      'The same of each contributing source; only with `audit.attributes: true`',
    ),
  })
  .meta({ id: 'resource' });

const policy = z.array(z.string()).optional();

const objects = z.strictObject({
  total: redactable(count, 'Objects that were asked for'),
  visible: redactable(count, 'Of them, visible on this page'),
  shadow_hidden: redactable(count, 'Visible ones that full enforcement would hide'),
  shadow_shown: redactable(count, 'Hidden ones that full enforcement would show'),
  offset: redactable(count, 'Where the page began; only with `audit.attributes: true`'),
  limit: redactable(count, 'Visible objects on a page, 0: all; likewise'),
  invalid: redactable(count, 'Malformed objects, which are not visible; absent: none'),
  invalid_indexes: redactable(
    z.array(z.union([count, altered])),
    'Which of the objects are malformed; their `items` are empty',
  ),
  items: redactable(z.array(z.union([resource, altered])), 'In the order of the request; likewise'),
  visible_indexes: redactable(
    z.array(z.union([count, altered])),
    'Which of `items` are visible on the page; likewise',
  ),
});

const shared = {
  time: z.iso.datetime({ precision: 3 }).meta({
    description: 'When it was decided: UTC, milliseconds, by the clock of the machine',
  }),
  instance: z
    .string()
    .regex(/^[0-9a-f]{12}$/)
    .meta({ description: 'Random name of the process' }),
  seq: z.int().min(1).meta({
    description: 'Number of the record in its instance: 1, 2, 3 … A missing one is a lost record',
  }),
  salt: z
    .string()
    .regex(/^([\w-]{12}|[\w-]{22})$/)
    .optional()
    .meta({
      description:
        'Random: from the digest or `hash` of an erased record, which has none, nothing can be guessed',
    }),
  decision_id: z.string().min(1).meta({ description: 'The same as in the answer; unique' }),
  request_id: z.string().optional().meta({ description: "The caller's own id of the request" }),
  tenant: z.string().meta({
    description: 'Whose facts were asked or changed; `""`: none that could be named',
  }),
} as const;

const version = z.literal(AUDIT_VERSION).meta({ description: 'Version of the shape' });
const omitted = z.array(z.string()).optional().meta({
  description:
    'What the request had and the record leaves out or alters, for example `resource.attributes`; absent: nothing',
});
const erased = z.literal(true).optional().meta({
  description: 'A subject was erased from it',
});
/** Of records that a sink had no room for as they were. */
const cut = z
  .strictObject({
    bytes: z.int().min(1).meta({ description: 'How many it had' }),
    digest: z
      .string()
      .regex(/^[\w-]{22}$/)
      .meta({ description: 'Its digest, as its seal has it' }),
  })
  .optional()
  .meta({
    description:
      'It was too large for the sink: this is what is left of it, `omitted` names the rest. Texts that end in `…` are shortened',
  });
const revision = z.int().min(0);
const credentialProblem = z.enum(CREDENTIAL_PROBLEMS).optional().meta({
  description:
    'Why the credential proved nobody; callers are not told. Absent: it did, or none was sent',
});

const decision = z
  .strictObject({
    v: version,
    type: z.literal('decision').meta({ description: 'A question was decided' }),
    ...shared,
    api: z.enum(APIS).meta({ description: 'How it was asked' }),
    duration_us: z
      .number()
      .min(0)
      .meta({ description: 'Microseconds from a decoded request to the decision' }),
    sample_rate: z.number().gt(0).lt(1).optional().meta({
      description: 'The share of such allows that is recorded; absent: all are',
    }),
    revision: revision.meta({ description: 'Which facts decided; 0: none were loaded' }),
    subject: text(
      'Who asked, as `user:alice`; a bound key that was named alone is recorded with its user',
    ),
    key_id: text('The API key that acted'),
    action: z.string().meta({ description: 'As it was asked' }),
    resource: redactable(resource, 'What was asked for, as far as it was given'),
    context: redactable(
      z.record(z.string(), z.unknown()),
      "The request's context; only with `audit.attributes: true`",
    ),
    objects: redactable(objects, 'Filter: what was asked for and what is visible'),
    allowed: outcome,
    reason: reason.meta({ description: 'Why; for Filter, of the action' }),
    credential_problem: credentialProblem,
    shadow: z
      .strictObject({
        allowed: outcome,
        differs: z.boolean().meta({ description: 'It is not the decision that was given' }),
      })
      .optional()
      .meta({ description: 'The decision under full enforcement; absent: it could not differ' }),
    shadow_policy: policy.meta({ description: 'Rules that would decide then' }),
    policy: policy.meta({
      description: 'Rules that decided, as `set/rule`; a base role by its name',
    }),
    mode: z.enum(MODES).optional().meta({ description: 'Mode of the key' }),
    omitted,
    erased,
    cut,
  })
  .meta({ title: 'decision' });

const fact = z
  .strictObject({
    kind: text('Its kind, for example `user`'),
    id: text('Its id; of an owner, the path'),
    value: z.unknown().optional().meta({
      description: 'As it is stored, its secrets by their number; null: there is none',
    }),
  })
  .meta({ id: 'fact' });
const facts = z.array(z.union([fact, altered]));
const hash = z.string().regex(/^[0-9a-f]{64}$/);

const management = z
  .strictObject({
    v: version,
    type: z.literal('management').meta({ description: 'Facts were changed, or this was refused' }),
    ...shared,
    revision: revision.meta({
      description: 'Of the commit, or that the facts were read at; 0: refused',
    }),
    actor: text('Who did it: `user:alice`, or `operator`'),
    via: text('What proved the actor: `admin token`, `session s1`, `JWT`, `key agent-1`'),
    key_id: text('The API key that the actor came by'),
    operation: z.string().meta({ description: 'What was done, for example `user.create`' }),
    dry_run: z.literal(true).optional().meta({ description: 'It was only tried' }),
    repeated: z
      .literal(true)
      .optional()
      .meta({ description: 'It was done before, under the same idempotency key' }),
    allowed: outcome,
    reason: reason.optional().meta({ description: 'Why it was refused' }),
    rule: z
      .string()
      .optional()
      .meta({ description: 'The rule that refused it, for example ADM-5' }),
    detail: text('The refusal in words'),
    before: redactable(facts, 'The facts that changed, before; of 100 changes at most'),
    after: redactable(facts, 'The same facts, after'),
    more_changes: z.int().min(1).optional().meta({
      description: 'Changes beyond those that `before` and `after` tell',
    }),
    removed: z.record(z.string(), z.int().min(1)).optional().meta({
      description: 'Of `tenant.remove_records`: how many records it removed, by kind (ADM-9)',
    }),
    omitted,
    erased,
    cut,
    prev_hash: hash.meta({
      description: "`hash` of the instance's management record before it; the first: 64 zeros",
    }),
    hash: hash.meta({
      description:
        'SHA-256, or HMAC-SHA256 under the key of the chain, of `prev_hash` and the line without both, as it was before anything was erased',
    }),
  })
  .meta({ title: 'management' });

const authentication = z
  .strictObject({
    v: version,
    type: z.literal('authentication').meta({ description: 'A credential was refused' }),
    ...shared,
    allowed: z.literal(false).meta({ description: 'Always false' }),
    reason: reason.meta({ description: 'Always UNAUTHENTICATED' }),
    credential_problem: credentialProblem,
    detail: text('Why, without anything of the credential'),
    count: z.int().min(2).optional().meta({
      description: 'So many of the same kind came since the last such record; absent: one',
    }),
    omitted,
    erased,
    cut,
  })
  .meta({ title: 'authentication' });

const { time, instance, seq } = shared;
const seal = z
  .strictObject({
    v: version,
    type: z.literal('seal').meta({ description: 'It proves the records before it' }),
    time,
    instance,
    seq,
    first: z.int().min(1).meta({
      description: 'Number of the first record that it proves; the last is the one before it',
    }),
    keyed: z.literal(true).optional().meta({ description: 'Its hash is made with a key' }),
    end: z.literal(true).optional().meta({
      description: 'No record of the instance follows: the process has ended in order',
    }),
    digests: z
      .string()
      .regex(/^([\w-]{22})+$/)
      .meta({
        description:
          "Of each record, in order: the first 22 characters of the base64url of its line's SHA-256",
      }),
    prev_hash: hash.meta({ description: '`hash` of the seal before it; the first: 64 zeros' }),
    hash: hash.meta({
      description:
        'SHA-256, or HMAC-SHA256 under the key of the chain, of `prev_hash` and the line without both',
    }),
  })
  .meta({ title: 'seal' });

/** One line of the audit stream. */
export const recordSchema = z
  .discriminatedUnion('type', [decision, management, authentication, seal])
  .meta({ title: 'Postern audit record, version 1' });

/** The same for other tools. */
export function recordJsonSchema(): unknown {
  return z.toJSONSchema(recordSchema, { target: 'draft-2020-12' });
}
