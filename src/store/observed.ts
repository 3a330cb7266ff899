/** A store whose calls are observed: which operation, whether it succeeded, how long it took. */
import type { MaybePromise } from '../util/later.ts';
import type { Store } from './store.ts';

export const OPERATIONS = ['get', 'scan', 'commit', 'feed', 'heads', 'tenants'] as const;
export type Operation = (typeof OPERATIONS)[number];

export type Observe = (operation: Operation, ok: boolean, seconds: number) => void;

export function observed(store: Store, observe: Observe): Store {
  const watching = <T>(operation: Operation, call: () => MaybePromise<T>): MaybePromise<T> => {
    const startedAt = performance.now();
    const report = (ok: boolean): void =>
      observe(operation, ok, (performance.now() - startedAt) / 1_000);
    try {
      const answer = call();
      if (!(answer instanceof Promise)) report(true);
      else
        answer.then(
          () => report(true),
          () => report(false),
        );
      return answer;
    } catch (error) {
      report(false);
      throw error;
    }
  };
  return {
    ...store,
    get: (...call) => watching('get', () => store.get(...call)),
    scan: (...call) => watching('scan', () => store.scan(...call)),
    commit: (...call) => Promise.resolve(watching('commit', () => store.commit(...call))),
    feed: (...call) => watching('feed', () => store.feed(...call)),
    heads: (...call) => watching('heads', () => store.heads(...call)),
    tenants: () => watching('tenants', () => store.tenants()),
  };
}
