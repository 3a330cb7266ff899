/** Grantors that a state names, and that may not give what it says they gave. Pure. */
import type { Finding, StateFile } from '../../config/state.ts';
import { unjustified } from '../tree/standing.ts';
import { factsWorld } from '../world.ts';
import type { TenantFacts } from './tenant-facts.ts';

/** ADM-2 for a state: what names a grantor stands only where that one may give it. */
export function unjustifiedRows(facts: TenantFacts, state: StateFile): Finding[] {
  const { rows, owners } = unjustified(factsWorld(state.tenant, facts));
  const isNamed = (name: string, ref: string | undefined): boolean =>
    ref !== undefined && (ref === name || name.endsWith(`:${ref}`));
  return [
    ...rows.map(([{ holder, row }, lost]): Finding => {
      const name = `${holder.type}:${holder.id}`;
      const index = (state.grants ?? []).findIndex(
        ({ path, grantor, principal }) =>
          path === row.path && isNamed(name, principal) && isNamed(row.grantor, grantor),
      );
      return {
        path: index < 0 ? ['grants'] : ['grants', index],
        message: `\`${row.grantor}\` may not give ${lost.join(', ')} on '${row.path}': leave \`grantor\` out, or give it the right (ADM-2)`,
      };
    }),
    ...owners.map(({ path, grantor }): Finding => {
      const index = (state.owners ?? []).findIndex((entry) => entry.path === path);
      return {
        path: index < 0 ? ['owners'] : ['owners', index],
        message: `\`${grantor}\` may not set the owner of '${path}': leave \`grantor\` out, or give it the right (ADM-2)`,
      };
    }),
  ];
}
