/** `postern check` and `postern filter`, as they are invoked. */
import type { Command } from 'commander';
import { collect } from '../kit/arguments.ts';
import { CliError } from '../kit/output.ts';
import type { GlobalOptions, Shared } from '../kit/run.ts';

/** Adds `postern check`. */
export function addCheck(program: Command, shared: Shared): void {
  program
    .command('check')
    .description('request a decision from a running server, or from files with --offline')
    .argument('[subject]', 'alice, user:alice, role:team, workspace:w1, or - for a key alone')
    .argument('[action]', 'graph.search, kb:read, or a bare verb such as read')
    .argument('[path]', 'tree path; "" is the root')
    .option('--batch', 'send the requests of a file in one call; subject and action are defaults')
    .option(
      '-f, --file <file>',
      'with --batch: a list of { id, subject, key, action, resource }; - is standard input',
    )
    .option('--resource <type/id>', 'the resource')
    .option(
      '--attr <k=v>',
      'an attribute of the resource: k=text or k:=JSON; repeatable',
      collect,
      [],
    )
    .option('--source <json>', 'metadata of one source of the resource; repeatable', collect, [])
    .option('--key <id>', 'the API key that acts')
    .option(
      '--credential-file <file>',
      'file with an API key, a session token or a JWT that says who acts, or -; a subject beside it is `-`',
    )
    .option('--min-revision <n>', 'answer from this revision or newer')
    .option(
      '--consistency-token <token>',
      'answer from the revision of this token (from a write with `-o json`) or newer',
    )
    .option('--explain', 'print all evidence, and what is missing')
    .option('--offline', 'decide without a server, from the facts of --state')
    .option(
      '--state <file>',
      'with --offline: the facts of a tenant; repeatable for several tenants',
      collect,
      [],
    )
    .option(
      '--config <dir>',
      'with --offline: directory of postern.yaml, or of actions.yaml and roles.yaml (default: POSTERN_CONFIG, then config/postern.yaml)',
    )
    .addHelpText(
      'after',
      `
The operator, with its token as POSTERN_TOKEN or --token-file, is told why a credential proves nobody.

Examples:
  postern check alice read work.projects.api --tenant demo
  postern check carol kb:write --tenant demo --explain
  postern check - graph.search --key acme-agent --attr tenant=acme --tenant demo
  postern check - graph.search --credential-file agent.token --tenant demo
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
    throw new CliError(`missing required argument \`${missing}\` (postern check --help for help)`);
  }
  const { check } = await import('./check.ts');
  return check(subject, action, path, { ...options, tenant: options.tenant });
}

/** Adds `postern filter`. */
export function addFilter(program: Command, shared: Shared): void {
  program
    .command('filter')
    .description('print which objects of a file are visible, from a running server')
    .argument('<subject>', 'alice, user:alice, role:team, workspace:w1, or - for a key alone')
    .argument('<action>', 'graph.search, kb:read, or a bare verb such as read')
    .requiredOption(
      '-f, --file <file>',
      'a list of { type, id, path, attributes, sources }; - is standard input',
    )
    .option('--key <id>', 'the API key that acts')
    .option('--limit <n>', 'largest number of visible objects')
    .option('--offset <n>', 'index of the first object to check')
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
