/** Policy test files: a state, requests, and the decisions that are expected of them (`postern test`). */
import * as z from 'zod';
import type { Attributes, Request, Resource, Scalar } from '../engine/model.ts';
import { MODELS, PRINCIPAL_TYPES } from '../engine/model.ts';
import { requestProblem, strangerProblem } from '../engine/validate.ts';
import { attributes, treePath } from './common.ts';
import { parseAs } from './document.ts';
import type { Source } from './source.ts';
import { attributeProblems } from './policy-set.ts';
import { ConfigError, type Problem } from './problem.ts';
import { stateSchema } from './state.ts';

const reason = z.enum([
  'ALLOWED',
  'ACTION_DENIED',
  'OBJECT_HIDDEN',
  'NO_GRANT',
  'UNKNOWN_ACTION',
  'SUBJECT_INACTIVE',
  'KEY_INVALID',
  'TENANT_MISMATCH',
]);

const resource = z
  .strictObject({
    type: z.string().optional(),
    id: z.string().optional(),
    path: treePath.optional(),
    attributes: attributes.optional(),
    sources: z
      .array(z.strictObject({ attributes }))
      .optional()
      .meta({ description: 'Metadata of every contributing source (ABAC-9)' }),
  })
  .meta({ id: 'Resource' });

const caller = {
  tenant: z.string().optional().meta({ description: "The state's tenant by default" }),
  subject: z
    .string()
    .optional()
    .meta({ description: 'alice, user:alice, role:team, workspace:w1' }),
  key: z.string().optional().meta({ description: 'Id of an API key' }),
  action: z.string(),
};

const now = z.iso
  .datetime()
  .optional()
  .meta({ description: 'The time of the question, 2030-01-31T12:00:00Z; the present by default' });

const checkTest = z.strictObject({
  name: z.string(),
  now,
  rules: z.array(z.string()).optional(),
  request: z.strictObject({ ...caller, resource: resource.optional() }),
  expect: z.strictObject({
    allowed: z.boolean(),
    reason: reason.optional(),
    by: z.enum([...MODELS, 'superuser']).optional(),
    shadow: z
      .union([z.literal('none'), z.strictObject({ allowed: z.boolean(), differs: z.boolean() })])
      .optional(),
    audit: z
      .record(z.string(), z.unknown())
      .optional()
      .meta({ description: 'Fields that the audit record has' }),
    missing: z
      .array(z.string())
      .optional()
      .meta({ description: 'Texts that Explain lists as missing' }),
  }),
});

const filterTest = z.strictObject({
  name: z.string(),
  now,
  rules: z.array(z.string()).optional(),
  filter: z.strictObject({
    ...caller,
    objects: z.array(resource),
    limit: z.int().min(0).optional(),
    offset: z.int().min(0).optional(),
  }),
  expect: z.strictObject({
    action_allowed: z.boolean().optional(),
    reason: reason.optional(),
    allowed_ids: z.array(z.string()),
    complete: z.boolean().optional(),
    next_offset: z.int().min(0).optional(),
    shadow_hidden: z.array(z.string()).optional(),
    shadow_shown: z.array(z.string()).optional(),
  }),
});

export const policyTestSchema = z
  .strictObject({
    name: z.string(),
    rules: z.array(z.string()).optional().meta({ description: 'Ids of the rules that it shows' }),
    now,
    catalog: z.string().optional().meta({ description: 'actions.yaml, relative to this file' }),
    state: z
      .union([z.string(), stateSchema])
      .meta({ description: 'The facts: inline, or a state file relative to this one' }),
    tests: z.array(z.union([checkTest, filterTest])).min(1),
  })
  .meta({ title: 'Postern policy tests' });

export type PolicyTestFile = z.input<typeof policyTestSchema>;
export type PolicyTest = PolicyTestFile['tests'][number];
export type CheckTest = Extract<PolicyTest, { request: unknown }>;
export type FilterTest = Extract<PolicyTest, { filter: unknown }>;
type ResourceEntry = NonNullable<CheckTest['request']['resource']>;
type Caller = Omit<CheckTest['request'], 'resource'>;

/** What a request may hold where no server's limits apply. */
const LIMITS = { attributes: 64, valuesPerAttribute: 256 };

/** @throws ConfigError with everything that is wrong in the file, malformed requests included. */
export function parsePolicyTest(source: Source): PolicyTestFile {
  const file = parseAs(source, policyTestSchema);
  const problems = file.tests.flatMap((test, index) =>
    'request' in test
      ? verify(source, ['tests', index, 'request'], test.request, [
          { resource: test.request.resource, path: ['resource'] },
        ])
      : verify(
          source,
          ['tests', index, 'filter'],
          test.filter,
          test.filter.objects.map((resource, at) => ({ resource, path: ['objects', at] })),
        ),
  );
  if (problems.length > 0) throw new ConfigError(problems);
  return file;
}

/** A test's state holds no id from before a stricter rule (ID-1). */
const NOTHING_STORED = { tenantExists: true, subject: undefined, key: undefined };

function verify(
  source: Source,
  at: readonly PropertyKey[],
  caller: Caller,
  resources: readonly { resource: ResourceEntry | undefined; path: readonly PropertyKey[] }[],
): Problem[] {
  return resources.flatMap(({ resource, path }) => {
    const found = attributesOf(resource).flatMap(([inner, map]) =>
      attributeProblems(source, [...at, ...path, ...inner], map, false),
    );
    if (found.length > 0) return found;
    const request = toRequest(caller, 'tenant', resource);
    const problem = requestProblem(request, LIMITS) ?? strangerProblem(request, NOTHING_STORED);
    return problem === undefined
      ? []
      : [source.problem(at, `${problem.field}: \`${problem.value}\` ${problem.problem}`)];
  });
}

function attributesOf(
  resource: ResourceEntry | undefined,
): (readonly [readonly PropertyKey[], Readonly<Record<string, unknown>>])[] {
  return [
    ...(resource?.attributes === undefined ? [] : [[['attributes'], resource.attributes] as const]),
    ...(resource?.sources ?? []).map(
      (entry, index) => [['sources', index, 'attributes'], entry.attributes] as const,
    ),
  ];
}

/** A written request as the engine takes it. */
export function toRequest(
  { tenant, subject, key, action }: Caller,
  defaultTenant: string,
  resource: ResourceEntry | undefined,
): Request {
  return {
    tenant: tenant ?? defaultTenant,
    subject: subject === undefined ? undefined : toSubject(subject),
    keyId: key,
    action,
    resource: toResource(resource),
  };
}

/** `role:team` is a role, `workspace:w1` a workspace, and everything else a user. */
export function toSubject(text: string): NonNullable<Request['subject']> {
  for (const type of PRINCIPAL_TYPES)
    if (text.startsWith(`${type}:`)) return { type, id: text.slice(type.length + 1) };
  return { type: 'user', id: text };
}

export function toResource(entry: ResourceEntry = {}): Resource {
  return {
    type: entry.type ?? '',
    id: entry.id ?? '',
    path: entry.path,
    attributes: toAttributes(entry.attributes ?? {}),
    sources: (entry.sources ?? []).map((source) => toAttributes(source.attributes)),
  };
}

function toAttributes(map: Readonly<Record<string, Scalar | readonly Scalar[]>>): Attributes {
  return new Map(
    Object.keys(map).map((key) => {
      const value = map[key];
      return [key, Array.isArray(value) ? value : [value]] as [string, readonly Scalar[]];
    }),
  );
}
