/** Permission migrations: which a tenant has, and all that it lacks in one commit (RBAC-4). */
import type { Migration } from '../../config/migration.ts';
import type { AppliedMigration, TenantRecord } from '../../engine/records.ts';
import type { Store } from '../../store/store.ts';
import { OPERATOR } from '../actor.ts';
import type { Context } from '../context.ts';
import { applyStep } from './steps.ts';
import { forbidden, notFound } from '../refused.ts';
import type { WriteResult } from '../write-result.ts';
import { write, type Environment } from '../write.ts';

/** How a migration stands with a tenant. The last three are mended by hand: until then none is applied. */
export type MigrationState =
  | 'applied'
  | 'pending'
  /** The file says something else than when it was applied. */
  | 'edited'
  /** It was applied, and there is no such file. */
  | 'missing'
  /** It is pending, and one that comes after it was applied. */
  | 'out_of_order';

/** A migration as a tenant sees it. */
export interface MigrationEntry {
  readonly name: string;
  readonly state: MigrationState;
  /** When it was applied, milliseconds since the epoch. */
  readonly at: number | undefined;
  /** Of the file; `undefined`: there is none. */
  readonly description: string | undefined;
}

export interface MigrationStatus {
  readonly tenant: string;
  readonly revision: number;
  /** In their order. */
  readonly migrations: readonly MigrationEntry[];
}

/** @throws Refused NOT_FOUND, StoreError */
export async function migrationStatus(
  store: Store,
  migrations: readonly Migration[],
  tenant: string,
): Promise<MigrationStatus> {
  const { head, values } = await store.get(tenant, [{ kind: 'tenant', id: '' }]);
  // The store returns a record of the kind that was asked for.
  const record = values[0] as TenantRecord | undefined;
  if (head === undefined || record === undefined)
    throw notFound(`there is no tenant \`${tenant}\``);
  return {
    tenant,
    revision: head.revision,
    migrations: entriesOf(migrations, record.migrations ?? []),
  };
}

/** @param migrations those on disk, in order @param applied those of the tenant, in order */
function entriesOf(
  migrations: readonly Migration[],
  applied: readonly AppliedMigration[],
): readonly MigrationEntry[] {
  const before = new Map(applied.map((one) => [one.name, one]));
  const onDisk = new Set(migrations.map(({ name }) => name));
  const newest = newestOf(applied);
  const stateOf = ({ name, digest }: Migration): MigrationState => {
    const earlier = before.get(name);
    if (earlier !== undefined) return earlier.digest === digest ? 'applied' : 'edited';
    return name < newest ? 'out_of_order' : 'pending';
  };
  return [
    ...migrations.map((one) => ({
      name: one.name,
      state: stateOf(one),
      at: before.get(one.name)?.at,
      description: one.description,
    })),
    ...applied
      .filter(({ name }) => !onDisk.has(name))
      .map(({ name, at }) => ({ name, state: 'missing' as const, at, description: undefined })),
  ].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Names begin with four digits: their order is that of their numbers. */
function newestOf(applied: readonly AppliedMigration[]): string {
  return applied.reduce((newest, { name }) => (name > newest ? name : newest), '');
}

const REMEDY: Readonly<Partial<Record<MigrationState, (newest: string) => string>>> = {
  edited: () => 'was edited after it was applied: restore it, and write a new one',
  missing: () => 'was applied and its file is missing: restore it',
  out_of_order: (newest) =>
    `is not applied and comes before \`${newest}\`, which is: give it a number after that`,
};

/** What keeps migrations of a tenant from being applied, in a sentence each; empty: nothing. */
export function obstaclesOf(entries: readonly MigrationEntry[]): readonly string[] {
  const newest = entries.findLast(({ at }) => at !== undefined)?.name ?? '';
  return entries.flatMap(({ name, state }) => {
    const remedy = REMEDY[state];
    return remedy === undefined ? [] : [`migration \`${name}\` ${remedy(newest)}`];
  });
}

export interface Migrated {
  /** Afterwards; of a dry run: before. */
  readonly revision: number;
  /** Names that revision and its history (CONS-1). */
  readonly consistency_token: string;
  /** Names of those that were pending, in order. */
  readonly applied: readonly string[];
  readonly changes: WriteResult['changes'];
  readonly facts: WriteResult['facts'];
  readonly fact_counts: WriteResult['fact_counts'];
  readonly facts_left_out: number;
  readonly warnings: readonly string[];
}

/**
 * Applies a tenant's pending migrations in one commit, or none of them. Where nothing is pending, nothing changes: after
 * a lost answer or a killed run it is simply done again.
 * @throws Refused, UnknownOutcomeError, StoreError
 */
export async function migrateUp(
  environment: Environment,
  migrations: readonly Migration[],
  tenant: string,
  { dryRun, verbose = false }: { readonly dryRun: boolean; readonly verbose?: boolean },
): Promise<Migrated> {
  // Of the last run of the rule: it runs again where others commit meanwhile.
  let applied: readonly string[] = [];
  const { revision, consistency_token, result } = await write(environment, {
    tenant,
    name: 'migration.up',
    actor: OPERATOR,
    options: { dry_run: dryRun, idempotency_key: '', expected_revision: 0, all_facts: verbose },
    request: undefined,
    creates: false,
    rule: (context) => {
      applied = migrate(context, migrations);
      return {};
    },
  });
  const { changes, facts, fact_counts, facts_left_out, warnings } = result;
  return {
    revision,
    consistency_token,
    applied,
    changes,
    facts,
    fact_counts,
    facts_left_out,
    warnings,
  };
}

/** The rule: names of the migrations that it applies. */
function migrate(context: Context, migrations: readonly Migration[]): readonly string[] {
  const { world, now } = context;
  const tenant = world.get('tenant', '');
  if (tenant === undefined) throw notFound(`there is no tenant \`${world.tenant}\``);
  const before = tenant.migrations ?? [];
  const entries = entriesOf(migrations, before);
  const obstacles = obstaclesOf(entries);
  if (obstacles.length > 0) throw forbidden('', obstacles.join('; '));
  const names = new Set(before.map(({ name }) => name));
  const pending = migrations.filter(({ name }) => !names.has(name));
  for (const { name, steps } of pending)
    for (const [index, step] of steps.entries())
      applyStep(context, step, `migration \`${name}\`, steps[${index}]`);
  if (pending.length > 0)
    world.put('tenant', '', {
      ...tenant,
      migrations: [...before, ...pending.map(({ name, digest }) => ({ name, digest, at: now }))],
    });
  return pending.map(({ name }) => name);
}
