/** `roles.yaml`: the roles that every new tenant gets (RBAC-4). */
import * as z from 'zod';
import { id, level, permission } from './common.ts';
import { parseAs } from './document.ts';
import type { Source } from './source.ts';
import { ConfigError } from './problem.ts';

const role = z.strictObject({
  id,
  description: z.string().optional(),
  level,
  permissions: z.array(permission),
  system: z.boolean().optional().meta({ description: 'It can be neither edited nor deleted' }),
});

export const rolesSchema = z
  .strictObject({ roles: z.array(role) })
  .meta({ title: 'Postern default roles' });

export type DefaultRole = z.input<typeof role>;

/** @throws ConfigError with everything that is wrong in the file. */
export function parseDefaultRoles(source: Source): readonly DefaultRole[] {
  const { roles } = parseAs(source, rolesSchema);
  const ids = roles.map((entry) => entry.id);
  const problems = ids.flatMap((name, index) =>
    ids.indexOf(name) === index
      ? []
      : [source.problem(['roles', index, 'id'], `\`${name}\` is listed twice: keep one`)],
  );
  if (problems.length > 0) throw new ConfigError(problems);
  return roles;
}
