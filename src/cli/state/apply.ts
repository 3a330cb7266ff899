/** `postern apply` and `postern export`: a tenant's whole state, on the store that the settings name. */
import { applyState, planOnly, type Applied } from '../../admin/state/apply-state.ts';
import { unlistedOf } from '../../admin/state/apply-text.ts';
import { exportPieces } from '../../admin/state/export-state.ts';
import { StateError, type Unlisted } from '../../admin/state/plan-state.ts';
import { factsOfPlan } from '../../admin/state/plan.ts';
import { decodeSource } from '../../config/document.ts';
import { formatProblem } from '../../config/problem.ts';
import { IdempotencyError } from '../../admin/receipt.ts';
import { Refused } from '../../admin/refused.ts';
import { lintState, parseState, refused } from '../../config/state.ts';
import { UnknownOutcomeError } from '../../store/store.ts';
import { tellRefusal } from './apply-report.ts';
import { loadConfiguration, withStore } from '../kit/configuration.ts';
import { CliError, EXIT, print, type Format } from '../kit/output.ts';
import { progress } from '../kit/progress.ts';
import { drawFacts } from '../kit/changed-facts.ts';
import { onStop } from '../serve/signals.ts';
import { mustEnd, readState, type UnlistedFlags } from './state-input.ts';
import { stateWriter } from './state-output.ts';

export interface ApplyOptions extends UnlistedFlags {
  readonly output: Format;
  readonly packageRoot: string;
  readonly config?: string;
  readonly file: string;
  readonly dryRun?: boolean;
  readonly idempotencyKey?: string;
  /** List each fact that changes, the first 10,000 of very many. */
  readonly verbose?: boolean;
}

/** Exit code 1: the state contradicts itself or a rule, or would take away what is stored (ADM-10). */
export async function apply(options: ApplyOptions): Promise<number> {
  const { prune = false, keep = false, dryRun = false, idempotencyKey } = options;
  const unlisted = unlistedOf({ prune, keep });
  const input = readState(options.file);
  if (prune) mustEnd(options.file, input);
  const tell = progress(input.bytes.length);
  const configuration = loadConfiguration(options.config, options.packageRoot);
  const { catalog, defaults, migrations, settings } = configuration;
  if (input.bytes.length > settings.admin.max_state_bytes)
    throw new CliError(
      `${input.name}: has ${input.bytes.length} bytes, ${settings.admin.max_state_bytes} are read: raise \`admin.max_state_bytes\``,
    );
  tell('reading the state');
  const source = decodeSource(input.name, input.bytes);
  tell('checking the state');
  const state = parseState(source, catalog, settings.admin.policy_sets);
  for (const warning of lintState(source, state, catalog))
    process.stderr.write(`${formatProblem(warning)}\n`);
  const how = { baseline: migrations, unlisted, key: idempotencyKey };
  return withStore(configuration, dryRun ? 'empty' : 'create', async (store) => {
    const stopping = new AbortController();
    const release = onStop((signal) => {
      stopping.abort(signal);
    });
    try {
      if (dryRun) {
        tell('planning the changes');
        const planned = await planOnly(store, state, defaults, how);
        return report(planned, 'would change', state.tenant, options, unlisted);
      }
      tell('planning and committing the changes');
      const { signal } = stopping;
      const applied = await applyState(store, state, defaults, 'operator:apply', {
        ...how,
        signal,
      });
      const verb = applied.repeated ? 'changed now, for it was done before' : 'changed';
      return report(applied, verb, state.tenant, options, unlisted);
    } catch (error) {
      throw error instanceof StateError
        ? refused(source, error.findings)
        : explained(error, state.tenant, stopping.signal, idempotencyKey);
    } finally {
      release();
    }
  });
}

/** Prints what a state changes. @returns the exit code */
function report(
  { plan, revision, token }: Applied,
  verb: string,
  tenant: string,
  { output, verbose = false, dryRun = false }: ApplyOptions,
  unlisted: Unlisted,
): number {
  const { summary, removals } = plan;
  const facts = factsOfPlan(plan, verbose);
  const answer = {
    removals,
    needs_prune_or_keep: unlisted === 'refuse' && removals.length > 0,
  };
  const head = { tenant, revision, consistency_token: token };
  const shown = { ...head, dry_run: dryRun, changes: summary, ...facts, ...answer };
  print(output, shown, () => {
    const last = `tenant ${tenant}: ${summary.length} record(s) ${verb}, revision ${revision}`;
    return [...drawFacts(facts), last].join('\n');
  });
  return tellRefusal(answer);
}

/** An error of an apply for whoever runs the command: what became of the state, and what to do. */
function explained(
  error: unknown,
  tenant: string,
  stopped: AbortSignal,
  idempotencyKey: string | undefined,
): unknown {
  if (stopped.aborted && error instanceof Refused && error.rule === 'CONS-5')
    return new CliError(`${String(stopped.reason)}: the state of ${tenant} was not applied`);
  if (error instanceof IdempotencyError) return new CliError(error.message);
  if (error instanceof UnknownOutcomeError)
    return new CliError(
      `${error.message}; ${idempotencyKey === undefined ? 'apply again: a state that is there already changes nothing' : 'apply again with the same --idempotency-key'}`,
    );
  return error;
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
    const { head } = await store.get(tenant, []);
    if (head === undefined) {
      const tenants = (await store.tenants()).join(', ');
      throw new CliError(
        `tenant \`${tenant}\` does not exist${tenants === '' ? '' : `: known are ${tenants}`}`,
        EXIT.refused,
      );
    }
    // A state file is YAML unless JSON is asked for: what comes out can be applied.
    const format = options.output === 'json' ? 'json' : 'yaml';
    const limit = configuration.settings.admin.max_state_bytes;
    const { pieces, revision } = await exportPieces(store, tenant, format, limit);
    const writer = stateWriter(format, `# tenant ${tenant} at revision ${revision}\n`);
    for (const piece of pieces) await writer(piece);
    return EXIT.ok;
  });
}
