/** The part of the settings that says what is recorded, and where. */
import * as z from 'zod';

import { APIS, REDACTABLE } from '../audit/fields.ts';
import { MAX_SEALED } from '../audit/seals/seal.ts';

const amount = (fallback: number, most: number, description: string): z.ZodDefault<z.ZodInt> =>
  z.int().min(0).max(most).default(fallback).meta({ description });

/** 100 years. */
const MAX_HOURS = 876_000;
const MAX_DAYS = 36_500;
/** Of files, 1 PiB. */
const MAX_FILE_BYTES = 2 ** 50;

const recordBytes = (fallback: number): z.ZodDefault<z.ZodInt> =>
  z
    .int()
    .min(16_384)
    .max(64 * 1024 * 1024)
    .default(fallback)
    .meta({
      description: 'A record that has more bytes is cut down to a stub that says so',
    });

/** Of sinks that are elsewhere. */
const remote = {
  max_record_bytes: recordBytes(1024 * 1024),
  spool_file: z.string().min(1).optional().meta({
    description: 'File for what cannot be delivered before the end; the next start sends it first',
  }),
  spool_bytes: z
    .int()
    .min(1)
    .max(1024 * 1024 * 1024)
    .default(67_108_864)
    .meta({
      description: 'Size of that file at most',
    }),
};

const common = {
  mode: z.enum(['drop', 'block', 'strict']).default('drop').meta({
    description:
      'What an answer waits for: nothing (records may be lost, and are counted), room for its record, or its record being kept',
  }),
  buffer_bytes: z
    .int()
    .min(1)
    .max(16 * 1024 * 1024 * 1024)
    .default(16_777_216)
    .meta({ description: 'Records that may wait for the sink' }),
  max_record_bytes: recordBytes(8 * 1024 * 1024),
  timeout_ms: z.int().min(10).max(1_000_000_000).default(1_000).meta({
    description: 'How long an answer waits for its record in mode strict (milliseconds)',
  }),
};

const sink = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('stdout'), ...common }),
  z.strictObject({
    type: z.literal('file'),
    path: z.string().min(1).meta({ description: 'The file that is appended to' }),
    ...common,
    rotate_bytes: amount(104_857_600, MAX_FILE_BYTES, 'Size at which a file is rotated; 0: never'),
    rotate_hours: amount(
      0,
      MAX_HOURS,
      'Age at which a file is rotated; 0: never, or daily where keep_days is set',
    ),
    keep_files: amount(0, 1_000_000, 'Rotated files that stay; 0: all'),
    keep_days: amount(0, MAX_DAYS, 'Age of rotated files that stay; 0: all'),
    keep_bytes: amount(0, MAX_FILE_BYTES, 'Size of all rotated files that stay; 0: all'),
  }),
  z.strictObject({
    type: z.literal('redis'),
    url: z.string().min(1).optional().meta({ description: 'redis://…; absent: that of `store`' }),
    key: z.string().min(1).default('postern:audit').meta({ description: 'The stream' }),
    ...common,
    ...remote,
    max_length: amount(0, 1_000_000_000_000, 'Entries that stay, about; 0: all'),
    max_age_hours: amount(0, MAX_HOURS, 'Age of entries that stay, about; 0: all'),
    wait_replicas: amount(0, 1_000, 'Replicas that must have a record before it is kept'),
  }),
  z.strictObject({
    type: z.literal('http'),
    url: z
      .string()
      .regex(
        /^https?:\/\/[^\s/@]+(\/\S*)?$/,
        'is not a URL without user and password, such as https://collector/audit',
      )
      .meta({ description: 'Takes a POST a batch, a JSON object a line' }),
    authorization_file: z
      .string()
      .optional()
      .meta({ description: 'File with the value of the header `authorization`' }),
    ...common,
    ...remote,
  }),
]);

const fieldPath = z
  .union([z.string().min(1), z.array(z.string()).min(1)])
  .transform((path) => (typeof path === 'string' ? path.split('.') : path))
  .refine(([first = '']) => REDACTABLE.includes(first), {
    error: `begins with none of ${REDACTABLE.join(', ')}`,
  })
  .meta({ description: 'resource.attributes.team, or a list of the names' });

