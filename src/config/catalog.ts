/** `actions.yaml`: the action catalog and how resource types join the models (ACT-1, COMB-3). */
import * as z from 'zod';
import { READONLY } from '../engine/abac.ts';
import { compileCatalog, TREE_VERBS, type Catalog } from '../engine/action.ts';
import { idProblem } from '../engine/id.ts';
import { permissionProblem } from '../engine/permissions.ts';
import { access, level, permission, treeAction } from './common.ts';
import { parseAs } from './document.ts';
import type { Source } from './source.ts';
import { ConfigError, suggest, type Problem } from './problem.ts';

const verb = z.string().regex(/^[A-Za-z0-9_-]+$/, 'is not a verb: use A-Z a-z 0-9 _ -');

const action = z
  .strictObject({
    name: z.string().meta({ description: 'A dotted name such as graph.search, or resource:verb' }),
    description: z.string().optional(),
    readonly: z.boolean().optional().meta({ description: 'It changes nothing (ACT-5)' }),
    permission: permission.optional(),
    tree: treeAction.optional().meta({ description: 'Tree action; update is an alias of write' }),
    acl: z.enum(['read', 'write']).optional().meta({ description: 'Side of the object ACL' }),
    min_level: level.optional().meta({
      description: 'Level that a role of the subject must have before any evidence counts (RBAC-3)',
    }),
    object_scoped: z.boolean().optional().meta({
      description: 'It changes an existing object whose metadata the caller sends (ABAC-6)',
    }),
  })
  .meta({ id: 'Action' });

export const catalogSchema = z
  .strictObject({
    actions: z.array(action),
    resource_types: z.record(z.string(), z.strictObject({ access })).meta({
      description:
        'How a type joins rbac, tree and acl; any of the three by default. Required, {} for none: a file that was cut off before it would open access',
    }),
    implies: z
      .record(z.string(), z.array(verb).min(1))
      .optional()
      .meta({ description: 'verb → verbs that a permission with it satisfies too (RBAC-2)' }),
  })
  .meta({ title: 'Postern action catalog' });

type CatalogFile = z.input<typeof catalogSchema>;

/** @throws ConfigError with everything that is wrong in the file. */
export function parseCatalog(source: Source): Catalog {
  const file = parseAs(source, catalogSchema);
  const problems = verify(source, file);
  if (problems.length > 0) throw new ConfigError(problems);
  return compileCatalog(file);
}

function verify(source: Source, file: CatalogFile): Problem[] {
  const problems: Problem[] = [];
  const seen = new Set<string>();
  for (const [index, { name, permission: given }] of file.actions.entries()) {
    const at = ['actions', index, 'name'];
    const problem = nameProblem(name);
    if (problem !== undefined) problems.push(source.problem(at, `\`${name}\` ${problem}`));
    if (seen.has(name)) problems.push(source.problem(at, `\`${name}\` is listed twice: keep one`));
    seen.add(name);
    if (given?.includes('*') === true)
      problems.push(
        source.problem(
          ['actions', index, 'permission'],
          `\`${given}\` has a wildcard: an action needs one permission, wildcards belong to roles`,
        ),
      );
  }
  for (const type of Object.keys(file.resource_types ?? {})) {
    const problem = type.includes(':') ? 'holds a `:`: name the type alone' : idProblem(type);
    if (problem !== undefined)
      problems.push(source.problem(['resource_types', type], `\`${type}\` ${problem}`));
  }
  return problems;
}

/** A bare word would be mistaken for a verb (ACT-3), and `*` for a wildcard. */
function nameProblem(name: string): string | undefined {
  if (name === READONLY) return 'is the name of the macro (ACT-5): choose another';
  const problem = idProblem(name);
  if (problem !== undefined) return problem;
  if (name.includes('*')) return 'has a wildcard: list the actions one by one';
  if (name.includes(':')) return permissionProblem(name);
  return name.includes('.')
    ? undefined
    : 'is a bare verb: give a dotted name (`thread.get`) or `resource:verb`';
}

/** Why a rule may not name this action, or `undefined` (ABAC-2). */
export function ruleActionProblem(catalog: Catalog, name: string): string | undefined {
  if (name === READONLY || catalog.actions.has(name) || TREE_VERBS.some((verb) => verb === name))
    return undefined;
  if (name.includes('*'))
    return `wildcard in action ${name}: rules match exact names, list them or use readonly`;
  if (name.includes(':') && permissionProblem(name) === undefined) return undefined;
  return `unknown action ${name}${suggest(name, [...catalog.actions.keys(), READONLY])}`;
}
