/**
 * Explain: the same evidence as `decide`, listed in full. The facts of each model are collected again from the records
 * instead of the compiled maps; a property test checks that both agree.
 */
import { READONLY, mayBeConstrained, type KeyFacts } from './abac.ts';
import { NO_LEVEL, permissionOf, resolveAction, treeActionOf, type Action } from './action.ts';
import { compileConstraints, holds } from './attributes.ts';
import { decide } from './decide.ts';
import type { Facts } from './decision.ts';
import { evidenceLayers } from './evidence.ts';
import {
  FactList,
  ruleRef,
  type Explanation,
  type Fact,
  type Layer,
  type LayerName,
  type LayerVerdict,
} from './explanation.ts';
import { missingFacts } from './missing.ts';
import type { Request, Resource } from './model.ts';
import type { PolicySetRecord, RuleRecord } from './records.ts';
import { Meter, finish, type Steps } from './steps.ts';
import type { Directory, SubjectFacts } from './subject.ts';

/** Units of work of one Explain; candidates beyond it are not tried, and the answer is not complete (ADM-11). */
const MAX_WORK = 5_000_000;

/** All steps at once, for callers that block nobody. */
export function explain(request: Request, facts: Facts, directory: Directory): Explanation {
  return finish(explainInSteps(request, facts, directory));
}

/** The layers are always complete: their time is proportional to the subject's own facts. */
export function* explainInSteps(
  request: Request,
  facts: Facts,
  directory: Directory,
): Steps<Explanation> {
  const meter = new Meter(MAX_WORK);
  const decision = decide(request, facts);
  const layers = yield* layersOf(request, facts, meter);
  const { missing, isComplete } = yield* missingFacts(request, facts, decision, directory, meter);
  return { decision, layers, missing, missingComplete: isComplete };
}

function* layersOf(request: Request, facts: Facts, meter: Meter): Steps<Layer[]> {
  const layers: Layer[] = [];
  const say = (
    name: LayerName,
    verdict: LayerVerdict,
    summary: string,
    found: readonly Fact[] = [],
  ): void => void layers.push({ name, verdict, summary, facts: found });
  const { key, subject } = facts;
  if (key === 'invalid') {
    say('credential', 'deny', invalidKey(request));
    return layers;
  }
  if (key !== undefined)
    say('credential', 'allow', `key ${key.record.id}: ${key.record.role}, ${key.record.mode}`);
  if (!facts.tenantExists) {
    say('tenant', 'deny', `tenant ${request.tenant} has no state here`);
    return layers;
  }
  const action = resolveAction(facts.catalog, request.action, request.resource.type);
  if (action === undefined) {
    say('action', 'deny', `${request.action} is not in the action catalog`);
    return layers;
  }
  say('action', 'allow', describeAction(action));
  if (subject !== undefined) {
    say('subject', subject.inactive ? 'deny' : 'allow', describeSubject(subject));
    if (subject.inactive) return layers;
  }
  if (key !== undefined)
    layers.push(yield* abacLayer('abac_action', key, action, request.resource, meter));
  if (subject !== undefined)
    layers.push(...(yield* evidenceLayers(subject, facts, action, request, meter)));
  if (key !== undefined)
    layers.push(yield* abacLayer('abac_object', key, action, request.resource, meter));
  return layers;
}

function invalidKey({ keyId, subject }: Request): string {
  const name = keyId ?? 'the credential';
  return subject === undefined
    ? `${name} is not a key of this tenant`
    : `${name} is not a key of this tenant that may act for ${subject.type}:${subject.id}`;
}

function describeAction(action: Action): string {
  const parts = [
    action.readonly ? 'readonly' : 'mutating',
    action.verbs.length > 0 ? `permission ${permissionOf(action)}` : 'no permission',
    `tree ${treeActionOf(action) ?? 'none'}`,
    `acl ${action.acl ?? 'none'}`,
    ...(action.minLevel > NO_LEVEL ? [`level ${action.minLevel} or more`] : []),
  ];
  return `${action.name}: ${parts.join(', ')}`;
}

