/** `postern owner`: at most one owner a path, who may do everything there and below. */
import type { Command } from 'commander';
import { listAll, type Admin } from '../kit/admin-client.ts';
import { given } from '../kit/arguments.ts';
import { EXIT, print, visible } from '../kit/output.ts';
import { drawOwners, reportWrite, type Owner, type WriteAnswer } from '../kit/results.ts';
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
  readonly owner?: string;
  readonly path?: string;
}

/** Adds the verbs of `postern owner`. */
export function ownerVerbs(noun: Command, packageRoot: string): void {
  const run = runner(packageRoot);
  const where = 'tree path; "" is the root';

  writing(
    noun
      .command('set')
      .description('make a user the owner of a path; replaces a previous owner')
      .argument('<path>', where)
      .argument('<user>', 'the new owner'),
  )
    .addHelpText('after', '\nExample:\n  postern owner set work.projects.api alice')
    .action(run(set));

  noun
    .command('get')
    .description('print the owner of exactly this path')
    .argument('<path>', where)
    .action(run(get));

  writing(
    noun
      .command('remove')
      .description('remove the owner of a path; grants that depend on the ownership are revoked')
      .argument('<path>', where),
  ).action(run(remove));

  noun
    .command('list')
    .description('list ownerships')
    .option('--owner <user>', 'of this user')
    .option('--path <path>', 'at this path and below')
    .addOption(limitOption())
    .action(run(list));
}

async function set(
  admin: Admin,
  options: WriteFlags,
  path: string,
  owner: string,
): Promise<number> {
  const answer = await admin.call<WriteAnswer>('SetOwner', {
    options: writeOptions(options),
    path,
    owner,
  });
  reportWrite(admin.output, answer, { what: `'${path}'`, done: `given to ${owner}` });
  return EXIT.ok;
}

async function get(admin: Admin, _options: object, path: string): Promise<number> {
  const answer = await admin.call<{ owner: Owner | null }>('GetOwner', { path });
  const { owner } = answer;
  print(admin.output, answer, () =>
    visible(owner === null ? `'${path}' has no owner` : `'${path}' is owned by ${owner.owner}`),
  );
  return owner === null ? EXIT.refused : EXIT.ok;
}

async function remove(admin: Admin, options: WriteFlags, path: string): Promise<number> {
  const answer = await admin.call<WriteAnswer>('RemoveOwner', {
    options: writeOptions(options),
    path,
  });
  reportWrite(admin.output, answer, { what: `'${path}'`, done: 'left without an owner' });
  return EXIT.ok;
}

async function list(admin: Admin, options: ListFlags): Promise<number> {
  const { items, answer } = await listAll<Owner>(
    admin.call,
    'ListOwners',
    given({ owner: options.owner, path: options.path }),
    'owners',
    parseLimit(options),
  );
  print(admin.output, answer, () => drawOwners(items));
  return EXIT.ok;
}
