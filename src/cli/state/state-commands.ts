/** `postern apply` and `postern export`, as they are invoked: on the server, or on the store itself. */
import { Option, type Command } from 'commander';
import { run, type GlobalOptions, type Shared } from '../kit/run.ts';

/** What `apply` and `export` work on. */
const WHERE = `
With a token (--token-file, POSTERN_TOKEN or POSTERN_ADMIN_TOKEN) the running server at --address does this, with the
rights of the actor. Without a token, or with --config, the command uses the store that the settings name.`;

/** ADM-10, CONS-5 */
const UNLISTED = `
The file describes each listed record completely. If the tenant has anything that the file does not list (records, members,
permissions, rows of grants), the file is refused with a list, unless --prune removes it or --keep keeps it.

Exit codes: 0 applied, or nothing to do; 1 refused, nothing is applied; 2 usage, interrupted or no answer: the message
says whether the state was applied, or that this is unknown.`;

interface ApplyFlags {
  readonly file: string;
  readonly dryRun?: boolean;
  readonly verbose?: boolean;
  readonly prune?: boolean;
  readonly keep?: boolean;
  readonly idempotencyKey?: string;
  readonly expectedRevision?: string;
  readonly config?: string;
}

/** Adds `postern apply`. */
export function addApply(program: Command, shared: Shared): void {
  program
    .command('apply')
    .description('change a tenant to match a state file, in one commit')
    .requiredOption('-f, --file <state>', 'the state file, YAML or JSON; - reads standard input')
    .option('--dry-run', 'print what would change, change nothing')
    .option('--verbose', 'list each fact that changed, the first 10,000 of very many')
    .addOption(new Option('--prune', 'remove facts that the file does not list').conflicts('keep'))
    .option('--keep', 'keep facts that the file does not list')
    .option('--idempotency-key <key>', 'do it at most once with this key; a key is kept for a day')
    .option('--expected-revision <n>', 'with a server: fail if the tenant is at another revision')
    .option('--config <file>', 'settings with the store to use instead of a server')
    .addHelpText('after', WHERE)
    .addHelpText('after', UNLISTED)
    .action(
      run(shared, async (options: ApplyFlags & GlobalOptions & Shared) => {
        if (
          options.config === undefined &&
          (await import('../kit/admin-client.ts')).hasToken(options)
        )
          return (await import('./apply-remote.ts')).applyRemote(options);
        return (await import('./apply.ts')).apply(options);
      }),
    );
}

/** Adds `postern export`. */
export function addExport(program: Command, shared: Shared): void {
  program
    .command('export')
    .description("print a tenant's whole state as a file for apply")
    .option('--config <file>', 'settings with the store to use instead of a server')
    .addHelpText('after', WHERE)
    .action(
      run(shared, async (options: GlobalOptions & Shared & { config?: string }) => {
        if (
          options.config === undefined &&
          (await import('../kit/admin-client.ts')).hasToken(options)
        )
          return (await import('./apply-remote.ts')).exportRemote(options);
        return (await import('./apply.ts')).exportCommand({ ...options, tenant: options.tenant });
      }),
    );
}
