/** The right to make a key for a user, which whoever widens one needs (ADM-1b). */
import type { KeyRecord } from '../../engine/records.ts';
import { requireAll } from '../actor.ts';
import type { Context } from '../context.ts';
import { widening, type Posture } from './narrower.ts';
import { denied } from '../refused.ts';
import type { World } from '../world.ts';

/** A key that acts for a user is that user: only superusers make one for another. @throws Refused */
export function mustBeOwn({ authority }: Context, user: string, what: string): void {
  if (!mayMakeFor(authority, user)) requireAll(authority, 'ADM-1', `${what} \`user:${user}\``);
}

function mayMakeFor(authority: Context['authority'], user: string): boolean {
  return !authority.viaKey && (authority.all || authority.user?.id === user);
}

/** A key as it stands in the world, with the sets that are attached to it. */
export function postureOf(world: World, key: KeyRecord): Posture {
  return { key, sets: key.policySets.map((name) => world.get('policy_set', name)) };
}

/** Keys that are named in one refusal. */
const NAMED = 5;

/**
 * Each change of a key, its secrets aside, or of what is attached to it, is a restriction, or the actor may make a key for its user.
 * Keys that act for nobody are for every administrator.
 * @throws Refused PERMISSION_DENIED that names the keys (ADM-1b)
 */
export function mustOnlyRestrict(
  { authority }: Context,
  changes: readonly { readonly before: Posture; readonly after: Posture }[],
): void {
  const judged = new Map<string, string | undefined>();
  const wider = changes.flatMap(({ before, after }) => {
    const user = before.key.user ?? after.key.user;
    if (user === undefined || mayMakeFor(authority, user)) return [];
    // Many keys have one posture: what it becomes is found out once.
    const name = JSON.stringify([before, after].map(({ key }) => postureOnly(key)));
    if (!judged.has(name)) judged.set(name, widening(before, after));
    const how = judged.get(name);
    return how === undefined ? [] : [{ id: before.key.id, user, how }];
  });
  const [first] = wider;
  if (first === undefined) return;
  const others = wider.length > 1 ? ` (${wider.length} keys: ${listed(wider)})` : '';
  throw denied(
    'ADM-1b',
    `\`${authority.name}\` may only restrict key \`${first.id}\`, which acts for \`user:${first.user}\`, and by this change ${first.how}${others}`,
    `\`user:${first.user}\` itself, if it administers the tenant, or a superuser`,
  );
}

/** What of a key `widening` looks at, but its secrets: no caller of `mustOnlyRestrict` changes those. */
function postureOnly(key: KeyRecord): unknown {
  return [key.role, key.mode, key.policySets, key.expiresAt, key.rateLimit, key.revoked];
}

function listed(keys: readonly { readonly id: string }[]): string {
  const ids = keys.slice(0, NAMED).map(({ id }) => `\`${id}\``);
  return ids.join(', ') + (keys.length > NAMED ? ', …' : '');
}
