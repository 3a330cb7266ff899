/** The tenant that the calls ask about: as large as makes a decision or an explanation slow. */
import type { StateFile } from '../../src/config/state.ts';

export const TENANT = 'limits';
/** Grants of the user `holder`. */
const GRANTS = 20_000;
export const ROLES = 5_000;
/** Users like the user `holder`, to be deleted. */
export const VICTIMS = 3;
/** Users whose grant falls with that of the role `crew`. */
const CREW = 5_000;
/** Commits that are watched. */
export const CHANGES = 100;
export const SETS = 20;
const RULES_PER_SET = 200;

function range<T>(count: number, make: (at: number) => T): T[] {
  return Array.from({ length: count }, (_, at) => make(at));
}

/**
 * `holder` has many grants, `ruled` is a key with many rules, all on one action and with constraints.
 * @param isManaged whether it has what is only for calls of AdminService
 */
export function largeState(isManaged: boolean): StateFile {
  const [victims, crew] = isManaged ? [VICTIMS, CREW] : [0, 0];
  return {
    tenant: TENANT,
    users: [
      { id: 'alice' },
      { id: 'holder', roles: ['r0'] },
      ...range(victims, (at) => ({ id: `victim${at}`, roles: ['r0'] })),
      ...range(crew, (at) => ({ id: `crew${at}`, roles: ['crew'] })),
    ],
    roles: [
      ...range(ROLES, (at) => ({ id: `r${at}`, level: 0, permissions: [`kind${at}:read`] })),
      { id: 'crew', level: 0 },
    ],
    grants: [
      { principal: 'role:crew', path: 'crew', actions: ['read', 'admin'] },
      ...range(crew, (at) => ({
        principal: `user:crew${(at + 1) % CREW}`,
        path: `crew.x${at}`,
        actions: ['read' as const],
        grantor: `user:crew${at}`,
      })),
      ...['holder', ...range(victims, (at) => `victim${at}`)].flatMap((user) =>
        range(GRANTS, (at) => ({
          principal: `user:${user}`,
          path: `g.p${at}`,
          actions: ['read' as const],
        })),
      ),
    ],
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
