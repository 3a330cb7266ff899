/** What an API key may do, action by action, and where a change lets it do more (ABAC-4, ABAC-5). */
import { actionLayer, compileKey, type ActionPolicy, type RuleTable } from '../engine/abac.ts';
import type { Action, Catalog } from '../engine/action.ts';
import type { KeyRecord, PolicySetRecord } from '../engine/records.ts';

/** 0: not at all; 1: some objects; 2: all objects. */
type Reach = 0 | 1 | 2;

function reach(policy: ActionPolicy): Reach {
  if (policy.actionRule.effect === 'deny') return 0;
  const { base, named, macro } = policy;
  const hides = (named?.denyIf.length ?? 0) + (macro?.denyIf.length ?? 0) > 0;
  const open = named?.allow !== undefined || macro?.allow !== undefined || base.effect === 'allow';
  return open && !hides ? 2 : 1;
}

/** `none`, `read`, `read_write` or `custom` over the catalog; and for each action that is asked for. */
export function capabilitiesOf(
  key: KeyRecord,
  sets: readonly PolicySetRecord[],
  catalog: Catalog,
  asked: readonly Action[],
): object {
  const { enforced, shadow } = compileKey(key, sets);
  const actions = [...catalog.actions.values()];
  const allowed = new Set(actions.filter((action) => reach(actionLayer(enforced, action)) > 0));
  return {
    capabilities: key.revoked === true ? 'none' : summary(actions, allowed),
    actions: asked.map((action) => oneAction(action, enforced, shadow)),
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
  const old = compileKey(key, before).enforced;
  const now = compileKey(then, after).enforced;
  const more = [...catalog.actions.values()]
    .filter((action) => {
      const was = actionLayer(old, action);
      const is = actionLayer(now, action);
      // Fewer denies of objects, or other constraints, may show more too.
      const other = reach(was) === 1 && reach(is) === 1 && !sameConstraints(was, is);
      return reach(is) > reach(was) || other;
    })
    .map(({ name }) => name);
  if (more.length === 0) return [];
  const rest = more.length > NAMED ? ` and ${more.length - NAMED} more` : '';
  return [
    `key \`${key.id}\` may then do more than before: ${more.slice(0, NAMED).join(', ')}${rest}`,
  ];
}

function sameConstraints(one: ActionPolicy, other: ActionPolicy): boolean {
  const text = ({ named, macro }: ActionPolicy): string =>
    JSON.stringify(
      [named, macro].map((rules) =>
        [...(rules?.allowIf ?? []), ...(rules?.denyIf ?? [])].map(({ effect, constraints }) => [
          effect,
          constraints.map(({ key, required }) => [key, [...required]]),
        ]),
      ),
    );
  return text(one) === text(other);
}
