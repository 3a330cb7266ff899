/** Facts of a whole tenant at hand, without a store: for policy tests and replays. */
import { actingSubject, compileKey } from '../engine/abac.ts';
import type { Catalog } from '../engine/action.ts';
import type { Facts } from '../engine/model.ts';
import type { Records, StateKind } from '../engine/records.ts';
import { compileUser, groupsOf, groupSubject, type Directory } from '../engine/subject.ts';
import type { Who } from './facts.ts';

export interface StaticFacts {
  readonly directory: Directory;
  resolve(who: Who): Facts;
}

export function staticFacts(
  tenant: string,
  records: { readonly [K in StateKind]: ReadonlyMap<string, Records[K]> },
  catalog: Catalog,
): StaticFacts {
  const directory: Directory = { roles: records.role, workspaces: records.workspace };
  const keyOf = (id: string): Exclude<Facts['key'], undefined> => {
    const record = records.key.get(id);
    const sets = (record?.policySets ?? []).map((name) => records.policy_set.get(name));
    const gone = record === undefined || record.revoked === true;
    if (gone || sets.includes(undefined)) return 'invalid';
    return compileKey(
      record,
      sets.filter((set) => set !== undefined),
    );
  };
  const subjectOf = (subject: NonNullable<Who['subject']>): Facts['subject'] => {
    if (subject.type !== 'user')
      return groupSubject(subject, (direct) => groupsOf(directory, direct));
    const record = records.user.get(subject.id);
    const groups = groupsOf(directory, record ?? { roles: [], workspaces: [] });
    return compileUser(subject.id, record, groups);
  };
  return {
    directory,
    resolve({ tenant: asked, subject, keyId }): Facts {
      const none = { catalog, tenantExists: asked === tenant, subject: undefined };
      if (!none.tenantExists) return { ...none, key: keyId === undefined ? undefined : 'invalid' };
      const key = keyId === undefined ? undefined : keyOf(keyId);
      if (key === 'invalid') return { ...none, key };
      const acting = key === undefined ? subject : actingSubject(key.record, subject);
      if (acting === 'mismatch') return { ...none, key: 'invalid' };
      return { ...none, key, subject: acting === undefined ? undefined : subjectOf(acting) };
    },
  };
}
