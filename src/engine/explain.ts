/**
 * Explain: the same evidence as `decide`, told in full. Each model's facts are collected a second time,
 * from the records instead of the compiled maps; a property test holds the two readings together.
 */
import { READONLY, mayBeConstrained } from './abac.ts';
import { ACL_KEYS, OWNER_KEY } from './acl.ts';
import {
  accessOf,
  NO_LEVEL,
  permissionOf,
  resolveAction,
  treeActionOf,
  type Access,
  type Action,
} from './action.ts';
import { compileConstraints, holds } from './attributes.ts';
import { decide } from './decide.ts';
import { missingFacts, type Missing } from './missing.ts';
import type { Decision, Facts, Request, Resource } from './model.ts';
import { covers } from './path.ts';
import type { GrantRow, PolicySetRecord, RuleRecord } from './records.ts';
import type { Directory, SubjectFacts } from './subject.ts';

export type LayerName =
  | 'credential'
  | 'tenant'
  | 'action'
  | 'subject'
  | 'min_level'
  | 'abac_action'
  | 'rbac'
  | 'tree'
  | 'acl'
  | 'access'
  | 'abac_object';

/** `silent`: the layer has nothing to say, or was not asked. */
export type LayerVerdict = 'allow' | 'deny' | 'silent';

export interface Fact {
  readonly kind:
    | 'permission'
    | 'superuser'
    | 'grant'
    | 'owner'
    | 'acl'
    | 'rule'
    | 'base_role'
    | 'set_skipped'
    | 'rule_skipped';
  readonly text: string;
  /** From the subject to the group that holds the fact, both included. */
  readonly chain?: readonly string[];
}

export interface Layer {
  readonly name: LayerName;
  readonly verdict: LayerVerdict;
  readonly summary: string;
  readonly facts: readonly Fact[];
}

export interface Explanation {
  readonly decision: Decision;
  /** In the order of COMB-1; the layers after the one that refused the request as such are left out. */
  readonly layers: readonly Layer[];
  readonly missing: readonly Missing[];
  /** False: more candidates exist than were tried. */
  readonly missingComplete: boolean;
}

export function explain(request: Request, facts: Facts, directory: Directory): Explanation {
  const decision = decide(request, facts);
  const { missing, complete } = missingFacts(request, facts, decision, directory);
  return { decision, layers: layersOf(request, facts), missing, missingComplete: complete };
}

