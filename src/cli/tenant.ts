/** `postern tenant`: for the operator alone. */
import type { Command } from 'commander';
import { listAll, type Admin } from './admin-client.ts';
import { given } from './arguments.ts';
import { EXIT, print } from './output.ts';
import { listing, properties, reportWrite, type WriteAnswer } from './report.ts';
import {
  limitOption,
  parseLimit,
  runner,
  writeOptions,
  writing,
  type LimitFlag,
  type WriteFlags,
} from './verb.ts';

interface Tenant {
  readonly name: string;
  readonly revision: string;
  readonly migrations: readonly string[];
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
      ['NAME', 'REVISION', 'LAST MIGRATION'],
      items.map(({ name, revision, migrations }) => [name, revision, migrations.at(-1) ?? '']),
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
