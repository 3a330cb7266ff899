/** Explain's layers of a subject: the level, and what each model has for it, from the records. */
import { ACL_KEYS, OWNER_KEY } from './acl.ts';
import {
  NO_LEVEL,
  accessOf,
  permissionOf,
  treeActionOf,
  type Access,
  type Action,
} from './action.ts';
import {
  FactList,
  grantRef,
  ownerRef,
  permissionRef,
  type Fact,
  type Layer,
} from './explanation.ts';
import type { Facts, Model, Request, Resource } from './model.ts';
import { covers } from './path.ts';
import type { GrantRow } from './records.ts';
import type { Meter, Steps } from './steps.ts';
import type { SubjectFacts } from './subject.ts';

/** `min_level`, the three models and the `access` expression over them (RBAC-3, COMB-3). */
export function* evidenceLayers(
  subject: SubjectFacts,
  facts: Facts,
  action: Action,
  request: Request,
  meter: Meter,
): Steps<Layer[]> {
  const { path } = request.resource;
  const chainTo = lazyChains(subject, meter);
  const found: Readonly<Record<Model, readonly Fact[]>> = {
    rbac: yield* rbacFacts(subject, action, chainTo, meter),
    tree: yield* treeFacts(subject, action, path, chainTo, meter),
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
    modelLayer('tree', found.tree, treeSilence(action, path)),
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

/** The value of an `access` expression, each model's word given (COMB-3). */
export function evaluate(access: Access, says: (model: Model) => boolean): boolean {
  if (typeof access === 'string') return says(access);
  return 'any' in access
    ? access.any.some((part) => evaluate(part, says))
    : access.all.every((part) => evaluate(part, says));
}

function modelLayer(name: Model, facts: readonly Fact[], silence: string): Layer {
  if (facts.length === 0) return { name, verdict: 'silent', summary: silence, facts };
  return { name, verdict: 'allow', summary: `${facts.length} fact(s) allow it`, facts };
}

function showAccess(access: Access): string {
  if (typeof access === 'string') return access;
  return 'any' in access
    ? `any of (${access.any.map(showAccess).join(', ')})`
    : `all of (${access.all.map(showAccess).join(', ')})`;
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

// ── each model's facts ──────────────────────────────────────────────────────────────────────────

type ChainTo = (group: string) => Steps<readonly string[]>;

function* rbacFacts(
  { groups }: SubjectFacts,
  action: Action,
  chainTo: ChainTo,
  meter: Meter,
): Steps<readonly Fact[]> {
  const facts = new FactList();
  for (const role of groups.roles.values()) {
    if (meter.isStepDue(role.permissions.length + 1)) meter.isLate ||= yield;
    for (const permission of role.permissions) {
      if (!permissionMatches(permission, action) || !facts.takes('permission')) continue;
      const chain = yield* chainTo(`role:${role.id}`);
      facts.add({
        kind: 'permission',
        text: `role ${role.id} carries ${permission}`,
        ref: permissionRef(role.id, permission),
        chain,
      });
    }
  }
  return facts.all();
}

/** Whether a permission as it is written satisfies the action (RBAC-1, RBAC-2). */
export function permissionMatches(permission: string, action: Action): boolean {
  // An action without a permission has no verbs: not even `*:*` satisfies it (ACT-3).
  if (action.verbs.length === 0) return false;
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

function* treeFacts(
  { subject, record, groups }: SubjectFacts,
  action: Action,
  path: string | undefined,
  chainTo: ChainTo,
  meter: Meter,
): Steps<readonly Fact[]> {
  const name = treeActionOf(action);
  const facts = new FactList();
  if (path === undefined || name === undefined) return facts.all();
  const owns = record?.owns ?? [];
  if (meter.isStepDue(owns.length)) meter.isLate ||= yield;
  for (const owned of owns)
    if (covers(owned, path) && facts.takes('owner'))
      facts.add({
        kind: 'owner',
        text: `${subject.id} owns '${owned}'`,
        ref: ownerRef(owned),
      });
  const holders = [
    ...(record === undefined ? [] : [['user', record] as const]),
    ...[...groups.roles.values()].map((role) => ['role', role] as const),
    ...[...groups.workspaces.values()].map((workspace) => ['workspace', workspace] as const),
  ];
  for (const [type, { id, grants }] of holders) {
    if (meter.isStepDue(grants.length + 1)) meter.isLate ||= yield;
    for (const row of grants) {
      if (!grantCovers(row, name, path) || !facts.takes('grant')) continue;
      const by = row.grantor === '' ? '' : `, granted by ${row.grantor}`;
      const text = `${type} ${id} has ${name} on '${row.path}'${by}`;
      const ref = grantRef(`${type}:${id}`, row.path);
      facts.add(
        type === 'user'
          ? { kind: 'grant', text, ref }
          : { kind: 'grant', text, ref, chain: yield* chainTo(`${type}:${id}`) },
      );
    }
  }
  return facts.all();
}

/** Whether a grant row holds the tree action at the path (TREE-1). */
export function grantCovers(row: GrantRow, action: string, path: string): boolean {
  return covers(row.path, path) && row.actions.some((held) => held === action);
}

function treeSilence(action: Action, path: string | undefined): string {
  if (action.treeBit === 0) return `${action.name} has no tree action`;
  if (path === undefined) return 'the resource has no path';
  return `no grant or ownership of the closure covers ${treeActionOf(action) ?? ''} on '${path}'`;
}

function aclFacts(
  { subject, groups }: SubjectFacts,
  action: Action,
  resource: Resource,
): readonly Fact[] {
  if (action.acl === undefined) return [];
  const keys = ACL_KEYS[action.acl];
  const facts = new FactList();
  const look = (key: string, isNamed: (value: string) => boolean): void => {
    for (const value of new Set(resource.attributes.get(key) ?? []))
      if (typeof value === 'string' && isNamed(value) && facts.takes('acl'))
        facts.add({ kind: 'acl', text: `${key} names ${value}` });
  };
  if (subject.type === 'user')
    for (const key of [OWNER_KEY, keys.user]) look(key, (id) => id === subject.id);
  look(keys.workspace, (id) => groups.workspaces.has(id));
  look(keys.role, (id) => groups.roles.has(id));
  return facts.all();
}

function aclSilence({ subject }: SubjectFacts, action: Action, resource: Resource): string {
  if (action.acl === undefined) return `${action.name} has no acl side`;
  const keys = [OWNER_KEY, ...Object.values(ACL_KEYS[action.acl])];
  return keys.some((key) => resource.attributes.has(key))
    ? `the object's ${action.acl} lists name neither ${subject.id} nor a group of its closure`
    : `the object has no ${action.acl} list`;
}

/** Shortest chains over membership from the subject to its groups. One walk, made when the first one is asked for. */
function lazyChains(subject: SubjectFacts, meter: Meter): ChainTo {
  let cameFrom: ReadonlyMap<string, string> | undefined;
  return function* (group) {
    cameFrom ??= yield* walk(subject, meter);
    const chain = [group];
    for (let at = cameFrom.get(group); at !== undefined; at = cameFrom.get(at)) chain.push(at);
    return chain.toReversed();
  };
}

function* walk(
  { subject, record, groups }: SubjectFacts,
  meter: Meter,
): Steps<ReadonlyMap<string, string>> {
  const start = `${subject.type}:${subject.id}`;
  const cameFrom = new Map<string, string>();
  const reached = new Set([start]);
  for (const at of reached) {
    const holder = at === start && record !== undefined ? record : groups.roles.get(at.slice(5));
    if (holder === undefined || at.startsWith('workspace:')) continue;
    if (meter.isStepDue(holder.roles.length + holder.workspaces.length + 1)) meter.isLate ||= yield;
    const next = (group: string): void => {
      if (!reached.has(group)) cameFrom.set(group, at);
      reached.add(group);
    };
    for (const id of holder.roles) next(`role:${id}`);
    for (const id of holder.workspaces) next(`workspace:${id}`);
  }
  return cameFrom;
}
