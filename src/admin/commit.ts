/** One management operation from the facts that it needs to its commit, seen by nobody before and by all after. */
import {
  StoreError,
  UnknownOutcomeError,
  type FactKey,
  type FactValue,
  type Head,
  type Store,
} from '../store/store.ts';
import { tokenOf } from '../store/format/token.ts';
import type { Kind, RefsRecord } from '../engine/records.ts';
import { authorityOf, type Actor } from './actor.ts';
import type { Baseline } from './migrations/baseline.ts';
import type { Context, Mint } from './context.ts';
import type { DefaultRole } from '../config/roles.ts';
import type { Catalog } from '../engine/action.ts';
import type { FactChange } from './read/aspects.ts';
import { factsChanged, type FactCount } from './read/facts-changed.ts';
import { withSuggestion } from './read/suggestions.ts';
import { mustBeExpected, whileExpected } from './expected.ts';
import { findReceipt, once, receiptChanges, receiptToken } from './receipt.ts';
import { forbidden, Refused } from './refused.ts';
import { mustHaveBeen, mustNotBeDeleted } from './tenant/deleted.ts';
import type { Fallen } from './tree/cascade.ts';
import { follow, nothingFollows } from './tree/follow.ts';
import { grantView, ownerView, type GrantView, type OwnerView } from './read/view.ts';
import { changesOf, Planner, type Difference, type Planned, type World } from './world.ts';

/** How often an operation is planned again because somebody else committed meanwhile. */
const MAX_ATTEMPTS = 100;
/** Longest pause before an operation is planned again, ms. */
const MAX_PAUSE_MS = 20;

/** How a write is done; the same for all. */
export interface WriteOptions {
  readonly dry_run: boolean;
  /** `''`: none. */
  readonly idempotency_key: string;
  /** 0: any. */
  readonly expected_revision: number;
  /** The answer lists every fact that changed, however many. */
  readonly all_facts?: boolean;
}

export interface Environment {
  readonly store: Store;
  readonly catalog: () => Catalog;
  readonly defaults: readonly DefaultRole[];
  /** Migrations that the defaults include; none if left out. */
  readonly baseline?: Baseline;
  readonly now: () => number;
  readonly mint: Mint;
}

export interface Operation {
  readonly tenant: string;
  /** `user.create`, for the log and the change feed. */
  readonly name: string;
  readonly actor: Actor;
  readonly options: WriteOptions;
  /** What is asked, for the idempotency key. */
  readonly asked: unknown;
  /** May be done for a tenant that does not exist yet. */
  readonly creates: boolean;
  readonly rule: (context: Context) => object;
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

/**
 * @throws Refused with nothing written; IdempotencyError; UnknownOutcomeError: then again with the same key;
 *   StoreError
 */
export async function write(environment: Environment, operation: Operation): Promise<Done> {
  const { store } = environment;
  const { tenant, options, actor } = operation;
  const asked =
    options.idempotency_key === ''
      ? undefined
      : once(options.idempotency_key, [operation.name, actor.user ?? null, operation.asked]);
  const settled = { ...environment, mint: oneId(environment.mint) };
  const planner = new Planner(store, tenant, firstKeys(actor));
  const repeated = async (): Promise<Done | undefined> => {
    const receipt = asked && (await findReceipt(store, tenant, asked));
    if (receipt === undefined) return undefined;
    await store.settle(tenant);
    const result = { ...NOTHING, repeated: true };
    return {
      revision: receipt.revision,
      consistency_token: await receiptToken(store, tenant, receipt),
      result,
      body: {},
      differences: [],
    };
  };
  let planned: Planned<Outcome> | undefined;
  for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt++) {
    try {
      planned ??= await whileExpected(store, tenant, options.expected_revision, (reached) =>
        plan(settled, { ...operation, reached }, planner),
      );
    } catch (error) {
      // What was done once can often not be done again: the user exists by now, the row is gone.
      const again = error instanceof Refused && error.kind !== 'unauthenticated';
      const first = again ? await repeated() : undefined;
      if (first === undefined) throw error;
      return first;
    }
    const { result: outcome, differences } = planned;
    const { head } = planner;
    const expected = head?.revision ?? 0;
    const first = await repeated();
    if (first !== undefined) return first;
    const done = (now: Head | undefined): Done => ({
      revision: now?.revision ?? 0,
      consistency_token: tokenOf(tenant, now),
      result: resultOf(differences, outcome, options),
      body: outcome.body,
      differences,
    });
    if (options.dry_run) return done(head);
    if (differences.length === 0 && asked === undefined) {
      await store.settle(tenant);
      return done(head);
    }
    const receipts = asked && (await receiptChanges(store, tenant, asked, expected + 1));
    const commit = store.commit({
      tenant,
      expected,
      nonce: head?.nonce,
      changes: [...changesOf(differences), ...(receipts ?? [])],
      event: { actor: actorName(actor), operation: operation.name },
    });
    const result = await commit.catch((error: unknown) => {
      throw error instanceof UnknownOutcomeError
        ? new UnknownWriteError(error, expected + 1, differences)
        : error;
    });
    if (result.committed) return done(result.head);
    // Whoever lost the race looks again a little later, and not all at once.
    await new Promise((wake) =>
      setTimeout(wake, Math.random() * Math.min(attempt * 2, MAX_PAUSE_MS)),
    );
    // What others changed may be nothing that this one has looked at: then the plan is good at their revision, too.
    const holds = (await planner.stillHolds()) && options.expected_revision === 0;
    if (!holds) planned = undefined;
  }
  throw new StoreError(
    `tenant \`${tenant}\` was changed by others ${MAX_ATTEMPTS} times while the operation was planned: try again`,
  );
}

