/** Attribute constraints: exact equality of typed value sets (ABAC-3, ABAC-9). */
import type { Attributes, Resource, Scalar } from './model.ts';

export interface Constraint {
  readonly key: string;
  /** Not empty (ABAC-2). */
  readonly required: ReadonlySet<Scalar>;
  /** The required value if there is exactly one, as in most rules. */
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

/** Whether the effective value set of the key equals the required set exactly. */
export function holds({ key, required, only }: Constraint, resource: Resource): boolean {
  const { sources, attributes } = resource;
  if (sources.length > 0) return sameSet(unionOf(sources, key), required);
  const values = attributes.get(key);
  if (values === undefined) return false;
  if (only !== undefined && values.length === 1) return values[0] === only;
  return values.length > FEW ? sameSet(setOf(values), required) : setEquals(values, required);
}

/** Lists up to this length are compared without building a set. */
const FEW = 8;

function setEquals(values: readonly Scalar[], required: ReadonlySet<Scalar>): boolean {
  if (values.length < required.size) return false;
  for (const value of values) if (!required.has(value)) return false;
  // Every value is a required one, so a required value can be missing only if there are duplicates.
  return required.size === 1 || new Set(values).size === required.size;
}

function sameSet(values: ReadonlySet<Scalar>, required: ReadonlySet<Scalar>): boolean {
  if (values.size !== required.size) return false;
  for (const value of required) if (!values.has(value)) return false;
  return true;
}

/** Cache of sets of long lists: many rules, and checks of a batch with the same resource, need the same ones. */
const sets = new WeakMap<readonly Scalar[], ReadonlySet<Scalar>>();

function setOf(values: readonly Scalar[]): ReadonlySet<Scalar> {
  const known = sets.get(values);
  if (known !== undefined) return known;
  const made = new Set(values);
  sets.set(values, made);
  return made;
}

/** Cache of effective metadata by key, filled on demand; lives as long as the resource's sources (ABAC-9). */
const unions = new WeakMap<readonly Attributes[], Map<string, ReadonlySet<Scalar>>>();

function unionOf(sources: readonly Attributes[], key: string): ReadonlySet<Scalar> {
  let byKey = unions.get(sources);
  if (byKey === undefined) unions.set(sources, (byKey = new Map()));
  const known = byKey.get(key);
  if (known !== undefined) return known;
  const union = new Set<Scalar>();
  for (const source of sources) for (const value of source.get(key) ?? []) union.add(value);
  byKey.set(key, union);
  return union;
}
