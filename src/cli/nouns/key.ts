/** `postern key`: API keys, their posture, their policy sets and their secrets. */
import { KEY_ROLES, MODES } from '../../engine/model.ts';
import { Option, type Command } from 'commander';
import { listAll, type Admin } from '../kit/admin-client.ts';
import { collect, given, parseDuration, parseRate, parseTime } from '../kit/arguments.ts';
import { explainKey, type ActionCapability } from './key-explain.ts';
import { CliError, EXIT, print } from '../kit/output.ts';
import {
  listing,
  properties,
  reportSecret,
  reportWrite,
  type WriteAnswer,
} from '../kit/results.ts';
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

interface Key {
  readonly id: string;
  readonly description: string;
  readonly role: string;
  readonly mode: string;
  readonly policy_sets: readonly string[];
  readonly user: string;
  readonly created_at: string;
  readonly expires_at: string;
  readonly last_used_at: string;
  readonly revoked: boolean;
  readonly rate_limit: { readonly requests: number; readonly per_seconds: number } | null;
  readonly capabilities: string;
  readonly actions: readonly ActionCapability[];
}

interface KeyAnswer extends WriteAnswer {
  readonly key: Key | null;
}

interface SecretAnswer extends KeyAnswer {
  readonly secret: string;
}

interface PostureFlags extends WriteFlags {
  readonly role?: string;
  readonly mode?: string;
  readonly expiresIn?: string;
  readonly expiresAt?: string;
  readonly rateLimit?: string;
  readonly description?: string;
}

/** Adds the verbs of `postern key`. */
export function keyVerbs(noun: Command, packageRoot: string): void {
  const run = runner(packageRoot);
  const named = (verb: string, description: string): Command =>
    noun.command(verb).description(description).argument('<id>', "the key's id");

  writing(
    posture(
      noun
        .command('create')
        .description('create a key; the last line is its secret, which is printed only once')
        .argument('[id]', 'its id (default: generated)'),
      { role: 'default_deny', mode: 'enforce' },
    )
      .option('--policy-set <name>', 'a policy set to attach; repeatable', collect)
      .option('--user <id>', 'the user that it acts for'),
  )
    .addHelpText(
      'after',
      `
Examples:
  postern key create agent-1 --policy-set tenant-acme --user alice --expires-in 90d
  postern key create agent-1 -o json | jq -r .secret`,
    )
    .action(run(create));

  noun
    .command('list')
    .description('list keys')
    .option('--user <id>', 'bound to this user')
    .option('--policy-set <name>', 'with this set attached')
    .addOption(limitOption())
    .action(run(list));

  named('show', 'show a key').action(run(show));

  writing(posture(named('set', 'change the given fields'), {}))
    .addHelpText(
      'after',
      `
Examples:
  postern key set agent-1 --mode report_only
  postern key set agent-1 --rate-limit none --expires-at never`,
    )
    .action(run(set));

  setVerb(noun, run, 'attach', 'AttachPolicySet', 'attached to');
  setVerb(noun, run, 'detach', 'DetachPolicySet', 'detached from');

  writing(
    named('rotate', 'create a new secret of a key, which is printed only once').option(
      '--overlap <time>',
      'time for which the old secret remains valid, for example 24h (default: none)',
    ),
  ).action(run(rotate));

  writing(named('revoke', 'end a key for good')).action(run(revoke));

  named('explain', 'tell what a key may do, and by which rule; exit code 1: it may not')
    .option('--action <name>', 'one action (default: all of the catalog)')
    .addHelpText('after', '\nExample:\n  postern key explain agent-1 --action graph.search')
    .action(run(explain));
}

function posture(command: Command, defaults: { role?: string; mode?: string }): Command {
  return command
    .addOption(
      new Option('--role <role>', 'the result if no rule decides')
        .choices(KEY_ROLES)
        .default(defaults.role),
    )
    .addOption(
      new Option('--mode <mode>', 'whether its policies are enforced')
        .choices(MODES)
        .default(defaults.mode),
    )
    .addOption(
      new Option('--expires-in <time>', 'lifetime from now, for example 90d').conflicts(
        'expiresAt',
      ),
    )
    .option('--expires-at <time>', 'RFC 3339, for example 2030-01-31T12:00:00Z, or never')
    .option('--rate-limit <rate>', 'largest rate of decisions: 100/s, 6000/m, or none')
    .option('--description <text>', 'a description');
}

function setVerb(
  noun: Command,
  run: Run,
  verb: 'attach' | 'detach',
  method: string,
  done: string,
): void {
  writing(
    noun
      .command(verb)
      .description(
        `${verb} a policy set; warns if ${verb === 'attach' ? 'it restricts nothing' : 'the key gets more rights'}`,
      )
      .argument('<id>', "the key's id")
      .argument('<policy-set>', 'the name of the set'),
  ).action(
    run(async (admin, options: WriteFlags, id: string, name: string) => {
      const answer = await admin.call<KeyAnswer>(method, {
        options: writeOptions(options),
        id,
        policy_set: name,
      });
      reportWrite(admin.output, answer, {
        what: `policy set ${name}`,
        done: `${done} key ${id}`,
      });
      return EXIT.ok;
    }),
  );
}

