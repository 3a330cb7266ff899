/** `postern role`: groups that carry permissions and a level. */
import type { Command } from 'commander';
import { listAll, type Admin } from '../kit/admin-client.ts';
import { collect, given, parseInteger } from '../kit/arguments.ts';
import { memberVerbs } from './members.ts';
import { CliError, EXIT, print } from '../kit/output.ts';
import { listing, properties, reportWrite, yes, type WriteAnswer } from '../kit/results.ts';
import {
  limitOption,
  parseLimit,
  runner,
  writeOptions,
  writing,
  type LimitFlag,
  type Run,
  type WriteFlags,
} from '../kit/verb.ts';

interface Role {
  readonly id: string;
  readonly description: string;
  readonly level: number;
  readonly permissions: readonly string[];
  readonly system: boolean;
  readonly roles: readonly string[];
  readonly workspaces: readonly string[];
  readonly member_count: string;
  readonly creator: string;
}

interface RoleAnswer extends WriteAnswer {
  readonly role: Role | null;
}

interface RoleFlags extends WriteFlags {
  readonly level?: string;
  readonly permission?: readonly string[];
  readonly description?: string;
}

/** Adds the verbs of `postern role`. */
export function roleVerbs(noun: Command, packageRoot: string): void {
  const run = runner(packageRoot);
  const definition = (verb: string, description: string): Command =>
    noun
      .command(verb)
      .description(description)
      .argument('<id>', 'its id')
      .option('--level <n>', 'level, 0 to 100')
      .option('--permission <r:a>', 'resource:verb, either side may be *; repeatable', collect)
      .option('--description <text>', 'a description');

  writing(definition('create', 'create a role'))
    .addHelpText(
      'after',
      `
Examples:
  postern role create engineering
  postern role create support --level 20 --permission kb:read --permission thread:read`,
    )
    .action(run(create));

  writing(
    definition(
      'update',
      'change what is given; --permission replaces all permissions (see grant-permission)',
    ).option('--clear-permissions', 'remove all permissions'),
  ).action(run(update));

  permissionVerb(noun, run, 'grant-permission', 'add permissions to a role', {
    method: 'GrantPermission',
    done: 'granted to',
  });
  permissionVerb(noun, run, 'revoke-permission', 'take permissions from a role', {
    method: 'RevokePermission',
    done: 'revoked from',
  });

  writing(
    noun
      .command('delete')
      .description('delete a role that has no members')
      .argument('<id>', 'its id'),
  ).action(run(remove));

  noun.command('list').description('list roles').addOption(limitOption()).action(run(list));
  noun.command('show').description('show a role').argument('<id>', 'its id').action(run(show));
  memberVerbs(noun, run, 'role');
}

/** Single permissions: what the role carries besides them stays. */
function permissionVerb(
  noun: Command,
  run: Run,
  verb: string,
  description: string,
  { method, done }: { readonly method: string; readonly done: string },
): void {
  writing(
    noun
      .command(verb)
      .description(`${description}; the others stay`)
      .argument('<role>', 'its id')
      .argument('<permission...>', 'resource:verb, either side may be *'),
  )
    .addHelpText('after', `\nExample:\n  postern role ${verb} engineering kb:read thread:read`)
    .action(
      run(async (admin, options: WriteFlags, id: string, permissions: readonly string[]) => {
        const answer = await admin.call<RoleAnswer>(method, {
          options: writeOptions(options),
          id: roleId(id),
          permissions,
        });
        const what = permissions.join(', ');
        reportWrite(admin.output, answer, { what, done: `${done} role ${roleId(id)}` });
        return EXIT.ok;
      }),
    );
}

/** `role:team` is `team` here, as it is for `add-member`. */
function roleId(id: string): string {
  return id.startsWith('role:') ? id.slice('role:'.length) : id;
}

async function create(admin: Admin, options: RoleFlags, id: string): Promise<number> {
  const { permission: permissions, description } = options;
  const answer = await admin.call<RoleAnswer>('CreateRole', {
    options: writeOptions(options),
    role: { id, ...given({ level: levelOf(options), permissions, description }) },
  });
  reportWrite(admin.output, answer, { what: `role ${id}`, done: 'created' });
  return EXIT.ok;
}

async function update(
  admin: Admin,
  options: RoleFlags & { clearPermissions?: boolean },
  id: string,
): Promise<number> {
  const permissions = options.clearPermissions === true ? [] : options.permission;
  if (options.clearPermissions === true && options.permission !== undefined)
    throw new CliError('--clear-permissions and --permission: give one of them');
  const changes = given({
    level: levelOf(options),
    description: options.description,
    permissions: permissions && { permissions },
  });
  if (Object.keys(changes).length === 0)
    throw new CliError('nothing to change: give --level, --permission or --description');
  const answer = await admin.call<RoleAnswer>('UpdateRole', {
    options: writeOptions(options),
    id,
    ...changes,
  });
  reportWrite(admin.output, answer, { what: `role ${id}`, done: 'updated' });
  return EXIT.ok;
}

async function remove(admin: Admin, options: WriteFlags, id: string): Promise<number> {
  const answer = await admin.call<WriteAnswer>('DeleteRole', {
    options: writeOptions(options),
    id,
  });
  reportWrite(admin.output, answer, { what: `role ${id}`, done: 'deleted' });
  return EXIT.ok;
}

async function list(admin: Admin, options: LimitFlag): Promise<number> {
  const { items, answer } = await listAll<Role>(
    admin.call,
    'ListRoles',
    {},
    'roles',
    parseLimit(options),
  );
  print(admin.output, answer, () =>
    listing(
      ['ID', 'LEVEL', 'MEMBERS', 'SYSTEM', 'PERMISSIONS'],
      items.map(({ id, level, member_count, system, permissions }) => [
        id,
        String(level),
        member_count,
        yes(system),
        permissions.length > 4
          ? `${permissions.slice(0, 4).join(' ')} and ${permissions.length - 4} more`
          : permissions.join(' '),
      ]),
      'no roles',
    ),
  );
  return EXIT.ok;
}

async function show(admin: Admin, _options: object, id: string): Promise<number> {
  const answer = await admin.call<RoleAnswer>('GetRole', { id });
  print(admin.output, answer, () => (answer.role === null ? '' : draw(answer.role)));
  return EXIT.ok;
}

function levelOf({ level }: RoleFlags): number | undefined {
  return level === undefined ? undefined : parseInteger('--level', level, 0, 100);
}

function draw(role: Role): string {
  return properties([
    ['id', role.id],
    ['description', role.description],
    ['level', String(role.level)],
    ['permissions', role.permissions.join(' ')],
    ['system', yes(role.system)],
    ['member of', [...role.roles, ...role.workspaces.map((id) => `workspace:${id}`)].join(' ')],
    ['members', role.member_count],
    ['created by', role.creator],
  ]);
}
