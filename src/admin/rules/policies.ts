/** Policy sets and API keys (ADM-1, ABAC-1 to ABAC-7). */
import { parseSource } from '../../config/document.ts';
import { lintKey } from '../../config/lint.ts';
import { formatProblem } from '../../config/problem.ts';
import { KEY_ROLES, MODES } from '../../engine/model.ts';
import type { KeyRecord, PolicySetRecord, RateLimit, SecretRow } from '../../engine/records.ts';
import { isAdministrator, requireAdministrator } from '../actor.ts';
import { capabilitiesOf, widened, widenedKeys } from './capabilities.ts';
import type { Context } from '../context.ts';
import { idOf, oneOf, textOf, timeOf } from '../input.ts';
import { mustBeOwn, mustOnlyRestrict, postureOf } from './key-right.ts';
import { existingUser } from '../principals.ts';
import { alreadyExists, forbidden, invalid, notFound, Refused } from '../refused.ts';
import { mustLeaveOut, OF_A_NEW_KEY } from './taken.ts';
import { keyView, policySetView } from '../read/view.ts';
import type { PolicySetReading } from './policy-set-reading.ts';
import { dropVersions, newestVersion, putVersion } from './policy-versions.ts';
import type { World } from '../world.ts';

export interface PutPolicySet {
  /** The document as it was read before. */
  readonly read: PolicySetReading;
  readonly must_exist: boolean;
  readonly must_not_exist: boolean;
}

export function putPolicySet(context: Context, request: PutPolicySet): object {
  const { world, authority, warnings } = context;
  requireAdministrator(authority, 'put a policy set');
  const set = readSet(world, request.read);
  warnings.push(...request.read.problems.map(({ message }) => message));
  const stored = world.get('policy_set', set.name);
  if (request.must_not_exist && stored !== undefined)
    throw alreadyExists(`policy set \`${set.name}\` exists already: update it`);
  if (request.must_exist && stored === undefined)
    throw notFound(`there is no policy set \`${set.name}\`: create it`, {
      kinds: ['policy_set'],
      id: set.name,
    });
  return storeSet(context, set);
}

/** Stores a set as its next version, warns of keys that may then do more. @throws Refused (ADM-1b) */
export function storeSet(context: Context, set: PolicySetRecord): object {
  const { world, authority, catalog, warnings, now } = context;
  const stored = world.get('policy_set', set.name);
  const version = newestVersion(world, set.name, stored) + 1;
  const next = { ...set, version };
  const keys = attachedKeys(world, set.name);
  mustOnlyRestrict(
    context,
    keys.map((key) => {
      const before = postureOf(world, key);
      const sets = key.policySets.map((name, at) => (name === set.name ? next : before.sets[at]));
      return { before, after: { key, sets } };
    }),
  );
  const widenings = widenedKeys(
    keys,
    (key) => setsOf(world, key),
    (key) => replaced(world, key, next),
    catalog,
  );
  for (const sentence of widenings) warnings.push(sentence);
  world.put('policy_set', set.name, next);
  putVersion(world, next, authority.name, now);
  return { policy_set: policySetView(next) };
}

/** @throws Refused INVALID_ARGUMENT with every error by line */
function readSet(world: World, { set, named, problems }: PolicySetReading): PolicySetRecord {
  if (set !== undefined && named !== undefined && world.get('policy_set', set.name) === undefined)
    throw invalid('document', formatProblem(named));
  if (set === undefined) throw invalid('document', problems.map(formatProblem).join('\n'));
  return set;
}

