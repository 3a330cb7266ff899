/** What a new tenant starts with besides its roles: its default roles are what the migrations so far have made of them. */
import type { AppliedMigration, TenantRecord } from '../../engine/records.ts';

/** The migrations that the default roles already include, in order. */
export type Baseline = readonly Pick<AppliedMigration, 'name' | 'digest'>[];

/** @param at milliseconds since the epoch */
export function newTenant(id: string, baseline: Baseline, at: number): TenantRecord {
  const migrations = baseline.map(({ name, digest }) => ({ name, digest, at }));
  return { id, ...(migrations.length === 0 ? {} : { migrations }) };
}
