/** `postern changes`: the tenant's commits, as a list or as they happen. */
import type { Command } from 'commander';
import { yamlText } from '../../config/yaml-text.ts';
import type { Admin } from '../kit/admin-client.ts';
import { parseUint64 } from '../kit/arguments.ts';
import { CliError, EXIT, print, visible } from '../kit/output.ts';
import { listing } from '../kit/results.ts';
import { untilStopped } from '../serve/signals.ts';
import { limitOption, parseLimit, runner, type LimitFlag } from '../kit/verb.ts';

interface Change {
  readonly revision: string;
  readonly actor: string;
  readonly operation: string;
  readonly time: string;
  readonly records: readonly { readonly kind: string; readonly id: string }[];
  readonly too_many: boolean;
}

interface ListAnswer {
  readonly revision: string;
  readonly changes: readonly Change[];
  readonly complete: boolean;
}

interface WatchAnswer {
  readonly revision: string;
  readonly change: Change | null;
  readonly gap: boolean;
}

interface AfterFlag {
  readonly after?: string;
}

/** Adds the verbs of `postern changes`. */
export function changesVerbs(noun: Command, packageRoot: string): void {
  const run = runner(packageRoot);
  noun
    .command('list')
    .description('list the kept commits, oldest first')
    .option('--after <n>', 'after this revision')
    .addOption(limitOption())
    .action(run(list));
  noun
    .command('watch')
    .description('print new commits until interrupted')
    .option('--after <n>', 'from the commit after this revision on (default: from now on)')
    .addHelpText('after', '\nExample:\n  postern changes watch -o json | jq .change.operation')
    .action(run(watch));
}

const PAGE_SIZE = 1_000;

async function list(admin: Admin, options: AfterFlag & LimitFlag): Promise<number> {
  const limit = parseLimit(options) ?? Number.POSITIVE_INFINITY;
  const from = afterOf(options) ?? '0';
  const changes: Change[] = [];
  let page: ListAnswer;
  do {
    page = await admin.call<ListAnswer>('ListChanges', {
      after: changes.at(-1)?.revision ?? from,
      page_size: Math.min(PAGE_SIZE, limit - changes.length),
    });
    changes.push(...page.changes);
    // An answer without any is the end, whatever it says of itself.
  } while (!page.complete && page.changes.length > 0 && changes.length < limit);
  const first = changes[0];
  if (first !== undefined && BigInt(first.revision) > BigInt(from) + 1n)
    process.stderr.write(`commits before revision ${first.revision} are no longer kept\n`);
  if (!page.complete && changes.length > 0)
    process.stderr.write(`there are more: go on with --after ${changes.at(-1)?.revision ?? ''}\n`);
  print(admin.output, { ...page, changes }, () =>
    listing(
      ['REVISION', 'TIME', 'ACTOR', 'OPERATION', 'RECORDS'],
      changes.map((change) => cells(change)),
      'no changes',
    ),
  );
  return EXIT.ok;
}

async function watch(admin: Admin, options: AfterFlag): Promise<number> {
  const ending = untilStopped();
  // Whoever read the lines has seen enough.
  process.stdout.once('error', () => ending.abort());
  let last = afterOf(options);
  const goOn = (): string => (last === undefined ? '' : `: go on with --after ${last}`);
  try {
    for await (const answer of admin.watch<WatchAnswer>(
      'WatchChanges',
      { after: last ?? '0' },
      ending.signal,
    )) {
      process.stdout.write(`${lineOf(admin, answer)}\n`);
      last = answer.change?.revision ?? last;
    }
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    throw new CliError(`${error.message}${goOn()}`, error.code);
  }
  if (ending.signal.aborted) return EXIT.ok;
  throw new CliError(`the server has ended the stream${goOn()}`);
}

function lineOf({ output }: Admin, answer: WatchAnswer): string {
  if (output === 'json') return JSON.stringify(answer);
  if (output === 'yaml') return `---\n${yamlText(answer).trimEnd()}`;
  const gap = answer.gap ? ['(commits before this one are no longer kept)'] : [];
  const told = answer.change === null ? [] : cells(answer.change);
  return [...told, ...gap].map(visible).join('  ');
}

function cells({ revision, time, actor, operation, records, too_many }: Change): string[] {
  return [
    revision,
    time,
    actor === '' ? 'operator' : actor,
    operation,
    too_many
      ? 'too many to name'
      : records.map(({ kind, id }) => `${kind}:${id === '' ? '(root)' : id}`).join(' '),
  ];
}

function afterOf({ after }: AfterFlag): string | undefined {
  return after === undefined ? undefined : parseUint64('--after', after);
}
