/** What an API key may do, action by action, and where a change lets it do more (ABAC-4, ABAC-5). */
import { actionLayer, compileKey, type ActionPolicy, type RuleTable } from '../../engine/abac.ts';
import type { Action, Catalog } from '../../engine/action.ts';
import type { KeyRecord, PolicySetRecord } from '../../engine/records.ts';

/** 0: not at all; 1: some objects; 2: all objects. */
type Reach = 0 | 1 | 2;

function reach(policy: ActionPolicy): Reach {
  if (policy.actionRule.effect === 'deny') return 0;
  const { base, named, macro } = policy;
  const hides = (named?.denyIf.length ?? 0) + (macro?.denyIf.length ?? 0) > 0;
  const open = named?.allow !== undefined || macro?.allow !== undefined || base.effect === 'allow';
  return open && !hides ? 2 : 1;
}

/** `none`, `read`, `read_write` or `custom` over the catalog; and for each action that the request names. */
export function capabilitiesOf(
  key: KeyRecord,
  sets: readonly PolicySetRecord[],
  catalog: Catalog,
  named: readonly Action[],
): object {
  const { enforced, shadow } = compileKey(key, sets);
  const actions = [...catalog.actions.values()];
  const allowed = new Set(actions.filter((action) => reach(actionLayer(enforced, action)) > 0));
  return {
    capabilities: key.revoked === true ? 'none' : summary(actions, allowed),
    actions: named.map((action) => oneAction(action, enforced, shadow)),
  };
}

function summary(actions: readonly Action[], allowed: ReadonlySet<Action>): string {
  if (allowed.size === 0) return 'none';
  if (allowed.size === actions.length) return 'read_write';
  return actions.every((action) => action.readonly === allowed.has(action)) ? 'read' : 'custom';
}

function oneAction(action: Action, enforced: RuleTable, shadow: RuleTable | undefined): object {
  const policy = actionLayer(enforced, action);
  const { set, id } = policy.actionRule;
  return {
    action: action.name,
    readonly: action.readonly,
    allowed: reach(policy) > 0,
    constrained: reach(policy) === 1,
    rule: set === '' ? id : `${set}/${id}`,
    allowed_enforced: reach(actionLayer(shadow ?? enforced, action)) > 0,
  };
}

/** Actions named in one warning. */
const NAMED = 5;

/** A sentence for a change by which a key may do more than before; none where it may not. */
export function widened(
  key: KeyRecord,
  before: readonly PolicySetRecord[],
  after: readonly PolicySetRecord[],
  catalog: Catalog,
  then: KeyRecord = key,
): string[] {
  const more = moreActions(key, before, after, catalog, then);
  return more.length === 0 ? [] : [widening(key, more)];
}

function widening(key: KeyRecord, more: readonly string[]): string {
  const rest = more.length > NAMED ? ` and ${more.length - NAMED} more` : '';
  return `key \`${key.id}\` may then do more than before: ${more.slice(0, NAMED).join(', ')}${rest}`;
}

/** Rules that are compiled for the warnings of one change; keys beyond them are not compared, and a warning says so. */
const MAX_COMPARED = 100_000;

/** The sentences of `widened` for a set's keys; keys of one role, mode and list of sets are compared once. */
export function widenedKeys(
  keys: readonly KeyRecord[],
  before: (key: KeyRecord) => readonly PolicySetRecord[],
  after: (key: KeyRecord) => readonly PolicySetRecord[],
  catalog: Catalog,
): string[] {
  /** What keys of one posture may do more. */
  const compared = new Map<string, readonly string[]>();
  let rulesCompared = 0;
  let skipped = 0;
  const warnings = keys.flatMap((key) => {
    const name = JSON.stringify([key.role, key.mode, key.policySets]);
    if (!compared.has(name)) {
      const [old, now] = [before(key), after(key)];
      for (const { rules } of [...old, ...now]) rulesCompared += rules.length;
      if (rulesCompared <= MAX_COMPARED)
        compared.set(name, moreActions(key, old, now, catalog, key));
    }
    const more = compared.get(name);
    if (more === undefined) skipped++;
    return more === undefined || more.length === 0 ? [] : [widening(key, more)];
  });
  if (skipped > 0)
    warnings.push(
      `${skipped} more keys have the set and may then do more: they are too many to be compared`,
    );
  return warnings;
}

function moreActions(
  key: KeyRecord,
  before: readonly PolicySetRecord[],
  after: readonly PolicySetRecord[],
  catalog: Catalog,
  then: KeyRecord,
): string[] {
  const old = compileKey(key, before).enforced;
  const now = compileKey(then, after).enforced;
  return [...catalog.actions.values()]
    .filter((action) => {
      const was = actionLayer(old, action);
      const is = actionLayer(now, action);
      // Fewer denies of objects, or other constraints, may show more too.
      const other = reach(was) === 1 && reach(is) === 1 && !sameConstraints(was, is);
      return reach(is) > reach(was) || other;
    })
    .map(({ name }) => name);
}

function sameConstraints(one: ActionPolicy, other: ActionPolicy): boolean {
  return textOf(one.named) === textOf(other.named) && textOf(one.macro) === textOf(other.macro);
}

type Rules = NonNullable<ActionPolicy['named']>;

/** Of rules that were compiled: those of the macro are looked at for each readonly action. */
const texts = new WeakMap<Rules, string>();

function textOf(rules: Rules | undefined): string {
  if (rules === undefined || rules.allowIf.length + rules.denyIf.length === 0) return '';
  const cached = texts.get(rules);
  if (cached !== undefined) return cached;
  const text = JSON.stringify(
    [...rules.allowIf, ...rules.denyIf].map(({ effect, constraints }) => [
      effect,
      constraints.map(({ key, required }) => [key, [...required]]),
    ]),
  );
  texts.set(rules, text);
  return text;
}
