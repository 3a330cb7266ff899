/** What applying a state would change, as data. */
import type { StateKind } from '../../engine/records.ts';
import type { Change, FactValue, Head } from '../../store/store.ts';
import type { Difference } from '../world.ts';
import { factsOf } from '../write-result.ts';
import type { Removal } from './removals.ts';

/** A record of the state that changes, with what it was. */
export type StateChange = Change & {
  readonly kind: StateKind;
  readonly before: FactValue | undefined;
};

export interface Plan {
  /** Of the facts that it was made over; `undefined`: there is no such tenant yet. */
  readonly head: Head | undefined;
  readonly changes: readonly StateChange[];
  /** What follows from them: indexes, and versions of policy sets. */
  readonly derived: readonly Change[];
  /** The same changes for people, in the order of kinds and ids. */
  readonly summary: readonly PlannedChange[];
  /** What whoever applies it should know. */
  readonly warnings: readonly string[];
  /** What of the changes takes something away (ADM-10). */
  readonly removals: readonly Removal[];
}

/** Of a state that was applied before. */
export const EMPTY_PLAN: Plan = {
  head: undefined,
  changes: [],
  derived: [],
  summary: [],
  warnings: [],
  removals: [],
};

export interface PlannedChange {
  readonly change: 'create' | 'update' | 'delete';
  readonly kind: StateKind;
  readonly id: string;
}

/** The facts that a plan changes, as the result of a write lists them. */
export function factsOfPlan(
  { changes }: Pick<Plan, 'changes'>,
  all: boolean,
): ReturnType<typeof factsOf> {
  return factsOf(differencesOf({ changes }), all);
}

/** For the log. */
export function differencesOf({ changes }: Pick<Plan, 'changes'>): Difference[] {
  return changes.map(({ kind, id, before, value }) => ({ kind, id, before, after: value }));
}
