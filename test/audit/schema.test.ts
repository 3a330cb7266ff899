/** The schema of audit records: in step with what is generated from it, and with what is written. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, it } from 'vitest';
import { auditFields } from '../../scripts/audit-fields.ts';
import { compileRedaction, type FieldAction } from '../../src/audit/record/redact.ts';
import { recordJsonSchema, recordSchema } from '../../src/audit/record/schema.ts';
import { DENIED, openRecorder, type Decided } from '../support/audit-records.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';

const accepts = new Ajv2020({ strict: false, validateFormats: false }).compile(
  recordJsonSchema() as object,
);

/** What is wrong with a line, by the schema of ours and by the one of other tools. */
function problemsOf(line: string): unknown {
  const record: unknown = JSON.parse(line);
  const own = recordSchema.safeParse(record);
  expect(accepts(record)).toBe(own.success);
  return own.error?.issues;
}

const RULE = { set: 'acme', id: 'r1' };
const resource = {
  type: 'kb',
  id: 'kb1',
  path: '',
  attributes: new Map([['team', ['eng', 5, true]]]),
  sources: [new Map([['__proto__', ['x']]])],
};
const full: Decided = {
  keyId: 'agent',
  requestId: 'r-1',
  mode: 'report_only',
  resource,
  context: { ip: '10.0.0.1', nested: { list: [null, 1.5] } },
  outcome: { ...DENIED, actionRule: RULE as never },
  shadow: { ...DENIED, reason: 'ALLOWED', actionRule: RULE as never },
};
const filter: Decided = {
  ...full,
  api: 'filter',
  objects: {
    items: [resource, { ...resource, path: undefined }],
    offset: 0,
    limit: 10,
    visible: [1],
    shadowHidden: 1,
    shadowShown: 0,
  },
};
const redacted = (action: FieldAction, attributes = true, ...paths: string[]): Decided => ({
  redact: compileRedaction({
    attributes,
    rules: paths.map((path) => ({ path: path.split('.'), action })),
    hashKey: Buffer.alloc(32),
  }),
});
const EVERYTHING = ['subject', 'key_id', 'resource', 'context', 'objects'];
const PARTS = ['resource.attributes', 'objects.items', 'objects.visible_indexes', 'objects.total'];

describe('what is generated', () => {
  it('`npm run gen` has written the schema and the field reference', async () => {
    const read = (name: string): string => readFileSync(join(PACKAGE_ROOT, name), 'utf8');
    const schema = JSON.parse(read('config/schema/audit-record.schema.json')) as unknown;
    expect(schema).toEqual(recordJsonSchema());
    expect(read('docs/audit-fields.md')).toBe(await auditFields(recordJsonSchema()));
  });
});

describe('what is written', () => {
  const recorder = openRecorder();
  it.each<[string, Decided]>([
    ['a decision', {}],
    ['one with everything', full],
    ['a Filter with everything', filter],
    ['a Filter without inputs', { ...filter, ...redacted('include', false) }],
    ...(['drop', 'hash', 'mask'] as const).flatMap((action): [string, Decided][] => [
      [`${action} of all`, { ...filter, ...redacted(action, true, ...EVERYTHING) }],
      [`${action} of parts`, { ...filter, ...redacted(action, true, ...PARTS) }],
      [`${action} of one`, { ...filter, ...redacted(action, true, 'resource.attributes.team') }],
    ]),
  ])('%s is as the schema says', (_name, fields) => {
    expect(problemsOf(recorder.decision(fields))).toBeUndefined();
  });

  it('management and authentication are as the schema says', () => {
    const changes = [{ kind: 'user', id: 'alice', before: undefined, after: { id: 'alice' } }];
    const refused = { kind: 'permission_denied', rule: 'ADM-5', message: 'no' };
    for (const line of [
      recorder.management({ changes, dryRun: true, repeated: true, requestId: 'r' }),
      recorder.management({ refused, keyId: 'agent' }),
      recorder.authentication('no bearer token'),
    ])
      expect(problemsOf(line)).toBeUndefined();
  });

  it.each([
    ['an unknown field', { nonsense: 1 }],
    ['no number', { seq: 0 }],
    ['a subject that is none', { subject: ['user:alice'] }],
    ['another version', { v: 2 }],
    ['a time without its zone', { time: '2026-11-22T12:40:36.123' }],
  ])('%s is refused', (_name, fields) => {
    const record = JSON.parse(openRecorder().decision()) as object;
    expect(problemsOf(JSON.stringify({ ...record, ...fields }))).toBeDefined();
  });
});
