/**
 * Whether the default roles are what the migrations make of older ones: else a new tenant, which starts with all
 * migrations applied, would differ from those that were migrated.
 */
import type { Source } from '../../config/source.ts';
import { parseMigration, type Step } from '../../config/migration.ts';
import { ConfigError, type Problem } from '../../config/problem.ts';
import type { DefaultRole } from '../../config/roles.ts';
import { compilePermissions } from '../../engine/permissions.ts';
import { covers } from '../actor.ts';

/** What the last step that speaks of something says, and where. */
interface Said<T> {
  readonly value: T;
  readonly tell: (message: string) => Problem;
}

interface Outcome {
  readonly levels: Map<string, Said<number>>;
  /** By role and permission: whether it is held. */
  readonly held: Map<string, Map<string, Said<boolean>>>;
  /** Permissions that have another name now. */
  readonly renamed: Map<string, Said<string>>;
}

/** Warnings at the steps. @param sources files of one directory; those with errors are passed over */
export function lintMigrations(
  sources: readonly Source[],
  defaults: readonly DefaultRole[],
): readonly Problem[] {
  const outcome: Outcome = { levels: new Map(), held: new Map(), renamed: new Map() };
  for (const source of sources.toSorted((a, b) => (a.file < b.file ? -1 : 1)))
    for (const [index, step] of stepsOf(source).entries()) {
      const path = ['migration', 'steps', index, step.verb];
      follow(outcome, step, (message) => source.problem(path, message, 'warning'));
    }
  return [...missing(outcome, defaults), ...defaults.flatMap((role) => differing(outcome, role))];
}

function stepsOf(source: Source): readonly Step[] {
  try {
    return parseMigration(source).steps;
  } catch (error) {
    if (error instanceof ConfigError) return [];
    throw error;
  }
}

function follow({ levels, held, renamed }: Outcome, step: Step, tell: Said<unknown>['tell']): void {
  const say = (role: string, permission: string, value: boolean): void => {
    const of = held.get(role) ?? new Map<string, Said<boolean>>();
    held.set(role, of.set(permission, { value, tell }));
    if (value) renamed.delete(permission);
  };
  switch (step.verb) {
    case 'add_role':
      levels.set(step.id, { value: step.level, tell });
      for (const permission of step.permissions) say(step.id, permission, true);
      return;
    case 'grant_permissions':
    case 'revoke_permissions':
      for (const role of step.roles)
        for (const permission of step.permissions)
          say(role, permission, step.verb === 'grant_permissions');
      return;
    case 'rename_permission':
      for (const [role, permissions] of held)
        if (permissions.get(step.from)?.value === true) {
          permissions.delete(step.from);
          say(role, step.to, true);
        }
      renamed.set(step.from, { value: step.to, tell });
      return;
    case 'set_level':
      levels.set(step.role, { value: step.level, tell });
      return;
    case 'describe_role':
  }
}

function missing({ levels, held }: Outcome, defaults: readonly DefaultRole[]): Problem[] {
  const ids = new Set(defaults.map(({ id }) => id));
  const spoken = new Map<string, Said<unknown>['tell']>();
  for (const [role, { tell }] of levels) spoken.set(role, tell);
  for (const [role, permissions] of held)
    for (const { tell } of permissions.values()) if (!spoken.has(role)) spoken.set(role, tell);
  return [...spoken]
    .filter(([role]) => !ids.has(role))
    .map(([role, tell]) =>
      tell(`the default roles have no \`${role}\`: a new tenant would lack it, add it to them`),
    );
}

function differing({ levels, held, renamed }: Outcome, role: DefaultRole): Problem[] {
  const { id } = role;
  const level = levels.get(id);
  const has = compilePermissions(role.permissions);
  const differs = [...(held.get(id) ?? [])].filter(
    ([permission, { value }]) => covers(has, permission) !== value,
  );
  return [
    ...(level === undefined || level.value === role.level
      ? []
      : [
          level.tell(
            `the default role \`${id}\` has level ${role.level}, here ${level.value}: a new tenant would differ, change it there too`,
          ),
        ]),
    ...differs.map(([permission, { value, tell }]) =>
      tell(
        `the default role \`${id}\` ${value ? 'does not hold' : 'still holds'} \`${permission}\`: a new tenant would differ, change it there too`,
      ),
    ),
    ...role.permissions.flatMap((permission) => {
      const name = renamed.get(permission);
      return name === undefined
        ? []
        : [
            name.tell(
              `the default role \`${id}\` still holds \`${permission}\`: a new tenant would differ, rename it there too`,
            ),
          ];
    }),
  ];
}
