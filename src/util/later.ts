/** Values that may be there at once: what is warm costs no await. */

export type MaybePromise<T> = T | Promise<T>;

/** Goes on with a value at once if it is there, else when it comes. */
export function later<T, U>(
  value: MaybePromise<T>,
  go: (value: T) => MaybePromise<U>,
): MaybePromise<U> {
  return value instanceof Promise ? value.then(go) : go(value);
}
