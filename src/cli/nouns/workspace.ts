/** `postern workspace`: groups that hold grants. */
import type { Command } from 'commander';
import { listAll, type Admin } from '../kit/admin-client.ts';
import { given } from '../kit/arguments.ts';
import { memberVerbs } from './members.ts';
import { CliError, EXIT, print } from '../kit/output.ts';
import { listing, properties, reportWrite, type WriteAnswer } from '../kit/results.ts';
import {
  limitOption,
  parseLimit,
  runner,
  writeOptions,
  writing,
  type LimitFlag,
  type WriteFlags,
} from '../kit/verb.ts';

interface Workspace {
  readonly id: string;
  readonly description: string;
  readonly member_count: string;
  readonly creator: string;
}

interface WorkspaceAnswer extends WriteAnswer {
  readonly workspace: Workspace | null;
}

interface WorkspaceFlags extends WriteFlags {
  readonly description?: string;
}

/** Adds the verbs of `postern workspace`. */
export function workspaceVerbs(noun: Command, packageRoot: string): void {
  const run = runner(packageRoot);
  const definition = (verb: string, description: string): Command =>
    noun
      .command(verb)
      .description(description)
      .argument('<id>', 'its id')
      .option('--description <text>', 'a description');

  writing(definition('create', 'create a workspace'))
    .addHelpText(
      'after',
      `
Examples:
  postern workspace create w1 --description "the first"
  postern workspace add-member w1 alice`,
    )
    .action(run(create));
  writing(definition('update', 'change the given fields')).action(run(update));
  writing(
    noun
      .command('delete')
      .description('delete a workspace that has no members')
      .argument('<id>', 'its id'),
  ).action(run(remove));
  noun.command('list').description('list workspaces').addOption(limitOption()).action(run(list));
  noun.command('show').description('show a workspace').argument('<id>', 'its id').action(run(show));
  memberVerbs(noun, run, 'workspace');
}

async function create(admin: Admin, options: WorkspaceFlags, id: string): Promise<number> {
  const answer = await admin.call<WorkspaceAnswer>('CreateWorkspace', {
    options: writeOptions(options),
    workspace: { id, ...given({ description: options.description }) },
  });
  reportWrite(admin.output, answer, { what: `workspace ${id}`, done: 'created' });
  return EXIT.ok;
}

async function update(admin: Admin, options: WorkspaceFlags, id: string): Promise<number> {
  const { description } = options;
  if (description === undefined) throw new CliError('nothing to change: give --description');
  const answer = await admin.call<WorkspaceAnswer>('UpdateWorkspace', {
    options: writeOptions(options),
    id,
    description,
  });
  reportWrite(admin.output, answer, { what: `workspace ${id}`, done: 'updated' });
  return EXIT.ok;
}

async function remove(admin: Admin, options: WriteFlags, id: string): Promise<number> {
  const answer = await admin.call<WriteAnswer>('DeleteWorkspace', {
    options: writeOptions(options),
    id,
  });
  reportWrite(admin.output, answer, { what: `workspace ${id}`, done: 'deleted' });
  return EXIT.ok;
}

async function list(admin: Admin, options: LimitFlag): Promise<number> {
  const { items, answer } = await listAll<Workspace>(
    admin.call,
    'ListWorkspaces',
    {},
    'workspaces',
    parseLimit(options),
  );
  print(admin.output, answer, () =>
    listing(
      ['ID', 'MEMBERS', 'DESCRIPTION'],
      items.map(({ id, member_count, description }) => [id, member_count, description]),
      'no workspaces',
    ),
  );
  return EXIT.ok;
}

async function show(admin: Admin, _options: object, id: string): Promise<number> {
  const answer = await admin.call<WorkspaceAnswer>('GetWorkspace', { id });
  const { workspace } = answer;
  print(admin.output, answer, () =>
    workspace === null
      ? ''
      : properties([
          ['id', workspace.id],
          ['description', workspace.description],
          ['members', workspace.member_count],
          ['created by', workspace.creator],
        ]),
  );
  return EXIT.ok;
}
