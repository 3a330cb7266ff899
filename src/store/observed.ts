/** A store whose calls are told to somebody: what was asked, whether it answered, how long it took. */
import type { MaybePromise } from '../util/later.ts';
import type { Store } from './store.ts';

export const OPERATIONS = ['get', 'scan', 'commit', 'feed', 'heads', 'tenants'] as const;
export type Operation = (typeof OPERATIONS)[number];

export type Observe = (operation: Operation, ok: boolean, seconds: number) => void;

export function observed(store: Store, observe: Observe): Store {
  const watching = <T>(operation: Operation, call: () => MaybePromise<T>): MaybePromise<T> => {
    const startedAt = performance.now();
    const told = (ok: boolean): void =>
      observe(operation, ok, (performance.now() - startedAt) / 1_000);
    try {
      const answer = call();
      if (!(answer instanceof Promise)) told(true);
      else
        answer.then(
          () => told(true),
          () => told(false),
        );
      return answer;
    } catch (error) {
      told(false);
      throw error;
    }
  };
  return {
    ...store,
    get: (...asked) => watching('get', () => store.get(...asked)),
    scan: (...asked) => watching('scan', () => store.scan(...asked)),
    commit: (...asked) => Promise.resolve(watching('commit', () => store.commit(...asked))),
    feed: (...asked) => watching('feed', () => store.feed(...asked)),
    heads: (...asked) => watching('heads', () => store.heads(...asked)),
    tenants: () => watching('tenants', () => store.tenants()),
  };
}
