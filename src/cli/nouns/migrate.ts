/** `postern migrate`: changes of roles and permissions that a release brings, on the store that the settings name. */
import type { Command } from 'commander';
import {
  migrateUp,
  migrationStatus,
  obstaclesOf,
  type Migrated,
  type MigrationState,
  type MigrationStatus,
} from '../../admin/migrations/migrations.ts';
import { Refused } from '../../admin/refused.ts';
import { UnknownOutcomeError, type Store } from '../../store/store.ts';
import { given } from '../kit/arguments.ts';
import { columns } from '../kit/columns.ts';
import { environmentOf, loadConfiguration, withStore } from '../kit/configuration.ts';
import { drawFacts } from '../kit/changed-facts.ts';
import { CliError, EXIT, paint, print, visible, type Format } from '../kit/output.ts';

interface MigrateOptions {
  readonly output: Format;
  readonly packageRoot: string;
  readonly tenant?: string;
  readonly config?: string;
  readonly dryRun?: boolean;
  readonly verbose?: boolean;
}

/** Adds the verbs of `postern migrate`. */
export function migrateVerbs(noun: Command, packageRoot: string): void {
  const run =
    (verb: (options: MigrateOptions) => Promise<number>) =>
    async (_own: object, self: Command): Promise<void> => {
      const options = self.optsWithGlobals<Omit<MigrateOptions, 'packageRoot'>>();
      process.exitCode = await verb({ ...options, packageRoot });
    };
  const store = '--config <file>';
  const about = 'settings that name the store and the directory of migrations';
  noun
    .command('status')
    .description('print the applied and pending migrations of the tenants')
    .option(store, about)
    .addHelpText(
      'after',
      `
For all tenants, or the one of --tenant or POSTERN_TENANT.
Exit code 1: a migration was edited, is missing or is out of order, so that \`migrate up\` would be refused.`,
    )
    .action(run(status));
  noun
    .command('up')
    .description('apply all pending migrations, one commit per tenant')
    .option(store, about)
    .option('--dry-run', 'print what would change, change nothing')
    .option('--verbose', 'list each fact that changed, the first 10,000 of very many')
    .addHelpText(
      'after',
      `
For all tenants, or the one of --tenant or POSTERN_TENANT. A second run changes nothing.
The change log of each tenant has the entry \`migration.up\` of the operator (postern changes list). The audit log, which servers
write, has no record. Exit code 1: it was refused for a tenant, which is unchanged.`,
    )
    .action(run(up));
}

async function status(options: MigrateOptions): Promise<number> {
  const configuration = loadConfiguration(options.config, options.packageRoot);
  return withStore(configuration, 'refuse', async (store) => {
    const found: MigrationStatus[] = [];
    for (const tenant of await tenantsOf(store, options.tenant))
      found.push(await migrationStatus(store, configuration.migrations, tenant).catch(asRefusal));
    const obstacles = found.flatMap(({ tenant, migrations }) =>
      obstaclesOf(migrations).map((obstacle) => `tenant ${visible(tenant)}: ${visible(obstacle)}`),
    );
    print(options.output, { tenants: found.map(shownStatus) }, () => drawStatus(found));
    for (const obstacle of obstacles) process.stderr.write(`postern: ${obstacle}\n`);
    return obstacles.length === 0 ? EXIT.ok : EXIT.refused;
  });
}

function shownStatus({ tenant, revision, migrations }: MigrationStatus): object {
  return {
    tenant,
    revision,
    migrations: migrations.map(({ name, state, at, description }) => ({
      name,
      state,
      ...given({ applied_at: timeOf(at), description }),
    })),
  };
}

const COLOURS: Readonly<Record<MigrationState, 'green' | 'yellow' | 'red'>> = {
  applied: 'green',
  pending: 'yellow',
  edited: 'red',
  missing: 'red',
  out_of_order: 'red',
};

function drawStatus(found: readonly MigrationStatus[]): string {
  const rows = found.flatMap(({ tenant, migrations }) =>
    migrations.map(({ name, state, at, description = '' }) => [
      visible(tenant),
      visible(name),
      paint(COLOURS[state], state.replaceAll('_', ' ')),
      timeOf(at) ?? '',
      visible(description),
    ]),
  );
  if (rows.length === 0) return 'no migrations';
  const heads = ['TENANT', 'MIGRATION', 'STATE', 'APPLIED AT', 'DESCRIPTION'];
  return columns([heads.map((head) => paint('bold', head)), ...rows]);
}

