/** Policy sets and API keys of a state file. */
import { bodyOf, type StateFile } from '../../config/state.ts';
import { toPolicySet } from '../../config/policy-set.ts';
import type { KeyRecord, PolicySetRecord } from '../../engine/records.ts';
import type { Directory } from './directory.ts';
import { eachEntry, type Entry, type Find } from './tenant-facts.ts';

export function policySetsOf(state: StateFile, find: Find): Map<string, PolicySetRecord> {
  const sets = new Map<string, PolicySetRecord>();
  eachEntry(state, 'policy_sets', (entry, path) => {
    const body = bodyOf(entry);
    if (sets.has(body.name)) find(path, `policy set \`${body.name}\` is listed twice: keep one`);
    sets.set(body.name, toPolicySet(body));
  });
  return sets;
}

export function keysOf(
  state: StateFile,
  sets: ReadonlyMap<string, PolicySetRecord>,
  directory: Directory,
  find: Find,
): Map<string, KeyRecord> {
  const keys = new Map<string, KeyRecord>();
  eachEntry(state, 'keys', (entry, path) => {
    const { id, policy_sets = [], user } = entry;
    if (keys.has(id)) find(path, `key \`${id}\` is listed twice: keep one`);
    for (const [index, name] of policy_sets.entries())
      if (!sets.has(name))
        find(
          [...path, 'policy_sets', index],
          `unknown policy set \`${name}\`: list it under policy_sets`,
        );
    if (user !== undefined) directory.resolve(`user:${user}`, [...path, 'user'], ['user']);
    keys.set(id, keyOf(entry));
  });
  return keys;
}

function keyOf(entry: Entry<'keys'>): KeyRecord {
  const { id, description, role, mode, policy_sets = [], user } = entry;
  const { expires_at, revoked, rate_limit } = entry;
  return {
    id,
    ...(description === undefined ? {} : { description }),
    role,
    mode,
    policySets: [...new Set(policy_sets)].sort(),
    ...(user === undefined ? {} : { user }),
    ...(expires_at === undefined ? {} : { expiresAt: Date.parse(expires_at) }),
    ...(revoked === true ? { revoked } : {}),
    ...(rate_limit === undefined
      ? {}
      : { rateLimit: { requests: rate_limit.requests, seconds: rate_limit.per_seconds ?? 1 } }),
  };
}