function layersOf(request: Request, facts: Facts): Layer[] {
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
  if (key !== undefined) layers.push(abacLayer('abac_action', facts, action, request.resource));
  if (subject !== undefined) layers.push(...evidenceLayers(subject, facts, action, request));
  if (key !== undefined) layers.push(abacLayer('abac_object', facts, action, request.resource));
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

// ── the subject's evidence ──────────────────────────────────────────────────────────────────────

function evidenceLayers(
  subject: SubjectFacts,
  facts: Facts,
  action: Action,
  request: Request,
): Layer[] {
  const found = {
    rbac: rbacFacts(subject, action),
    tree: treeFacts(subject, action, request.resource.path),
    acl: aclFacts(subject, action, request.resource),
  };
  const access = accessOf(facts.catalog, action, request.resource.type);
  const granted = evaluate(access, (model) => found[model].length > 0);
  const level = levelLayer(subject, action);
  const isLevelReached = level?.verdict !== 'deny';
  const superuser: Fact[] = subject.superuser
    ? [{ kind: 'superuser', text: `${subject.subject.id} is a superuser` }]
    : [];
  return [
    ...(level === undefined ? [] : [level]),
    modelLayer('rbac', found.rbac, rbacSilence(action)),
    modelLayer('tree', found.tree, treeSilence(action, request.resource.path)),
    modelLayer('acl', found.acl, aclSilence(subject, action, request.resource)),
    {
      name: 'access',
      verdict: !isLevelReached ? 'silent' : granted || subject.superuser ? 'allow' : 'deny',
      summary: subject.superuser
        ? 'superuser: allowed'
        : `rule: ${showAccess(access)}${isLevelReached ? '' : ', not asked below the level'}`,
      facts: superuser,
    },
  ];
}

function modelLayer(name: 'rbac' | 'tree' | 'acl', facts: readonly Fact[], silence: string): Layer {
  if (facts.length === 0) return { name, verdict: 'silent', summary: silence, facts };
  return { name, verdict: 'allow', summary: `${facts.length} fact(s) allow it`, facts };
}

function evaluate(access: Access, says: (model: 'rbac' | 'tree' | 'acl') => boolean): boolean {
  if (typeof access === 'string') return says(access);
  return 'any' in access
    ? access.any.some((part) => evaluate(part, says))
    : access.all.every((part) => evaluate(part, says));
}

function showAccess(access: Access): string {
  if (typeof access === 'string') return access;
  return 'any' in access
    ? `any of (${access.any.map(showAccess).join(', ')})`
    : `all of (${access.all.map(showAccess).join(', ')})`;
}

function rbacFacts(facts: SubjectFacts, action: Action): Fact[] {
  const { groups } = facts;
  const chainTo = chainsOf(facts);
  if (action.verbs.length === 0) return [];
  return [...groups.roles.values()].flatMap((role) =>
    role.permissions
      .filter((permission) => permissionMatches(permission, action))
      .map((permission): Fact => ({
        kind: 'permission',
        text: `role ${role.id} carries ${permission}`,
        chain: chainTo(`role:${role.id}`),
      })),
  );
}

function permissionMatches(permission: string, action: Action): boolean {
  const [resource = '', verb = ''] = permission.split(':');
  return (
    (resource === '*' || resource === action.resource) &&
    (verb === '*' || action.verbs.includes(verb))
  );
}

function rbacSilence(action: Action): string {
  return action.verbs.length === 0
    ? `${action.name} has no permission`
    : `no role in the closure carries ${permissionOf(action)}`;
}

/** RBAC-3: the gate before the models; `undefined`: the action asks for no level. */
function levelLayer({ groups, superuser }: SubjectFacts, action: Action): Layer | undefined {
  if (action.minLevel === NO_LEVEL) return undefined;
  const roles = [...groups.roles.values()];
  const highest = roles.reduce((most, { level }) => Math.max(most, level), NO_LEVEL);
  const isReached = highest >= action.minLevel;
  const has =
    highest === NO_LEVEL
      ? 'no role is in the closure'
      : `the highest here is ${highest} (role ${roles.find(({ level }) => level === highest)?.id ?? ''})`;
  return {
    name: 'min_level',
    verdict: isReached || superuser ? 'allow' : 'deny',
    summary: `level ${action.minLevel} is required, ${!isReached && superuser ? 'but not of a superuser' : has}`,
    facts: [],
  };
}

function treeFacts(holder: SubjectFacts, action: Action, path: string | undefined): Fact[] {
  const { subject, record, groups } = holder;
  const chainTo = chainsOf(holder);
  const name = treeActionOf(action);
  if (path === undefined || name === undefined) return [];
  const covering = (rows: readonly GrantRow[]): readonly GrantRow[] =>
    rows.filter((row) => covers(row.path, path) && row.actions.some((held) => held === name));
  const show = (holder: string, row: GrantRow): string =>
    `${holder} has ${name} on '${row.path}'${row.grantor === '' ? '' : `, granted by ${row.grantor}`}`;
  const facts: Fact[] = (record?.owns ?? [])
    .filter((owned) => covers(owned, path))
    .map((owned) => ({ kind: 'owner', text: `${subject.id} owns '${owned}'` }));
  for (const row of covering(record?.grants ?? []))
    facts.push({ kind: 'grant', text: show(`user ${subject.id}`, row) });
  for (const [type, members] of [
    ['role', groups.roles],
    ['workspace', groups.workspaces],
  ] as const)
    for (const group of members.values())
      for (const row of covering(group.grants))
        facts.push({
          kind: 'grant',
          text: show(`${type} ${group.id}`, row),
          chain: chainTo(`${type}:${group.id}`),
        });
  return facts;
}

function treeSilence(action: Action, path: string | undefined): string {
  if (action.treeBit === 0) return `${action.name} has no tree action`;
  if (path === undefined) return 'the resource has no path';
  return `no grant or ownership of the closure covers ${treeActionOf(action) ?? ''} on '${path}'`;
}

function aclFacts({ subject, groups }: SubjectFacts, action: Action, resource: Resource): Fact[] {
  if (action.acl === undefined) return [];
  const keys = ACL_KEYS[action.acl];
  const facts: Fact[] = [];
  const look = (key: string, named: (value: string) => boolean): void => {
    for (const value of new Set(resource.attributes.get(key) ?? []))
      if (typeof value === 'string' && named(value))
        facts.push({ kind: 'acl', text: `${key} names ${value}` });
  };
  if (subject.type === 'user')
    for (const key of [OWNER_KEY, keys.user]) look(key, (id) => id === subject.id);
  look(keys.workspace, (id) => groups.workspaces.has(id));
  look(keys.role, (id) => groups.roles.has(id));
  return facts;
}

function aclSilence({ subject }: SubjectFacts, action: Action, resource: Resource): string {
  if (action.acl === undefined) return `${action.name} has no acl side`;
  const keys = [OWNER_KEY, ...Object.values(ACL_KEYS[action.acl])];
  return keys.some((key) => resource.attributes.has(key))
    ? `the object's ${action.acl} lists name neither ${subject.id} nor a group of its closure`
    : `the object has no ${action.acl} list`;
}

/** The shortest ways over membership from the subject to its groups, found in one walk. */
function chainsOf({ subject, record, groups }: SubjectFacts): (group: string) => readonly string[] {
  const start = `${subject.type}:${subject.id}`;
  const cameFrom = new Map<string, string>();
  const reached = new Set([start]);
  for (const at of reached) {
    const holder = at === start && record !== undefined ? record : groups.roles.get(at.slice(5));
    if (holder === undefined || at.startsWith('workspace:')) continue;
    for (const next of [
      ...holder.roles.map((id) => `role:${id}`),
      ...holder.workspaces.map((id) => `workspace:${id}`),
    ]) {
      if (!reached.has(next)) cameFrom.set(next, at);
      reached.add(next);
    }
  }
  return (group) => {
    const chain = [group];
    for (let at = cameFrom.get(group); at !== undefined; at = cameFrom.get(at)) chain.push(at);
    return chain.toReversed();
  };
}

// ── the key's rules ─────────────────────────────────────────────────────────────────────────────

function abacLayer(
  name: 'abac_action' | 'abac_object',
  { key }: Facts,
  action: Action,
  resource: Resource,
): Layer {
  if (key === undefined || key === 'invalid')
    return { name, verdict: 'silent', summary: 'no key', facts: [] };
  const facts: Fact[] = [];
  const object = name === 'abac_object';
  let denied = false;
  let allowed = false;
  for (const set of key.sets) {
    const skipped = setSkipped(key.record.mode, set);
    if (skipped !== undefined) {
      facts.push({ kind: 'set_skipped', text: `set ${set.name} does not count: ${skipped}` });
      continue;
    }
    for (const rule of set.rules) {
      const use = ruleUse(rule, action, resource, object);
      if (use === undefined) continue;
      if (use.counts && rule.effect === 'deny') denied = true;
      if (use.counts && rule.effect === 'allow') allowed = true;
      facts.push({
        kind: use.counts ? 'rule' : 'rule_skipped',
        text: `${set.name}/${rule.id} (${rule.effect}) ${use.text}`,
      });
    }
  }
  if (!denied && !allowed)
    facts.push({ kind: 'base_role', text: `no rule decides: the base role is ${key.record.role}` });
  const verdict =
    denied || (!allowed && key.record.role === 'default_deny') ? ('deny' as const) : 'allow';
  const what = object ? 'object' : 'action';
  return {
    name,
    verdict,
    summary: `the ${what} is ${verdict === 'allow' ? (object ? 'visible' : 'permitted') : object ? 'hidden' : 'denied'}`,
    facts,
  };
}

function setSkipped(keyMode: string, set: PolicySetRecord): string | undefined {
  if (keyMode !== 'enforce') return `the key is ${keyMode}`;
  return set.mode === 'enforce' ? undefined : `the set is ${set.mode}`;
}

/** Whether a rule that names the action counts at this layer, and why; `undefined`: it does not name it. */
function ruleUse(
  rule: RuleRecord,
  action: Action,
  resource: Resource,
  object: boolean,
): { readonly counts: boolean; readonly text: string } | undefined {
  // A request may say the bare word `readonly`; in a rule it is the macro and names no action.
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
