/**
 * Random worlds through Redis: two instances answer while two writers change the tenant, and every answer is the
 * oracle's for the revision that it names (CONS-1, CONS-2, CONS-5). One node and a cluster.
 */
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { applyState } from '../../src/admin/state/apply-state.ts';
import { decide as engineDecide } from '../../src/engine/decide.ts';
import type { FactsRoom } from '../../src/facts/facts.ts';
import { openRedisStore, REDIS_DEFAULTS } from '../../src/store/redis/store.ts';
import type { Store } from '../../src/store/store.ts';
import fc from '../support/fast-check.ts';
import { startCluster, startRedis } from '../support/redis-server.ts';
import { SEED } from '../support/seed.ts';
import { decide, type OracleDecision, type OracleRequest, type World } from './oracle.ts';
import { openRoomOf, shown, stateOf, toEngine } from './translate.ts';
import { requestArb, worldArb } from './worlds.ts';

const WORLDS = Number(process.env['POSTERN_REDIS_WORLDS'] ?? 12);
const VARIANTS = 6;
const REQUESTS = 60;

/** A tenant as it could be a moment later: grants and memberships come and go, keys and users change their mode. */
function variant({ catalog, state }: World, n: number): World {
  const odd = (...parts: readonly unknown[]): boolean =>
    createHash('sha256')
      .update(JSON.stringify([n, ...parts]))
      .digest()
      .readUInt8(0) %
      3 ===
    0;
  if (n === 0) return { catalog, state };
  return {
    catalog,
    state: {
      ...state,
      users: state.users?.map((user) => ({
        ...user,
        ...(odd('roles', user.id) ? { roles: [] } : {}),
        ...(odd('suspended', user.id) ? { suspended: true } : {}),
      })),
      grants: state.grants?.filter((grant) => !odd('grant', grant)),
      keys: state.keys?.map((key) => (odd('mode', key.id) ? { ...key, mode: 'off' } : key)),
    },
  };
}

describe.each([
  ['one node', () => startRedis()],
  ['a cluster', () => startCluster()],
] as const)(`two instances and two writers on %s (seed ${SEED})`, (_name, start) => {
  let server: { readonly url: string; dispose(): Promise<void> };
  const stores: Store[] = [];
  const opened: FactsRoom[] = [];
  beforeAll(async () => {
    server = await start();
  });
  afterAll(async () => {
    for (const room of opened) room.close();
    for (const store of stores) await store.close();
    await server.dispose();
  });

  const openStore = (keyPrefix: string): Store => {
    const store = openRedisStore({
      ...REDIS_DEFAULTS,
      address: server.url,
      keyPrefix,
      onProblem: () => {},
    });
    stores.push(store);
    return store;
  };

  it('every answer is right for its revision', { timeout: 300_000 }, async () => {
    let compared = 0;
    const revisions = new Set<string>();
    for (let index = 0; index < WORLDS; index++) {
      const [world] = fc.sample(worldArb, { numRuns: 1, seed: SEED + index });
      if (world === undefined) throw new Error('no world');
      const variants = Array.from({ length: VARIANTS }, (_, n) => variant(world, n));
      const requests = fc.sample(requestArb(world), { numRuns: REQUESTS, seed: SEED + index });
      const [one, other] = [openStore(`world-${index}`), openStore(`world-${index}`)];
      const rooms = [
        openRoomOf(one, world, 1_000),
        openRoomOf(other, world, index % 2 === 0 ? 4 : 50),
      ];
      opened.push(...rooms);
      /** What the tenant was at each revision. */
      const at = new Map<number, World>();
      const apply = async (store: Store, wanted: World): Promise<void> => {
        const { revision, plan } = await applyState(store, stateOf(wanted), [], 'test');
        if (plan.changes.length > 0) at.set(revision, wanted);
      };
      await apply(one, world);
      const answers: { asked: OracleRequest; revision: number; got: OracleDecision }[] = [];
      const writers = { writing: true };
      const readers = rooms.map(async (room) => {
        do {
          // A warm room awaits nothing: without this nobody else would have a turn.
          await new Promise((turn) => setImmediate(turn));
          for (const asked of requests) {
            const request = toEngine(asked);
            const loaded = await room.resolve(request, 0, 5_000);
            if ('unavailable' in loaded) throw new Error(loaded.unavailable);
            const got = shown(engineDecide(request, loaded.facts));
            answers.push({ asked, revision: loaded.revision, got });
          }
        } while (writers.writing);
      });
      await Promise.all([
        ...variants.slice(1).map((wanted, n) => apply(n % 2 === 0 ? one : other, wanted)),
        apply(other, world),
      ]);
      // The writer's token, taken to both: nothing older is answered (CONS-1).
      const newest = Math.max(...at.keys());
      for (const room of rooms)
        for (const asked of requests) {
          if (asked.tenant !== world.state.tenant) continue;
          const loaded = await room.resolve(toEngine(asked), newest, 5_000);
          if ('unavailable' in loaded) throw new Error(loaded.unavailable);
          expect(loaded.revision).toBe(newest);
        }
      writers.writing = false;
      await Promise.all(readers);
      for (const { asked, revision, got } of answers) {
        // Another tenant than the world's is at revision 0, and absent in each variant.
        const then = revision === 0 ? world : at.get(revision);
        if (then === undefined) throw new Error(`nobody wrote revision ${revision}`);
        expect(got, `seed ${SEED + index}, revision ${revision}`).toEqual(decide(then, asked));
        revisions.add(`${index} ${revision}`);
        compared++;
      }
    }
    expect(compared).toBeGreaterThan(WORLDS * REQUESTS * 2 - 1);
    // Else nothing was written while somebody asked.
    expect(revisions.size).toBeGreaterThan(WORLDS * 3);
  });
});
