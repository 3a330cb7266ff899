/** One management operation from the facts that it needs to its commit, seen by nobody before and by all after. */
import type { FactKey, FactValue, Store } from '../store/store.ts';
import { tokenOf } from '../store/format/token.ts';
import type { RefsRecord } from '../engine/records.ts';
import { actorName, authorityOf, type Actor } from './actor.ts';
import type { Baseline } from './migrations/baseline.ts';
import type { Context, Mint } from './context.ts';
import type { DefaultRole } from '../config/roles.ts';
import type { Catalog } from '../engine/action.ts';
import { withSuggestion } from './read/suggestions.ts';
import { commitOnce, type Draft } from './commit.ts';
import { mustBeExpected, whileExpected } from './expected.ts';
import { once } from './receipt.ts';
import { forbidden, Refused } from './refused.ts';
import { mustHaveBeen, mustNotBeDeleted } from './tenant/deleted.ts';
import { follow, nothingFollows } from './tree/follow.ts';
import { changesOf, type Difference, type World } from './world.ts';
import { Planner, type Planned } from './planner.ts';
import { NO_RESULT, resultOf, type Done, type Outcome, type WriteOptions } from './write-result.ts';

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
  /** The request, for the idempotency key. */
  readonly request: unknown;
  /** May be done for a tenant that does not exist yet. */
  readonly creates: boolean;
  readonly rule: (context: Context) => object;
}

/** An operation that is planned. */
interface WriteDraft extends Draft {
  readonly outcome: Outcome;
  readonly differences: readonly Difference[];
}

/**
 * @throws Refused with nothing written; IdempotencyError; UnknownOutcomeError: then again with the same key;
 *   StoreError
 */
export async function write(environment: Environment, operation: Operation): Promise<Done> {
  const { store } = environment;
  const { tenant, name, options, actor } = operation;
  const key = options.idempotency_key;
  const settled = { ...environment, mint: oneId(environment.mint) };
  const planner = new Planner(store, tenant, firstKeys(actor));
  const committed = await commitOnce<WriteDraft>(store, {
    tenant,
    event: { actor: actorName(actor), operation: name },
    once: key === '' ? undefined : once(key, [name, actor.user ?? null, operation.request]),
    dryRun: options.dry_run,
    async plan() {
      const planned = await whileExpected(store, tenant, options.expected_revision, (reached) =>
        plan(settled, { ...operation, reached }, planner),
      );
      const { head, result: outcome, differences } = planned;
      return { head, outcome, differences, changes: changesOf(differences) };
    },
    // What others changed may be nothing that this one has looked at: then the plan is good at their revision, too.
    async rebased(draft) {
      const holds = (await planner.stillHolds()) && options.expected_revision === 0;
      return holds ? { ...draft, head: planner.head } : undefined;
    },
    // Planning and preparing a large commit are two turns.
    beforeCommit: () => planner.breathe(),
    mayBeRepeated: (error) => error instanceof Refused && error.kind !== 'unauthenticated',
    differences: ({ differences }) => differences,
  });
  if (committed.repeated) {
    const { revision, token } = committed;
    const result = { ...NO_RESULT, repeated: true };
    return { revision, consistency_token: token, result, body: {}, differences: [] };
  }
  const { head } = committed;
  const { outcome, differences } = committed.draft;
  const result = await resultOf(differences, outcome, options);
  await planner.breathe();
  return {
    revision: head?.revision ?? 0,
    consistency_token: tokenOf(tenant, head),
    result,
    body: outcome.body,
    differences,
  };
}

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
      const { fallen, answer } = await follow(world, follows);
      return { body: { ...body, ...answer }, warnings, fallen };
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
  const effects = { warnings: [], follows: nothingFollows() };
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
      ...effects,
    });
    return { body, ...effects };
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
