/**
 * Writes what is made from other files: `config/schema/*.schema.json` from the schemas that the loader and readers
 * enforce, docs/audit-fields.md, and the requests of AdminService from their proto file.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { recordJsonSchema } from '../src/audit/record/schema.ts';
import { jsonSchema, SCHEMAS, type FileKind } from '../src/config/kinds.ts';
import { adminMessages } from './admin-messages.ts';
import { auditFields } from './audit-fields.ts';

const directory = new URL('../config/schema/', import.meta.url);
mkdirSync(directory, { recursive: true });
const write = (name: string, schema: unknown): void =>
  writeFileSync(new URL(`${name}.schema.json`, directory), `${JSON.stringify(schema, null, 2)}\n`);
for (const kind of Object.keys(SCHEMAS) as FileKind[]) write(kind, jsonSchema(kind));
const record = recordJsonSchema();
write('audit-record', record);
writeFileSync(new URL('../docs/audit-fields.md', import.meta.url), await auditFields(record));
writeFileSync(
  new URL('../src/transport/grpc/admin/requests.ts', import.meta.url),
  await adminMessages(),
);