export function deletePolicySet(context: Context, { name }: { readonly name: string }): object {
  const { world, authority, catalog, warnings } = context;
  requireAdministrator(authority, 'delete a policy set');
  const set = existingSet(world, name);
  const keys = attachedKeys(world, name);
  const without = (key: KeyRecord): KeyRecord => ({
    ...key,
    policySets: key.policySets.filter((one) => one !== name),
  });
  mustOnlyRestrict(
    context,
    keys.map((key) => ({
      before: postureOf(world, key),
      after: postureOf(world, without(key)),
    })),
  );
  for (const key of keys) {
    const before = setsOf(world, key);
    const after = before.filter((one) => one.name !== name);
    warnings.push(`detached from key \`${key.id}\``, ...widened(key, before, after, catalog));
    world.put('key', key.id, without(key));
  }
  world.put('policy_set', set.name, undefined);
  dropVersions(world, set);
  return {};
}

export function existingSet(world: World, name: string): PolicySetRecord {
  const set = world.get('policy_set', name);
  if (set === undefined)
    throw notFound(`there is no policy set \`${name}\``, { kinds: ['policy_set'], id: name });
  return set;
}

function attachedKeys(world: World, set: string): KeyRecord[] {
  const ids = world.get('refs', `policy_set:${set}`)?.keys ?? [];
  world.prefetch(ids.map((id) => ({ kind: 'key', id })));
  const sets = new Set(ids.flatMap((id) => world.get('key', id)?.policySets ?? []));
  world.prefetch([...sets].map((id) => ({ kind: 'policy_set', id })));
  return ids.flatMap((id) => {
    const key = world.get('key', id);
    return key === undefined ? [] : [key];
  });
}

function setsOf(world: World, { policySets }: KeyRecord): PolicySetRecord[] {
  return policySets.flatMap((name) => world.get('policy_set', name) ?? []);
}

function replaced(world: World, key: KeyRecord, next: PolicySetRecord): PolicySetRecord[] {
  return setsOf(world, key).map((set) => (set.name === next.name ? next : set));
}

// ── keys ──────────────────────────────────────────────────────────────────────────────────────────

export interface CreateKey {
  readonly key: {
    readonly id: string;
    readonly description: string;
    readonly role: string;
    readonly mode: string;
    readonly policy_sets: readonly string[];
    readonly user: string;
    readonly expires_at: string;
    readonly rate_limit?: RateLimitInput | null;
  };
}

interface RateLimitInput {
  readonly requests: number;
  readonly per_seconds: number;
}

export function createKey(context: Context, { key }: CreateKey): object {
  mustLeaveOut('key', key, OF_A_NEW_KEY);
  const { world, authority, now, mint } = context;
  requireAdministrator(authority, 'create a key');
  const id = key.id === '' ? mint.id('k') : idOf('key.id', key.id);
  if (world.get('key', id) !== undefined) throw alreadyExists(`key \`${id}\` exists already`);
  const user = key.user === '' ? undefined : existingUser(world, 'key.user', `user:${key.user}`).id;
  if (user !== undefined) mustBeOwn(context, user, 'create a key that acts for');
  for (const name of key.policy_sets) existingSet(world, name);
  const description = textOf('key.description', key.description);
  const expiresAt = timeOf('key.expires_at', key.expires_at, now);
  const rateLimit = rateLimitOf('key.rate_limit', key.rate_limit ?? undefined);
  const { token, hash } = mint.key(world.tenant, id);
  const record: KeyRecord = {
    id,
    ...(description === undefined ? {} : { description }),
    role: oneOf('key.role', key.role, KEY_ROLES),
    mode: oneOf('key.mode', key.mode, MODES),
    policySets: [...new Set(key.policy_sets)].sort(),
    ...(user === undefined ? {} : { user }),
    createdAt: now,
    ...(expiresAt === undefined ? {} : { expiresAt }),
    ...(rateLimit === undefined ? {} : { rateLimit }),
    secrets: [{ hash }],
  };
  warnAboutKey(context, record);
  world.put('key', id, record);
  return { key: viewOfKey(context, record), secret: token };
}

const MAX_RATE = 1_000_000;
const MAX_RATE_SECONDS = 86_400;

