/** `postern apply` and `postern export`: a tenant's whole state, on the store that the settings name. */
import { stringify } from 'yaml';
import { applyState, exportState, planState, StateError, type Plan } from '../admin/apply.ts';
import { readSource } from '../config/document.ts';
import { formatProblem } from '../config/problem.ts';
import { IdempotencyError } from '../admin/receipt.ts';
import { lintState, parseState, refused } from '../config/state.ts';
import { UnknownOutcomeError } from '../store/store.ts';
import { loadConfiguration, withStore } from './configuration.ts';
import { CliError, EXIT, paint, print, table, visible, type Format } from './output.ts';

export interface ApplyOptions {
  readonly output: Format;
  readonly packageRoot: string;
  readonly config?: string;
  readonly file: string;
  readonly dryRun?: boolean;
  readonly idempotencyKey?: string;
}

/** Exit code 1: the state contradicts itself or a rule. */
export async function apply(options: ApplyOptions): Promise<number> {
  const configuration = loadConfiguration(options.config, options.packageRoot);
  const { catalog, defaults } = configuration;
  const { idempotencyKey } = options;
  const source = readSource(options.file);
  const state = parseState(source, catalog);
  for (const warning of lintState(source, state, catalog))
    process.stderr.write(`${formatProblem(warning)}\n`);
  return withStore(configuration, options.dryRun === true ? 'empty' : 'create', async (store) => {
    try {
      if (options.dryRun === true) {
        const plan = await planState(store, state, defaults);
        report(options, state.tenant, plan, plan.expected, 'would change');
        return EXIT.ok;
      }
      const applied = await applyState(store, state, defaults, 'operator:apply', idempotencyKey);
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

const MARK = { create: '+', update: '~', delete: '-' } as const;
const COLOUR = { create: 'green', update: 'yellow', delete: 'red' } as const;

function report(
  { output, dryRun = false }: ApplyOptions,
  tenant: string,
  { summary }: Plan,
  revision: number,
  verb: string,
): void {
  print(output, { tenant, revision, dry_run: dryRun, changes: summary }, () => {
    const lines = [`tenant ${tenant}: ${summary.length} record(s) ${verb}, revision ${revision}`];
    if (summary.length > 0)
      lines.unshift(
        table(
          ['', 'KIND', 'ID'],
          summary.map(({ change, kind, id }) => [
            paint(COLOUR[change], MARK[change]),
            kind,
            visible(id === '' ? '(root)' : id),
          ]),
        ),
      );
    return lines.join('\n');
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
