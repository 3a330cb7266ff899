/**
 * Many actors at once over two rooms, as two processes have them: what is committed is what the same operations do one
 * after the other, in the order of their revisions (CONS-5). The same run without the revision that a commit expects
 * shows that this test would see the difference.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Refused } from '../../src/admin/refused.ts';
import { openEmbeddedStore } from '../../src/store/embedded/store.ts';
import { openRedisStore, REDIS_DEFAULTS } from '../../src/store/redis/store.ts';
import type { Store } from '../../src/store/store.ts';
import { manager, type Manager } from '../support/admin.ts';
import { openMemoryStore } from '../support/memory-store.ts';
import { startRedis, type RedisServer } from '../support/redis-server.ts';
import { SEED } from '../support/seed.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import {
  BEGINNING,
  dumpOf,
  randomCall,
  seeded,
  seenIn,
  textOf,
  withoutRandom,
  type Call,
} from './cases.ts';

const ACTORS = 8;
const OPERATIONS = 1_000;
/** A tenant whose last superuser has gone refuses nearly everything: there are several, one after the other. */
const TENANTS = 5;
/** Nothing runs out while it is replayed. */
const now = (): number => Date.UTC(2030, 0, 1);

/** An operation that was done: what it was told. */
interface Done {
  readonly call: Call;
  readonly revision: number;
  /** It has the revision that it found: it changed nothing. */
  readonly changed: boolean;
  readonly outcome: string;
}

/** What an answer says, without what is random in it. */
function outcomeOf(answer: Readonly<Record<string, unknown>>): string {
  const { session: _session, token: _token, secret: _secret, ...fixed } = answer;
  const { consistency_token: _named, ...rest } = fixed;
  return JSON.stringify(rest).replaceAll(/\bs-[0-9a-f]{12}\b/g, 'a session');
}

async function perform(room: Manager, tenant: string, call: Call): Promise<Done> {
  const answer = await room.as(call.who, call.call, { ...call.request, tenant });
  const event = room.events.findLast(
    (one) => one.tenant === tenant && one.revision === answer['revision'],
  );
  return {
    call,
    revision: Number(answer['revision']),
    changed: (event?.differences ?? []).length > 0,
    outcome: outcomeOf(answer),
  };
}

/** Each actor asks for one thing after the other; the rooms take turns. */
async function crowd(
  rooms: readonly Manager[],
  store: Store,
  tenant: string,
  seed: number,
): Promise<{ done: Done[]; refused: number }> {
  const done: Done[] = [];
  let refused = 0;
  const [first] = rooms;
  if (first === undefined) throw new Error('no rooms');
  for (const call of BEGINNING) done.push(await perform(first, tenant, call));
  let asked = 0;
  const actor = async (index: number): Promise<void> => {
    const random = seeded(seed + index);
    const room = rooms[index % rooms.length] ?? first;
    let seen = seenIn(await dumpOf(store, tenant));
    for (let at = 0; asked < OPERATIONS / TENANTS; at++) {
      asked++;
      // What it decides by may be old by then: so are people's screens.
      if (at % 5 === 4) seen = seenIn(await dumpOf(store, tenant));
      try {
        done.push(await perform(room, tenant, randomCall(random, seen)));
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        refused++;
      }
    }
  };
  await Promise.all(Array.from({ length: ACTORS }, (_, index) => actor(index)));
  return { done, refused };
}

/** What is not as if one had come after the other. */
async function notSerial(done: readonly Done[], store: Store, tenant: string): Promise<string[]> {
  const wrong: string[] = [];
  // One that changed nothing saw the state that its revision left.
  const history = done
    .filter(({ call }) => !isDry(call))
    .toSorted((a, b) => a.revision - b.revision || Number(b.changed) - Number(a.changed));
  const revisions = history.filter(({ changed }) => changed).map(({ revision }) => revision);
  if (revisions.some((revision, index) => revision !== index + 1))
    wrong.push(`the revisions of what was done are not each number once: ${revisions.join(' ')}`);
  const again = openMemoryStore();
  const room = manager(again, now);
  for (const { call, revision, outcome } of history) {
    const repeated = await perform(room, tenant, call).catch((error: unknown) => String(error));
    if (typeof repeated === 'string')
      wrong.push(`${revision}: ${JSON.stringify(call)} is refused: ${repeated}`);
    else if (repeated.revision !== revision || repeated.outcome !== outcome)
      wrong.push(
        `${revision}: ${JSON.stringify(call)} answered ${outcome}, one by one ${repeated.outcome}`,
      );
  }
  const [there, here] = [await dumpOf(store, tenant), await dumpOf(again, tenant)];
  if (textOf(there, withoutRandom) !== textOf(here, withoutRandom))
    wrong.push('the records are not those of the operations one by one');
  return wrong;
}

function isDry({ request }: Call): boolean {
  const { options } = request;
  return typeof options === 'object' && options !== null && 'dry_run' in options;
}

/** Without the protection: whatever was expected, the commit is put on top of what is there. */
function careless(store: Store): Store {
  return {
    ...store,
    async commit(commit) {
      for (;;) {
        const { head } = await store.get(commit.tenant, []);
        const result = await store.commit({
          ...commit,
          expected: head?.revision ?? 0,
          nonce: head?.nonce,
        });
        if (result.committed) return result;
      }
    },
  };
}

interface Run {
  readonly done: number;
  readonly refused: number;
  readonly wrong: readonly string[];
}

