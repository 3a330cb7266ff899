/** The table of audit fields: whatever reads, checks, alters or erases records follows from it alone. */
import { execFile } from 'node:child_process';
import { cpSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { isListed } from '../../src/admin/record-kinds.ts';
import { FACT_FIELDS, type FactNames } from '../../src/audit/fact-fields.ts';
import { CUTTABLE, INPUTS, RECORDS, REDACTABLE } from '../../src/audit/fields.ts';
import type { Field, Fields } from '../../src/audit/field-kinds.ts';
import { openEraser } from '../../src/audit/logs/erase-subjects.ts';
import type { Kind } from '../../src/engine/records.ts';
import { openRecorder } from '../support/audit-records.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const run = promisify(execFile);

/** A row of a field that records do not have. */
const ROW = `  approver: { shape: TEXT, optional: true, names: 'principal', redact: 'rule', read: 'may', cut: 8,
    about: 'Who approved it' },\n`;
/** What follows from the table of a copy, for a record with that field. */
const PROBE = `
import { REDACTABLE } from './src/audit/fields.ts';
import { recordJsonSchema, recordSchema } from './src/audit/record/schema.ts';
import { readRecord } from './src/audit/record/reader.ts';
import { compileRedaction } from './src/audit/record/redact.ts';
import { openEraser } from './src/audit/logs/erase-subjects.ts';
import { cutDown } from './src/audit/record/cut.ts';
import { auditFields } from './scripts/audit-fields.ts';
const line = process.argv[2];
const record = JSON.parse(line);
const altered = compileRedaction({ attributes: true, rules: [{ path: ['approver'], action: 'mask' }] }).record(record);
const erase = openEraser({ subjects: ['user:alice'], tenant: undefined, key: Buffer.alloc(32) });
const long = JSON.stringify({ ...record, approver: 'a'.repeat(9_000) });
console.log(JSON.stringify({
  schema: recordSchema.safeParse(record).success,
  read: readRecord({ text: line, where: '', whole: true }),
  isRedactable: REDACTABLE.includes('approver'),
  altered,
  alteredIsRecord: recordSchema.safeParse(altered).success,
  erased: JSON.parse(erase(line)?.text ?? 'null'),
  cut: JSON.parse(cutDown(long, 4096)).omitted,
  reference: (await auditFields(recordJsonSchema())).includes('Who approved it'),
}));`;

/** @returns what follows from the table, with the row in it or without */
async function probe(row: string): Promise<Record<string, unknown>> {
  const copy = temporaryDirectory();
  for (const part of ['src', 'scripts', 'package.json', '.prettierrc.json'])
    cpSync(join(PACKAGE_ROOT, part), join(copy, part), { recursive: true, force: true });
  symlinkSync(join(PACKAGE_ROOT, 'node_modules'), join(copy, 'node_modules'));
  const table = join(copy, 'src/audit/fields.ts');
  const before = readFileSync(table, 'utf8');
  const after = before.replace(/^ {2}duration_us: /m, `${row}$&`);
  expect(after.length).toBe(before.length + row.length);
  writeFileSync(table, after);
  writeFileSync(join(copy, 'probe.ts'), PROBE);
  const line = JSON.stringify({
    ...(JSON.parse(openRecorder().decision({ subject: 'bob' })) as object),
    approver: 'user:alice',
  });
  const { stdout } = await run(process.execPath, ['probe.ts', line], { cwd: copy });
  return JSON.parse(stdout) as Record<string, unknown>;
}

describe('a new field', () => {
  it('has its row: schema, reader, field policy, erasure, cut and reference follow', async () => {
    const found = await probe(ROW);
    expect(found).toMatchObject({
      schema: true,
      read: { type: 'decision', approver: 'user:alice' },
      isRedactable: true,
      altered: { approver: '***', omitted: ['approver'] },
      alteredIsRecord: true,
      erased: {
        subject: 'user:bob',
        approver: expect.stringMatching(/^user:erased:/) as string,
        erased: true,
      },
      reference: true,
    });
    expect(found['cut']).toContain('approver');
  });

  it('is none without it', async () => {
    const found = await probe('');
    expect(found).toMatchObject({
      schema: false,
      isRedactable: false,
      erased: null,
      reference: false,
    });
    expect(found['read']).not.toHaveProperty('approver');
  });
});

describe('the table', () => {
  const all = Object.values(RECORDS).flatMap((fields: Fields) => Object.entries(fields));

  it('erases a field by its name: in all records one name names subjects alike', () => {
    const names = Map.groupBy(all, ([name]) => name);
    for (const [name, rows] of names)
      expect(new Set(rows.map(([, row]) => row.names)).size, name).toBe(1);
  });

  it('says of each field inside another whose it is', () => {
    const inner = (field: Field): readonly Field[] => {
      const shape = field.shape.type === 'list' ? field.shape.of : field.shape;
      return shape.type === 'object' ? Object.values(shape.fields) : [];
    };
    for (const [name, row] of all) {
      const fields = inner(row);
      if (fields.some(({ names }) => names !== 'nobody')) expect(row.names, name).toBe('inside');
      // What may be altered as a whole may be altered in its parts, and nothing else.
      for (const { redact } of fields)
        expect(redact === undefined, name).toBe(row.redact === undefined);
    }
  });

  it('leaves out what comes with requests, and cuts what may be of any size', () => {
    expect(INPUTS.map((path) => path.join('.')).sort()).toEqual([
      'context',
      'objects.items',
      'resource.attributes',
      'resource.sources',
    ]);
    expect(CUTTABLE.map((path) => path.join('.'))).toEqual([
      'objects.items',
      'objects.visible_indexes',
      'resource.sources',
      'resource.attributes',
      'context',
      'after',
      'before',
    ]);
    expect([...REDACTABLE].sort()).toEqual([
      'actor',
      'after',
      'before',
      'context',
      'detail',
      'key_id',
      'objects',
      'request_id',
      'resource',
      'subject',
      'via',
    ]);
  });
});

describe('facts in management records', () => {
  const SUBJECTS = ['user:alice', 'role:alice', 'workspace:alice'];
  /** A value that names alice as a field does. */
  const VALUES: Readonly<Record<FactNames, unknown>> = {
    nobody: 'x',
    own_id: 'alice',
    user: 'alice',
    users: ['bob', 'alice'],
    roles: ['team', 'alice'],
    workspaces: ['alice'],
    principal: 'user:alice',
    principals: ['role:team', 'role:alice'],
    grants: [{ path: 'work', actions: ['read'], grantor: 'user:alice', grantOption: false }],
    closure: { roles: ['alice'], workspaces: ['alice'] },
    personal: 'alice@example.com',
  };
  const kinds = Object.keys(FACT_FIELDS) as Kind[];

  it('are of the kinds that management records', () => {
    for (const kind of kinds)
      expect(FACT_FIELDS[kind] !== 'unrecorded', kind).toBe(isListed({ kind }));
  });

  it.each([...kinds.filter((kind) => FACT_FIELDS[kind] !== 'unrecorded'), 'of a later version'])(
    'of kind %s name no erased subject',
    (kind) => {
      const fields = (FACT_FIELDS as Partial<Record<string, object | string>>)[kind] ?? {
        ...(FACT_FIELDS.role as object),
        ...(FACT_FIELDS.owner as object),
        id: 'nobody',
      };
      const value = Object.fromEntries(
        Object.entries(fields).map(([name, names]) => [name, VALUES[names as FactNames]]),
      );
      const before = { ...value, id: 'alice' };
      const line = openRecorder().management({
        changes: [{ kind, id: 'alice', before, after: value }],
      });
      const erase = openEraser({ subjects: SUBJECTS, tenant: undefined, key: Buffer.alloc(32) });
      const text = erase(line)?.text ?? line;
      // The ids of keys, sets, paths and tenants are no subjects.
      expect(text.replaceAll('"id":"alice"', '')).not.toMatch(/alice/);
      if (['user', 'role', 'workspace'].includes(kind)) expect(text).not.toMatch(/alice/);
    },
  );

  it('tell who has given an owner its path, and who has deleted a tenant, until it is erased', () => {
    const line = openRecorder().management({
      changes: [
        {
          kind: 'owner',
          id: 'work',
          before: undefined,
          after: { path: 'work', owner: 'bob', grantor: 'user:alice' },
        },
        {
          kind: 'tenant',
          id: '',
          before: undefined,
          after: { id: 't', deleted: true, deletedBy: 'user:alice' },
        },
      ],
    });
    const erase = openEraser({
      subjects: ['user:alice'],
      tenant: undefined,
      key: Buffer.alloc(32),
    });
    expect(erase(line)).toMatchObject({ places: 2 });
    expect(erase(line)?.text).not.toContain('user:alice');
  });
});
