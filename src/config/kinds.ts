/** The kinds of files, recognised by their keys, and a JSON Schema for each. */
import * as z from 'zod';
import { catalogSchema } from './catalog.ts';
import { migrationSchema } from './migration.ts';
import { policySetSchema } from './policy-set.ts';
import { policyTestSchema } from './policy-test.ts';
import { rolesSchema } from './roles.ts';
import { routesSchema } from './routes.ts';
import { settingsSchema } from './settings/settings-schema.ts';
import { stateSchema } from './state.ts';

export const SCHEMAS = {
  postern: settingsSchema,
  actions: catalogSchema,
  roles: rolesSchema,
  'policy-set': policySetSchema,
  state: stateSchema,
  'policy-test': policyTestSchema,
  migration: migrationSchema,
  routes: routesSchema,
} as const;

export type FileKind = keyof typeof SCHEMAS;

/** What a file is, by its top-level keys; `undefined`: none of Postern's kinds. */
export function kindOf(value: unknown): FileKind | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const has = (key: string): boolean => Object.hasOwn(value, key);
  if (has('tests')) return 'policy-test';
  if (has('tenant')) return 'state';
  if (has('policy_set')) return 'policy-set';
  if (has('migration')) return 'migration';
  if (has('actions')) return 'actions';
  if (has('roles')) return 'roles';
  // The settings have a key of that name too: the name of the file.
  if ('routes' in value && Array.isArray(value.routes)) return 'routes';
  return Object.keys(settingsSchema.shape).some(has) ? 'postern' : undefined;
}

/** The schema that editors use, made from the one that the loader enforces. */
export function jsonSchema(kind: FileKind): unknown {
  return z.toJSONSchema(SCHEMAS[kind], { io: 'input', target: 'draft-2020-12' });
}
