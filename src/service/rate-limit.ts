/** Rate limits of keys: what a call costs, and how long a key must wait that has asked too often. */
import type { Resource } from '../engine/model.ts';
import type { LoadedFacts } from '../facts/facts.ts';
import type { RateLimits } from '../identity/rate.ts';
import type { Usage } from '../identity/usage.ts';
import type { CheckCall } from './calls.ts';
import type { Failure } from './failure.ts';

export interface KeyLimitOptions {
  readonly rateLimits: RateLimits;
  /** Requests that an object of a Filter counts as. */
  readonly filterObjectCost: number;
  /** When keys are used. */
  readonly usage: Pick<Usage, 'used'>;
}

export class KeyLimits {
  readonly #options: KeyLimitOptions;

  constructor(options: KeyLimitOptions) {
    this.#options = options;
  }

  /** Notes the use of the key of a call. @returns the failure of a key that may not ask now */
  take(call: CheckCall, { facts: { key } }: LoadedFacts): Failure | undefined {
    if (typeof key !== 'object') return undefined;
    const { tenant } = call.request;
    const { id, rateLimit } = key.record;
    this.#options.usage.used(tenant, id);
    if (rateLimit === undefined) return undefined;
    const cost = this.#costOf(call);
    const taken = this.#options.rateLimits.take(tenant, id, rateLimit, cost);
    if (taken.ok) return undefined;
    const { retryAfterMs } = taken;
    const message =
      cost > rateLimit.requests
        ? `the objects count as ${cost} requests, and the rate limit of the key is ${rateLimit.requests} in a window: send fewer objects at once`
        : `the key exceeded its rate limit: retry after ${Math.ceil(retryAfterMs)} ms`;
    return { failure: 'limited', message, retryAfterMs };
  }

  /** A Filter costs its objects: else it would be a way to ask a thousand questions for one. */
  #costOf(call: CheckCall & { readonly objects?: readonly Resource[] }): number {
    return call.objects === undefined
      ? 1
      : Math.max(1, Math.ceil(call.objects.length * this.#options.filterObjectCost));
  }
}