async function create(
  admin: Admin,
  options: PostureFlags & { policySet?: readonly string[]; user?: string },
  id: string | undefined,
): Promise<number> {
  const answer = await admin.call<SecretAnswer>('CreateKey', {
    options: writeOptions(options),
    key: given({ id, ...fields(options), policy_sets: options.policySet, user: options.user }),
  });
  const what = `key ${answer.key?.id ?? id ?? ''}`;
  reportSecret(admin.output, answer, answer.secret, { what, done: 'created' }, 'secret');
  return EXIT.ok;
}

async function list(
  admin: Admin,
  options: LimitFlag & { user?: string; policySet?: string },
): Promise<number> {
  const { items, answer } = await listAll<Key>(
    admin.call,
    'ListKeys',
    given({ user: options.user, policy_set: options.policySet }),
    'keys',
    parseLimit(options),
  );
  print(admin.output, answer, () =>
    listing(
      ['ID', 'ROLE', 'MODE', 'POLICY SETS', 'USER', 'CAPABILITIES', 'EXPIRES', 'LAST USED', ''],
      items.map((key) => [
        key.id,
        key.role,
        key.mode,
        key.policy_sets.join(' '),
        key.user,
        key.capabilities,
        key.expires_at === '' ? 'never' : key.expires_at,
        key.last_used_at === '' ? 'not yet' : key.last_used_at,
        key.revoked ? 'revoked' : '',
      ]),
      'no keys',
    ),
  );
  return EXIT.ok;
}

async function show(admin: Admin, _options: object, id: string): Promise<number> {
  const answer = await admin.call<KeyAnswer>('GetKey', { id });
  print(admin.output, answer, () => (answer.key === null ? '' : draw(answer.key)));
  return EXIT.ok;
}

async function set(admin: Admin, options: PostureFlags, id: string): Promise<number> {
  const changes = fields(options);
  if (Object.keys(changes).length === 0)
    throw new CliError('nothing to change: give what is to be, for example --mode enforce');
  const answer = await admin.call<KeyAnswer>('UpdateKey', {
    options: writeOptions(options),
    id,
    ...changes,
  });
  reportWrite(admin.output, answer, { what: `key ${id}`, done: 'updated' });
  return EXIT.ok;
}

async function rotate(
  admin: Admin,
  options: WriteFlags & { overlap?: string },
  id: string,
): Promise<number> {
  const { overlap } = options;
  const answer = await admin.call<SecretAnswer>('RotateKey', {
    options: writeOptions(options),
    id,
    ...given({
      overlap_seconds: overlap === undefined ? undefined : parseDuration('--overlap', overlap),
    }),
  });
  const said = { what: `key ${id}`, done: 'rotated' };
  reportSecret(admin.output, answer, answer.secret, said, 'secret');
  return EXIT.ok;
}

async function revoke(admin: Admin, options: WriteFlags, id: string): Promise<number> {
  const answer = await admin.call<KeyAnswer>('RevokeKey', { options: writeOptions(options), id });
  reportWrite(admin.output, answer, { what: `key ${id}`, done: 'revoked' });
  return EXIT.ok;
}

async function explain(admin: Admin, options: { action?: string }, id: string): Promise<number> {
  const { action } = options;
  // A dotted name is one of the catalog: the whole list says which name was meant.
  const named = action === undefined || action.includes('.') ? {} : { action };
  const { revision, key } = await admin.call<KeyAnswer>('GetKey', { id, ...named });
  return explainKey(admin.output, { revision, id, actions: key?.actions ?? [] }, action);
}

function fields(options: PostureFlags): object {
  const { role, mode, rateLimit, description } = options;
  return given({
    role,
    mode,
    description,
    expires_at: expiryOf(options),
    rate_limit: rateLimit === undefined ? undefined : parseRate('--rate-limit', rateLimit),
  });
}

function expiryOf({ expiresIn, expiresAt }: PostureFlags): string | undefined {
  if (expiresIn !== undefined)
    return new Date(Date.now() + parseDuration('--expires-in', expiresIn) * 1_000).toISOString();
  if (expiresAt === undefined) return undefined;
  return expiresAt === 'never' ? '' : parseTime('--expires-at', expiresAt);
}

function draw(key: Key): string {
  const { rate_limit: rate } = key;
  return properties([
    ['id', key.id],
    ['description', key.description],
    ['role', key.role],
    ['mode', key.mode],
    ['policy sets', key.policy_sets.join(' ')],
    ['user', key.user],
    ['may do', key.capabilities],
    [
      'rate limit',
      rate === null || rate.requests === 0 ? '' : `${rate.requests} in ${rate.per_seconds || 1} s`,
    ],
    ['created', key.created_at],
    ['expires', key.expires_at === '' ? 'never' : key.expires_at],
    ['last used', key.last_used_at === '' ? 'not yet' : key.last_used_at],
    ['state', key.revoked ? 'revoked' : 'in use'],
  ]);
}
