/** What a write answers besides the answer of its rule: the records and facts that changed, and what fell with them. */
import type { Kind } from '../engine/records.ts';
import type { FactChange } from './read/aspects.ts';
import { inSlices } from '../util/slices.ts';
import {
  factsChanged,
  factsInSteps,
  type FactCount,
  type FactsChanged,
} from './read/facts-changed.ts';
import { grantView, ownerView, type GrantView, type OwnerView } from './read/view.ts';
import { isGone, isListed } from './record-kinds.ts';
import type { Fallen } from './tree/cascade.ts';
import type { Difference } from './world.ts';

/** How a write is done; the same for all. */
export interface WriteOptions {
  readonly dry_run: boolean;
  /** `''`: none. */
  readonly idempotency_key: string;
  /** 0: any. */
  readonly expected_revision: number;
  /** The answer lists 10,000 of the facts that changed instead of 500. */
  readonly all_facts?: boolean;
}

export interface RecordChange {
  readonly change: 'create' | 'update' | 'delete';
  readonly kind: Kind;
  readonly id: string;
}

export interface WriteResult {
  readonly dry_run: boolean;
  readonly repeated: boolean;
  readonly changes: readonly RecordChange[];
  /** The facts that changed; the first of them where there are many. */
  readonly facts: readonly FactChange[];
  /** How many of each sort, those that are left out included. */
  readonly fact_counts: readonly FactCount[];
  readonly facts_left_out: number;
  readonly revoked_grants: readonly GrantView[];
  readonly revoked_owners: readonly OwnerView[];
  readonly warnings: readonly string[];
}

export interface Done {
  readonly revision: number;
  /** Names the revision and its history; `''`: it is not known any more. */
  readonly consistency_token: string;
  readonly result: WriteResult;
  /** The rule's own answer; empty where the operation was done before. */
  readonly body: object;
  /** For the log. */
  readonly differences: readonly Difference[];
  /** Differences that are not listed. */
  readonly moreDifferences?: number;
}

/** Of an operation that was done before, or changed nothing. */
export const NO_RESULT: WriteResult = {
  dry_run: false,
  repeated: false,
  changes: [],
  facts: [],
  fact_counts: [],
  facts_left_out: 0,
  revoked_grants: [],
  revoked_owners: [],
  warnings: [],
};

/** What a rule has answered, warned of and taken away. */
export interface Outcome {
  readonly body: object;
  readonly warnings: readonly string[];
  readonly fallen: Fallen;
}

/** Takes several turns of the loop where much has changed (ADM-11). */
export async function resultOf(
  differences: readonly Difference[],
  { warnings, fallen }: Outcome,
  { dry_run: dryRun, all_facts: allFacts = false }: WriteOptions,
): Promise<WriteResult> {
  const facts = await inSlices(factsInSteps(differences, allFacts), Number.POSITIVE_INFINITY);
  return {
    dry_run: dryRun,
    repeated: false,
    changes: differences.filter(isListed).map(({ kind, id, before, after }) => ({
      change: isGone(before) ? 'create' : isGone(after) ? 'delete' : 'update',
      kind,
      id,
    })),
    ...factFields(facts),
    revoked_grants: fallen.rows.map(({ holder, row }) => grantView(holder, row)),
    revoked_owners: fallen.owners.map(ownerView),
    warnings: [...new Set(warnings)],
  };
}

/** The fields of a result that list the facts that changed. */
export function factsOf(
  differences: Iterable<Difference>,
  all: boolean,
): Pick<WriteResult, 'facts' | 'fact_counts' | 'facts_left_out'> {
  return factFields(factsChanged(differences, all));
}

function factFields({ facts, counts, leftOut }: FactsChanged): ReturnType<typeof factsOf> {
  return { facts, fact_counts: counts, facts_left_out: leftOut };
}
