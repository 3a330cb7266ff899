/**
 * A decision that is said to be independent of what is withheld is the same whatever stood there: requests of random
 * worlds, with the withheld parts of other requests in place of their own.
 */
import { expect, it } from 'vitest';
import { toFacts } from '../../src/admin/state/to-facts.ts';
import { decide } from '../../src/engine/decide.ts';
import { filter } from '../../src/engine/filter.ts';
import type { Resource } from '../../src/engine/model.ts';
import { isIndependent, refusalOfAll, type Withheld } from '../../src/engine/withheld.ts';
import { staticFacts, type StaticFacts } from '../../src/offline/static-facts.ts';
import type { World } from '../oracle/oracle.ts';
import { catalogOf, stateOf, toEngine } from '../oracle/translate.ts';
import { requestArb, worldArb } from '../oracle/worlds.ts';
import fc from '../support/fast-check.ts';
import { SEED } from '../support/seed.ts';

const WORLDS = 150;
const REQUESTS = 20;

const KINDS: readonly Withheld[] = [
  { path: false, attributes: true, sources: false },
  { path: false, attributes: false, sources: true },
  { path: true, attributes: false, sources: false },
  { path: true, attributes: true, sources: true },
];

function factsOf(world: World): StaticFacts {
  const built = toFacts(stateOf(world), []);
  if ('findings' in built) throw new Error(JSON.stringify(built.findings));
  return staticFacts(world.state.tenant, built.facts, catalogOf(world));
}

/** A resource with the withheld parts of another. */
function mixed(resource: Resource, other: Resource, withheld: Withheld): Resource {
  return {
    ...resource,
    ...(withheld.path ? { path: other.path } : {}),
    ...(withheld.attributes ? { attributes: other.attributes } : {}),
    ...(withheld.sources ? { sources: other.sources } : {}),
  };
}

const NOTHING: Resource = { type: '', id: '', path: undefined, attributes: new Map(), sources: [] };

it(`holds for requests of random worlds (seed ${SEED})`, () => {
  const seen = { independent: 0, dependent: 0, refused: 0 };
  for (let index = 0; index < WORLDS; index++) {
    const [world] = fc.sample(worldArb, { numRuns: 1, seed: SEED + index });
    if (world === undefined) throw new Error('no world');
    const facts = factsOf(world);
    const drawn = { numRuns: REQUESTS, seed: SEED + index };
    const requests = fc.sample(requestArb(world), drawn).map(toEngine);
    const resources = requests.map(({ resource }) => resource);
    for (const request of requests) {
      const known = facts.resolve(request, 0);
      for (const withheld of KINDS) {
        const told = { ...request, resource: mixed(request.resource, NOTHING, withheld) };
        if (!isIndependent(told, known, withheld)) {
          seen.dependent++;
          continue;
        }
        seen.independent++;
        const reasons = resources.map((other) => {
          const resource = mixed(request.resource, other, withheld);
          return decide({ ...request, resource }, known).reason;
        });
        expect(new Set(reasons), JSON.stringify({ withheld, world, request })).toEqual(
          new Set([decide(told, known).reason]),
        );
      }
      const refused = refusalOfAll(request.action, known);
      if (refused === undefined) continue;
      seen.refused++;
      const query = { action: request.action, objects: resources, offset: 0, limit: 0 };
      expect(filter(query, known)).toMatchObject({ reason: refused, visible: [] });
    }
  }
  // It is of use, and it is not true of everything.
  expect(seen.independent).toBeGreaterThan(5_000);
  expect(seen.dependent).toBeGreaterThan(1_000);
  expect(seen.refused).toBeGreaterThan(500);
});
