/** From the oracle's world to Postern's types, and back. */
import { toResource } from '../../src/config/policy-test.ts';
import type { StateFile } from '../../src/config/state.ts';
import { compileCatalog, type Catalog } from '../../src/engine/action.ts';
import type { Decision } from '../../src/engine/decision.ts';
import type { Request } from '../../src/engine/model.ts';
import { openFacts, type FactsRoom } from '../../src/facts/facts.ts';
import type { OracleDecision, OracleRequest, World } from './oracle.ts';

/** The file shapes are the same on both sides; the oracle's types only allow fewer forms. */
export const stateOf = (world: World): StateFile => world.state as unknown as StateFile;
export const catalogOf = (world: World): Catalog => compileCatalog(world.catalog);

export function toEngine(request: OracleRequest): Request {
  const { resource, subject } = request;
  return {
    tenant: request.tenant,
    subject: subject === undefined ? undefined : { type: subject.type ?? 'user', id: subject.id },
    keyId: request.key_id,
    action: request.action,
    // Attributes of either side are plain objects of scalars and lists.
    resource: toResource(resource as unknown as Parameters<typeof toResource>[0]),
  };
}

export function shown({ allowed, reason, shadow }: Decision): OracleDecision {
  const would = shadow?.reason === 'ALLOWED';
  return {
    allowed,
    reason: reason as OracleDecision['reason'],
    ...(shadow === undefined ? {} : { shadow: { allowed: would, differs: would !== allowed } }),
  };
}

/** A facts room with so many entries in each cache. */
export function openRoomOf(
  store: Parameters<typeof openFacts>[0],
  world: World,
  bound: number,
): FactsRoom {
  return openFacts(store, catalogOf(world), {
    maxStalenessMs: 60_000,
    heartbeatMs: 1_000,
    storeTimeoutMs: 1_000,
    maxWaiting: 10_000,
    cache: {
      subjects: bound,
      keys: bound,
      absent: bound,
      groups: bound,
      tenants: bound,
      bytes: 2 ** 26,
    },
    now: () => performance.now(),
    wallNow: () => Date.now(),
    onResync: () => {},
    onHistoryLost: () => {},
    onStore: () => {},
    onEntries: () => {},
    onError: (error) => {
      throw error;
    },
  });
}
