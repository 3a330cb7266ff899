/** The part of the settings that says what is recorded, and where. */
import * as z from 'zod';
import { APIS, REDACTABLE } from '../audit/fields.ts';
import { MAX_SEALED } from '../audit/seals/seal.ts';
import { ownFile, sinkProblem, sinkSchema, withAbsoluteFiles } from '../audit/sinks/registry.ts';

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
      .array(sinkSchema)
      .default(() => [sinkSchema.parse({ type: 'stdout' })])
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
      .meta({ description: 'Fields to include, drop, hash or mask' }),
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

/** With the paths of its files made absolute. */
export function absoluteAudit(audit: AuditSettings, from: (path: string) => string): AuditSettings {
  const file = (path: string | undefined): string | undefined => path && from(path);
  return {
    ...audit,
    hash_key_file: file(audit.hash_key_file),
    chain_key_file: file(audit.chain_key_file),
    sinks: audit.sinks.map((one) => withAbsoluteFiles(one, from)),
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
  const owned = audit.sinks.map(ownFile);
  const paths = owned.map((one) => one?.path);
  for (const [index, sink] of audit.sinks.entries()) {
    const problem = sinkProblem(sink, { store, workers });
    if (problem !== undefined) problems.push([['sinks', index, problem[0]], problem[1]]);
    const own = owned[index];
    if (own === undefined) continue;
    // Of two that name one file, the later is wrong; of a spool and a log, the spool.
    const others = owned.filter((one, at) => one?.path === own.path && at !== index);
    const isSecond = paths.indexOf(own.path) < index;
    const isSpool = own.setting === 'spool_file';
    if (!isSpool && isSecond && others.some(({ setting } = own) => setting === own.setting))
      problems.push([['sinks', index, own.setting], `\`${own.path}\` is listed twice: keep one`]);
    if (isSpool && (isSecond || others.some((one) => one?.setting !== own.setting)))
      problems.push([
        ['sinks', index, own.setting],
        `\`${own.path}\` is used by another sink: use a different file`,
      ]);
  }
  return problems;
}
