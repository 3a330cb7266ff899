/** `postern tenant`: for the operator alone. */
import type { Command } from 'commander';
import { listAll, type Admin } from '../kit/admin-client.ts';
import { given } from '../kit/arguments.ts';
import { EXIT, print, visible } from '../kit/output.ts';
import { listing, properties, reportWrite, yes, type WriteAnswer } from '../kit/results.ts';
import {
  limitOption,
  parseLimit,
  runner,
  writeOptions,
  writing,
  type LimitFlag,
  type WriteFlags,
} from '../kit/verb.ts';

interface Tenant {
  readonly name: string;
  readonly revision: string;
  readonly migrations: readonly string[];
  readonly deleted: boolean;
}

interface DeleteAnswer extends WriteAnswer {
  readonly removed: readonly { readonly kind: string; readonly count: string }[];
}

/** Adds the verbs of `postern tenant`. */
export function tenantVerbs(noun: Command, packageRoot: string): void {
  const run = runner(packageRoot);
  writing(
    noun
      .command('create')
      .description('create a tenant with the default roles')
      .argument('<name>', 'its name')
      .option('--owner <user>', 'a user to create as its first owner'),
  )
    .addHelpText('after', '\nExample:\n  postern tenant create acme --owner alice')
    .action(run(create));
  writing(
    noun
      .command('delete')
      .description('delete a tenant with all its facts; the name cannot be used again')
      .argument('<name>', 'its name')
      .requiredOption('--confirm <name>', 'its name again'),
  )
    .addHelpText(
      'after',
      '\nFrom the first commit on, everything in the tenant is denied. If it is interrupted, run it again to continue.\n\nExample:\n  postern tenant delete acme --confirm acme',
    )
    .action(run(remove));
  noun.command('list').description('list tenants').addOption(limitOption()).action(run(list));
  noun
    .command('show')
    .description('show a tenant')
    .argument('<name>', 'its name')
    .action(run(show));
}

async function create(
  admin: Admin,
  options: WriteFlags & { owner?: string },
  tenant: string,
): Promise<number> {
  const answer = await admin.send<WriteAnswer>('CreateTenant', {
    options: writeOptions(options),
    tenant,
    ...given({ owner: options.owner }),
  });
  reportWrite(admin.output, answer, { what: `tenant ${tenant}`, done: 'created' });
  return EXIT.ok;
}

async function remove(
  admin: Admin,
  options: WriteFlags & { confirm: string },
  tenant: string,
): Promise<number> {
  const answer = await admin.send<DeleteAnswer>('DeleteTenant', {
    options: writeOptions(options),
    tenant,
    confirm: options.confirm,
  });
  const counts = answer.removed.map(({ kind, count }) => `${count} ${kind}`).join(', ');
  const words = answer.result?.dry_run === true ? 'records to remove' : 'records removed';
  reportWrite(admin.output, answer, {
    what: `tenant ${tenant}`,
    done: 'deleted',
    also: visible(`${words}: ${counts === '' ? 'none' : counts}`),
  });
  return EXIT.ok;
}

async function list(admin: Admin, options: LimitFlag): Promise<number> {
  const { items, answer } = await listAll<Tenant>(
    admin.send,
    'ListTenants',
    {},
    'tenants',
    parseLimit(options),
  );
  print(admin.output, answer, () =>
    listing(
      ['NAME', 'REVISION', 'LAST MIGRATION', 'DELETED'],
      items.map(({ name, revision, migrations, deleted }) => [
        name,
        revision,
        migrations.at(-1) ?? '',
        yes(deleted),
      ]),
      'no tenants',
    ),
  );
  return EXIT.ok;
}

async function show(admin: Admin, _options: object, tenant: string): Promise<number> {
  const answer = await admin.send<{ info: Tenant | null }>('GetTenant', { tenant });
  const { info } = answer;
  print(admin.output, answer, () =>
    info === null
      ? ''
      : properties([
          ['name', info.name],
          ['revision', info.revision],
          ['migrations', info.migrations.join(' ')],
        ]),
  );
  return EXIT.ok;
}