function describeSubject({ subject, record, inactive, groups }: SubjectFacts): string {
  const name = `${subject.type}:${subject.id}`;
  if (inactive) return `${name} is ${record?.deleted === true ? 'deleted' : 'suspended'}`;
  if (subject.type === 'user' && record === undefined)
    return `${name} has no record: only access lists can name it`;
  const held = [...groups.roles.keys(), ...groups.workspaces.keys()];
  return held.length === 0 ? `${name}, in no group` : `${name}, in ${held.join(', ')}`;
}

// ── the key's rules ─────────────────────────────────────────────────────────────────────────────

function* abacLayer(
  name: 'abac_action' | 'abac_object',
  key: KeyFacts,
  action: Action,
  resource: Resource,
  meter: Meter,
): Steps<Layer> {
  const counting = new FactList();
  const others = new FactList();
  const object = name === 'abac_object';
  let denied = false;
  let allowed = false;
  for (const set of key.sets) {
    const skipped = setSkipped(key.record.mode, set);
    if (meter.isStepDue(1)) meter.isLate ||= yield;
    if (skipped !== undefined) {
      if (others.takes('set_skipped'))
        others.add({ kind: 'set_skipped', text: `set ${set.name} does not count: ${skipped}` });
      continue;
    }
    for (const rule of set.rules) {
      if (meter.isStepDue(rule.actions.length)) meter.isLate ||= yield;
      const use = ruleUse(rule, action, resource, object);
      if (use === undefined) continue;
      if (use.counts && rule.effect === 'deny') denied = true;
      if (use.counts && rule.effect === 'allow') allowed = true;
      const kind = use.counts ? 'rule' : 'rule_skipped';
      const list = use.counts ? counting : others;
      if (list.takes(kind))
        list.add({
          kind,
          text: `${set.name}/${rule.id} (${rule.effect}) ${use.text}`,
          // A rule with attributes counts as exercised only if they matched.
          ...(use.counts && (object || rule.attributes === undefined)
            ? { ref: ruleRef(set.name, rule.id) }
            : {}),
        });
    }
  }
  const base: Fact[] =
    denied || allowed
      ? []
      : [{ kind: 'base_role', text: `no rule decides: the base role is ${key.record.role}` }];
  const verdict =
    denied || (!allowed && key.record.role === 'default_deny') ? ('deny' as const) : 'allow';
  const what = object ? 'object' : 'action';
  return {
    name,
    verdict,
    summary: `the ${what} is ${verdict === 'allow' ? (object ? 'visible' : 'permitted') : object ? 'hidden' : 'denied'}`,
    facts: [...counting.all(), ...others.all(), ...base],
  };
}

function setSkipped(keyMode: string, set: PolicySetRecord): string | undefined {
  if (keyMode !== 'enforce') return `the key is ${keyMode}`;
  return set.mode === 'enforce' ? undefined : `the set is ${set.mode}`;
}

/** Whether a rule for the action counts at this layer, and why; `undefined`: it does not match the action. */
function ruleUse(
  rule: RuleRecord,
  action: Action,
  resource: Resource,
  object: boolean,
): { readonly counts: boolean; readonly text: string } | undefined {
  // A request can have the bare action `readonly`; in a rule this word is the macro.
  const named = action.name !== READONLY && rule.actions.includes(action.name);
  if (!named && !(action.readonly && rule.actions.includes(READONLY))) return undefined;
  const how = `matches ${named ? action.name : `${action.name} by ${READONLY}`}`;
  const constraints = compileConstraints(rule.attributes);
  if (constraints.length === 0)
    return rule.effect === 'deny' && object
      ? { counts: false, text: `${how}, at the action layer` }
      : { counts: true, text: how };
  if (rule.effect === 'allow' && !mayBeConstrained(action))
    return { counts: false, text: `${how}, but has attributes and the action mutates` };
  if (!object)
    return rule.effect === 'allow'
      ? { counts: true, text: `${how}, for some objects` }
      : { counts: false, text: `${how}, for some objects only` };
  const failing = constraints.filter((constraint) => !holds(constraint, resource));
  return failing.length === 0
    ? { counts: true, text: `${how}, and its attributes hold` }
    : {
        counts: false,
        text: `${how}, but ${failing.map(({ key }) => key).join(', ')} does not equal what it requires`,
      };
}
