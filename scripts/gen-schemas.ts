/** Writes `config/schema/*.schema.json` from the schemas that the loader enforces. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { jsonSchema, SCHEMAS, type FileKind } from '../src/config/kinds.ts';

const directory = new URL('../config/schema/', import.meta.url);
mkdirSync(directory, { recursive: true });
for (const kind of Object.keys(SCHEMAS) as FileKind[])
  writeFileSync(
    new URL(`${kind}.schema.json`, directory),
    `${JSON.stringify(jsonSchema(kind), null, 2)}\n`,
  );
