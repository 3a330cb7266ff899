/** What is looked at in a value that comes from outside: small checks that join to larger ones. */

/** @returns what is wrong, without the value: `superuser is no boolean`; `undefined`: nothing */
export type Shape = (value: unknown) => string | undefined;

export const text: Shape = (value) => (typeof value === 'string' ? undefined : 'is no text');
export const flag: Shape = (value) => (typeof value === 'boolean' ? undefined : 'is no boolean');
export const number: Shape = (value) => (Number.isFinite(value) ? undefined : 'is no number');
export const positive: Shape = (value) =>
  typeof value === 'number' && Number.isFinite(value) && value > 0
    ? undefined
    : 'is no number above 0';
export const scalar: Shape = (value) =>
  typeof value === 'string' || typeof value === 'boolean' || Number.isFinite(value)
    ? undefined
    : 'is no text, number or boolean';

export function integer(from: number, to: number = Number.MAX_SAFE_INTEGER): Shape {
  return (value) =>
    typeof value === 'number' && Number.isInteger(value) && value >= from && value <= to
      ? undefined
      : `is no integer from ${from} to ${to}`;
}

export function oneOf(...words: readonly string[]): Shape {
  const allowed = new Set<unknown>(words);
  return (value) => (allowed.has(value) ? undefined : `is none of ${words.join(', ')}`);
}

/** @param least how many items there must be */
export function listOf(item: Shape, least = 0): Shape {
  return (value) => {
    if (!Array.isArray(value)) return 'is no list';
    if (value.length < least) return `has fewer than ${least} items`;
    for (let index = 0; index < value.length; index++) {
      const problem = item(value[index]);
      if (problem !== undefined) return `${index} ${problem}`;
    }
    return undefined;
  };
}

export function pair(first: Shape, second: Shape): Shape {
  return (value) => {
    if (!Array.isArray(value) || value.length !== 2) return 'is no pair';
    return first(value[0]) ?? second(value[1]);
  };
}

/** Fields that must be there and fields that may; others are for later versions, and are left alone. */
export function fields(
  required: Readonly<Record<string, Shape>>,
  optional: Readonly<Record<string, Shape>> = {},
): Shape {
  const must = Object.entries(required);
  const may = Object.entries(optional);
  return (value) => {
    if (!isObject(value)) return 'is no object';
    for (const [name, shape] of must) {
      if (!Object.hasOwn(value, name)) return `has no ${name}`;
      const problem = shape(value[name]);
      if (problem !== undefined) return `${name} ${problem}`;
    }
    for (const [name, shape] of may) {
      if (!Object.hasOwn(value, name) || value[name] === undefined) continue;
      const problem = shape(value[name]);
      if (problem !== undefined) return `${name} ${problem}`;
    }
    return undefined;
  };
}

export const object: Shape = (value) => (isObject(value) ? undefined : 'is no object');

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
