/** Sessions of users: made and ended by the user, or by superusers (ADM-5). */
import type { SessionRow, UserRecord } from '../../engine/records.ts';
import { requireAll } from '../actor.ts';
import type { Context } from '../context.ts';
import { existingUser } from '../principals.ts';
import { invalid, notFound, Refused } from '../refused.ts';
import { sessionView } from '../read/view.ts';

const DEFAULT_TTL_S = 12 * 60 * 60;
const MAX_TTL_S = 30 * 24 * 60 * 60;
/** Sessions of a user at once. */
const MAX_SESSIONS = 50;

export interface CreateSession {
  readonly user: string;
  readonly ttl_seconds: number;
}

export function createSession(context: Context, request: CreateSession): object {
  const { world, now, mint } = context;
  const user = sessionUser(context, request.user, 'create a session of');
  const ttl = request.ttl_seconds === 0 ? DEFAULT_TTL_S : request.ttl_seconds;
  if (!Number.isSafeInteger(ttl) || ttl < 1 || ttl > MAX_TTL_S)
    throw invalid('ttl_seconds', `\`${ttl}\` is no time to live: give 1 to ${MAX_TTL_S}`);
  const good = goodSessions(user, now);
  if (good.length >= MAX_SESSIONS)
    throw new Refused(
      'failed_precondition',
      `user \`${user.id}\` has ${good.length} sessions, ${MAX_SESSIONS} are allowed: revoke some`,
    );
  const id = mint.id('s');
  const { token, hash } = mint.session(world.tenant, user.id, id);
  const session: SessionRow = { id, hash, createdAt: now, expiresAt: now + ttl * 1_000 };
  world.put('user', user.id, { ...user, sessions: [...good, session] });
  return { session: sessionView(user.id, session), token };
}

export function revokeSession(
  context: Context,
  request: { readonly user: string; readonly id: string },
): object {
  const { world, now } = context;
  const user = sessionUser(context, request.user, 'end sessions of');
  const good = goodSessions(user, now);
  if (request.id !== '' && !good.some(({ id }) => id === request.id))
    throw notFound(`user \`${user.id}\` has no session \`${request.id}\``);
  const kept = request.id === '' ? [] : good.filter(({ id }) => id !== request.id);
  const { sessions: _old, ...rest } = user;
  world.put('user', user.id, { ...rest, ...(kept.length === 0 ? {} : { sessions: kept }) });
  return {};
}

export function goodSessions({ sessions = [] }: UserRecord, now: number): readonly SessionRow[] {
  return sessions.filter(({ expiresAt }) => expiresAt > now);
}

/** Whoever makes a session of another can act as that one: superusers only, and oneself but by a key. */
export function sessionUser(
  { world, authority }: Pick<Context, 'world' | 'authority'>,
  ref: string,
  what: string,
): UserRecord {
  const { user: self } = authority;
  if (ref === '' && self === undefined) throw invalid('user', 'is empty: the operator is no user');
  const user = ref === '' && self !== undefined ? self : existingUser(world, 'user', ref);
  if (authority.viaKey || user.id !== self?.id)
    requireAll(authority, 'ADM-1', `${what} \`user:${user.id}\``);
  return user;
}
