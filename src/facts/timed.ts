/** A store whose reads end: an answer that does not come in time is a failure, and a failure denies (CONS-3). */
import type { MaybePromise } from '../util/later.ts';
import { StoreError, type Store } from '../store/store.ts';

export function timed(store: Store, timeoutMs: number): Store {
  const within = <T>(answer: MaybePromise<T>): MaybePromise<T> =>
    answer instanceof Promise
      ? inTime(answer, timeoutMs, () =>
          Promise.reject(new StoreError(`the store has not answered within ${timeoutMs} ms`)),
        )
      : answer;
  return {
    ...store,
    get: (...call) => within(store.get(...call)),
    scan: (...call) => within(store.scan(...call)),
    feed: (...call) => within(store.feed(...call)),
    heads: (...call) => within(store.heads(...call)),
    tenants: () => within(store.tenants()),
  };
}

/** A promise's outcome or, where that takes longer than `ms`, the outcome of `instead`. */
export async function inTime<T>(
  answer: Promise<T>,
  ms: number,
  instead: () => MaybePromise<T>,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<T>((done) => {
    timer = setTimeout(() => done(instead()), ms);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}