function timeOf(at: number | undefined): string | undefined {
  return at === undefined ? undefined : new Date(at).toISOString();
}

/** What became of a tenant. */
interface Outcome {
  readonly tenant: string;
  readonly done: Migrated | undefined;
  /** Why nothing was changed. */
  readonly refused: string | undefined;
}

async function up(options: MigrateOptions): Promise<number> {
  const configuration = loadConfiguration(options.config, options.packageRoot);
  const { migrations } = configuration;
  const dryRun = options.dryRun === true;
  const verbose = options.verbose === true;
  return withStore(configuration, 'refuse', async (store) => {
    const environment = environmentOf(configuration, store);
    const outcomes: Outcome[] = [];
    let failure: unknown;
    for (const tenant of await tenantsOf(store, options.tenant))
      try {
        const done = await migrateUp(environment, migrations, tenant, { dryRun, verbose });
        outcomes.push({ tenant, done, refused: undefined });
      } catch (error) {
        // What others' facts do not allow is no reason to leave this tenant behind; a store that fails is one to stop.
        if (error instanceof Refused)
          outcomes.push({ tenant, done: undefined, refused: error.message });
        else {
          failure = explained(tenant, error);
          break;
        }
      }
    report(options, outcomes, dryRun);
    if (failure !== undefined) throw failure;
    return outcomes.some(({ refused }) => refused !== undefined) ? EXIT.refused : EXIT.ok;
  });
}

function explained(tenant: string, error: unknown): unknown {
  return error instanceof UnknownOutcomeError
    ? new CliError(
        `tenant ${visible(tenant)}: ${error.message}; run it again: what was applied is not applied twice`,
      )
    : error;
}

function report({ output }: MigrateOptions, outcomes: readonly Outcome[], dryRun: boolean): void {
  print(output, { dry_run: dryRun, tenants: outcomes.map(shownOutcome) }, () => {
    const lines = outcomes.flatMap(({ tenant, done }) =>
      done === undefined ? [] : drawOutcome(tenant, done, dryRun),
    );
    if (lines.length > 0) return lines.join('\n');
    return outcomes.length === 0 ? 'no tenants' : 'nothing was changed';
  });
  for (const { tenant, done, refused } of outcomes) {
    for (const warning of done?.warnings ?? [])
      process.stderr.write(`warning: tenant ${visible(tenant)}: ${visible(warning)}\n`);
    if (refused !== undefined)
      process.stderr.write(`postern: tenant ${visible(tenant)}: ${visible(refused)}\n`);
  }
}

function shownOutcome({ tenant, done, refused }: Outcome): object {
  return { tenant, ...done, ...given({ refused }) };
}

function drawOutcome(
  tenant: string,
  { revision, applied, ...facts }: Migrated,
  dryRun: boolean,
): string[] {
  const name = visible(tenant);
  if (applied.length === 0) return [`tenant ${name}: nothing is pending, revision ${revision}`];
  // The last line tells of the migrations.
  const news = { ...facts, facts: facts.facts.filter(({ fact }) => fact !== 'migration') };
  const verb = dryRun ? 'would be applied' : 'applied';
  return [
    ...drawFacts(news).map((line) => `  ${line}`),
    `tenant ${name}: ${applied.map(visible).join(', ')} ${verb}, revision ${revision}`,
  ];
}

async function tenantsOf(store: Store, named: string | undefined): Promise<readonly string[]> {
  const tenants = [...(await store.tenants())].sort();
  if (named === undefined) return tenants;
  if (tenants.includes(named)) return [named];
  throw new CliError(
    `tenant \`${visible(named)}\` does not exist${tenants.length === 0 ? '' : `: known are ${visible(tenants.slice(0, 20).join(', '))}`}`,
    EXIT.refused,
  );
}

function asRefusal(error: unknown): never {
  throw error instanceof Refused ? new CliError(error.message, EXIT.refused) : error;
}
