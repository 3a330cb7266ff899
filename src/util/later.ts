/** Values that can be available without a promise: a warm call needs no await. */

export type MaybePromise<T> = T | Promise<T>;

/** Continues at once with a plain value, or when the promise resolves. */
export function later<T, U>(
  value: MaybePromise<T>,
  go: (value: T) => MaybePromise<U>,
): MaybePromise<U> {
  return value instanceof Promise ? value.then(go) : go(value);
}
