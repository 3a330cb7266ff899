/** `migrations/NNNN-name.yaml`: ordered changes of roles and their permissions, each done once a tenant (RBAC-4). */
import { createHash } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import * as z from 'zod';
import { isEntry } from './scan.ts';
import { errorText } from '../util/system-error.ts';
import { id, level, permission } from './common.ts';
import { parseAs, readSource } from './document.ts';
import type { Source } from './source.ts';
import { ConfigError, type Problem } from './problem.ts';

const OWNER_LEVEL = 100;

const roles = z.array(id).min(1).meta({ description: 'Ids of system roles' });
const permissions = z.array(permission).min(1);
const exact = permission
  .check((context) => {
    if (context.value.includes('*'))
      context.issues.push({
        code: 'custom',
        message: 'has a wildcard, which names no one permission: rename them one by one',
        input: context.value,
      });
  })
  .meta({ description: '`resource:verb`, without wildcards' });

const addRole = z
  .strictObject({
    id,
    description: z.string().optional(),
    level,
    permissions: z.array(permission),
    system: z.boolean().optional().meta({
      description: 'It can be neither edited nor deleted, save by migrations; true if left out',
    }),
  })
  .check((context) => {
    const { level: given, system = true } = context.value;
    if (system && given === OWNER_LEVEL)
      context.issues.push({
        code: 'custom',
        message: 'is the level of the owner role, which a tenant has already: give a lower one',
        input: given,
        path: ['level'],
      });
  })
  .meta({ description: 'A role that tenants do not have yet' });

const setLevel = z
  .strictObject({
    role: id,
    level: level
      .check((context) => {
        if (context.value === OWNER_LEVEL)
          context.issues.push({
            code: 'custom',
            message: 'is the level of the owner role alone: give a lower one',
            input: context.value,
          });
      })
      .meta({ maximum: OWNER_LEVEL - 1, description: 'Seniority, 0 to 99 (RBAC-3)' }),
  })
  .meta({ description: 'Another level for a system role; the owner role keeps its own' });

/** One key each: what is done, and with what. */
const VERBS = {
  add_role: addRole.optional(),
  grant_permissions: z
    .strictObject({ roles, permissions })
    .optional()
    .meta({ description: 'Permissions that system roles get' }),
  revoke_permissions: z
    .strictObject({ roles, permissions })
    .optional()
    .meta({ description: 'Permissions that system roles lose' }),
  rename_permission: z
    .strictObject({ from: exact, to: exact })
    .optional()
    .meta({ description: 'In every role that holds it, the roles of tenants too' }),
  set_level: setLevel.optional(),
  describe_role: z
    .strictObject({ role: id, description: z.string() })
    .optional()
    .meta({ description: 'Another description for a system role' }),
} as const;

const step = z
  .strictObject(VERBS)
  .check((context) => {
    const given = Object.keys(context.value);
    if (given.length !== 1)
      context.issues.push({
        code: 'custom',
        message: `has ${given.length === 0 ? 'nothing to do' : 'several things to do'}: a step is one of ${Object.keys(VERBS).join(', ')}`,
        input: context.value,
      });
  })
  .meta({ minProperties: 1, maxProperties: 1 });

export const migrationSchema = z
  .strictObject({
    migration: z.strictObject({
      description: z.string().min(1).meta({ description: 'Why, in a sentence' }),
      steps: z.array(step).min(1).meta({ description: 'Done in this order' }),
    }),
  })
  .meta({ title: 'Postern migration' });

/** One change. Lists are sorted and have nothing twice, so that what means the same looks the same. */
export type Step =
  | {
      readonly verb: 'add_role';
      readonly id: string;
      readonly level: number;
      readonly permissions: readonly string[];
      readonly system: boolean;
      readonly description?: string;
    }
  | {
      readonly verb: 'grant_permissions' | 'revoke_permissions';
      readonly roles: readonly string[];
      readonly permissions: readonly string[];
    }
  | { readonly verb: 'rename_permission'; readonly from: string; readonly to: string }
  | { readonly verb: 'set_level'; readonly role: string; readonly level: number }
  | { readonly verb: 'describe_role'; readonly role: string; readonly description: string };

export interface Migration {
  /** `0001-name`: the file's name without its ending. */
  readonly name: string;
  readonly description: string;
  readonly steps: readonly Step[];
  /** SHA-256 of what the steps mean, hex: comments, layout and the description may change, they may not. */
  readonly digest: string;
}

/** @throws ConfigError with everything that is wrong in the file */
export function parseMigration(source: Source): Migration {
  const { migration } = parseAs(source, migrationSchema);
  const steps = migration.steps.flatMap((given) => toSteps(given));
  const problems = steps.flatMap((one, index) =>
    one.verb === 'rename_permission' && one.from === one.to
      ? [
          source.problem(
            ['migration', 'steps', index, 'rename_permission', 'to'],
            `\`${one.to}\` is the old name: give another`,
          ),
        ]
      : [],
  );
  if (problems.length > 0) throw new ConfigError(problems);
  return {
    name: basename(source.file).replace(/\.(?:ya?ml|json)$/, ''),
    description: migration.description,
    steps,
    digest: digestOf(steps),
  };
}

