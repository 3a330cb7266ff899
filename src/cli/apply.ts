/** `postern apply` and `postern export`: a tenant's whole state, on the store that the settings name. */
import { statSync } from 'node:fs';
import { stringify } from 'yaml';
import {
  applyState,
  exportState,
  factsOfPlan,
  planState,
  StateError,
  type Plan,
} from '../admin/apply.ts';
import { readSource } from '../config/document.ts';
import { formatProblem } from '../config/problem.ts';
import { IdempotencyError } from '../admin/receipt.ts';
import { lintState, parseState, refused } from '../config/state.ts';
import { UnknownOutcomeError } from '../store/store.ts';
import { loadConfiguration, withStore } from './configuration.ts';
import { CliError, EXIT, print, type Format } from './output.ts';
import { progress } from './progress.ts';
import { drawFacts } from './facts.ts';

export interface ApplyOptions {
  readonly output: Format;
  readonly packageRoot: string;
  readonly config?: string;
  readonly file: string;
  readonly dryRun?: boolean;
  readonly idempotencyKey?: string;
  /** List each fact that changes, however many. */
  readonly verbose?: boolean;
}

/** Exit code 1: the state contradicts itself or a rule. */
export async function apply(options: ApplyOptions): Promise<number> {
  const tell = progress(sizeOf(options.file));
  const configuration = loadConfiguration(options.config, options.packageRoot);
  const { catalog, defaults, migrations } = configuration;
  const { idempotencyKey } = options;
  tell('reading the state');
  const source = readSource(options.file);
  tell('checking the state');
  const state = parseState(source, catalog);
  for (const warning of lintState(source, state, catalog))
    process.stderr.write(`${formatProblem(warning)}\n`);
  return withStore(configuration, options.dryRun === true ? 'empty' : 'create', async (store) => {
    try {
      if (options.dryRun === true) {
        tell('planning the changes');
        const plan = await planState(store, state, defaults, undefined, migrations);
        report(options, state.tenant, plan, plan.expected, 'would change');
        return EXIT.ok;
      }
      tell('planning and committing the changes');
      const applied = await applyState(
        store,
        state,
        defaults,
        'operator:apply',
        idempotencyKey,
        undefined,
        migrations,
      );
      const verb = applied.repeated ? 'changed now, for it was done before' : 'changed';
      report(options, state.tenant, applied.plan, applied.revision, verb);
      return EXIT.ok;
    } catch (error) {
      if (error instanceof StateError) throw refused(source, error.findings);
      if (error instanceof IdempotencyError) throw new CliError(error.message, EXIT.refused);
      if (error instanceof UnknownOutcomeError)
        throw new CliError(
          `${error.message}; ${idempotencyKey === undefined ? 'apply again: a state that is there already changes nothing' : 'apply again with the same --idempotency-key'}`,
        );
      throw error;
    }
  });
}

function report(
  { output, dryRun = false, verbose = false }: ApplyOptions,
  tenant: string,
  plan: Plan,
  revision: number,
  verb: string,
): void {
  const { summary } = plan;
  const facts = factsOfPlan(plan, verbose);
  print(output, { tenant, revision, dry_run: dryRun, changes: summary, ...facts }, () => {
    const last = `tenant ${tenant}: ${summary.length} record(s) ${verb}, revision ${revision}`;
    return [...drawFacts(facts), last].join('\n');
  });
}

export interface ExportOptions {
  readonly output: Format;
  readonly packageRoot: string;
  readonly config?: string;
  readonly tenant: string | undefined;
}

export async function exportCommand(options: ExportOptions): Promise<number> {
  const { tenant } = options;
  if (tenant === undefined)
    throw new CliError('no tenant: give --tenant NAME, or set POSTERN_TENANT');
  const configuration = loadConfiguration(options.config, options.packageRoot);
  return withStore(configuration, 'refuse', async (store) => {
    const exported = await exportState(store, tenant);
    if (exported === undefined) {
      const known = (await store.tenants()).join(', ');
      throw new CliError(
        `tenant \`${tenant}\` does not exist${known === '' ? '' : `: known are ${known}`}`,
        EXIT.refused,
      );
    }
    // A state file is YAML unless JSON is asked for: what comes out can be applied.
    const { state, head } = exported;
    print(
      options.output,
      state,
      () => `# tenant ${tenant} at revision ${head.revision}\n${stringify(state).trimEnd()}`,
    );
    return EXIT.ok;
  });
}

function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}