/** @param stores one a room, of the same facts */
async function runOf(
  [store, ...others]: readonly [Store, ...Store[]],
  open = (one: Store): Store => one,
): Promise<Run> {
  const rooms = [store, ...others].map((one) => manager(open(one), now));
  const run = { done: 0, refused: 0, wrong: [] as string[] };
  for (let at = 0; at < TENANTS; at++) {
    const tenant = `crowd-${at}`;
    const { done, refused } = await crowd(rooms, store, tenant, SEED + at * ACTORS);
    run.done += done.length;
    run.refused += refused;
    run.wrong.push(...(await notSerial(done, store, tenant)));
  }
  return run;
}

/** What was wrong, and how little there was to be seen. */
function problemsOf({ done, refused, wrong }: Run): readonly string[] {
  const idle = done < OPERATIONS / 4 || refused < OPERATIONS / 10;
  return idle ? [...wrong, `${done} done and ${refused} refused are too few`] : wrong;
}

/** Pairs of operations of which one must fail, or both be seen; each pair at once, one in each room. */
const ROUNDS = 25;

/** @returns how often both were done, of those that exclude each other */
async function collisions(rooms: readonly [Manager, Manager]): Promise<Record<string, number>> {
  const [left, right] = rooms;
  const both = async (one: Call, other: Call): Promise<boolean> => {
    const results = await Promise.allSettled([
      left.as(one.who, one.call, one.request),
      right.as(other.who, other.call, other.request),
    ]);
    for (const result of results)
      if (result.status === 'rejected' && !(result.reason instanceof Refused)) throw result.reason;
    return results.every(({ status }) => status === 'fulfilled');
  };
  const count = { cycles: 0, owners: 0, twins: 0 };
  const tell = async (call: Omit<Call, 'who'>): Promise<void> =>
    void (await left.as('operator', call.call, call.request));
  for (let round = 0; round < ROUNDS; round++) {
    const tenant = `round-${round}`;
    const as = (call: string, request: object): Call => ({
      who: 'operator',
      call,
      request: { ...request, tenant },
    });
    await tell(as('CreateTenant', { owner: 'one' }));
    await tell(as('CreateUser', { user: { id: 'two', roles: ['owner'] } }));
    for (const id of ['a', 'b']) await tell(as('CreateRole', { role: { id } }));
    if (
      await both(
        as('AddMember', { group: 'role:a', member: 'role:b' }),
        as('AddMember', { group: 'role:b', member: 'role:a' }),
      )
    )
      count.cycles++;
    if (
      await both(as('DeleteUser', { id: 'one' }), as('UpdateUser', { id: 'two', suspended: true }))
    )
      count.owners++;
    if (
      await both(
        as('CreateUser', { user: { id: 'Twin' } }),
        as('CreateUser', { user: { id: 'tWIN' } }),
      )
    )
      count.twins++;
  }
  return count;
}

describe(`eight actors in two rooms, seed ${SEED}`, () => {
  describe('on Redis, over a connection each', () => {
    let server: RedisServer;
    const opened: Store[] = [];
    beforeAll(async () => {
      server = await startRedis();
    });
    afterAll(async () => {
      await Promise.all(opened.map((store) => store.close()));
      await server.dispose();
    });
    const two = (keyPrefix: string): readonly [Store, Store] => {
      const open = (): Store => {
        const store = openRedisStore({
          ...REDIS_DEFAULTS,
          address: server.url,
          keyPrefix,
          feedLength: 100,
          onProblem: () => {},
        });
        opened.push(store);
        return store;
      };
      return [open(), open()];
    };

    it(`CONS-5: ${OPERATIONS} operations are as if one came after the other`, async () => {
      expect(problemsOf(await runOf(two('crowd'))), `POSTERN_SEED=${SEED}`).toEqual([]);
    });
    it('CONS-5: without the expected revision they are not', async () => {
      const { wrong } = await runOf(two('careless'), careless);
      expect(wrong.length, `POSTERN_SEED=${SEED}`).toBeGreaterThan(0);
    });
    it('ADM-5, ADM-6, ID-2: what excludes each other is never both done', async () => {
      const [one, other] = two('rounds');
      expect(await collisions([manager(one), manager(other)])).toEqual({
        cycles: 0,
        owners: 0,
        twins: 0,
      });
    });
    it('ADM-5, ADM-6, ID-2: without the expected revision it is', async () => {
      const [one, other] = two('loose');
      const rooms = [manager(careless(one)), manager(careless(other))] as const;
      for (const count of Object.values(await collisions(rooms))) expect(count).toBeGreaterThan(0);
    });
  });

  describe('on one embedded store', () => {
    const opened: Store[] = [];
    afterAll(async () => {
      await Promise.all(opened.map((store) => store.close()));
    });
    const one = (): Store => {
      const store = openEmbeddedStore(temporaryDirectory());
      opened.push(store);
      return store;
    };

    it(`CONS-5: ${OPERATIONS} operations are as if one came after the other`, async () => {
      const store = one();
      expect(problemsOf(await runOf([store, store])), `POSTERN_SEED=${SEED}`).toEqual([]);
    });
    it('CONS-5: without the expected revision they are not', async () => {
      const store = one();
      const { wrong } = await runOf([store, store], careless);
      expect(wrong.length, `POSTERN_SEED=${SEED}`).toBeGreaterThan(0);
    });
    it('ADM-5, ADM-6, ID-2: what excludes each other is never both done', async () => {
      const store = one();
      expect(await collisions([manager(store), manager(store)])).toEqual({
        cycles: 0,
        owners: 0,
        twins: 0,
      });
    });
    it('ADM-5, ADM-6, ID-2: without the expected revision it is', async () => {
      const store = careless(one());
      for (const count of Object.values(await collisions([manager(store), manager(store)])))
        expect(count).toBeGreaterThan(0);
    });
  });
});
