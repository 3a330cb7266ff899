/** Attribute constraints: exact equality of typed value sets (ABAC-3, ABAC-9). */
import type { Attributes, Resource, Scalar } from './model.ts';

export interface Constraint {
  readonly key: string;
  /** Never empty (ABAC-2). */
  readonly required: ReadonlySet<Scalar>;
  /** The required value where there is one only, as in most rules. */
  readonly only: Scalar | undefined;
}

export function compileConstraints(
  attributes: readonly (readonly [string, readonly Scalar[]])[] | undefined,
): readonly Constraint[] {
  return (attributes ?? []).map(([key, values]) => {
    const required = new Set(values);
    return { key, required, only: required.size === 1 ? values[0] : undefined };
  });
}

/** Whether every constraint holds for the resource's effective metadata (AND, ABAC-3). */
export function allHold(constraints: readonly Constraint[], resource: Resource): boolean {
  for (const constraint of constraints) if (!holds(constraint, resource)) return false;
  return true;
}

/** Whether the effective value set of the key equals the required set: no value more, none less. */
export function holds({ key, required, only }: Constraint, resource: Resource): boolean {
  const { sources, attributes } = resource;
  if (sources.length > 0) return unionEquals(sources, key, required);
  const values = attributes.get(key);
  if (values === undefined) return false;
  return only !== undefined && values.length === 1
    ? values[0] === only
    : setEquals(values, required);
}

function setEquals(values: readonly Scalar[], required: ReadonlySet<Scalar>): boolean {
  if (values.length < required.size) return false;
  for (const value of values) if (!required.has(value)) return false;
  // Every value is a required one, so that only duplicates can hide a missing one.
  return required.size === 1 || new Set(values).size === required.size;
}

function unionEquals(
  sources: readonly Attributes[],
  key: string,
  required: ReadonlySet<Scalar>,
): boolean {
  const union = new Set<Scalar>();
  for (const source of sources)
    for (const value of source.get(key) ?? []) {
      if (!required.has(value)) return false;
      union.add(value);
    }
  return union.size === required.size;
}
