/** Versions of the policy sets that a state puts or deletes. */
import type { PolicySetRecord, PolicyVersionRecord } from '../../engine/records.ts';
import type { Change, Store } from '../../store/store.ts';
import { KEPT_VERSIONS, versionId } from '../rules/policy-versions.ts';
import type { StateChange } from './plan.ts';
import type { TenantFacts } from './tenant-facts.ts';

/** Versions that new policy sets count on from: those of sets of the same name that were deleted. */
export async function versionsOf(
  store: Store,
  tenant: string,
  stored: TenantFacts,
  wanted: TenantFacts,
): Promise<ReadonlyMap<string, number>> {
  const fresh = [...wanted.policy_set.keys()].filter((name) => !stored.policy_set.has(name));
  const { values } = await store.get(
    tenant,
    fresh.map((name) => ({ kind: 'policy_version', id: versionId(name, 0) })),
  );
  return new Map(
    fresh.map((name, index) => {
      // The store returns a record of the kind that was asked for.
      const newest = values[index] as PolicyVersionRecord | undefined;
      return [name, newest?.set.version ?? 0];
    }),
  );
}

/** The history of the policy sets that an apply puts or deletes. */
export function versionChanges(changes: readonly StateChange[], actor: string): Change[] {
  const at = Date.now();
  return changes.flatMap(({ kind, id: name, value, before }): Change[] => {
    if (kind !== 'policy_set') return [];
    const record = (number: number, set: PolicySetRecord | undefined): Change => {
      const id = versionId(name, number);
      return { kind: 'policy_version', id, value: set && { id, set, actor, at } };
    };
    // Records of this kind are what their kind says.
    const set = value as PolicySetRecord | undefined;
    const newest = set?.version ?? (before as PolicySetRecord).version;
    const oldest = Math.max(0, newest - KEPT_VERSIONS);
    if (set !== undefined)
      return [
        record(newest, set),
        record(0, set),
        ...(oldest > 0 ? [record(oldest, undefined)] : []),
      ];
    return Array.from({ length: newest - oldest }, (_, index) =>
      record(oldest + index + 1, undefined),
    );
  });
}
