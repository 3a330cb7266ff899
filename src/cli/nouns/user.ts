/** `postern user`: people, developers and agents; a user without login is a role. */
import { USER_TYPES } from '../../engine/model.ts';
import { Option, type Command } from 'commander';
import { fromStruct, toStruct } from '../../util/proto-value.ts';
import { AdminError, listAll, type Admin } from '../kit/admin-client.ts';
import { collect, given, parseEntries, parseObject } from '../kit/arguments.ts';
import { CliError, EXIT, print } from '../kit/output.ts';
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

interface User {
  readonly id: string;
  readonly type: string;
  readonly external_id: string;
  readonly email: string;
  readonly metadata: unknown;
  readonly superuser: boolean;
  readonly createrole: boolean;
  readonly suspended: boolean;
  readonly deleted: boolean;
  readonly roles: readonly string[];
  readonly workspaces: readonly string[];
  readonly admin_of: readonly string[];
}

interface UserAnswer extends WriteAnswer {
  readonly user: User | null;
}

interface ProfileFlags {
  readonly externalId?: string;
  readonly email?: string;
  readonly type?: string;
  readonly metadata?: string;
  readonly metadataEntry?: readonly string[];
  readonly superuser?: boolean;
  readonly createrole?: boolean;
}

interface CreateFlags extends WriteFlags, ProfileFlags {
  readonly login: boolean;
}

interface UpdateFlags extends WriteFlags, ProfileFlags {
  readonly suspend?: boolean;
  readonly unsuspend?: boolean;
}

interface ListFlags extends LimitFlag {
  readonly externalId?: string;
  readonly email?: string;
  readonly includeDeleted?: boolean;
}

/** Adds the verbs of `postern user`. */
export function userVerbs(noun: Command, packageRoot: string): void {
  const run = runner(packageRoot);

  const creating = profile(noun.command('create').description('create a user')).option(
    '--no-login',
    'create a role with this id, which cannot authenticate; its members inherit its grants',
  );
  writing(creating.argument('<id>', 'its id'))
    .addHelpText(
      'after',
      `
Examples:
  postern user create alice --email alice@example.com
  postern user create bot-1 --type agent --metadata '{"team":"eng"}'
  postern user create engineering --no-login`,
    )
    .action(run(create));

  noun.command('get').description('show a user').argument('<id>', 'its id').action(run(get));

  const updating = profile(noun.command('update').description('change the given fields'))
    .argument('<id>', 'its id')
    .option('--no-superuser', 'clear the flag')
    .option('--no-createrole', 'clear the flag')
    .addOption(new Option('--suspend', 'deny everything until --unsuspend').conflicts('unsuspend'))
    .option('--unsuspend', 'end a suspension');
  writing(updating)
    .addHelpText(
      'after',
      `
--metadata replaces all metadata, --metadata-entry alone changes the named entries.

Examples:
  postern user update alice --email "" --metadata-entry team=platform
  postern user update mallory --suspend`,
    )
    .action(run(update));

  writing(
    noun
      .command('delete')
      .description('delete a user and its rights; the grants that it gave are revoked by cascade')
      .argument('<id>', 'its id')
      .option('--reassign-to <principal>', 'the new grantor of the grants that it gave'),
  ).action(run(remove));

  noun
    .command('list')
    .description('list users')
    .option('--external-id <id>', 'users with this id in another system')
    .option('--email <address>', 'users with this e-mail address')
    .option('--include-deleted', 'also tombstones')
    .addOption(limitOption())
    .action(run(list));

  writing(
    noun
      .command('batch')
      .description('create the users of a file, 1,000 in each commit; prints each refused user')
      .requiredOption('-f, --file <file>', 'YAML or JSON, a list of users; - reads standard input'),
  )
    .addHelpText(
      'after',
      `
The file is a list, or has a list \`users\`. A user has an id and optionally type, external_id, email, metadata,
superuser, createrole and no_login:
  - { id: alice, email: alice@example.com, metadata: { team: eng } }`,
    )
    .action(
      run(async (admin, options: WriteFlags & { file: string }) =>
        (await import('./user-batch.ts')).createUsers(admin, options),
      ),
    );
}

function profile(command: Command): Command {
  return command
    .option('--superuser', 'has evidence for every action')
    .option('--createrole', 'may create users and roles')
    .option('--external-id <id>', 'its id in another system')
    .option('--email <address>', 'its e-mail address')
    .addOption(new Option('--type <type>', 'the kind of user').choices(USER_TYPES))
    .option('--metadata <json>', 'metadata, a JSON object')
    .option('--metadata-entry <k=v>', 'one metadata entry: k=text or k:=JSON; repeatable', collect);
}

async function create(admin: Admin, options: CreateFlags, id: string): Promise<number> {
  const isRole = !options.login;
  const answer = await admin.call<UserAnswer>('CreateUser', {
    options: writeOptions(options),
    user: {
      id,
      ...fields(options),
      ...given({ metadata: metadataOf(options, {}) }),
      ...(isRole ? { no_login: true } : {}),
    },
  });
  reportWrite(
    admin.output,
    answer,
    {
      what: `${isRole ? 'role' : 'user'} ${id}`,
      done: 'created',
      ...(isRole ? { also: 'a user without login is a role' } : {}),
    },
    shown(answer),
  );
  return EXIT.ok;
}

