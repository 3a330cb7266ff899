/** `postern session`: tokens by which users authenticate for a time. */
import type { Command } from 'commander';
import type { Admin } from '../kit/admin-client.ts';
import { given, parseDuration } from '../kit/arguments.ts';
import { EXIT, print } from '../kit/output.ts';
import { listing, reportSecret, reportWrite, type WriteAnswer } from '../kit/results.ts';
import { runner, writeOptions, writing, type WriteFlags } from '../kit/verb.ts';

interface Session {
  readonly id: string;
  readonly user: string;
  readonly created_at: string;
  readonly expires_at: string;
}

interface CreateAnswer extends WriteAnswer {
  readonly session: Session | null;
  readonly token: string;
}

/** Adds the verbs of `postern session`. */
export function sessionVerbs(noun: Command, packageRoot: string): void {
  const run = runner(packageRoot);
  const who = 'the user (default: the actor)';

  writing(
    noun
      .command('create')
      .description('create a session; its token is the last line, printed once')
      .argument('[user]', who)
      .option('--ttl <time>', 'lifetime, for example 30m (default: 12h)'),
  )
    .addHelpText('after', '\nExample:\n  postern session create alice --ttl 8h')
    .action(run(create));

  noun.command('list').description('list valid sessions').argument('[user]', who).action(run(list));

  writing(
    noun
      .command('revoke')
      .description('end one session, or all of a user')
      .argument('[user]', who)
      .argument('[id]', 'the session (default: all)'),
  ).action(run(revoke));
}

async function create(
  admin: Admin,
  options: WriteFlags & { ttl?: string },
  user: string | undefined,
): Promise<number> {
  const { ttl } = options;
  const answer = await admin.call<CreateAnswer>('CreateSession', {
    options: writeOptions(options),
    ...given({ user, ttl_seconds: ttl === undefined ? undefined : parseDuration('--ttl', ttl) }),
  });
  const { session, token } = answer;
  const until = session === null ? '' : ` until ${session.expires_at}`;
  const said = { what: `session ${session?.id ?? ''}`, done: `created${until}` };
  reportSecret(admin.output, answer, token, said, 'token');
  return EXIT.ok;
}

async function list(admin: Admin, _options: object, user: string | undefined): Promise<number> {
  const answer = await admin.call<{ sessions: readonly Session[] }>(
    'ListSessions',
    given({ user }),
  );
  print(admin.output, answer, () =>
    listing(
      ['ID', 'USER', 'CREATED', 'EXPIRES'],
      answer.sessions.map((session) => [
        session.id,
        session.user,
        session.created_at,
        session.expires_at,
      ]),
      'no sessions',
    ),
  );
  return EXIT.ok;
}

async function revoke(
  admin: Admin,
  options: WriteFlags,
  user: string | undefined,
  id: string | undefined,
): Promise<number> {
  const answer = await admin.call<WriteAnswer>('RevokeSession', {
    options: writeOptions(options),
    ...given({ user, id }),
  });
  const whose = user === undefined ? '' : ` of ${user}`;
  const what = id === undefined ? `all sessions${whose}` : `session ${id}${whose}`;
  reportWrite(admin.output, answer, { what, done: 'ended' });
  return EXIT.ok;
}
