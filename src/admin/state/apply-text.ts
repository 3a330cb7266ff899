/** The text of a state file, applied for an actor: the operator or a superuser (ADM-5). */
import { parseSource } from '../../config/document.ts';
import { ConfigError, formatProblem } from '../../config/problem.ts';
import type { PolicyLimits } from '../../config/policy-limits.ts';
import { lintState, parseState, type StateFile } from '../../config/state.ts';
import type { Catalog } from '../../engine/action.ts';
import { actorName, type Actor } from '../actor.ts';
import { mustBeExpected, whileExpected } from '../expected.ts';
import { denied, invalid } from '../refused.ts';
import type { Environment } from '../write.ts';
import type { Done, WriteOptions } from '../write-result.ts';
import { applyState, planOnly } from './apply-state.ts';
import { StateError, type Applier, type ApplyOptions, type Unlisted } from './plan-state.ts';
import { differencesOf, factsOfPlan } from './plan.ts';

/** What a caller says of what its state does not list. */
export interface ApplyFlags {
  readonly prune: boolean;
  readonly keep: boolean;
}

/** @throws Refused INVALID_ARGUMENT */
export function unlistedOf({ prune, keep }: ApplyFlags): Unlisted {
  if (prune && keep)
    throw invalid(
      'keep',
      'is given beside `prune`: what is not listed is removed or left, not both',
    );
  if (prune) return 'prune';
  return keep ? 'keep' : 'refuse';
}

/** What applying a state needs. */
export interface ApplyEnvironment extends Pick<
  Environment,
  'store' | 'catalog' | 'defaults' | 'baseline'
> {
  /** How large a policy set may be. */
  readonly limits: PolicyLimits;
}

/** Applies the text of a state file for an actor: the operator or a superuser. @throws Refused */
export async function applyText(
  environment: ApplyEnvironment,
  tenant: string,
  actor: Actor,
  options: WriteOptions,
  text: string,
  how: { readonly unlisted: Unlisted; readonly signal?: AbortSignal | undefined },
): Promise<Done> {
  const { store, defaults, baseline } = environment;
  const catalog = environment.catalog();
  const { state, warnings } = readState(text, catalog, environment.limits);
  if (state.tenant !== tenant)
    throw invalid(
      'chunk',
      `the state is of tenant \`${state.tenant}\`, the request of \`${tenant}\``,
    );
  const name = actorName(actor);
  const key = options.idempotency_key === '' ? undefined : options.idempotency_key;
  try {
    const applied = await whileExpected(store, tenant, options.expected_revision, (reached) => {
      const who: Applier = { name, may: mayApply(tenant, actor, options, reached) };
      const given: ApplyOptions = { ...how, key, who, baseline };
      return options.dry_run
        ? planOnly(store, state, defaults, given)
        : applyState(store, state, defaults, name, given);
    });
    return {
      revision: applied.revision,
      consistency_token: applied.token,
      result: {
        dry_run: options.dry_run,
        repeated: applied.repeated,
        changes: applied.plan.summary,
        ...factsOfPlan(applied.plan, options.all_facts === true),
        revoked_grants: [],
        revoked_owners: [],
        warnings: [...warnings, ...applied.plan.warnings],
      },
      body: {
        removals: applied.plan.removals,
        needs_prune_or_keep: how.unlisted === 'refuse' && applied.plan.removals.length > 0,
      },
      differences: differencesOf(applied.plan),
    };
  } catch (error) {
    // Well formed, and refused: callers tell it from a text that cannot be read.
    if (error instanceof StateError) throw invalid('state', error.message);
    throw error;
  }
}

function readState(
  text: string,
  catalog: Catalog,
  limits: PolicyLimits,
): { readonly state: StateFile; readonly warnings: readonly string[] } {
  try {
    const source = parseSource('state', text);
    const state = parseState(source, catalog, limits);
    return { state, warnings: lintState(source, state, catalog).map(formatProblem) };
  } catch (error) {
    if (error instanceof ConfigError) throw invalid('chunk', error.message);
    throw error;
  }
}

/** A state can say anything: who applies one must be allowed everything (ADM-5). */
function mayApply(
  tenant: string,
  actor: Actor,
  options: WriteOptions,
  reached: number,
): Applier['may'] {
  return (records, head) => {
    const user = actor.user === undefined ? undefined : records.user.get(actor.user);
    const active = user !== undefined && !user.deleted && !user.suspended;
    if (actor.keyId !== undefined || (actor.user !== undefined && !(active && user.superuser)))
      throw denied(
        'ADM-5',
        `\`${actorName(actor)}\` may not apply a whole state`,
        'the operator or a superuser, without an API key',
      );
    const revision = head?.revision ?? 0;
    mustBeExpected(tenant, revision, options.expected_revision, reached);
  };
}