function rateLimitOf(field: string, input: RateLimitInput | undefined): RateLimit | undefined {
  if (input === undefined) return undefined;
  if (input.requests === 0 && input.per_seconds > 0)
    throw invalid(
      `${field}.per_seconds`,
      `\`${input.per_seconds}\` is of no \`requests\`: give how many, or leave both out for no limit`,
    );
  if (input.requests === 0) return undefined;
  const seconds = input.per_seconds === 0 ? 1 : input.per_seconds;
  if (input.requests > MAX_RATE || seconds > MAX_RATE_SECONDS)
    throw invalid(
      field,
      `\`${input.requests}\` in ${seconds} s is too much: at most ${MAX_RATE} in ${MAX_RATE_SECONDS} s`,
    );
  return { requests: input.requests, seconds };
}

export interface UpdateKey {
  readonly id: string;
  readonly description?: string;
  readonly role?: string;
  readonly mode?: string;
  readonly expires_at?: string;
  readonly rate_limit?: RateLimitInput | null;
}

export function updateKey(context: Context, request: UpdateKey): object {
  const { world, authority, now, warnings, catalog } = context;
  requireAdministrator(authority, 'change a key');
  const key = livingKey(world, request.id);
  const { description: oldText, expiresAt: oldEnd, rateLimit: oldRate, ...rest } = key;
  const description =
    request.description === undefined ? oldText : textOf('description', request.description);
  const expiresAt =
    request.expires_at === undefined ? oldEnd : timeOf('expires_at', request.expires_at, now);
  const rateLimit =
    request.rate_limit === undefined || request.rate_limit === null
      ? oldRate
      : rateLimitOf('rate_limit', request.rate_limit);
  const next: KeyRecord = {
    ...rest,
    ...(description === undefined ? {} : { description }),
    role: request.role === undefined ? key.role : oneOf('role', request.role, KEY_ROLES),
    mode: request.mode === undefined ? key.mode : oneOf('mode', request.mode, MODES),
    ...(expiresAt === undefined ? {} : { expiresAt }),
    ...(rateLimit === undefined ? {} : { rateLimit }),
  };
  mustOnlyRestrictKey(context, key, next);
  const sets = setsOf(world, key);
  warnings.push(...widened(key, sets, sets, catalog, next));
  if (next.role !== key.role) warnAboutKey(context, next);
  world.put('key', key.id, next);
  return { key: viewOfKey(context, next) };
}

/** Secrets of a key that are good at once. */
const MAX_SECRETS = 5;
const MAX_OVERLAP_S = 90 * 24 * 60 * 60;

export interface RotateKey {
  readonly id: string;
  readonly overlap_seconds: number;
}

export function rotateKey(context: Context, request: RotateKey): object {
  const { world, authority, now, mint } = context;
  requireAdministrator(authority, 'rotate a key');
  const key = livingKey(world, request.id);
  if (key.user !== undefined) mustBeOwn(context, key.user, 'take a secret that acts for');
  const overlap = request.overlap_seconds;
  if (!Number.isSafeInteger(overlap) || overlap < 0 || overlap > MAX_OVERLAP_S)
    throw invalid('overlap_seconds', `\`${overlap}\` is no overlap: give 0 to ${MAX_OVERLAP_S}`);
  const until = now + overlap * 1_000;
  const old = (key.secrets ?? [])
    .map(({ hash, expiresAt }): SecretRow => ({
      hash,
      expiresAt: Math.min(expiresAt ?? Infinity, until),
    }))
    .filter(({ expiresAt }) => expiresAt === undefined || expiresAt > now);
  if (old.length >= MAX_SECRETS)
    throw forbidden(
      '',
      `key \`${key.id}\` has ${old.length} secrets that are still good: wait, or rotate without overlap`,
    );
  const { token, hash } = mint.key(world.tenant, key.id);
  const next: KeyRecord = { ...key, secrets: [{ hash }, ...old] };
  world.put('key', key.id, next);
  return { key: viewOfKey(context, next), secret: token };
}

