/** `postern apply` and `postern export`, as they are invoked: on the server, or on the store itself. */
import { Option, type Command } from 'commander';
import { run, type GlobalOptions, type Shared } from '../kit/run.ts';

/** What `apply` and `export` work on. */
const WHERE = `
With a token (--token-file, POSTERN_TOKEN or POSTERN_ADMIN_TOKEN) the running server at --address does it, with the
authority of whoever asks. Without one, or with --config, it is done on the store that the settings name.`;

/** ADM-10, CONS-5 */
const UNLISTED = `
A record that the file lists is stated whole. A file that leaves out anything that the tenant has (records, members,
permissions, rows of grants) is refused with a list of it, unless --prune or --keep says what becomes of it.

Exit codes: 0 applied, or nothing to do; 1 refused, nothing is applied; 2 usage, interrupted or no answer: the message
says whether the state was applied, or that this is not known.`;

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
    .description("make a tenant's facts what a state file says, in one commit")
    .requiredOption('-f, --file <state>', 'the state file, YAML or JSON; - reads standard input')
    .option('--dry-run', 'show what would change, change nothing')
    .option('--verbose', 'list each fact that changed, the first 10,000 of very many')
    .addOption(
      new Option('--prune', 'remove what the tenant has and the file does not list').conflicts(
        'keep',
      ),
    )
    .option('--keep', 'leave what the tenant has and the file does not list')
    .option('--idempotency-key <key>', 'do it at most once under this key, kept for a day')
    .option('--expected-revision <n>', 'on a server: refuse it where the tenant is at another one')
    .option('--config <file>', 'settings that name the store, to work on without a server')
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
    .description("print a tenant's whole state as a file that apply takes")
    .option('--config <file>', 'settings that name the store, to work on without a server')
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