async function get(admin: Admin, _options: object, id: string): Promise<number> {
  const answer = await admin.call<UserAnswer>('GetUser', { id });
  print(admin.output, shown(answer), () => (answer.user === null ? '' : draw(answer.user)));
  return EXIT.ok;
}

/** Entries are merged at the revision that they were read at; others may commit in between. */
const MERGE_ATTEMPTS = 5;

async function update(admin: Admin, options: UpdateFlags, id: string): Promise<number> {
  const changes = {
    ...fields(options),
    ...given({ suspended: options.suspend ?? (options.unsuspend === true ? false : undefined) }),
  };
  const isMerge = options.metadata === undefined && options.metadataEntry !== undefined;
  if (Object.keys(changes).length === 0 && !isMerge && options.metadata === undefined)
    throw new CliError('nothing to change: give what is to be, for example --email ADDRESS');
  for (let attempt = 1; ; attempt++) {
    const before = isMerge ? await admin.call<UserAnswer>('GetUser', { id }) : undefined;
    const { expectedRevision = before?.revision } = options;
    try {
      const answer = await admin.call<UserAnswer>('UpdateUser', {
        options: writeOptions({ ...options, ...given({ expectedRevision }) }),
        id,
        ...changes,
        ...given({ metadata: metadataOf(options, fromStruct(before?.user?.metadata)) }),
      });
      reportWrite(admin.output, answer, { what: `user ${id}`, done: 'updated' }, shown(answer));
      return EXIT.ok;
    } catch (error) {
      const isRace = error instanceof AdminError && error.status === 'ABORTED' && isMerge;
      if (!isRace || options.expectedRevision !== undefined || attempt === MERGE_ATTEMPTS)
        throw error;
    }
  }
}

async function remove(
  admin: Admin,
  options: WriteFlags & { reassignTo?: string },
  id: string,
): Promise<number> {
  const answer = await admin.call<WriteAnswer>('DeleteUser', {
    options: writeOptions(options),
    id,
    ...given({ reassign_to: options.reassignTo }),
  });
  reportWrite(admin.output, answer, { what: `user ${id}`, done: 'deleted' });
  return EXIT.ok;
}

async function list(admin: Admin, options: ListFlags): Promise<number> {
  const request = given({
    external_id: options.externalId,
    email: options.email,
    include_deleted: options.includeDeleted,
  });
  const { items, answer } = await listAll<User>(
    admin.call,
    'ListUsers',
    request,
    'users',
    parseLimit(options),
  );
  print(admin.output, { ...answer, users: items.map(withMetadata) }, () =>
    listing(
      ['ID', 'TYPE', 'EMAIL', 'EXTERNAL ID', 'ROLES', 'FLAGS'],
      items.map((user) => [
        user.id,
        user.type,
        user.email,
        user.external_id,
        user.roles.join(' '),
        flags(user),
      ]),
      'no users',
    ),
  );
  return EXIT.ok;
}

function fields({ externalId, email, type, superuser, createrole }: ProfileFlags): object {
  return given({ external_id: externalId, email, type, superuser, createrole });
}

/** `undefined`: none is given. */
function metadataOf({ metadata, metadataEntry }: ProfileFlags, before: object): unknown {
  if (metadata === undefined && metadataEntry === undefined) return undefined;
  const base = metadata === undefined ? before : parseObject('--metadata', metadata);
  const entries = parseEntries('--metadata-entry', metadataEntry ?? []);
  // From entries, so that `__proto__` stays an ordinary key.
  return toStruct(Object.fromEntries([...Object.entries(base), ...Object.entries(entries)]));
}

function shown(answer: UserAnswer): object {
  return answer.user === null ? answer : { ...answer, user: withMetadata(answer.user) };
}

function withMetadata(user: User): object {
  return { ...user, metadata: fromStruct(user.metadata) };
}

function flags({ superuser, createrole, suspended, deleted }: User): string {
  return Object.entries({ superuser, createrole, suspended, deleted })
    .flatMap(([name, value]) => (value ? [name] : []))
    .join(' ');
}

function draw(user: User): string {
  const metadata = fromStruct(user.metadata);
  return properties([
    ['id', user.id],
    ['type', user.type],
    ['email', user.email],
    ['external id', user.external_id],
    ['superuser', yes(user.superuser)],
    ['createrole', yes(user.createrole)],
    ['suspended', yes(user.suspended)],
    ['deleted', yes(user.deleted)],
    ['roles', user.roles.join(' ')],
    ['workspaces', user.workspaces.join(' ')],
    ['admin of', user.admin_of.join(' ')],
    ['metadata', Object.keys(metadata).length === 0 ? '' : JSON.stringify(metadata)],
  ]);
}
