/** Policy set files: named, versioned rules for API keys (ABAC-2). */
import * as z from 'zod';
import type { Catalog } from '../engine/action.ts';
import { idProblem } from '../engine/id.ts';
import { EFFECTS } from '../engine/model.ts';
import type { PolicySetRecord, RuleRecord } from '../engine/records.ts';
import { printable } from '../engine/validate.ts';
import { ruleActionProblem } from './catalog.ts';
import { id, knownId, mode, scalar } from './common.ts';
import { parseAs } from './document.ts';
import type { Source } from './source.ts';
import { POLICY_LIMITS, sizeProblem, type PolicyLimits } from './policy-limits.ts';
import { ConfigError, type Problem } from './problem.ts';

const rule = z
  .strictObject({
    id,
    description: z.string().optional(),
    effect: z.enum(EFFECTS),
    actions: z
      .array(z.string())
      .min(1)
      .meta({ description: 'Exact action names, or readonly for every action that is' }),
    attributes: z.record(z.string(), z.array(scalar).min(1)).optional().meta({
      description: 'key → values; an object matches if its value set equals them exactly',
      minProperties: 1,
    }),
  })
  .meta({ id: 'Rule' });

export const policySetBody = z
  .strictObject({
    name: knownId,
    description: z.string().optional(),
    mode,
    rules: z.array(rule),
  })
  .meta({ id: 'PolicySet' });

export const policySetSchema = z
  .strictObject({ policy_set: policySetBody })
  .meta({ title: 'Postern policy set' });

export type PolicySetBody = z.input<typeof policySetBody>;

/**
 * A policy set file, checked against the catalog.
 * @param isStored whether there is a set of that name, which may break a rule that is newer (ID-1)
 * @throws ConfigError
 */
export function parsePolicySet(
  source: Source,
  catalog: Catalog,
  isStored: (name: string) => boolean = () => false,
  limits: PolicyLimits = POLICY_LIMITS,
): PolicySetBody {
  const { policy_set: body } = parseAs(source, policySetSchema);
  const problems = verifyPolicySet(source, ['policy_set'], body, catalog, limits);
  const named = isStored(body.name) ? undefined : idProblem(body.name);
  if (named !== undefined)
    problems.push(source.problem(['policy_set', 'name'], `\`${printable(body.name)}\` ${named}`));
  if (problems.length > 0) throw new ConfigError(problems);
  return body;
}

/** What a schema cannot say: known actions, unique rule ids, no empty or nested attribute. */
export function verifyPolicySet(
  source: Source,
  path: readonly PropertyKey[],
  body: PolicySetBody,
  catalog: Catalog,
  limits: PolicyLimits,
): Problem[] {
  const tooLarge = sizeProblem(body, limits);
  if (tooLarge !== undefined) return [source.problem(path, tooLarge)];
  const problems: Problem[] = [];
  const seen = new Set<string>();
  for (const [index, { id: ruleId, actions, attributes }] of body.rules.entries()) {
    const at = [...path, 'rules', index];
    if (seen.has(ruleId))
      problems.push(source.problem([...at, 'id'], `\`${ruleId}\` is used twice: rename one`));
    seen.add(ruleId);
    for (const [position, action] of actions.entries()) {
      const problem = ruleActionProblem(catalog, action);
      if (problem !== undefined)
        problems.push(source.problem([...at, 'actions', position], problem));
    }
    if (attributes === undefined) continue;
    if (Object.keys(attributes).length === 0)
      problems.push(
        source.problem([...at, 'attributes'], '`{}` constrains nothing: leave `attributes` out'),
      );
    problems.push(...attributeProblems(source, [...at, 'attributes'], attributes, true));
  }
  return problems;
}

/** The schema library passes over a `__proto__` key, so that values are checked here for every own key (ID-3). */
export function attributeProblems(
  source: Source,
  path: readonly PropertyKey[],
  attributes: Readonly<Record<string, unknown>>,
  required: boolean,
): Problem[] {
  return Object.keys(attributes).flatMap((key) => {
    const named = idProblem(key);
    // A request with such a key is refused, so that a rule on it would never match.
    if (named !== undefined)
      return [source.problem([...path, key], `\`${printable(key)}\` ${named}`)];
    const value = attributes[key];
    const values: readonly unknown[] = Array.isArray(value) ? value : [value];
    if (required && (!Array.isArray(value) || values.length === 0))
      return [source.problem([...path, key], 'is not a non-empty list: give its values in `[ ]`')];
    return values.every((entry) => scalar.safeParse(entry).success)
      ? []
      : [source.problem([...path, key], 'has a value that is not a string, number or boolean')];
  });
}

/** Version 1: the store counts on from what it has. */
export function toPolicySet(body: PolicySetBody): PolicySetRecord {
  return {
    name: body.name,
    ...(body.description === undefined ? {} : { description: body.description }),
    mode: body.mode,
    version: 1,
    rules: body.rules.map(
      ({ id: ruleId, description, effect, actions, attributes }): RuleRecord => ({
        id: ruleId,
        ...(description === undefined ? {} : { description }),
        effect,
        actions,
        ...(attributes === undefined ? {} : { attributes: Object.entries(attributes) }),
      }),
    ),
  };
}
