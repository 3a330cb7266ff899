/** The commit that deletes a tenant for all who ask; `remove.ts` removes the rest of its records (ADM-9). */
import type { Context } from '../context.ts';
import { denied, invalid } from '../refused.ts';
import { mustHaveBeen } from './deleted.ts';

/**
 * Marks the tenant's own record. A tenant that is deleted already stays as it is, with who deleted it first.
 * @param confirm the name once more
 */
export function deleteTenant(context: Context, { confirm }: { readonly confirm: string }): object {
  const { world, authority, now } = context;
  const { tenant } = world;
  if (!authority.operator)
    throw denied('ADM-9', `\`${authority.name}\` may not delete tenants`, 'the operator');
  if (confirm !== tenant)
    throw invalid('confirm', `is not the tenant's name: send \`${tenant}\` once more to delete it`);
  mustHaveBeen(world);
  const record = world.get('tenant', '');
  if (record?.deleted !== true)
    world.put('tenant', '', {
      id: tenant,
      deleted: true,
      deletedBy: authority.name,
      deletedAt: now,
    });
  return {};
}
