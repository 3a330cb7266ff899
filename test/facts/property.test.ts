/**
 * Random interleavings of commits, looks and questions through a slow store. Promise (CONS-1, CONS-2): every answer
 * is the decision on the facts of the revision that it names, and no answer is older than one given before it was
 * asked for.
 */
import { describe, expect, it } from 'vitest';
import { decide } from '../../src/engine/decide.ts';
import type { Kind, Records } from '../../src/engine/records.ts';
import type { FactsOptions } from '../../src/facts/facts.ts';
import { staticFacts } from '../../src/offline/static-facts.ts';
import type { Change, FactValue } from '../../src/store/store.ts';
import { answerOf, requestOf, settled, whoOf, type Question } from '../support/asking.ts';
import fc from '../support/fast-check.ts';
import { failing, openMemoryStore, slowly, type Read } from '../support/memory-store.ts';
import { CATALOG, gone, key, openRoom, policySet, put, role, user } from '../support/records.ts';

const KINDS = ['tenant', 'user', 'role', 'workspace', 'owner', 'policy_set', 'key'] as const;
const TENANTS = ['t', 'u'] as const;

type State = { readonly [K in Kind]: ReadonlyMap<string, Records[K]> };

const bit = fc.boolean();
const edited = fc
  .record({ id: fc.constantFrom('alice', 'alice', 'bob'), member: bit, suspended: bit })
  .map(({ id, member, suspended }) =>
    user(id, { roles: member ? ['reader'] : [], suspended: suspended && member }),
  );
const change: fc.Arbitrary<Change> = fc.oneof(
  { weight: 4, arbitrary: edited },
  fc.constantFrom('alice', 'bob').map((id) => gone('user', id)),
  bit.map((can) => role('reader', can ? ['doc:read'] : [])),
  fc.constant(gone('role', 'reader')),
  fc.constantFrom('allow', 'deny').map((effect) => policySet('s', effect, ['doc:read'])),
  fc.constant(gone('policy_set', 's')),
  fc
    .record({ base: fc.constantFrom('default_allow', 'default_deny'), attached: bit, bound: bit })
    .map(({ base, attached, bound }) =>
      key('k', {
        role: base,
        policySets: attached ? ['s'] : [],
        ...(bound ? { user: 'alice' } : {}),
      }),
    ),
  fc.constant(gone('key', 'k')),
);

/** Mostly one, so that what happens there meets. */
const tenant = fc.constantFrom('t', 't', 't', 'u');

const question: fc.Arbitrary<Question> = fc
  .record({
    tenant,
    user: fc.option(fc.constantFrom('alice', 'alice', 'bob'), { nil: undefined }),
    key: fc.option(fc.constant('k'), { nil: undefined }),
  })
  .map(({ tenant, user: id, key: name }) => ({
    tenant,
    ...(id === undefined ? {} : { user: id }),
    ...(name === undefined ? {} : { key: name }),
  }));

type Step =
  | { readonly do: 'commit'; readonly tenant: string; readonly changes: readonly Change[] }
  | { readonly do: 'ask'; readonly question: Question }
  | { readonly do: 'look' };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('commit' as const),
      tenant,
      changes: fc.array(change, { minLength: 1, maxLength: 2 }),
    }),
  },
  { weight: 5, arbitrary: question.map((asked) => ({ do: 'ask' as const, question: asked })) },
  { weight: 2, arbitrary: fc.constant({ do: 'look' as const }) },
);

const START: readonly Change[] = [
  role('reader', ['doc:read']),
  user('alice', { roles: ['reader'] }),
  policySet('s', 'allow', ['doc:read']),
  key('k', { role: 'default_deny', policySets: ['s'] }),
];

const NOTHING = Object.fromEntries(KINDS.map((kind) => [kind, new Map()])) as unknown as State;

/** The records after some changes; the old ones stay as they are. */
function changed(state: State, changes: readonly Change[]): State {
  const next = Object.fromEntries(
    KINDS.map((kind) => [kind, new Map<string, FactValue>(state[kind])]),
  ) as Record<Kind, Map<string, FactValue>>;
  for (const { kind, id, value } of changes)
    if (value === undefined) next[kind].delete(id);
    else next[kind].set(id, value);
  return next as unknown as State;
}