export function revokeKey(context: Context, { id }: { readonly id: string }): object {
  const { world, authority } = context;
  const key = existingKey(world, id);
  // Whoever has lost a key of its own may end it.
  if (authority.viaKey || (!isAdministrator(authority) && authority.user?.id !== key.user))
    requireAdministrator(authority, 'revoke a key');
  const { secrets: _gone, ...rest } = key;
  const next: KeyRecord = { ...rest, revoked: true };
  world.put('key', id, next);
  return { key: viewOfKey(context, next) };
}

export interface Attachment {
  readonly id: string;
  readonly policy_set: string;
}

export function attachPolicySet(context: Context, request: Attachment): object {
  const { world, authority, warnings, catalog } = context;
  requireAdministrator(authority, 'attach a policy set');
  const key = livingKey(world, request.id);
  existingSet(world, request.policy_set);
  const policySets = [...new Set([...key.policySets, request.policy_set])].sort();
  const next: KeyRecord = { ...key, policySets };
  mustOnlyRestrictKey(context, key, next);
  warnings.push(...widened(key, setsOf(world, key), setsOf(world, next), catalog));
  warnAboutKey(context, next);
  world.put('key', key.id, next);
  return { key: viewOfKey(context, next) };
}

export function detachPolicySet(context: Context, request: Attachment): object {
  const { world, authority, warnings, catalog } = context;
  requireAdministrator(authority, 'detach a policy set');
  const key = livingKey(world, request.id);
  if (!key.policySets.includes(request.policy_set))
    throw notFound(`policy set \`${request.policy_set}\` is not attached to key \`${key.id}\``);
  const policySets = key.policySets.filter((name) => name !== request.policy_set);
  const next: KeyRecord = { ...key, policySets };
  mustOnlyRestrictKey(context, key, next);
  warnings.push(...widened(key, setsOf(world, key), setsOf(world, next), catalog));
  world.put('key', key.id, next);
  return { key: viewOfKey(context, next) };
}

/** ADM-1b: a change of the key itself. */
function mustOnlyRestrictKey(context: Context, key: KeyRecord, next: KeyRecord): void {
  const { world } = context;
  const change = { before: postureOf(world, key), after: postureOf(world, next) };
  mustOnlyRestrict(context, [change]);
}

/** Rules of a key's sets that are compared with each other, ADM-11. */
const MAX_LINTED = 20_000;

/** ABAC-5: what the sets of the key nullify together. */
function warnAboutKey({ world, catalog, warnings }: Context, key: KeyRecord): void {
  const attached = setsOf(world, key);
  const rules = attached.reduce((sum, set) => sum + set.rules.length, 0);
  if (rules > MAX_LINTED) {
    warnings.push(
      `the policy sets of key \`${key.id}\` have ${rules} rules together: they are too many to be compared`,
    );
    return;
  }
  const sets = attached.map((set) => {
    const body = {
      name: set.name,
      mode: set.mode,
      rules: set.rules.map(({ id, effect, actions, attributes }) => ({
        id,
        effect,
        actions: [...actions],
        ...(attributes === undefined
          ? {}
          : {
              attributes: Object.fromEntries(
                attributes.map(([name, values]) => [name, [...values]]),
              ),
            }),
      })),
    };
    return { source: parseSource('policy set', '{}'), path: [], body };
  });
  warnings.push(...lintKey(key, sets, catalog).map(({ message }) => message));
}

function viewOfKey({ world, catalog }: Context, key: KeyRecord): object {
  return { ...keyView(key, undefined), ...capabilitiesOf(key, setsOf(world, key), catalog, []) };
}

export function existingKey(world: World, id: string): KeyRecord {
  const key = world.get('key', id);
  if (key === undefined) throw notFound(`there is no key \`${id}\``);
  return key;
}

function livingKey(world: World, id: string): KeyRecord {
  const key = existingKey(world, id);
  if (key.revoked === true)
    throw new Refused('failed_precondition', `key \`${id}\` is revoked for good: create another`);
  return key;
}
