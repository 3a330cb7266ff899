/** Changes that would allow what the rules of a key deny or hide. */
import { READONLY, compileKey, mayBeConstrained, type KeyFacts } from './abac.ts';
import type { Action } from './action.ts';
import { decide } from './decide.ts';
import type { Decision, Facts } from './decision.ts';
import type { Missing } from './explanation.ts';
import type { Request, Scalar } from './model.ts';
import type { KeyRecord, PolicySetRecord, RuleRecord } from './records.ts';
import type { Meter, Steps } from './steps.ts';

interface Denied {
  readonly request: Request;
  readonly facts: Facts;
  readonly key: KeyFacts;
  readonly decision: Decision;
  readonly action: Action;
}

interface Candidate extends Missing {
  readonly facts?: Facts;
  readonly request?: Request;
}

/** Each candidate is tried by a new decision, which evaluates every rule of the action. */
export function* missingForKey(denied: Denied, meter: Meter): Steps<readonly Missing[]> {
  const { decision, key, action, request, facts } = denied;
  const denying = decision.reason === 'ACTION_DENIED' ? decision.actionRule : decision.objectRule;
  if (denying?.effect !== 'deny') return [];
  const sets = yield* relevantSets(key.sets, action, meter);
  const rules = sets.reduce((sum, set) => sum + set.rules.length, 0);
  const missing: Missing[] = [];
  for (const { kind, text, ...changed } of candidates(denied, denying, sets)) {
    if (meter.isOver) break;
    if (meter.isStepDue(rules + 16)) meter.isLate ||= yield;
    if (decide(changed.request ?? request, changed.facts ?? facts).allowed)
      missing.push({ kind, text });
  }
  return missing;
}

/** The sets reduced to rules of the action: other rules do not affect it. */
function* relevantSets(
  sets: readonly PolicySetRecord[],
  action: Action,
  meter: Meter,
): Steps<readonly PolicySetRecord[]> {
  const relevant: PolicySetRecord[] = [];
  for (const set of sets) {
    const rules: RuleRecord[] = [];
    for (const rule of set.rules) {
      if (meter.isStepDue(rule.actions.length)) meter.isLate ||= yield;
      if (names(rule, action)) rules.push(rule);
    }
    relevant.push({ ...set, rules });
  }
  return relevant;
}

function names({ actions }: RuleRecord, action: Action): boolean {
  // A request can have the bare action `readonly`; in a rule this word is the macro.
  const isNamed = action.name !== READONLY && actions.includes(action.name);
  return isNamed || (action.readonly && actions.includes(READONLY));
}

function* candidates(
  { request, facts, key, action }: Denied,
  denying: { readonly set: string; readonly id: string },
  sets: readonly PolicySetRecord[],
): Generator<Candidate> {
  const { record } = key;
  const withKey = (changed: KeyRecord, changedSets: readonly PolicySetRecord[]): Facts => ({
    ...facts,
    key: compileKey(changed, changedSets),
  });
  if (denying.set !== '') {
    yield {
      kind: 'rule_removal',
      text: `policy set ${denying.set} without its rule ${denying.id}`,
      facts: withKey(record, withoutRule(sets, denying.set, denying.id)),
    };
    return;
  }
  if (record.mode !== 'enforce')
    yield {
      kind: 'mode',
      text: `key ${record.id} in mode enforce (it is ${record.mode}, so only its base role counts)`,
      facts: withKey({ ...record, mode: 'enforce' }, sets),
    };
  for (const set of sets)
    if (set.mode !== 'enforce')
      yield {
        kind: 'mode',
        text: `policy set ${set.name} in mode enforce (it is ${set.mode})`,
        facts: withKey(record, [{ ...set, mode: 'enforce' }, ...sets.filter((s) => s !== set)]),
      };
  yield* attributeValues(request, sets, action);
  const rule: RuleRecord = { id: 'missing', effect: 'allow', actions: [action.name] };
  const added: PolicySetRecord = { name: 'missing', mode: 'enforce', version: 1, rules: [rule] };
  yield {
    kind: 'rule',
    text: `a rule that allows ${action.name}, in an enforced policy set of key ${record.id}`,
    facts: withKey(record, [...sets, added]),
  };
}

function withoutRule(
  sets: readonly PolicySetRecord[],
  name: string,
  ruleId: string,
): readonly PolicySetRecord[] {
  return sets.map((set) =>
    set.name === name ? { ...set, rules: set.rules.filter(({ id }) => id !== ruleId) } : set,
  );
}

/** Objects that a constrained allow would show if they had the required value set. */
function* attributeValues(
  request: Request,
  sets: readonly PolicySetRecord[],
  action: Action,
): Generator<Candidate> {
  const { resource } = request;
  if (!mayBeConstrained(action) || resource.sources.length > 0) return;
  for (const set of sets)
    for (const rule of set.rules)
      for (const [key, values] of rule.attributes ?? []) {
        const attributes = new Map<string, readonly Scalar[]>(resource.attributes);
        yield {
          kind: 'attribute',
          text: `${key} of exactly ${JSON.stringify(values)} on the object (rule ${set.name}/${rule.id})`,
          request: {
            ...request,
            resource: { ...resource, attributes: attributes.set(key, values) },
          },
        };
      }
}
