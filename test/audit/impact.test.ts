/**
 * What a record says of one policy set is what enforcing that set would do: records of random worlds against the oracle,
 * which decides with the set in force and the other sets on trial as they are.
 */
import { expect, it } from 'vitest';
import { toFacts } from '../../src/admin/state/to-facts.ts';
import { contentOf, eventOf } from '../../src/audit/record/event.ts';
import { carriersOf, impactOf } from '../../src/audit/reports/impact.ts';
import { readRecord, type DecisionRecord } from '../../src/audit/record/reader.ts';
import { decide as engineDecide } from '../../src/engine/decide.ts';
import type { Request } from '../../src/engine/model.ts';
import { staticFacts, type StaticFacts } from '../../src/offline/static-facts.ts';
import { decide, type StateFile, type World } from '../oracle/oracle.ts';
import { catalogOf, stateOf, toEngine } from '../oracle/translate.ts';
import { requestArb, worldArb } from '../oracle/worlds.ts';
import fc from '../support/fast-check.ts';
import { SEED } from '../support/seed.ts';

const WORLDS = 500;
const REQUESTS = 30;

/** The record that a server writes of it. */
function recordOf(request: Request, facts: StaticFacts): DecisionRecord {
  const known = facts.resolve(request, 0);
  const decision = engineDecide(request, known);
  const event = {
    decisionId: 'i-1',
    seq: 1,
    instance: '0123456789ab',
    time: '2030-01-01T00:00:00.000Z',
    requestId: '',
    api: 'check' as const,
    revision: 1,
    durationUs: 1,
    sampleRate: 1,
  };
  const content = contentOf({
    request,
    subject: known.subject?.subject,
    context: undefined,
    outcome: decision,
    shadow: decision.shadow,
    mode: typeof known.key === 'object' ? known.key.record.mode : undefined,
    objects: undefined,
    redact: undefined,
  });
  const read = readRecord({ text: eventOf(event) + content, where: 'test', whole: true });
  if (read.type !== 'decision') throw new Error(JSON.stringify(read));
  return read;
}

/** The world with one set in force, and no other set that is not in force already. */
function enforcing({ catalog, state }: World, set: string, keyId: string): World {
  const key = state.keys?.find(({ id }) => id === keyId);
  const keys: StateFile['keys'] = state.keys?.map((one) =>
    one.id === keyId ? { ...one, mode: 'enforce' } : one,
  );
  const policy_sets = state.policy_sets?.map((one) => {
    if (one.name === set) return { ...one, mode: 'enforce' as const };
    return key?.mode === 'report_only' ? { ...one, mode: 'off' as const } : one;
  });
  return {
    catalog,
    state: { ...state, ...(keys && { keys }), ...(policy_sets && { policy_sets }) },
  };
}

it(`agrees with the oracle (seed ${SEED})`, () => {
  const seen = { newly_denied: 0, newly_allowed: 0, nothing: 0, unknown: 0 };
  for (let index = 0; index < WORLDS; index++) {
    const [world] = fc.sample(worldArb, { numRuns: 1, seed: SEED + index });
    if (world === undefined) throw new Error('no world');
    const built = toFacts(stateOf(world), []);
    if ('findings' in built) throw new Error(JSON.stringify(built.findings));
    const { facts } = built;
    const tenant = staticFacts(world.state.tenant, facts, catalogOf(world));
    const modes = new Map([...facts.policy_set.values()].map(({ name, mode }) => [name, mode]));
    const carriers = [...modes.keys()].map((set) => ({
      set,
      keys: carriersOf(set, facts.key.values(), modes),
      onTrial: modes.get(set) === 'report_only',
    }));
    if (carriers.every(({ keys }) => keys.size === 0)) continue;
    const drawn = { numRuns: REQUESTS, seed: SEED + index };
    for (const asked of fc.sample(requestArb(world), drawn)) {
      const record = recordOf(toEngine(asked), tenant);
      for (const { set, keys, onTrial } of carriers) {
        const carrier = keys.get(asked.key_id ?? '');
        const impact = carrier && impactOf(record, { set, onTrial }, carrier);
        if (impact === undefined) continue;
        if ('other_set' in impact) {
          seen.unknown++;
          continue;
        }
        const [effect] = impact;
        seen[effect?.change ?? 'nothing']++;
        const then = decide(enforcing(world, set, asked.key_id ?? ''), asked).allowed;
        const told = effect === undefined ? record.allowed : effect.change === 'newly_allowed';
        expect(then, JSON.stringify({ set, record, world })).toBe(told);
      }
    }
  }
  expect(seen.newly_denied).toBeGreaterThan(50);
  expect(seen.newly_allowed).toBeGreaterThan(50);
  expect(seen.nothing).toBeGreaterThan(500);
  expect(seen.unknown).toBeGreaterThan(50);
});
