/** `postern check` and `postern filter`, as they are invoked. */
import type { Command } from 'commander';
import { collect } from '../kit/arguments.ts';
import { CliError } from '../kit/output.ts';
import type { GlobalOptions, Shared } from '../kit/run.ts';

/** Adds `postern check`. */
export function addCheck(program: Command, shared: Shared): void {
  program
    .command('check')
    .description('ask for one decision: a running server, or files with --offline')
    .argument('[subject]', 'alice, user:alice, role:team, workspace:w1, or - for a key alone')
    .argument('[action]', 'graph.search, kb:read, or a bare verb such as read')
    .argument('[path]', 'tree path; "" is the root')
    .option('--batch', 'ask the questions of a file in one call; subject and action are defaults')
    .option(
      '-f, --file <file>',
      'with --batch: a list of { id, subject, key, action, resource }, or -',
    )
    .option('--resource <type/id>', 'the resource')
    .option(
      '--attr <k=v>',
      'metadata of the resource: k=text or k:=JSON; may be repeated',
      collect,
      [],
    )
    .option('--source <json>', 'metadata of one contributing source; may be repeated', collect, [])
    .option('--key <id>', 'the API key that acts')
    .option('--min-revision <n>', 'answer from this revision or newer')
    .option(
      '--consistency-token <token>',
      'answer from the revision that a write (`-o json`) returned this token for, or newer',
    )
    .option('--explain', 'tell all the evidence, and what is missing')
    .option('--offline', 'ask no server: decide on the facts of --state')
    .option(
      '--state <file>',
      "with --offline: the facts of a tenant; may be repeated, for others' facts",
      collect,
      [],
    )
    .option(
      '--config <dir>',
      'with --offline: where postern.yaml or actions.yaml and roles.yaml are (else POSTERN_CONFIG, else config/postern.yaml)',
    )
    .addHelpText(
      'after',
      `
Examples:
  postern check alice read work.projects.api --tenant demo
  postern check carol kb:write --tenant demo --explain
  postern check - graph.search --key acme-agent --attr tenant=acme --tenant demo
  postern check --batch -f questions.yaml --tenant demo
  postern check alice read work.projects.api --offline --config config --state acme.yaml`,
    )
    .action(
      async (subject, action, path, own: { batch?: boolean; file?: string }, self: Command) => {
        const options = self.optsWithGlobals<CheckFlags>();
        process.exitCode =
          own.batch === true
            ? await runBatch(subject, action, own.file, { ...options, ...shared })
            : await runCheck(subject, action, path, { ...options, ...shared });
      },
    );
}

interface CheckFlags extends GlobalOptions {
  readonly attr: string[];
  readonly source: string[];
  readonly resource?: string;
  readonly key?: string;
}

async function runBatch(
  subject: string | undefined,
  action: string | undefined,
  file: string | undefined,
  options: CheckFlags & Shared,
): Promise<number> {
  if (file === undefined) throw new CliError('--batch needs a file of questions: give -f FILE');
  const { batch } = await import('./many.ts');
  return batch(subject, action, { ...options, file, tenant: options.tenant });
}

async function runCheck(
  subject: string | undefined,
  action: string | undefined,
  path: string | undefined,
  options: CheckFlags & Shared,
): Promise<number> {
  if (subject === undefined || action === undefined) {
    const missing = subject === undefined ? 'subject' : 'action';
    throw new CliError(
      `missing required argument \`${missing}\` (postern check --help tells more)`,
    );
  }
  const { check } = await import('./check.ts');
  return check(subject, action, path, { ...options, tenant: options.tenant });
}

/** Adds `postern filter`. */
export function addFilter(program: Command, shared: Shared): void {
  program
    .command('filter')
    .description('ask a running server which objects of a file are visible')
    .argument('<subject>', 'alice, user:alice, role:team, workspace:w1, or - for a key alone')
    .argument('<action>', 'graph.search, kb:read, or a bare verb such as read')
    .requiredOption('-f, --file <file>', 'a list of { type, id, path, attributes, sources }, or -')
    .option('--key <id>', 'the API key that acts')
    .option('--limit <n>', 'visible objects to return at most')
    .option('--offset <n>', 'index of the first object to look at')
    .action(async (subject: string, action: string, _own: object, self: Command) => {
      const { filter } = await import('./many.ts');
      const options = self.optsWithGlobals<GlobalOptions & { key?: string; file: string }>();
      process.exitCode = await filter(subject, action, {
        ...options,
        tenant: options.tenant,
        ...shared,
      });
    });
}
