/** The history of policy sets: a version means one text for ever, also of a set that is deleted and made again. */
import type { PolicySetRecord } from '../../engine/records.ts';
import type { World } from '../world.ts';

/** Versions of a policy set that are kept. */
export const KEPT_VERSIONS = 100;

/** The id of a version's record; number 0 is a copy of the newest, which stays when the set is deleted. */
export function versionId(name: string, version: number): string {
  return JSON.stringify([name, version]);
}

/** The newest number that a set of this name has had; 0: there was none. */
export function newestVersion(
  world: World,
  name: string,
  stored: PolicySetRecord | undefined,
): number {
  return stored?.version ?? world.get('policy_version', versionId(name, 0))?.set.version ?? 0;
}

/** Stores a version, also under number 0, and removes the one that is too old. */
export function putVersion(world: World, set: PolicySetRecord, actor: string, at: number): void {
  const record = { set, actor, at };
  const { name, version } = set;
  for (const number of [version, 0]) {
    const id = versionId(name, number);
    world.put('policy_version', id, { id, ...record });
  }
  const old = version - KEPT_VERSIONS;
  if (old > 0) world.put('policy_version', versionId(name, old), undefined);
}

/** Removes the versions of a set that is deleted, all but number 0. */
export function dropVersions(world: World, { name, version: newest }: PolicySetRecord): void {
  for (let version = newest; version > Math.max(0, newest - KEPT_VERSIONS); version--)
    world.put('policy_version', versionId(name, version), undefined);
}
