/** Facts of a whole tenant at hand, without a store: for policy tests and replays. */
import type { KeyFacts } from '../engine/abac.ts';
import type { Catalog } from '../engine/action.ts';
import type { Facts } from '../engine/decision.ts';
import type { Records, StateKind } from '../engine/records.ts';
import { askingWith, usableKey } from '../engine/resolve-key.ts';
import { compileUser, groupSubject, groupsOf, type Directory } from '../engine/subject.ts';
import type { Who } from '../facts/facts.ts';

export interface StaticFacts {
  readonly directory: Directory;
  /** @param now the time of the question, milliseconds since the epoch: keys may have expired by then */
  resolve(who: Who, now: number): Facts;
}

export function staticFacts(
  tenant: string,
  records: { readonly [K in StateKind]: ReadonlyMap<string, Records[K]> },
  catalog: Catalog,
): StaticFacts {
  const directory: Directory = { roles: records.role, workspaces: records.workspace };
  const keyOf = (id: string): KeyFacts | undefined => {
    const key = usableKey(records.key.get(id), (name) => records.policy_set.get(name));
    return key === 'lost_set' ? undefined : key;
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
    resolve({ tenant: named, subject, keyId }, now): Facts {
      const none = { catalog, tenantExists: named === tenant, subject: undefined };
      if (!none.tenantExists) return { ...none, key: keyId === undefined ? undefined : 'invalid' };
      const key = keyId === undefined ? undefined : keyOf(keyId);
      const acting = keyId === undefined ? subject : askingWith(key, subject, () => now);
      if (acting === 'invalid') return { ...none, key: 'invalid' };
      return { ...none, key, subject: acting === undefined ? undefined : subjectOf(acting) };
    },
  };
}
