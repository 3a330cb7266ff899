/** What all calls of management share, and how they read with an actor's authority. */
import { POLICY_LIMITS, type PolicyLimits } from '../../config/policy-limits.ts';
import { authorityOf, type Actor } from '../actor.ts';
import type { AdminOptions } from '../admin-contract.ts';
import { TenantQueues } from '../queues.ts';
import type { ReadContext } from '../read/reads.ts';
import { withSuggestion } from '../read/suggestions.ts';
import { UnchangedStates } from '../state/unchanged.ts';
import { openPool, type Pool, type PoolOptions } from '../threads/pool.ts';
import type { World } from '../world.ts';
import { overWorld } from '../planner.ts';
import { firstKeys, mustExist } from '../write.ts';

/** Threads that read the document of a policy set: what is larger or slower is refused. */
const DOCUMENTS: PoolOptions = { threads: 1, maxWaiting: 16, deadlineMs: 10_000, heapMiB: 256 };

/** Threads that apply and export whole states: one at a time, and few that wait, for each holds its state in memory. */
const STATES: PoolOptions = { threads: 1, maxWaiting: 4, deadlineMs: 1_800_000, heapMiB: 4_096 };

/** `admin.max_state_bytes` where nothing else is given. */
const MAX_STATE_BYTES = 268_435_456;

export interface Room extends AdminOptions {
  readonly policyLimits: PolicyLimits;
  readonly maxStateBytes: number;
  readonly queues: TenantQueues;
  readonly documents: Pool;
  readonly states: Pool;
  readonly unchanged: UnchangedStates;
}

export function openRoom(options: AdminOptions): Room {
  return {
    ...options,
    policyLimits: options.policyLimits ?? POLICY_LIMITS,
    maxStateBytes: options.maxStateBytes ?? MAX_STATE_BYTES,
    queues: new TenantQueues(),
    documents: openPool(DOCUMENTS),
    states: openPool(STATES),
    unchanged: new UnchangedStates(),
  };
}

/**
 * Runs a rule that reads, with the actor's authority.
 * @param mustBe what the tenant must be
 * @throws Refused, StoreError
 */
export async function readWith<T>(
  { store, catalog, now }: Pick<Room, 'store' | 'catalog' | 'now'>,
  tenant: string,
  actor: Actor,
  rule: (context: ReadContext) => T,
  mustBe: (world: World) => void = mustExist,
): Promise<{ readonly revision: number; readonly result: T }> {
  const { head, result } = await overWorld(store, tenant, firstKeys(actor), (world) => {
    mustBe(world);
    const authority = authorityOf(world, actor, catalog(), 'postern:read');
    try {
      return rule({ world, authority, catalog: catalog(), now: now() });
    } catch (error) {
      throw withSuggestion(error, world, authority);
    }
  });
  return { revision: head?.revision ?? 0, result };
}
