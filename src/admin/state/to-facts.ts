/**
 * A whole state as records: where references become principals, memberships become closures, and everything that the
 * state may not be is found. Pure.
 */
import { bodyOf, type Finding, type StateFile } from '../../config/state.ts';
import { idProblem } from '../../engine/id.ts';
import type { StateKind } from '../../engine/records.ts';
import { printable } from '../../engine/validate.ts';
import { Directory } from './directory.ts';
import { addMemberships, checkCycles } from './memberships.ts';
import { keysOf, policySetsOf } from './policy-facts.ts';
import { roleCreatorsOf, rolesOf, usersOf, workspacesOf } from './principal-facts.ts';
import type { BaseRole, Find, IsStored, TenantFacts } from './tenant-facts.ts';
import { grantRowsOf, ownersOf } from './tree-facts.ts';

/**
 * The records of a state file.
 * @param base roles that the tenant has besides the state's: the default roles of a new tenant, or the
 *   system roles of a stored one (RBAC-4)
 */
export function toFacts(
  state: StateFile,
  base: readonly BaseRole[],
  isStored: IsStored = () => false,
): { readonly facts: TenantFacts } | { readonly findings: readonly Finding[] } {
  const findings: Finding[] = [];
  const find: Find = (path, message) => void findings.push({ path, message });
  checkIds(state, isStored, find);
  const directory = new Directory(state, base, find);
  addMemberships(state, directory);
  checkCycles(state, directory, find);
  const rows = grantRowsOf(state, directory, find);
  const { records: owner, owns } = ownersOf(state, directory, find);
  const parts = { state, base, directory, rows, owns, find };
  const user = usersOf(parts);
  const creators = roleCreatorsOf(parts);
  const role = rolesOf(parts, creators, findings.length > 0);
  const workspace = role && workspacesOf(parts);
  const policySets = policySetsOf(state, find);
  const key = keysOf(state, policySets, directory, find);
  if (role === undefined || workspace === undefined || findings.length > 0) return { findings };
  return {
    facts: {
      tenant: new Map([['', { id: state.tenant }]]),
      user,
      role,
      workspace,
      owner,
      policy_set: policySets,
      key,
      tombstone: directory.tombstones,
    },
  };
}

/** ID-1: what is created here has an id that may be created. References lead to what is listed. */
function checkIds(state: StateFile, isStored: IsStored, find: Find): void {
  const check = (kind: StateKind, id: string, path: readonly PropertyKey[]): void => {
    const problem = idProblem(id);
    if (problem !== undefined && !isStored(kind, id)) find(path, `\`${printable(id)}\` ${problem}`);
  };
  check('tenant', state.tenant, ['tenant']);
  for (const [section, kind] of [
    ['users', 'user'],
    ['roles', 'role'],
    ['workspaces', 'workspace'],
    ['keys', 'key'],
  ] as const)
    for (const [index, { id }] of (state[section] ?? []).entries())
      check(kind, id, [section, index, 'id']);
  for (const [index, entry] of (state.policy_sets ?? []).entries())
    check('policy_set', bodyOf(entry).name, ['policy_sets', index]);
}
