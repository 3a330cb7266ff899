import type { MaybePromise } from '../store/store.ts';

/** Goes on with a value at once if it is there, so that an embedded store costs no await. */
export function later<T, U>(
  value: MaybePromise<T>,
  go: (value: T) => MaybePromise<U>,
): MaybePromise<U> {
  return value instanceof Promise ? value.then(go) : go(value);
}
