/** A policy set's document, read and checked: here where it is small, on a thread where it is not (ADM-11). */
import { parseSource } from '../../config/document.ts';
import { lintPolicySet } from '../../config/lint.ts';
import type { PolicyLimits } from '../../config/policy-limits.ts';
import { parsePolicySet, toPolicySet } from '../../config/policy-set.ts';
import { ConfigError, type Problem } from '../../config/problem.ts';
import type { Catalog } from '../../engine/action.ts';
import { idProblem } from '../../engine/id.ts';
import { printable } from '../../engine/validate.ts';
import type { Pool } from './pool.ts';
import type { PolicySetReading } from '../rules/policy-set-reading.ts';

/** Documents up to here are read at once: a thread would take longer, characters. */
const SMALL_CHARS = 1_024;
/** Problems that are listed of one document. */
const MAX_PROBLEMS = 200;

/** Total: what is wrong is in the answer. */
export function readPolicySet(
  document: string,
  catalog: Catalog,
  limits: PolicyLimits,
): PolicySetReading {
  try {
    const source = parseSource('policy set', document, {
      maxDepth: limits.max_depth,
      maxAliases: limits.max_aliases,
      // As many as the largest set that is allowed has where each value stands on a line of its own.
      maxTokens: 6 * (limits.max_actions + limits.max_attributes) + 40 * limits.max_rules,
      // Each attribute value may have a key of its own; a rule has five keys and three values besides.
      maxValues: limits.max_actions + 2 * limits.max_attributes + 8 * limits.max_rules + 16,
      settings: {
        depth: 'admin.policy_sets.max_depth',
        aliases: 'admin.policy_sets.max_aliases',
        values: 'admin.policy_sets.max_actions',
      },
    });
    const body = parsePolicySet(source, catalog, () => true, limits);
    const named = idProblem(body.name);
    return {
      set: toPolicySet(body),
      named:
        named === undefined
          ? undefined
          : source.problem(['policy_set', 'name'], `\`${printable(body.name)}\` ${named}`),
      problems: lintPolicySet(source, ['policy_set'], body, catalog),
    };
  } catch (error) {
    if (error instanceof ConfigError) return { set: undefined, problems: bounded(error.problems) };
    throw error;
  }
}

function bounded(problems: readonly Problem[]): readonly Problem[] {
  const [first] = problems;
  const more = problems.length - MAX_PROBLEMS;
  if (first === undefined || more <= 0) return problems;
  const rest = { ...first, path: '', message: `there are ${more} more problems like these` };
  return [...problems.slice(0, MAX_PROBLEMS), rest];
}

/** @throws Refused where too many wait, or it takes too long */
export async function readOnThread(
  pool: Pool,
  document: string,
  catalog: Catalog,
  limits: PolicyLimits,
): Promise<PolicySetReading> {
  const bytes = Buffer.byteLength(document);
  if (bytes > limits.max_bytes)
    return {
      set: undefined,
      problems: [
        {
          file: 'policy set',
          line: 1,
          column: 1,
          path: '',
          message: `has ${bytes} bytes, ${limits.max_bytes} are allowed: split it, or raise \`admin.policy_sets.max_bytes\``,
          severity: 'error',
        },
      ],
    };
  if (document.length <= SMALL_CHARS) return readPolicySet(document, catalog, limits);
  return pool.run('policy_set', { document, catalog, limits });
}
