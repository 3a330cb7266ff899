/** ABAC for API keys: base role, modes, policy sets, deny first (ABAC-1 to ABAC-9). */
import type { Action } from './action.ts';
import { allHold, compileConstraints, type Constraint } from './attributes.ts';
import type { Resource, Subject, Effect, KeyRole, Mode } from './model.ts';
import type { KeyRecord, PolicySetRecord } from './records.ts';

/** Macro of rules that matches every readonly action (ACT-5). */
export const READONLY = 'readonly';

export interface Rule {
  /** `''`: the base role of the key, which decides if no rule does. */
  readonly set: string;
  readonly id: string;
  readonly effect: 'allow' | 'deny';
  /** Empty: the rule matches every object. */
  readonly constraints: readonly Constraint[];
}

/** The rules for one action, by their effect. */
interface ActionRules {
  deny: Rule | undefined;
  allow: Rule | undefined;
  readonly denyIf: Rule[];
  readonly allowIf: Rule[];
}

/** The rules in force for a key, from all its sets that count. */
export interface RuleTable {
  readonly base: Rule;
  readonly named: ReadonlyMap<string, ActionRules>;
  /** Rules on `readonly`, expanded when a request is evaluated (ACT-5). */
  readonly macro: ActionRules;
}

export interface KeyFacts {
  /** Same as in `SubjectFacts`. */
  readonly stamp: Readonly<Record<string, never>>;
  readonly record: KeyRecord;
  readonly sets: readonly PolicySetRecord[];
  readonly enforced: RuleTable;
  /** The rules under full enforcement; `undefined` if they equal the enforced ones (ABAC-8). */
  readonly shadow: RuleTable | undefined;
}

/** Effect of each base role (ABAC-4). A new base role needs an entry here. */
const BASE_EFFECT: Readonly<Record<KeyRole, Effect>> = {
  default_allow: 'allow',
  default_deny: 'deny',
};

/** Compiles a key with the policy sets that are attached to it (ABAC-1, ABAC-7, ABAC-8). */
export function compileKey(record: KeyRecord, sets: readonly PolicySetRecord[]): KeyFacts {
  const counted = countsFor(record.mode, 'shadow')
    ? sets.filter(({ mode }) => countsFor(mode, 'shadow'))
    : [];
  const enforced = countsFor(record.mode, 'enforced')
    ? counted.filter(({ mode }) => countsFor(mode, 'enforced'))
    : [];
  const base: Rule = {
    set: '',
    id: record.role,
    effect: BASE_EFFECT[record.role],
    constraints: [],
  };
  return {
    stamp: {},
    record,
    sets,
    enforced: compileTable(base, enforced),
    shadow: counted.length === enforced.length ? undefined : compileTable(base, counted),
  };
}

/** ABAC-1: outcomes for which the rules of a mode count. No default: a new mode needs a case here. */
function countsFor(mode: Mode, outcome: 'enforced' | 'shadow'): boolean {
  switch (mode) {
    case 'off':
      return false;
    case 'report_only':
      return outcome === 'shadow';
    case 'enforce':
      return true;
  }
}

/** Subject of a key: a key that is bound to a user acts only for that user. */
export function actingSubject(
  { user }: KeyRecord,
  subject: Subject | undefined,
): Subject | undefined | 'mismatch' {
  if (user === undefined) return subject;
  if (subject === undefined) return { type: 'user', id: user };
  return subject.type === 'user' && subject.id === user ? subject : 'mismatch';
}

function compileTable(base: Rule, sets: readonly PolicySetRecord[]): RuleTable {
  const named = new Map<string, ActionRules>();
  const macro = noRules();
  for (const set of sets)
    for (const { id, effect, actions, attributes } of set.rules) {
      const constraints = compileConstraints(attributes);
      const rule: Rule = { set: set.name, id, effect, constraints };
      for (const action of actions) {
        const rules = action === READONLY ? macro : (named.get(action) ?? noRules());
        if (rules !== macro) named.set(action, rules);
        if (constraints.length === 0) rules[effect] ??= rule;
        else rules[`${effect}If`].push(rule);
      }
    }
  return { base, named, macro };
}

function noRules(): ActionRules {
  return { deny: undefined, allow: undefined, denyIf: [], allowIf: [] };
}

/** Whether a constrained allow may permit the action (ABAC-6). */
export function mayBeConstrained(action: Action): boolean {
  return action.readonly || action.objectScoped;
}

/** A key's rules for one action; the same for all objects. */
export interface ActionPolicy {
  readonly base: Rule;
  readonly named: ActionRules | undefined;
  /** The rules on `readonly`, if the action is readonly (ACT-5). */
  readonly macro: ActionRules | undefined;
  readonly constrainedAllow: boolean;
  /** The rule that decides the action layer. */
  readonly actionRule: Rule;
}

/**
 * The action layer (ABAC-4): whether the action is permitted at all. An unconstrained deny, else any allow, else
 * the base role.
 */
export function actionLayer(table: RuleTable, action: Action): ActionPolicy {
  const { base } = table;
  const named = table.named.get(action.name);
  const macro = action.readonly ? table.macro : undefined;
  const constrainedAllow = mayBeConstrained(action);
  const actionRule =
    named?.deny ??
    macro?.deny ??
    named?.allow ??
    macro?.allow ??
    (constrainedAllow ? (named?.allowIf[0] ?? macro?.allowIf[0]) : undefined) ??
    base;
  return { base, named, macro, constrainedAllow, actionRule };
}

/**
 * The object layer, for permitted actions (ABAC-5): the rule that decides whether this object is visible.
 * A constrained deny that holds, else an unconstrained allow or a constrained one that holds, else the base role.
 */
export function objectLayer(policy: ActionPolicy, resource: Resource): Rule {
  const { base, named, macro, constrainedAllow } = policy;
  return (
    firstHolding(named?.denyIf, resource) ??
    firstHolding(macro?.denyIf, resource) ??
    named?.allow ??
    macro?.allow ??
    (constrainedAllow
      ? (firstHolding(named?.allowIf, resource) ?? firstHolding(macro?.allowIf, resource))
      : undefined) ??
    base
  );
}

/** Number of rules that are evaluated for each object. */
export function rulesOf({ named, macro }: ActionPolicy): number {
  return (
    (named === undefined ? 0 : named.denyIf.length + named.allowIf.length) +
    (macro === undefined ? 0 : macro.denyIf.length + macro.allowIf.length)
  );
}

/** Whether the result of the object layer for these rules can depend on the object's metadata. */
export function looksAtMetadata({ named, macro, constrainedAllow }: ActionPolicy): boolean {
  const some = (rules: 'denyIf' | 'allowIf'): boolean =>
    (named?.[rules].length ?? 0) + (macro?.[rules].length ?? 0) > 0;
  const isOpen = named?.allow !== undefined || macro?.allow !== undefined;
  return some('denyIf') || (!isOpen && constrainedAllow && some('allowIf'));
}

function firstHolding(rules: readonly Rule[] | undefined, resource: Resource): Rule | undefined {
  // Most lists are empty, and Filter calls this for every object: even an iterator has a measurable cost.
  if (rules === undefined || rules.length === 0) return undefined;
  for (const rule of rules) if (allHold(rule.constraints, resource)) return rule;
  return undefined;
}