/** A write that may have been done: what it would have changed, and the revision that it would have made. */
export class UnknownWriteError extends UnknownOutcomeError {
  readonly revision: number;
  readonly differences: readonly Difference[];

  constructor(error: UnknownOutcomeError, revision: number, differences: readonly Difference[]) {
    super('', error.what);
    this.message = error.message;
    this.revision = revision;
    this.differences = differences;
  }
}

const NOTHING: WriteResult = {
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

/** A rule runs again for every fact that it lacks: an id made anew each time would be looked for without an end. */
function oneId(mint: Mint): Mint {
  const made = new Map<string, string>();
  return {
    ...mint,
    id: (prefix) => {
      const id = made.get(prefix) ?? mint.id(prefix);
      made.set(prefix, id);
      return id;
    },
  };
}

/** What nearly every rule looks at. */
export function firstKeys({ user, keyId }: Actor): FactKey[] {
  return [
    { kind: 'tenant', id: '' },
    ...(user === undefined ? [] : [{ kind: 'user' as const, id: user }]),
    ...(keyId === undefined ? [] : [{ kind: 'key' as const, id: keyId }]),
  ];
}

/** What an operation does, and what it tells. */
interface Outcome {
  readonly body: object;
  readonly warnings: readonly string[];
  readonly fallen: Fallen;
}

/** An operation, and the newest revision that is the expected one but for the use of keys. */
type Expecting = Operation & { readonly reached: number };

async function plan(
  environment: Environment,
  operation: Expecting,
  planner: Planner,
): Promise<Planned<Outcome>> {
  const planned = await planner.plan(
    (world) => ruled(environment, operation, world),
    async (world, { body, warnings, follows }): Promise<Outcome> => {
      const { fallen, told } = await follow(world, follows);
      return { body: { ...body, ...told }, warnings, fallen };
    },
  );
  mustKeepAnOwner(planned.differences);
  return planned;
}

/** One run of the rule. */
function ruled(
  environment: Environment,
  operation: Expecting,
  world: World,
): Pick<Context, 'warnings' | 'follows'> & { readonly body: object } {
  const { tenant, options, actor, creates } = operation;
  const revision = world.head?.revision ?? 0;
  if (!creates) mustExist(world);
  mustBeExpected(tenant, revision, options.expected_revision, operation.reached);
  const catalog = environment.catalog();
  const told = { warnings: [], follows: nothingFollows() };
  const authority = authorityOf(world, actor, catalog, 'postern:admin');
  try {
    const body = operation.rule({
      world,
      authority,
      catalog,
      defaults: environment.defaults,
      baseline: environment.baseline ?? [],
      now: environment.now(),
      mint: environment.mint,
      ...told,
    });
    return { body, ...told };
  } catch (error) {
    throw withSuggestion(error, world, authority);
  }
}

/** @throws Refused NOT_FOUND, FAILED_PRECONDITION where it was deleted (ADM-9) */
export function mustExist(world: World): void {
  mustHaveBeen(world);
  mustNotBeDeleted(world.get('tenant', ''));
}

/** ADM-5: a tenant that has had an owner keeps one. @throws Refused */
export function mustKeepAnOwner(differences: readonly Difference[]): void {
  for (const { kind, id, before, after } of differences) {
    if (kind !== 'refs') continue;
    const owners = (value: FactValue | undefined): number =>
      // Records of this kind are what their kind says.
      (value as RefsRecord | undefined)?.owners.length ?? 0;
    if (owners(before) > 0 && owners(after) === 0)
      throw forbidden(
        'ADM-5',
        `\`${id}\` would have no active member left: a tenant keeps its last owner`,
      );
  }
}

const DERIVED: ReadonlySet<Kind> = new Set([
  'refs',
  'name',
  'policy_version',
  'receipt',
  'usage',
  'tombstone',
]);

/** What people call a change: not what follows from it. */
export function isTold({ kind }: { readonly kind: Kind }): boolean {
  return !DERIVED.has(kind);
}

function resultOf(
  differences: readonly Difference[],
  { warnings, fallen }: Outcome,
  { dry_run: dryRun, all_facts: allFacts = false }: WriteOptions,
): WriteResult {
  return {
    dry_run: dryRun,
    repeated: false,
    changes: differences.filter(isTold).map(({ kind, id, before, after }) => ({
      change: isGone(before) ? 'create' : isGone(after) ? 'delete' : 'update',
      kind,
      id,
    })),
    ...factsOf(differences, allFacts),
    revoked_grants: fallen.rows.map(({ holder, row }) => grantView(holder, row)),
    revoked_owners: fallen.owners.map(ownerView),
    warnings: [...new Set(warnings)],
  };
}

/** The fields of a result that tell the facts that changed. */
export function factsOf(
  differences: Iterable<Difference>,
  all: boolean,
): Pick<WriteResult, 'facts' | 'fact_counts' | 'facts_left_out'> {
  const { facts, counts, leftOut } = factsChanged(differences, all);
  return { facts, fact_counts: counts, facts_left_out: leftOut };
}

/** A tombstone is told as what it stands for (ACL-4). */
function isGone(value: FactValue | undefined): boolean {
  return value === undefined || ('deleted' in value && value.deleted);
}

export function actorName({ user }: Actor): string {
  return user === undefined ? 'operator' : `user:${user}`;
}
