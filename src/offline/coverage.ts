/** Which stored facts the tests of a directory have exercised: gave evidence in some decision, and which never did. */
import { relative } from 'node:path';
import { grantRef, ownerRef, permissionRef, ruleRef } from '../engine/explanation.ts';
import type { LoadedSuite } from './policy-tests.ts';

export const COVERAGE_KINDS = ['rules', 'permissions', 'grants', 'owners'] as const;
type CoverageKind = (typeof COVERAGE_KINDS)[number];

export interface KindCoverage {
  readonly total: number;
  readonly exercised: number;
  /** Those that never gave evidence, as `file: name`, sorted. */
  readonly missed: readonly string[];
}

export interface Coverage extends Readonly<Record<CoverageKind, KindCoverage>> {
  /** Of all together; 100 where there is nothing to exercise. */
  readonly percent: number;
}

/** Counts what suites exercise; suites with one state file share its facts. */
export class CoverageCounter {
  readonly #all = new Map<string, { readonly kind: CoverageKind; isExercised: boolean }>();

  /** Takes in the facts of a suite's state. @returns is called with the name of each fact that gave evidence */
  add(suite: LoadedSuite): (ref: string) => void {
    const file = relative('', suite.stateFile);
    const nameOf = (ref: string): string => `${file}: ${ref}`;
    for (const [kind, ref] of factsOf(suite)) {
      const name = nameOf(ref);
      if (!this.#all.has(name)) this.#all.set(name, { kind, isExercised: false });
    }
    return (ref) => {
      const fact = this.#all.get(nameOf(ref));
      if (fact !== undefined) fact.isExercised = true;
    };
  }

  result(): Coverage {
    const facts = [...this.#all];
    const of = (kind: CoverageKind): KindCoverage => {
      const all = facts.filter(([, fact]) => fact.kind === kind);
      const missed = all.filter(([, { isExercised }]) => !isExercised).map(([name]) => name);
      return { total: all.length, exercised: all.length - missed.length, missed: missed.sort() };
    };
    const exercised = facts.filter(([, { isExercised }]) => isExercised).length;
    return {
      rules: of('rules'),
      permissions: of('permissions'),
      grants: of('grants'),
      owners: of('owners'),
      percent: facts.length === 0 ? 100 : (100 * exercised) / facts.length,
    };
  }
}

/** Roles that come with Postern are not the tests' to exercise. */
function* factsOf({ records }: LoadedSuite): Generator<readonly [CoverageKind, string]> {
  for (const { name, rules } of records.policy_set.values())
    for (const { id } of rules) yield ['rules', ruleRef(name, id)];
  for (const { id, permissions, system } of records.role.values())
    if (!system)
      for (const permission of permissions) yield ['permissions', permissionRef(id, permission)];
  for (const [type, holders] of [
    ['user', records.user],
    ['role', records.role],
    ['workspace', records.workspace],
  ] as const)
    for (const { id, grants } of holders.values())
      for (const { path } of grants) yield ['grants', grantRef(`${type}:${id}`, path)];
  for (const { path } of records.owner.values()) yield ['owners', ownerRef(path)];
}