/** The one step that an entry says. The schema saw to it that there is one. */
function toSteps(entry: z.input<typeof step>): Step[] {
  const { add_role: role, grant_permissions: grant, revoke_permissions: revoke } = entry;
  const { rename_permission: rename, set_level: leveled, describe_role: described } = entry;
  return [
    ...(role === undefined
      ? []
      : [
          {
            verb: 'add_role' as const,
            id: role.id,
            level: role.level,
            permissions: setOf(role.permissions),
            system: role.system ?? true,
            ...(role.description === undefined || role.description === ''
              ? {}
              : { description: role.description }),
          },
        ]),
    ...changeOf('grant_permissions', grant),
    ...changeOf('revoke_permissions', revoke),
    ...(rename === undefined
      ? []
      : [{ verb: 'rename_permission' as const, from: rename.from, to: rename.to }]),
    ...(leveled === undefined
      ? []
      : [{ verb: 'set_level' as const, role: leveled.role, level: leveled.level }]),
    ...(described === undefined
      ? []
      : [
          {
            verb: 'describe_role' as const,
            role: described.role,
            description: described.description,
          },
        ]),
  ];
}

function changeOf(
  verb: 'grant_permissions' | 'revoke_permissions',
  given: { readonly roles: readonly string[]; readonly permissions: readonly string[] } | undefined,
): Step[] {
  return given === undefined
    ? []
    : [{ verb, roles: setOf(given.roles), permissions: setOf(given.permissions) }];
}

function setOf(items: readonly string[]): readonly string[] {
  return [...new Set(items)].sort();
}

/** Never to be changed: what was applied is known by it. */
function digestOf(steps: readonly Step[]): string {
  return createHash('sha256')
    .update(JSON.stringify(steps.map((one) => Object.entries(one).sort(byName))))
    .digest('hex');
}

function byName([one]: readonly [string, unknown], [other]: readonly [string, unknown]): number {
  return one < other ? -1 : 1;
}

// ── the directory ─────────────────────────────────────────────────────────────────────────────────

const NAME = /^(\d{4})-[a-z0-9]+(?:[-_][a-z0-9]+)*\.(?:ya?ml|json)$/;

/** A directory's migrations in their order, and what in it is none. */
export interface MigrationFiles {
  readonly files: readonly string[];
  readonly problems: readonly Problem[];
}

/** Looks at names alone. A directory that is not there has no migrations. @throws ConfigError where it is unreadable */
export function migrationFiles(directory: string): MigrationFiles {
  const files: string[] = [];
  const problems: Problem[] = [];
  const numbers = new Map<string, string>();
  for (const { name, isDirectory } of entriesOf(directory)) {
    const file = join(directory, name);
    const [, number] = NAME.exec(name) ?? [];
    const twin = numbers.get(number ?? '');
    if (isDirectory)
      problems.push(wrong(file, 'is a directory: migrations stand side by side, move it'));
    else if (number === undefined)
      problems.push(
        wrong(
          file,
          `\`${name}\` is not a valid migration name: rename it, for example to 0007-export.yaml, or move it elsewhere`,
        ),
      );
    else if (twin !== undefined)
      problems.push(wrong(file, `has the number of \`${twin}\`: give it another`));
    else {
      numbers.set(number, name);
      files.push(file);
    }
  }
  return { files, problems };
}

/**
 * All migrations of a directory, in order.
 * @throws ConfigError with everything that is wrong in it
 */
export function loadMigrations(directory: string): readonly Migration[] {
  const { files, problems: misnamed } = migrationFiles(directory);
  const problems = [...misnamed];
  const migrations = files.flatMap((file): Migration[] => {
    try {
      return [parseMigration(readSource(file))];
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      problems.push(...error.problems);
      return [];
    }
  });
  if (problems.length > 0) throw new ConfigError(problems);
  return migrations;
}

/** What is in a directory, sorted; hidden files and a README are nobody's business. */
function entriesOf(
  directory: string,
): readonly { readonly name: string; readonly isDirectory: boolean }[] {
  try {
    return readdirSync(directory, { withFileTypes: true })
      .map((entry) => ({ name: entry.name, isDirectory: entry.isDirectory() }))
      .filter(({ name }) => isEntry(name) && !/^(\.|README(\.|$))/i.test(name))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
    throw new ConfigError([
      wrong(directory, `cannot be read as the directory of migrations: ${errorText(error)}`),
    ]);
  }
}

function wrong(file: string, message: string): Problem {
  return { file, line: 1, column: 1, path: '', message, severity: 'error' };
}
