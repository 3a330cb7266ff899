/**
 * The engine against the oracle on random worlds: decision, reason and shadow; Filter against Check one by
 * one; Explain against decide; static facts against the embedded store, cold, warm, reopened.
 * POSTERN_DIFFERENTIAL sets how many requests are drawn (10,000 by default; the long run takes 100,000).
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { applyState } from '../../src/admin/state/apply-state.ts';
import { toFacts } from '../../src/admin/state/to-facts.ts';
import { decide as engineDecide } from '../../src/engine/decide.ts';
import type { Facts } from '../../src/engine/decision.ts';
import { explain } from '../../src/engine/explain.ts';
import { filter as engineFilter } from '../../src/engine/filter.ts';
import type { Request } from '../../src/engine/model.ts';
import { requestProblem } from '../../src/engine/validate.ts';
import type { FactsRoom } from '../../src/facts/facts.ts';
import { staticFacts, type StaticFacts } from '../../src/offline/static-facts.ts';
import { openEmbeddedStore } from '../../src/store/embedded/store.ts';
import fc from '../support/fast-check.ts';
import { decide, evidence, filter, type OracleRequest, type World } from './oracle.ts';
import { catalogOf, openRoomOf, shown, stateOf, toEngine } from './translate.ts';
import { filterRequestArb, requestArb, worldArb } from './worlds.ts';
import { SEED } from '../support/seed.ts';

const REQUESTS = Number(process.env['POSTERN_DIFFERENTIAL'] ?? 10_000);
const PER_WORLD = 20;
const WORLDS = Math.ceil(REQUESTS / PER_WORLD);

function staticOf(world: World): StaticFacts {
  const built = toFacts(stateOf(world), []);
  if ('findings' in built) throw new Error(JSON.stringify(built.findings));
  return staticFacts(world.state.tenant, built.facts, catalogOf(world));
}

/** Draws worlds and requests, and calls back with each pair; a failure prints the pair and the seed. */
function forEachRequest(
  check: (world: World, facts: StaticFacts, request: OracleRequest) => void,
): number {
  let drawn = 0;
  for (let index = 0; index < WORLDS; index++) {
    const [world] = fc.sample(worldArb, { numRuns: 1, seed: SEED + index });
    if (world === undefined) throw new Error('no world');
    const facts = staticOf(world);
    for (const request of fc.sample(requestArb(world), {
      numRuns: PER_WORLD,
      seed: SEED + index,
    })) {
      drawn++;
      try {
        check(world, facts, request);
      } catch (error) {
        const shrunk = JSON.stringify({ seed: SEED + index, request, world });
        throw new Error(`seed ${SEED + index}: ${String(error)}\n${shrunk}`, { cause: error });
      }
    }
  }
  return drawn;
}

describe(`engine = oracle (seed ${SEED})`, () => {
  it(`decides ${REQUESTS} requests alike, reason and shadow included`, { timeout: 600_000 }, () => {
    const limits = { attributes: 64, valuesPerAttribute: 256 };
    const drawn = forEachRequest((world, facts, asked) => {
      const request = toEngine(asked);
      expect(requestProblem(request, limits)).toBeUndefined();
      expect(shown(engineDecide(request, facts.resolve(request, 0)))).toEqual(decide(world, asked));
    });
    expect(drawn).toBeGreaterThanOrEqual(REQUESTS);
  });

  it('explains what it decides: each model by its facts, a denial by its layer', () => {
    forEachRequest((world, facts, asked) => {
      const request = toEngine(asked);
      const known = facts.resolve(request, 0);
      const { decision, layers, missing } = explain(request, known, facts.directory);
      expect(decision).toEqual(engineDecide(request, known));
      const verdict = (name: string): string | undefined =>
        layers.find((layer) => layer.name === name)?.verdict;
      // A key bound to a user implies the subject; the oracle's `evidence` looks at the named one.
      const models = evidence(world, asked);
      if (models !== undefined && verdict('rbac') !== undefined)
        expect({
          rbac: verdict('rbac') === 'allow',
          tree: verdict('tree') === 'allow',
          acl: verdict('acl') === 'allow',
        }).toEqual(models);
      const denying = layers.find((layer) => layer.verdict === 'deny')?.name;
      expect(denying === undefined).toBe(decision.allowed);
      const isBelow = verdict('min_level') === 'deny';
      const layerOf: Record<string, string> = {
        KEY_INVALID: 'credential',
        TENANT_MISMATCH: 'tenant',
        UNKNOWN_ACTION: 'action',
        SUBJECT_INACTIVE: 'subject',
        ACTION_DENIED: 'abac_action',
        NO_GRANT: isBelow ? 'min_level' : 'access',
        OBJECT_HIDDEN: 'abac_object',
      };
      if (!decision.allowed) expect(denying).toBe(layerOf[decision.reason]);
      if (decision.allowed) expect(missing).toEqual([]);
    });
  });

  it('FILT-1: filters exactly what Check allows', { timeout: 600_000 }, () => {
    for (let index = 0; index < WORLDS / 4; index++) {
      const [world] = fc.sample(worldArb, { numRuns: 1, seed: SEED + index });
      if (world === undefined) throw new Error('no world');
      const facts = staticOf(world);
      for (const asked of fc.sample(filterRequestArb(world), { numRuns: 4, seed: SEED + index })) {
        const { objects, limit = 0, offset = 0, ...who } = asked;
        const request = toEngine(who);
        const known = facts.resolve(request, 0);
        const resources = objects.map((object) => toEngine({ ...who, resource: object }).resource);
        const query = { action: request.action, objects: resources, limit, offset };
        const result = engineFilter(query, known);
        expect({
          action_allowed: result.actionAllowed,
          allowed_indexes: result.visible,
          complete: result.complete,
          next_offset: result.nextOffset,
        }).toEqual(filter(world, asked));
        const all = engineFilter({ ...query, limit: 0, offset: 0 }, known);
        const oneByOne = resources.flatMap((resource, at) =>
          engineDecide({ ...request, resource }, known).allowed ? [at] : [],
        );
        expect(all.visible).toEqual(oneByOne);
      }
    }
  });
});

describe('store and caches change nothing', () => {
  it('the embedded store answers as the files do: cold, warm, without caches, reopened', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'postern-differential-'));
    try {
      for (let index = 0; index < 40; index++) {
        const [world] = fc.sample(worldArb, { numRuns: 1, seed: SEED + index });
        if (world === undefined) throw new Error('no world');
        const requests = fc
          .sample(requestArb(world), { numRuns: 50, seed: SEED + index })
          .map((asked) => [asked, toEngine(asked)] as const);
        const path = join(directory, String(index));
        for (const mode of ['cold', 'reopened', 'tiny caches'] as const) {
          const store = openEmbeddedStore(path);
          if (mode === 'cold') await applyState(store, stateOf(world), [], 'test');
          const room = openRoomOf(store, world, mode === 'tiny caches' ? 1 : 1_000);
          for (const pass of ['first', 'second'])
            for (const [asked, request] of requests) {
              const facts = await resolve(room, request);
              expect(shown(engineDecide(request, facts)), `${mode}, ${pass} pass`).toEqual(
                decide(world, asked),
              );
            }
          room.close();
          await store.close();
        }
      }
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});

async function resolve(room: FactsRoom, request: Request): Promise<Facts> {
  const loaded = await room.resolve(request, 0, 1_000);
  if ('unavailable' in loaded) throw new Error(loaded.unavailable);
  return loaded.facts;
}
