/**
 * Whether a change of an API key, or of the policy sets that are attached to it, is a restriction (ADM-1b): the key may
 * do nothing afterwards that it might not do before. Proved for every action and every object, whatever the catalog
 * says now or later. What is not proved narrower counts as wider, so a few restrictions are taken for more than they
 * are, and no widening for less.
 */
import { actionLayer, compileKey, type ActionPolicy, type Rule } from '../../engine/abac.ts';
import type { Action } from '../../engine/action.ts';
import type { Constraint } from '../../engine/attributes.ts';
import type { KeyRecord, PolicySetRecord, RateLimit } from '../../engine/records.ts';

/** A key with its attached sets; a set of `undefined` is attached and not there, which lets the key do nothing. */
export interface Posture {
  readonly key: KeyRecord;
  readonly sets: readonly (PolicySetRecord | undefined)[];
}

/**
 * How the key comes to do more, in one phrase; `undefined`: the change is a restriction or changes nothing that counts.
 * The description of a key gives nothing, so it does not count.
 */
export function widening(before: Posture, after: Posture): string | undefined {
  if (after.key.revoked === true) return undefined;
  if (before.key.revoked === true) return 'it is revoked no longer';
  if (before.key.user !== after.key.user) return 'it acts for another user';
  if ((after.key.expiresAt ?? Infinity) > (before.key.expiresAt ?? Infinity))
    return 'it ends later';
  if (!sameSecrets(before.key, after.key)) return 'it has another secret';
  if (!isTighter(before.key.rateLimit, after.key.rateLimit)) return 'its rate limit is looser';
  return widerRules(before, after) ? 'its rules allow more' : undefined;
}

function sameSecrets(
  { secrets: before = [] }: KeyRecord,
  { secrets: after = [] }: KeyRecord,
): boolean {
  return after.every(({ hash, expiresAt = Infinity }) =>
    before.some((old) => old.hash === hash && expiresAt <= (old.expiresAt ?? Infinity)),
  );
}

/** Another length of the window starts a new one, so that only fewer requests in the same time are tighter. */
function isTighter(before: RateLimit | undefined, after: RateLimit | undefined): boolean {
  if (before === undefined) return true;
  return (
    after !== undefined && after.seconds === before.seconds && after.requests <= before.requests
  );
}

function widerRules(before: Posture, after: Posture): boolean {
  const tableOf = ({
    key,
    sets,
  }: Posture): ReturnType<typeof compileKey>['enforced'] | undefined => {
    const there = sets.filter((set) => set !== undefined);
    return there.length === sets.length ? compileKey(key, there).enforced : undefined;
  };
  const [old, now] = [tableOf(before), tableOf(after)];
  if (now === undefined) return false;
  // An action that no rule names stands for all of them; a name is a bare verb, so that nobody catalogues it.
  const names = new Set([...(old?.named.keys() ?? []), ...now.named.keys(), '']);
  for (const name of names)
    for (const action of kindsOf(name)) {
      const is = actionLayer(now, action);
      if (is.actionRule.effect === 'deny') continue;
      if (old === undefined || !isWithin(is, actionLayer(old, action))) return true;
    }
  return false;
}

/** An action of that name as any catalog may have it: whether it is readonly and object-scoped is not for ever. */
function kindsOf(name: string): Action[] {
  return [true, false].flatMap((readonly) =>
    [true, false].map((objectScoped) => ({
      name,
      readonly,
      objectScoped,
      resource: '',
      verbs: [],
      treeBit: 0,
      acl: undefined,
      minLevel: 0,
    })),
  );
}

/** Whether every object that one policy shows is shown by the other; the first permits the action. */
function isWithin(inner: ActionPolicy, outer: ActionPolicy): boolean {
  if (outer.actionRule.effect === 'deny') return false;
  // Each object that the outer one hides, the inner one hides.
  if (!eachHasWider(rulesOf(outer, 'denyIf'), rulesOf(inner, 'denyIf'))) return false;
  if (isOpen(outer)) return true;
  if (isOpen(inner)) return false;
  const allows = (policy: ActionPolicy): Rule[] =>
    policy.constrainedAllow ? rulesOf(policy, 'allowIf') : [];
  return eachHasWider(allows(inner), allows(outer));
}

function rulesOf({ named, macro }: ActionPolicy, list: 'denyIf' | 'allowIf'): Rule[] {
  return [...(named?.[list] ?? []), ...(macro?.[list] ?? [])];
}

function isOpen({ base, named, macro }: ActionPolicy): boolean {
  return named?.allow !== undefined || macro?.allow !== undefined || base.effect === 'allow';
}

/** Pairs of rules that are compared one by one; beyond, a rule is only looked for word by word. */
const MAX_PAIRS = 20_000;

/** Whether whatever one of the first rules holds for, one of the others holds for. */
function eachHasWider(rules: readonly Rule[], others: readonly Rule[]): boolean {
  const texts = new Set(others.map(({ constraints }) => textOf(constraints)));
  const rest = rules.filter(({ constraints }) => !texts.has(textOf(constraints)));
  if (rest.length * others.length > MAX_PAIRS) return false;
  return rest.every((rule) => {
    const own = new Set(rule.constraints.map(partOf));
    // Fewer constraints hold for more objects (AND, ABAC-3).
    return others.some(({ constraints }) => constraints.every((part) => own.has(partOf(part))));
  });
}

function textOf(constraints: readonly Constraint[]): string {
  return JSON.stringify(constraints.map(partOf).sort());
}

/** Injective: `5` and `"5"` differ in JSON. */
function partOf({ key, required }: Constraint): string {
  return JSON.stringify([key, [...required].map((value) => JSON.stringify(value)).sort()]);
}
