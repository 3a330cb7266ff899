/** `postern grant`: tree actions on a path and all below it. */
import type { Command } from 'commander';
import { listAll, type Admin } from './admin-client.ts';
import { given } from './arguments.ts';
import { CliError, EXIT, paint, print, visible } from './output.ts';
import { drawGrants, reportWrite, type Grant, type WriteAnswer } from './report.ts';
import {
  limitOption,
  parseLimit,
  runner,
  writeOptions,
  writing,
  type LimitFlag,
  type WriteFlags,
} from './verb.ts';

interface ListFlags extends LimitFlag {
  readonly principal?: string;
  readonly path?: string;
  readonly grantor?: string;
}

/** Adds the verbs of `postern grant`. */
export function grantVerbs(noun: Command, packageRoot: string): void {
  const run = runner(packageRoot);
  const who = 'alice, user:alice, role:team or workspace:w1; bare where only one exists';
  const where = 'tree path; "" is the root';

  writing(
    noun
      .command('create')
      .description('grant actions on a path and all below it')
      .argument('<principal>', who)
      .argument('<path>', where)
      .argument('<action...>', 'read, write, create, delete, admin')
      .option('--with-grant-option', 'the principal may grant the same on'),
  )
    .addHelpText(
      'after',
      `
Examples:
  postern grant create alice work.projects read write
  postern grant create team "" read
  postern grant create alice work.projects read --with-grant-option`,
    )
    .action(run(create));

  writing(
    noun
      .command('revoke')
      .description('revoke a grant, and by cascade all that depended on it')
      .argument('<principal>', who)
      .argument('<path>', where)
      .argument('[action...]', 'only these; without any the whole grant')
      .option('--grantor <principal>', 'the grant that this one gave'),
  )
    .addHelpText(
      'after',
      `
Examples:
  postern grant revoke alice work.projects --dry-run
  postern grant revoke alice work.projects write --grantor carol`,
    )
    .action(run(revoke));

  noun
    .command('list')
    .description('list grants')
    .argument('[principal]', 'held by this principal (the same as --principal)')
    .option('--principal <principal>', 'held by this principal')
    .option('--path <path>', 'at this path, above it and below it')
    .option('--grantor <principal>', 'given by this principal')
    .addOption(limitOption())
    .action(run(list));

  noun
    .command('check')
    .description(
      'tell whether grants and ownership alone allow an action; exit code 1: they do not',
    )
    .argument('<principal>', who)
    .argument('<path>', where)
    .argument('<action>', 'read, write, create, delete or admin')
    .addHelpText('after', '\nExample:\n  postern grant check alice work.projects.api read')
    .action(run(check));
}

async function create(
  admin: Admin,
  options: WriteFlags & { withGrantOption?: boolean },
  principal: string,
  path: string,
  actions: readonly string[],
): Promise<number> {
  const answer = await admin.call<WriteAnswer>('CreateGrant', {
    options: writeOptions(options),
    principal,
    path,
    actions,
    ...given({ grant_option: options.withGrantOption }),
  });
  const what = `${actions.join(', ')} on '${path}'`;
  reportWrite(admin.output, answer, { what, done: `granted to ${principal}` });
  return EXIT.ok;
}

async function revoke(
  admin: Admin,
  options: WriteFlags & { grantor?: string },
  principal: string,
  path: string,
  actions: readonly string[],
): Promise<number> {
  const answer = await admin.call<WriteAnswer>('RevokeGrant', {
    options: writeOptions(options),
    principal,
    path,
    actions,
    ...given({ grantor: options.grantor }),
  });
  const what = `${actions.length === 0 ? 'what was granted' : actions.join(', ')} on '${path}'`;
  reportWrite(admin.output, answer, { what, done: `revoked from ${principal}` });
  return EXIT.ok;
}

async function list(
  admin: Admin,
  options: ListFlags,
  principal: string | undefined,
): Promise<number> {
  if (principal !== undefined && options.principal !== undefined)
    throw new CliError('--principal: the principal is given twice: leave one out');
  const { items, answer } = await listAll<Grant>(
    admin.call,
    'ListGrants',
    given({
      principal: principal ?? options.principal,
      path: options.path,
      grantor: options.grantor,
    }),
    'grants',
    parseLimit(options),
  );
  print(admin.output, answer, () => drawGrants(items));
  return EXIT.ok;
}

async function check(
  admin: Admin,
  _options: object,
  principal: string,
  path: string,
  action: string,
): Promise<number> {
  const answer = await admin.call<{ allowed: boolean }>('CheckGrant', { principal, path, action });
  print(
    admin.output,
    answer,
    () =>
      `${visible(`${action} on '${path}'`)}: ${answer.allowed ? paint('green', 'allowed') : paint('red', 'denied')}`,
  );
  return answer.allowed ? EXIT.ok : EXIT.refused;
}
