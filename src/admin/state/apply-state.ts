/** Declarative management: make a tenant's facts what a state file says, in one commit. */
import type { DefaultRole } from '../../config/roles.ts';
import type { StateFile } from '../../config/state.ts';
import { tokenOf } from '../../store/format/token.ts';
import type { Change, Store } from '../../store/store.ts';
import { commitOnce, type Draft } from '../commit.ts';
import { once } from '../receipt.ts';
import { forbidden, Refused } from '../refused.ts';
import {
  OPERATOR_APPLIES,
  planState,
  StateError,
  type ApplyOptions,
  type Unlisted,
} from './plan-state.ts';
import { differencesOf, EMPTY_PLAN, type Plan } from './plan.ts';
import { describeRemovals } from './removals.ts';

/** ADM-10. @throws Refused FAILED_PRECONDITION with the removals */
function mustRemoveNothing(tenant: string, { removals }: Plan, unlisted: Unlisted = 'prune'): void {
  if (unlisted === 'refuse' && removals.length > 0)
    throw forbidden(
      'ADM-10',
      `the state removes ${removals.length} item(s) from tenant \`${tenant}\` (${describeRemovals(removals)}): give \`prune\` (--prune) to remove them, or \`keep\` (--keep) to keep what it does not list`,
    );
}

export interface Applied {
  /** The tenant's revision afterwards, or that of the first time. 0: there is no such tenant. */
  readonly revision: number;
  /** Names the revision and its history (CONS-1); `''`: it is not known any more. */
  readonly token: string;
  readonly plan: Plan;
  /** It was done before, under the same idempotency key. */
  readonly repeated: boolean;
}

/** A planned state. */
interface StateDraft extends Draft {
  readonly plan: Plan;
}

/**
 * Applies a state in one commit; an empty plan commits nothing, or its receipt.
 * @throws IdempotencyError, StateError, Refused, UnknownOutcomeError: then again with the same key
 */
export async function applyState(
  store: Store,
  state: StateFile,
  defaults: readonly DefaultRole[],
  actor: string,
  options: ApplyOptions = {},
): Promise<Applied> {
  const { key, unlisted, signal } = options;
  const who = options.who ?? { ...OPERATOR_APPLIES, name: actor };
  const { tenant } = state;
  const committed = await commitOnce<StateDraft>(store, {
    tenant,
    event: { actor, operation: 'state.apply' },
    once: key === undefined ? undefined : once(key, [state, unlisted ?? 'prune']),
    dryRun: false,
    async plan() {
      const plan = await planState(store, state, defaults, { ...options, who });
      mustRemoveNothing(tenant, plan, unlisted);
      return { head: plan.head, changes: changesOfPlan(plan), plan };
    },
    // What was done once may not be possible again: the tenant is past the revision that was expected.
    mayBeRepeated: (error) =>
      error instanceof StateError ||
      (error instanceof Refused && error.kind !== 'permission_denied'),
    async beforeCommit() {
      // An abort is an event: it arrives between two turns.
      if (signal !== undefined) await new Promise((turn) => setImmediate(turn));
      mustStillWait(signal);
    },
    differences: ({ plan }) => differencesOf(plan),
  });
  if (committed.repeated) {
    const { revision, token } = committed;
    return { revision, token, plan: EMPTY_PLAN, repeated: true };
  }
  const { head, draft } = committed;
  const token = tokenOf(tenant, head);
  return { revision: head?.revision ?? 0, token, plan: draft.plan, repeated: false };
}

/** What applying a state would do: a dry run. @throws StateError, Refused */
export async function planOnly(
  store: Store,
  state: StateFile,
  defaults: readonly DefaultRole[],
  options: ApplyOptions,
): Promise<Applied> {
  const plan = await planState(store, state, defaults, options);
  const { head } = plan;
  const token = tokenOf(state.tenant, head);
  return { revision: head?.revision ?? 0, token, plan, repeated: false };
}

function changesOfPlan({ changes, derived }: Plan): Change[] {
  return [...changes.map(({ kind, id, value }) => ({ kind, id, value })), ...derived];
}

/** @throws Refused ABORTED where the caller has cancelled, or is lost */
function mustStillWait(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true)
    throw new Refused(
      'aborted',
      'whoever sent the state did not wait for the answer: nothing is applied',
      'CONS-5',
    );
}
