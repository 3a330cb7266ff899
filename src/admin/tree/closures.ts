/** Closures after a change of memberships (ADM-6). */
import type { RoleRecord } from '../../engine/records.ts';
import { closureOf, MAX_CLOSURE } from '../closure.ts';
import { forbidden } from '../refused.ts';
import type { Reading } from '../world.ts';

/**
 * Computes the closures of roles and of all that reach one of them anew.
 * @param changed roles of which the direct memberships have changed
 * @throws Refused FORBIDDEN where one would reach too many groups
 */
export async function recomputeClosures(world: Reading, changed: readonly string[]): Promise<void> {
  if (changed.length === 0) return;
  await world.needAll('role');
  const touched = new Set(changed);
  const roles = new Map<string, RoleRecord>(world.all('role').map((role) => [role.id, role]));
  for (const role of roles.values()) {
    await world.breathe();
    if (!touched.has(role.id) && !role.closure.roles.some((id) => touched.has(id))) continue;
    const closure = closureOf(role.id, roles);
    const reached = closure.roles.length + closure.workspaces.length;
    if (reached > MAX_CLOSURE)
      throw forbidden(
        'ADM-6',
        `role \`${role.id}\` would reach ${reached} groups, ${MAX_CLOSURE} are allowed: nest fewer`,
      );
    world.put('role', role.id, { ...role, closure });
  }
}
