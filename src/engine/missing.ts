/**
 * For a denial: the single facts of which each would have allowed it. Every candidate is tried by deciding
 * again with the fact added, so that nothing is suggested that would not help.
 */
import { compileKey, mayBeConstrained, type KeyFacts } from './abac.ts';
import { ACL_KEYS } from './acl.ts';
import { permissionOf, resolveAction, treeActionOf, type Action } from './action.ts';
import { decide } from './decide.ts';
import type { Decision, Facts, Request, Scalar } from './model.ts';
import type { KeyRecord, PolicySetRecord, RuleRecord } from './records.ts';
import {
  compileGroup,
  compileUser,
  groupsOf,
  type Directory,
  type SubjectFacts,
} from './subject.ts';
import { compileGrants } from './tree.ts';

export interface Missing {
  readonly kind:
    | 'permission'
    | 'level'
    | 'membership'
    | 'grant'
    | 'acl'
    | 'attribute'
    | 'rule'
    | 'rule_removal'
    | 'mode'
    | 'active';
  readonly text: string;
}

/** Group records that one Explain looks through for missing memberships; beyond it the answer is marked incomplete. */
const MAX_GROUPS_READ = 50_000;

/** What is left of it. */
interface Budget {
  groups: number;
}

interface Candidate extends Missing {
  readonly facts?: Facts;
  readonly request?: Request;
}

export function missingFacts(
  request: Request,
  facts: Facts,
  decision: Decision,
  directory: Directory,
): { readonly missing: readonly Missing[]; readonly complete: boolean } {
  const action = resolveAction(facts.catalog, request.action, request.resource.type);
  if (decision.allowed || action === undefined) return { missing: [], complete: true };
  const missing: Missing[] = [];
  const budget: Budget = { groups: MAX_GROUPS_READ };
  for (const { kind, text, ...changed } of candidates(
    request,
    facts,
    decision,
    action,
    directory,
    budget,
  ))
    if (decide(changed.request ?? request, changed.facts ?? facts).allowed)
      missing.push({ kind, text });
  return { missing, complete: budget.groups >= 0 };
}

function* candidates(
  request: Request,
  facts: Facts,
  decision: Decision,
  action: Action,
  directory: Directory,
  budget: Budget,
): Generator<Candidate> {
  const { subject, key } = facts;
  if (decision.reason === 'SUBJECT_INACTIVE' && subject !== undefined)
    yield {
      kind: 'active',
      text: `user:${subject.subject.id} being active again`,
      facts: { ...facts, subject: { ...subject, inactive: false } },
    };
  if (decision.reason === 'NO_GRANT' && subject !== undefined)
    yield* forSubject(request, facts, subject, action, directory, budget);
  if (key !== undefined && key !== 'invalid') yield* forKey(request, facts, key, decision, action);
}

// ── a subject without evidence ──────────────────────────────────────────────────────────────────

function* forSubject(
  request: Request,
  facts: Facts,
  subject: SubjectFacts,
  action: Action,
  directory: Directory,
  budget: Budget,
): Generator<Candidate> {
  const { path } = request.resource;
  const tree = treeActionOf(action);
  const name = `${subject.subject.type}:${subject.subject.id}`;
  const withSubject = (changed: Partial<SubjectFacts>): Facts => ({
    ...facts,
    subject: { ...subject, ...changed },
  });
  if (path !== undefined && tree !== undefined) {
    const row = { path, actions: [tree], grantor: '', grantOption: false };
    yield {
      kind: 'grant',
      text: `a grant of ${tree} on '${path}' to ${name}`,
      facts: withSubject({ own: compileGrants([row]) }),
    };
  }
  yield* aclEntry(request, subject, action);
  yield* changedRoles(subject, action, withSubject);
  yield* memberships(subject, withSubject, directory, budget);
}

function* aclEntry(
  request: Request,
  { subject }: SubjectFacts,
  action: Action,
): Generator<Candidate> {
  if (action.acl === undefined) return;
  const key = ACL_KEYS[action.acl][subject.type];
  const attributes = new Map(request.resource.attributes);
  attributes.set(key, [...(attributes.get(key) ?? []), subject.id]);
  yield {
    kind: 'acl',
    text: `${subject.id} in the object's ${key}`,
    request: { ...request, resource: { ...request.resource, attributes } },
  };
}

/** A role of the closure with the permission, or the level, that it lacks. */
function* changedRoles(
  { groups }: SubjectFacts,
  action: Action,
  withSubject: (changed: Partial<SubjectFacts>) => Facts,
): Generator<Candidate> {
  const permission = permissionOf(action);
  const verbs = new Set(groups.permissions.get(action.resource)).add(action.verbs[0] ?? '');
  const permissions = new Map(groups.permissions).set(action.resource, verbs);
  const granted = withSubject({ groups: { ...groups, permissions } });
  const raised = withSubject({
    groups: { ...groups, level: Math.max(groups.level, action.minLevel) },
  });
  for (const { id, level } of groups.roles.values()) {
    if (action.verbs.length > 0)
      yield { kind: 'permission', text: `${permission} on role ${id}`, facts: granted };
    if (level < action.minLevel)
      yield { kind: 'level', text: `level ${action.minLevel} on role ${id}`, facts: raised };
  }
}

function* memberships(
  { subject, record, groups }: SubjectFacts,
  withSubject: (changed: Partial<SubjectFacts>) => Facts,
  directory: Directory,
  budget: Budget,
): Generator<Candidate> {
  if (subject.type === 'workspace') return;
  const direct =
    subject.type === 'role' ? { roles: [subject.id], workspaces: [] } : (record ?? NO_GROUPS_YET);
  for (const [type, all] of [
    ['role', directory.roles],
    ['workspace', directory.workspaces],
  ] as const)
    for (const id of all.keys()) {
      if (type === 'role' ? groups.roles.has(id) : groups.workspaces.has(id)) continue;
      const closure = type === 'role' ? directory.roles.get(id)?.closure : undefined;
      budget.groups -= groups.roles.size + (closure?.roles.length ?? 0) + 1;
      if (budget.groups < 0) return;
      const more = groupsOf(directory, {
        roles: [...direct.roles, ...(type === 'role' ? [id] : [])],
        workspaces: [...direct.workspaces, ...(type === 'workspace' ? [id] : [])],
      });
      const compiled =
        subject.type === 'user'
          ? compileUser(subject.id, record, more)
          : compileGroup(subject, more);
      yield {
        kind: 'membership',
        text: `${subject.type}:${subject.id} as a member of ${type} ${id}`,
        facts: withSubject(compiled),
      };
    }
}

const NO_GROUPS_YET = { roles: [], workspaces: [] };

// ── a key that is not permitted, or does not see the object ─────────────────────────────────────

function* forKey(
  request: Request,
  facts: Facts,
  key: KeyFacts,
  decision: Decision,
  action: Action,
): Generator<Candidate> {
  const denying = decision.reason === 'ACTION_DENIED' ? decision.actionRule : decision.objectRule;
  if (denying?.effect !== 'deny') return;
  const { record, sets } = key;
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

/** Objects that a constrained allow would show, had they the one value set that it requires. */
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
