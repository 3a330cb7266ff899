/** `postern grant`: tree actions on a path and all below it. */
import type { Command } from 'commander';
import { listAll, type Admin } from '../kit/admin-client.ts';
import { given } from '../kit/arguments.ts';
import { CliError, EXIT, paint, print, visible } from '../kit/output.ts';
import {
  drawGrants,
  grantorName,
  reportWrite,
  type Grant,
  type Owner,
  type WriteAnswer,
} from '../kit/results.ts';
import {
  limitOption,
  parseLimit,
  runner,
  writeOptions,
  writing,
  type LimitFlag,
  type WriteFlags,
} from '../kit/verb.ts';

interface ListFlags extends LimitFlag {
  readonly principal?: string;
  readonly path?: string;
  readonly grantor?: string;
}

/** Adds the verbs of `postern grant`. */
export function grantVerbs(noun: Command, packageRoot: string): void {
  const run = runner(packageRoot);
  const who = 'alice, user:alice, role:team or workspace:w1; a bare id if only one exists';
  const where = 'tree path; "" is the root';

  writing(
    noun
      .command('create')
      .description('grant actions at a path and below; a repeated grant adds actions')
      .argument('<principal>', who)
      .argument('<path>', where)
      .argument('<action...>', 'read, write, create, delete, admin')
      .option('--with-grant-option', 'the principal may grant these actions to others')
      .option(
        '--grant-option-for <actions>',
        'the principal may grant these actions to others: read,write',
      )
      .option('--replace', 'replace your grant at this path instead of adding to it'),
  )
    .addHelpText(
      'after',
      `
Examples:
  postern grant create alice work.projects read write
  postern grant create team "" read
  postern grant create alice work.projects read --with-grant-option
  postern grant create alice work.projects read --replace --dry-run`,
    )
    .action(run(create));

  writing(
    noun
      .command('revoke')
      .description('revoke your grant, and by cascade the grants that depend on it')
      .argument('<principal>', who)
      .argument('<path>', where)
      .argument('[action...]', 'actions to revoke (default: all)')
      .option(
        '--grantor <principal>',
        'revoke the grant of this grantor; `operator` for the operator',
      )
      .option('--all-grantors', 'revoke the grants of all grantors')
      .option('--grant-option-only', 'revoke only the grant option, keep the actions'),
  )
    .addHelpText(
      'after',
      `
Examples:
  postern grant revoke alice work.projects --dry-run
  postern grant revoke alice work.projects write --grantor carol
  postern grant revoke alice work.projects --all-grantors`,
    )
    .action(run(revoke));

  noun
    .command('list')
    .description('list grants')
    .argument('[principal]', 'held by this principal (same as --principal)')
    .option('--principal <principal>', 'held by this principal')
    .option('--path <path>', 'at this path, above it and below it')
    .option('--grantor <principal>', 'given by this grantor')
    .addOption(limitOption())
    .action(run(list));

  noun
    .command('check')
    .description('check whether grants and ownership alone allow an action; exit code 1: no')
    .argument('<principal>', who)
    .argument('<path>', where)
    .argument('<action>', 'read, write, create, delete or admin')
    .addHelpText('after', '\nExample:\n  postern grant check alice work.projects.api read')
    .action(run(check));
}

interface CreateFlags extends WriteFlags {
  readonly withGrantOption?: boolean;
  readonly grantOptionFor?: string;
  readonly replace?: boolean;
}

interface CreateAnswer extends WriteAnswer {
  readonly taken_actions: readonly string[];
  readonly taken_options: readonly string[];
}

async function create(
  admin: Admin,
  options: CreateFlags,
  principal: string,
  path: string,
  actions: readonly string[],
): Promise<number> {
  const answer = await admin.call<CreateAnswer>('CreateGrant', {
    options: writeOptions(options),
    principal,
    path,
    actions,
    ...given({
      grant_option: options.withGrantOption,
      grant_options: options.grantOptionFor?.split(','),
      replace: options.replace,
    }),
  });
  const what = `${actions.join(', ')} on '${path}'`;
  const removed = [
    ...some(answer.taken_actions, (list) => `${list} is removed`),
    ...some(answer.taken_options, (list) => `the option for ${list} is removed`),
  ];
  reportWrite(admin.output, answer, {
    what,
    done: `granted to ${principal}`,
    ...(removed.length === 0 ? {} : { also: visible(removed.join(', ')) }),
  });
  return EXIT.ok;
}

function some(actions: readonly string[], say: (list: string) => string): string[] {
  return actions.length === 0 ? [] : [say(actions.join(', '))];
}

interface RevokeFlags extends WriteFlags {
  readonly grantor?: string;
  readonly allGrantors?: boolean;
  readonly grantOptionOnly?: boolean;
}

interface Remaining {
  readonly actions: readonly string[];
  readonly by: string;
  readonly grant: Grant | null;
  readonly owner: Owner | null;
  readonly role: string;
  readonly permission: string;
}

interface RevokeAnswer extends WriteAnswer {
  readonly revoked: readonly Grant[];
  readonly missing_actions: readonly string[];
  readonly remaining: readonly Remaining[];
  readonly remaining_more: number;
}

async function revoke(
  admin: Admin,
  options: RevokeFlags,
  principal: string,
  path: string,
  actions: readonly string[],
): Promise<number> {
  const answer = await admin.call<RevokeAnswer>('RevokeGrant', {
    options: writeOptions(options),
    principal,
    path,
    actions,
    ...given({
      grantor: options.grantor,
      all_grantors: options.allGrantors,
      grant_option_only: options.grantOptionOnly,
    }),
  });
  const removed = [...new Set(answer.revoked.flatMap((grant) => grant.actions))];
  // Nothing is told of one that was done before.
  const list = removed.length === 0 ? 'what was granted' : removed.join(', ');
  const what = options.grantOptionOnly === true ? `the grant option for ${list}` : list;
  reportWrite(admin.output, answer, {
    what: `${what} on '${path}'`,
    done: `revoked from ${principal}`,
  });
  if (admin.output === 'table') tellRest(principal, path, answer);
  return EXIT.ok;
}

/** What was not there, and what stays, for people. */
function tellRest(principal: string, path: string, answer: RevokeAnswer): void {
  const lines = [
    ...some(answer.missing_actions, (list) => `not there to be revoked: ${list}`),
    ...answer.remaining.map(
      (rest) => `${principal} still has ${rest.actions.join(', ')} on '${path}' by ${source(rest)}`,
    ),
    ...(answer.remaining_more === 0 ? [] : [`… and by ${answer.remaining_more} more`]),
  ];
  for (const line of lines) process.stdout.write(`${visible(line)}\n`);
}

function source({ by, grant, owner, role, permission }: Remaining): string {
  if (grant !== null)
    return `the grant of ${grant.principal} on '${grant.path}' from ${grantorName(grant.grantor)}`;
  if (owner !== null) return `the ownership of '${owner.path}'`;
  if (by === 'permission') return `the permission ${permission} of ${role}`;
  return by === 'superuser' ? 'being a superuser' : by;
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
