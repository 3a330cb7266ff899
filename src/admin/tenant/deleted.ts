/** A tenant that was deleted: its own record stays as a tombstone, so that its name is not taken again (ADM-9). */
import type { TenantRecord } from '../../engine/records.ts';
import { forbidden, notFound } from '../refused.ts';
import type { World } from '../world.ts';

/** @throws Refused FAILED_PRECONDITION where the record is a tombstone (ADM-9) */
export function mustNotBeDeleted(record: TenantRecord | undefined): void {
  if (record?.deleted !== true) return;
  const { id, deletedBy = 'operator', deletedAt = 0 } = record;
  throw forbidden(
    'ADM-9',
    `tenant \`${id}\` was deleted by \`${deletedBy}\` at ${new Date(deletedAt).toISOString()}: its name is not used again, take another one`,
  );
}

/** The tenant exists, or was deleted. @throws Refused NOT_FOUND */
export function mustHaveBeen(world: World): void {
  if (world.get('tenant', '') === undefined)
    throw notFound(`there is no tenant \`${world.tenant}\``);
}