/** Which reads wait: those that fill the caches, those that follow the feed, or all. */
type Slow = 'all' | 'fills' | 'looks';

interface Tally {
  answered: number;
  unavailable: number;
}

/** Runs the steps in an order that the scheduler chooses, and judges each answer. */
async function run(
  scheduler: fc.Scheduler,
  steps: readonly Step[],
  hinted: boolean,
  slow: Slow,
  cache: Partial<FactsOptions['cache']>,
  tally: Tally,
): Promise<void> {
  const memory = openMemoryStore();
  const history = new Map<string, State[]>();
  const commit = async (tenant: string, changes: readonly Change[]): Promise<void> => {
    const states = history.get(tenant) ?? [NOTHING];
    history.set(tenant, [...states, changed(states.at(-1) ?? NOTHING, changes)]);
    await put(memory, tenant, ...changes);
  };
  for (const tenant of TENANTS) await commit(tenant, START);
  const store = failing(memory);
  // Each read waits its turn before it sees the store, and again before its answer arrives.
  const turn = async (read: Read): Promise<void> => {
    const fill = read.keys.some(({ kind }) => kind === 'user' || kind === 'key');
    if (slow === 'all' || (slow === 'fills') === fill) await scheduler.schedule(Promise.resolve());
  };
  const room = openRoom(slowly(store, { before: turn, after: turn }), { cache });

  /** The newest revision that was answered so far, a tenant. */
  const newest = new Map<string, number>();
  const askOnce = async (asked: Question): Promise<void> => {
    const { tenant = '' } = asked;
    const atLeast = newest.get(tenant) ?? 0;
    const loaded = await room.resolve(whoOf(asked), 0, 1_000);
    if ('unavailable' in loaded) {
      tally.unavailable++;
      return;
    }
    tally.answered++;
    const state = history.get(tenant)?.[loaded.revision];
    expect(state, `revision ${loaded.revision}`).toBeDefined();
    const facts = staticFacts(tenant, state ?? NOTHING, CATALOG).resolve(whoOf(asked), 0);
    const { reason } = decide(requestOf(asked), facts);
    expect(answerOf(asked, loaded)).toBe(`${reason}@${loaded.revision}`);
    expect(loaded.revision).toBeGreaterThanOrEqual(atLeast);
    newest.set(tenant, Math.max(newest.get(tenant) ?? 0, loaded.revision));
  };

  const work = steps.map(async (next) => {
    await scheduler.schedule(Promise.resolve(), next.do);
    if (next.do === 'commit') {
      await commit(next.tenant, next.changes);
      if (hinted) store.hint();
    } else if (next.do === 'look') store.hint();
    else await askOnce(next.question);
  });
  await scheduler.waitFor(Promise.all(work));

  // When all is quiet, what is answered is the newest.
  store.hint();
  await scheduler.waitIdle();
  for (const tenant of TENANTS)
    for (const asked of [
      { user: 'alice' },
      { user: 'bob' },
      { key: 'k' },
      { user: 'alice', key: 'k' },
    ]) {
      const asking = askOnce({ tenant, ...asked });
      await scheduler.waitFor(asking);
    }
  const last = (tenant: string): number => (history.get(tenant)?.length ?? 0) - 1;
  for (const [tenant, revision] of newest) expect(revision).toBe(last(tenant));
  room.close();
  await settled();
}

describe.each([
  { what: 'roomy caches', cache: {} },
  {
    what: 'caches of one entry',
    cache: { subjects: 1, keys: 1, absent: 1, groups: 1 },
  },
  { what: 'room for one tenant', cache: { tenants: 1 } },
])('random interleavings with $what', ({ cache }) => {
  it('every answer is the decision on the facts of its revision', { timeout: 60_000 }, async () => {
    const tally: Tally = { answered: 0, unavailable: 0 };
    await fc.assert(
      fc.asyncProperty(
        fc.scheduler(),
        fc.array(step, { minLength: 1, maxLength: 30 }),
        fc.boolean(),
        fc.constantFrom<Slow>('all', 'fills', 'looks'),
        (scheduler, steps, hinted, slow) => run(scheduler, steps, hinted, slow, cache, tally),
      ),
      { numRuns: 2_000 },
    );
    expect(tally.answered).toBeGreaterThan(10_000);
    expect(tally.unavailable).toBe(0);
  });
});
