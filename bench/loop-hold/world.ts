/** The tenant that the calls ask about: as large as makes a decision or an explanation slow. */
import type { StateFile } from '../../src/config/state.ts';

export const TENANT = 'limits';
/** Grants of the user `holder`. */
const GRANTS = 20_000;
const ROLES = 5_000;
export const SETS = 20;
const RULES_PER_SET = 200;

function range<T>(count: number, make: (at: number) => T): T[] {
  return Array.from({ length: count }, (_, at) => make(at));
}

/** `holder` has many grants, `agent` a key with many rules, half of them on one action with constraints. */
export function largeState(): StateFile {
  return {
    tenant: TENANT,
    users: [{ id: 'alice' }, { id: 'holder', roles: ['r0'] }],
    roles: range(ROLES, (at) => ({ id: `r${at}`, level: 0, permissions: [`kind${at}:read`] })),
    grants: range(GRANTS, (at) => ({
      principal: 'user:holder',
      path: `g.p${at}`,
      actions: ['read'],
    })),
    policy_sets: range(SETS, (set) => ({
      name: `s${set}`,
      mode: 'enforce' as const,
      rules: range(RULES_PER_SET, (at) => ({
        id: `x${at}`,
        effect: at % 2 === 0 ? ('deny' as const) : ('allow' as const),
        actions: ['doc:read'],
        attributes: { tag: [`a${set}`, `b${at}`] },
      })),
    })),
    keys: [
      { id: 'plain', role: 'default_allow', mode: 'enforce' },
      {
        id: 'ruled',
        role: 'default_deny',
        mode: 'enforce',
        policy_sets: range(SETS, (set) => `s${set}`),
      },
    ],
  };
}