export const auditSchema = z
  .strictObject({
    sinks: z
      .array(sink)
      .default(() => [sink.parse({ type: 'stdout' })])
      .meta({ description: 'Where records go, each to all of them; []: nowhere' }),
    attributes: z.boolean().default(false).meta({
      description: 'Record attributes, sources, contexts and objects of requests',
    }),
    fields: z
      .array(
        z.strictObject({
          path: fieldPath,
          action: z.enum(['include', 'drop', 'hash', 'mask']),
        }),
      )
      .default([])
      .meta({ description: 'Fields that are told, left out, hashed or masked' }),
    hash_key_file: z
      .string()
      .optional()
      .meta({ description: 'File with the key of hashed fields, 32 bytes or more' }),
    chain_key_file: z.string().optional().meta({
      description:
        'File with the key of seals and of the chain of management records, 32 bytes or more',
    }),
    seal_records: z.int().min(1).max(MAX_SEALED).default(256).meta({
      description: 'Records that one seal proves at most',
    }),
    seal_ms: z.int().min(10).max(3_600_000).default(1_000).meta({
      description: 'How long a record may wait for its seal (milliseconds)',
    }),
    sampling: z
      .array(
        z.strictObject({
          actions: z.array(z.string().min(1)).min(1).optional().meta({
            description: 'Names of actions, or beginnings of names followed by *; absent: all',
          }),
          apis: z.array(z.enum(APIS)).min(1).optional(),
          rate: z.number().min(0).max(1),
        }),
      )
      .default([])
      .meta({ description: 'Shares of allows that are recorded; the first that fits counts' }),
  })
  .prefault({});

export type AuditSettings = Readonly<z.output<typeof auditSchema>>;
export type SinkSettings = AuditSettings['sinks'][number];

/** With the paths of its files made absolute. */
export function absoluteAudit(audit: AuditSettings, from: (path: string) => string): AuditSettings {
  const file = (path: string | undefined): string | undefined => path && from(path);
  return {
    ...audit,
    hash_key_file: file(audit.hash_key_file),
    chain_key_file: file(audit.chain_key_file),
    sinks: audit.sinks.map((one) => {
      if (one.type === 'file') return { ...one, path: from(one.path) };
      if (one.type === 'stdout') return one;
      const spooled = { ...one, spool_file: file(one.spool_file) };
      return spooled.type === 'http'
        ? { ...spooled, authorization_file: file(spooled.authorization_file) }
        : spooled;
    }),
  };
}

/** What is wrong with it as a whole: paths below `audit`, and messages. */
export function auditProblems(
  audit: AuditSettings,
  store: string,
  workers: number,
): readonly (readonly [path: readonly PropertyKey[], message: string])[] {
  const problems: (readonly [readonly PropertyKey[], string])[] = [];
  if (audit.hash_key_file === undefined)
    for (const [index, { action }] of audit.fields.entries())
      if (action === 'hash')
        problems.push([['fields', index, 'action'], '`hash` needs `audit.hash_key_file`']);
  const spools = audit.sinks.map(spoolOf);
  const files = audit.sinks.map((one) => (one.type === 'file' ? one.path : undefined));
  for (const [index, one] of audit.sinks.entries()) {
    if (one.type === 'redis' && one.url === undefined && store.startsWith('embedded:'))
      problems.push([['sinks', index, 'url'], 'is missing, and `store` is no Redis: name one']);
    if (one.type === 'stdout' && one.mode === 'strict' && workers > 1)
      problems.push([
        ['sinks', index, 'mode'],
        '`strict` on stdout needs `workers: 1`: records of several pass through a process that may end with them; use a file',
      ]);
    if (one.type === 'file' && files.indexOf(one.path) !== index)
      problems.push([['sinks', index, 'path'], `\`${one.path}\` is listed twice: keep one`]);
    const spool = spoolOf(one);
    if (spool !== undefined && (files.includes(spool) || spools.indexOf(spool) !== index))
      problems.push([
        ['sinks', index, 'spool_file'],
        `\`${spool}\` is a file of another sink: give each one of its own`,
      ]);
  }
  return problems;
}

function spoolOf(sink: SinkSettings): string | undefined {
  return sink.type === 'redis' || sink.type === 'http' ? sink.spool_file : undefined;
}
