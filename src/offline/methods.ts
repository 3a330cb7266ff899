/** The decisions of a server on facts at hand: the same codec, the same checks of a request, the same answers. No I/O. */
import { newInstance, openLog } from '../audit/log.ts';
import type { LoadedFacts } from '../facts/facts.ts';
import type { StaticFacts } from './static-facts.ts';
import { openIdentity } from '../identity/identity.ts';
import { createService } from '../service/service.ts';
import type { CodecLimits } from '../transport/codec/limits.ts';
import { authorizationMethods, type Methods } from '../transport/grpc/methods.ts';

export interface OfflineOptions {
  /** By tenant; there is at least one. */
  readonly tenants: ReadonlyMap<string, StaticFacts>;
  readonly limits: CodecLimits;
  /** The time of the questions, milliseconds since the epoch: keys may have expired by then. */
  readonly now: () => number;
}

/**
 * The methods of `AuthorizationService`, by full path. Nothing is recorded, keys have no rate limit, and the revision is
 * 0: files have none.
 */
export function offlineMethods({ tenants, limits, now }: OfflineOptions): Methods['unary'] {
  const service = createService({
    facts: {
      resolve(who): LoadedFacts {
        const known = tenants.get(who.tenant);
        // Any facts tell of a tenant that is not theirs that it does not exist.
        const [facts = known] = known === undefined ? tenants.values() : [known];
        if (facts === undefined) throw new Error('no facts of any tenant');
        return {
          facts: facts.resolve(who, now()),
          directory: known?.directory ?? { roles: new Map(), workspaces: new Map() },
          revision: 0,
          ageMs: 0,
        };
      },
    },
    metrics: { decision: nothing, notAudited: nothing, shadow: nothing, filtered: nothing },
    log: openLog(newInstance(), [], 0),
    redact: undefined,
    sampling: undefined,
    limits: {
      attributes: limits.attributesPerResource,
      valuesPerAttribute: limits.valuesPerAttribute,
    },
    identity: openIdentity({ now }),
    rateLimits: { take: () => ({ ok: true }) },
    filterObjectCost: 0,
    usage: { used: nothing },
    onCredential: nothing,
    onError(error): never {
      throw error;
    },
  });
  return authorizationMethods(service, limits, 0).unary;
}

function nothing(): void {}
