/**
 * The oracle: the decision rules of Postern written down a second time, as slowly and as plainly as they read.
 *
 * It shares no code with the service. It takes the catalog and the state as they stand in their files, and walks
 * over the raw lists for every question. Each function names the rules it spells out.
 */

/** A value of an attribute. Scalars are typed: `5`, `"5"`, `true` and `1` are four different values (ABAC-3). */
export type Scalar = string | number | boolean;

/** A verb of the tree model (ACT-1). */
export type TreeVerb = 'read' | 'write' | 'create' | 'delete' | 'admin';

/** A tree verb as written in a file, where `update` is an alias of `write` (ACT-1). */
export type WrittenTreeVerb = TreeVerb | 'update';

/** A side of an object's ACL (ACT-1). */
export type AclSide = 'read' | 'write';

/** The access expression of a resource type (COMB-3). */
export type Access =
  | 'rbac'
  | 'tree'
  | 'acl'
  | { readonly any: readonly Access[] }
  | { readonly all: readonly Access[] };

/** An action of the catalog, as written (ACT-1). */
export interface CatalogAction {
  readonly name: string;
  readonly readonly?: boolean | undefined;
  readonly permission?: string | undefined;
  readonly tree?: WrittenTreeVerb | undefined;
  readonly acl?: AclSide | undefined;
  readonly min_level?: number | undefined;
  readonly object_scoped?: boolean | undefined;
}

/** The catalog file (ACT-1, COMB-3, RBAC-2). */
export interface CatalogFile {
  readonly actions: readonly CatalogAction[];
  readonly resource_types?: Readonly<Record<string, { readonly access: Access }>> | undefined;
  readonly implies?: Readonly<Record<string, readonly string[]>> | undefined;
}

/** A user of a state file. */
export interface StateUser {
  readonly id: string;
  readonly type?: string | undefined;
  readonly superuser?: boolean | undefined;
  readonly createrole?: boolean | undefined;
  readonly suspended?: boolean | undefined;
  readonly deleted?: boolean | undefined;
  readonly roles?: readonly string[] | undefined;
  readonly workspaces?: readonly string[] | undefined;
}

/** A role of a state file. `roles` and `workspaces` are the groups it is a member of. */
export interface StateRole {
  readonly id: string;
  readonly level?: number | undefined;
  readonly permissions?: readonly string[] | undefined;
  readonly members?: readonly string[] | undefined;
  readonly roles?: readonly string[] | undefined;
  readonly workspaces?: readonly string[] | undefined;
}

/** A workspace of a state file. */
export interface StateWorkspace {
  readonly id: string;
  readonly members?: readonly string[] | undefined;
}

/** A grant row of a state file (TREE-1, TREE-3). */
export interface StateGrant {
  readonly principal: string;
  readonly path: string;
  readonly actions: readonly WrittenTreeVerb[];
  readonly grantor?: string | undefined;
  readonly grant_option?: boolean | undefined;
}

/** An owner row of a state file (TREE-2). */
export interface StateOwner {
  readonly path: string;
  readonly owner: string;
}

/** The mode of a key or of a policy set (ABAC-1). */
export type Mode = 'off' | 'report_only' | 'enforce';

/** A rule of a policy set (ABAC-2). */
export interface StateRule {
  readonly id: string;
  readonly effect: 'allow' | 'deny';
  readonly actions: readonly string[];
  readonly attributes?: Readonly<Record<string, readonly Scalar[]>> | undefined;
}

/** A policy set of a state file (ABAC-1, ABAC-2). */
export interface StatePolicySet {
  readonly name: string;
  readonly mode: Mode;
  readonly rules: readonly StateRule[];
}

/** An API key of a state file (ABAC-1). */
export interface StateKey {
  readonly id: string;
  readonly role: 'default_allow' | 'default_deny';
  readonly mode: Mode;
  readonly policy_sets?: readonly string[] | undefined;
  readonly user?: string | undefined;
}

/** The state file of one tenant. */
export interface StateFile {
  readonly tenant: string;
  readonly users?: readonly StateUser[] | undefined;
  readonly roles?: readonly StateRole[] | undefined;
  readonly workspaces?: readonly StateWorkspace[] | undefined;
  readonly grants?: readonly StateGrant[] | undefined;
  readonly owners?: readonly StateOwner[] | undefined;
  readonly policy_sets?: readonly StatePolicySet[] | undefined;
  readonly keys?: readonly StateKey[] | undefined;
}

/** All that a decision depends on, besides the request. */
export interface World {
  readonly catalog: CatalogFile;
  readonly state: StateFile;
}

/** The kind of a principal. */
export type PrincipalType = 'user' | 'role' | 'workspace';

/** The attributes of a resource or of a source. */
export type Attributes = Readonly<Record<string, Scalar | readonly Scalar[]>>;

/** The resource of a request. An absent `path` differs from the root path `""` (TREE-5). */
export interface OracleResource {
  readonly type?: string | undefined;
  readonly id?: string | undefined;
  readonly path?: string | undefined;
  readonly attributes?: Attributes | undefined;
  readonly sources?: readonly { readonly attributes: Attributes }[] | undefined;
}

/** The subject of a request; its type is `user` unless said otherwise. */
export interface OracleSubject {
  readonly type?: PrincipalType | undefined;
  readonly id: string;
}

/** A well-formed check request. It has a subject, a key, or both (COMB-2). */
export interface OracleRequest {
  readonly tenant: string;
  readonly subject?: OracleSubject | undefined;
  readonly key_id?: string | undefined;
  readonly action: string;
  readonly resource?: OracleResource | undefined;
}

/** Why a request was allowed or denied (COMB-6). */
export type OracleReason =
  | 'ALLOWED'
  | 'ACTION_DENIED'
  | 'OBJECT_HIDDEN'
  | 'NO_GRANT'
  | 'UNKNOWN_ACTION'
  | 'SUBJECT_INACTIVE'
  | 'KEY_INVALID'
  | 'TENANT_MISMATCH';

/** The answer to a check. `shadow` is there only when it could differ (ABAC-8). */
export interface OracleDecision {
  readonly allowed: boolean;
  readonly reason: OracleReason;
  readonly shadow?: { readonly allowed: boolean; readonly differs: boolean };
}

/** A well-formed filter request (FILT-1). */
export interface OracleFilterRequest {
  readonly tenant: string;
  readonly subject?: OracleSubject | undefined;
  readonly key_id?: string | undefined;
  readonly action: string;
  readonly objects: readonly OracleResource[];
  readonly limit?: number | undefined;
  readonly offset?: number | undefined;
}

/** The answer to a filter (FILT-1 to FILT-4). */
export interface OracleFilterResult {
  readonly action_allowed: boolean;
  readonly allowed_indexes: readonly number[];
  readonly complete: boolean;
  readonly next_offset: number;
}

interface Principal {
  readonly type: PrincipalType;
  readonly id: string;
}

interface Action {
  /** The resolved name, which ABAC rules are compared with. */
  readonly name: string;
  readonly readonly: boolean;
  readonly permission: string | undefined;
  readonly tree: TreeVerb | undefined;
  readonly acl: AclSide | undefined;
  readonly minLevel: number | undefined;
  readonly objectScoped: boolean;
}

// ---------------------------------------------------------------------------------------------------------------
// The combining rule
// ---------------------------------------------------------------------------------------------------------------

/**
 * Decides one request, in the order of COMB-1.
 *
 * Rules: COMB-1, COMB-2, COMB-6, ABAC-1, ABAC-7, ABAC-8.
 */
export function decide(world: World, request: OracleRequest): OracleDecision {
  const { state } = world;

  // COMB-1: look up the key.
  let key: StateKey | undefined;
  let subject: Principal | undefined =
    request.subject === undefined
      ? undefined
      : { type: request.subject.type ?? 'user', id: request.subject.id };
  if (request.key_id !== undefined) {
    if (request.tenant !== state.tenant) {
      return { allowed: false, reason: 'KEY_INVALID' };
    }
    key = (state.keys ?? []).find((candidate) => candidate.id === request.key_id);
    if (key === undefined) {
      return { allowed: false, reason: 'KEY_INVALID' };
    }
    if (key.user !== undefined) {
      // A key with a user acts on behalf of that user, and of no one else.
      const bound: Principal = { type: 'user', id: userIdOf(key.user) };
      if (subject === undefined) {
        subject = bound;
      } else if (!samePrincipal(subject, bound)) {
        return { allowed: false, reason: 'KEY_INVALID' };
      }
    }
  }
  if (key === undefined && subject === undefined) {
    throw new Error('INVALID_ARGUMENT: a request needs a subject or a key (COMB-2)');
  }

  // COMB-1: tenant match.
  if (request.tenant !== state.tenant) {
    return { allowed: false, reason: 'TENANT_MISMATCH' };
  }

  // COMB-1: unknown action.
  const resource = request.resource ?? {};
  const action = resolveAction(world.catalog, request.action, typeOf(resource));
  if (action === undefined) {
    return { allowed: false, reason: 'UNKNOWN_ACTION' };
  }

  // COMB-1: deleted or suspended subject.
  if (subject !== undefined && isInactive(state, subject)) {
    return { allowed: false, reason: 'SUBJECT_INACTIVE' };
  }

  // COMB-1: the ABAC action layer, the subject evidence, the ABAC object layer.
  if (key === undefined) {
    const reason = combine(world, subject, undefined, [], action, resource);
    return { allowed: reason === 'ALLOWED', reason };
  }

  const attached = attachedSets(state, key);

  // ABAC-1: a set counts for the enforced outcome iff key and set are both `enforce`.
  const enforced = key.mode === 'enforce' ? attached.filter((set) => set.mode === 'enforce') : [];
  const reason = combine(world, subject, key, enforced, action, resource);
  const allowed = reason === 'ALLOWED';

  // ABAC-1: a set counts for the shadow outcome iff neither is `off`.
  const notOff = key.mode === 'off' ? [] : attached.filter((set) => set.mode !== 'off');
  const couldDiffer =
    notOff.length > 0 &&
    (key.mode === 'report_only' || notOff.some((set) => set.mode === 'report_only'));
  if (!couldDiffer) {
    return { allowed, reason };
  }
  const shadowAllowed = combine(world, subject, key, notOff, action, resource) === 'ALLOWED';
  return {
    allowed,
    reason,
    shadow: { allowed: shadowAllowed, differs: shadowAllowed !== allowed },
  };
}

/** COMB-1, COMB-2, COMB-6: the three layers, for a given list of policy sets that count. */
function combine(
  world: World,
  subject: Principal | undefined,
  key: StateKey | undefined,
  sets: readonly StatePolicySet[],
  action: Action,
  resource: OracleResource,
): OracleReason {
  if (key !== undefined && !actionLayerPermits(key, sets, action)) {
    return 'ACTION_DENIED';
  }
  if (subject !== undefined && !subjectEvidence(world, subject, action, resource)) {
    return 'NO_GRANT';
  }
  if (key !== undefined && !objectLayerShows(key, sets, action, resource)) {
    return 'OBJECT_HIDDEN';
  }
  return 'ALLOWED';
}

/** RBAC-3, COMB-3: a superuser is allowed; otherwise the level is asked, then the access expression over the models. */
function subjectEvidence(
  world: World,
  subject: Principal,
  action: Action,
  resource: OracleResource,
): boolean {
  if (isSuperuser(world.state, subject)) {
    return true;
  }
  if (!hasLevel(world.state, subject, action)) {
    return false;
  }
  return holds(accessOf(world.catalog, action, resource), models(world, subject, action, resource));
}

/** RBAC-3: some role of the closure has the level that the action asks for, or a higher one. */
function hasLevel(state: StateFile, subject: Principal, action: Action): boolean {
  const needed = action.minLevel;
  if (needed === undefined) {
    return true;
  }
  const closure = closureOf(state, subject);
  for (const role of state.roles ?? []) {
    if (contains(closure, { type: 'role', id: role.id }) && (role.level ?? 0) >= needed) {
      return true;
    }
  }
  return false;
}

/** COMB-3: the access expression of the resource's type. */
function accessOf(catalog: CatalogFile, action: Action, resource: OracleResource): Access {
  // ACT-2: a request without a resource type has the action's resource part as its type: that of its name,
  // or of its permission where the name is a dotted one.
  const type =
    typeOf(resource) ??
    splitPair(action.name)?.resource ??
    splitPair(action.permission ?? '')?.resource;
  for (const [name, entry] of Object.entries(catalog.resource_types ?? {})) {
    if (name === type) {
      return entry.access;
    }
  }
  return { any: ['rbac', 'tree', 'acl'] };
}

interface ModelVerdicts {
  readonly rbac: boolean;
  readonly tree: boolean;
  readonly acl: boolean;
}

/** COMB-3: the value of an access expression. */
function holds(access: Access, verdicts: ModelVerdicts): boolean {
  if (access === 'rbac') {
    return verdicts.rbac;
  }
  if (access === 'tree') {
    return verdicts.tree;
  }
  if (access === 'acl') {
    return verdicts.acl;
  }
  if ('any' in access) {
    return access.any.some((part) => holds(part, verdicts));
  }
  return access.all.every((part) => holds(part, verdicts));
}

/** What each of the three models says about a subject; a group that has no record has no evidence (ACL-4). */
function models(
  world: World,
  subject: Principal,
  action: Action,
  resource: OracleResource,
): ModelVerdicts {
  const { catalog, state } = world;
  if (subject.type !== 'user' && !hasRecord(state, subject)) {
    return { rbac: false, tree: false, acl: false };
  }
  const closure = closureOf(state, subject);
  return {
    rbac: rbacAllows(catalog, state, closure, action),
    tree: treeAllows(state, subject, closure, action, resource),
    acl: aclAllows(subject, closure, action, resource),
  };
}

/**
 * What each of the three models says by itself about the subject of a request that has one (RBAC, TREE, ACL rules).
 * No part of a decision: for tests that want to know which evidence there was. `undefined` if no model is asked.
 */
export function evidence(
  world: World,
  request: OracleRequest,
): { readonly rbac: boolean; readonly tree: boolean; readonly acl: boolean } | undefined {
  const resource = request.resource ?? {};
  const action = resolveAction(world.catalog, request.action, typeOf(resource));
  if (action === undefined || request.subject === undefined) {
    return undefined;
  }
  return models(
    world,
    { type: request.subject.type ?? 'user', id: request.subject.id },
    action,
    resource,
  );
}

// ---------------------------------------------------------------------------------------------------------------
// Filter
// ---------------------------------------------------------------------------------------------------------------

/**
 * Filters a list of objects: one decision for each object, in input order.
 *
 * Rules: FILT-1, FILT-2, FILT-3, FILT-4.
 */
export function filter(world: World, request: OracleFilterRequest): OracleFilterResult {
  const { tenant, subject, key_id, action } = request;
  const decisions = request.objects.map((resource) =>
    decide(world, { tenant, subject, key_id, action, resource }),
  );

  // FILT-2: an action-level denial is one that every object meets.
  const asked =
    decisions.length > 0 ? decisions : [decide(world, { tenant, subject, key_id, action })];
  const actionAllowed = !asked.every((decision) => isActionLevel(decision.reason));

  // FILT-1, FILT-3: the visible objects from the offset on, at most `limit` of them.
  const offset = request.offset ?? 0;
  const limit = request.limit ?? 0;
  const visible: number[] = [];
  decisions.forEach((decision, index) => {
    if (index >= offset && decision.allowed) {
      visible.push(index);
    }
  });
  const returned = limit === 0 ? visible : visible.slice(0, limit);

  // FILT-3, FILT-4: the next visible object, if there is one.
  const next = visible[returned.length];
  return {
    action_allowed: actionAllowed,
    allowed_indexes: returned,
    complete: next === undefined,
    next_offset: next ?? 0,
  };
}

/** FILT-2: the reasons that do not depend on the object. */
function isActionLevel(reason: OracleReason): boolean {
  return (
    reason === 'KEY_INVALID' ||
    reason === 'TENANT_MISMATCH' ||
    reason === 'UNKNOWN_ACTION' ||
    reason === 'SUBJECT_INACTIVE' ||
    reason === 'ACTION_DENIED'
  );
}

// ---------------------------------------------------------------------------------------------------------------
// Actions
// ---------------------------------------------------------------------------------------------------------------

/** ACT-1 to ACT-4: what an action string of a request stands for; `undefined` is an unknown action. */
function resolveAction(
  catalog: CatalogFile,
  asked: string,
  resourceType: string | undefined,
): Action | undefined {
  // ACT-1: the catalog, by exact name.
  const entry = catalog.actions.find((candidate) => candidate.name === asked);
  if (entry !== undefined) {
    return cataloguedAction(entry);
  }
  // ACT-2: `resource:verb` needs no catalog entry.
  const pair = splitPair(asked);
  if (pair !== undefined) {
    return derivedAction(asked, pair.verb);
  }
  // ACT-4: a dotted name that is not in the catalog.
  if (asked.includes('.')) {
    return undefined;
  }
  // ACT-3: a bare verb with a resource type.
  if (resourceType !== undefined) {
    return resolveAction(catalog, `${resourceType}:${asked}`, undefined);
  }
  // ACT-3: a bare verb without a resource type has no permission but keeps its tree action.
  return { ...derivedAction(asked, asked), permission: undefined };
}

/** ACT-1: a catalogued action. A name `resource:verb` fills what is not declared from ACT-2. */
function cataloguedAction(entry: CatalogAction): Action {
  const pair = splitPair(entry.name);
  const derived = pair === undefined ? undefined : derivedAction(entry.name, pair.verb);
  return {
    name: entry.name,
    readonly: entry.readonly ?? derived?.readonly ?? false,
    permission: entry.permission ?? derived?.permission,
    tree: entry.tree === undefined ? derived?.tree : treeVerb(entry.tree),
    acl: entry.acl ?? derived?.acl,
    minLevel: entry.min_level,
    objectScoped: entry.object_scoped ?? false,
  };
}

/** ACT-2: an action `resource:verb`. */
function derivedAction(name: string, verb: string): Action {
  return {
    name,
    readonly: verb === 'read',
    permission: name,
    tree: treeVerb(verb),
    acl: verb === 'read' ? 'read' : 'write',
    minLevel: undefined,
    objectScoped: false,
  };
}

/** ACT-1: the tree verb of a word, if it has one; `update` is an alias of `write`. */
function treeVerb(word: string): TreeVerb | undefined {
  if (word === 'update') {
    return 'write';
  }
  if (
    word === 'read' ||
    word === 'write' ||
    word === 'create' ||
    word === 'delete' ||
    word === 'admin'
  ) {
    return word;
  }
  return undefined;
}

/** The two sides of `resource:verb`, parted at the first colon. */
function splitPair(text: string): { readonly resource: string; readonly verb: string } | undefined {
  const colon = text.indexOf(':');
  if (colon < 0) {
    return undefined;
  }
  return { resource: text.slice(0, colon), verb: text.slice(colon + 1) };
}

/** The resource type of a request; an empty one is none. */
function typeOf(resource: OracleResource): string | undefined {
  return resource.type === '' ? undefined : resource.type;
}

// ---------------------------------------------------------------------------------------------------------------
// Principals
// ---------------------------------------------------------------------------------------------------------------

function samePrincipal(one: Principal, other: Principal): boolean {
  return one.type === other.type && one.id === other.id;
}

function contains(principals: readonly Principal[], principal: Principal): boolean {
  return principals.some((candidate) => samePrincipal(candidate, principal));
}

/** A user id as written for an owner or for a key: `alice` or `user:alice`. */
function userIdOf(written: string): string {
  return written.startsWith('user:') ? written.slice('user:'.length) : written;
}

/** A reference to a principal: `user:x`, `role:x`, `workspace:x`, or a bare `x` where only one principal has it. */
function resolveRef(state: StateFile, ref: string): Principal {
  for (const type of ['user', 'role', 'workspace'] as const) {
    if (ref.startsWith(`${type}:`)) {
      return { type, id: ref.slice(type.length + 1) };
    }
  }
  const found: Principal[] = [];
  for (const type of ['user', 'role', 'workspace'] as const) {
    if (hasRecord(state, { type, id: ref })) {
      found.push({ type, id: ref });
    }
  }
  const only = found[0];
  if (only === undefined || found.length > 1) {
    throw new Error(`invalid state: ${found.length} principals are called ${JSON.stringify(ref)}`);
  }
  return only;
}

function hasRecord(state: StateFile, principal: Principal): boolean {
  if (principal.type === 'user') {
    return (state.users ?? []).some((user) => user.id === principal.id);
  }
  if (principal.type === 'role') {
    return (state.roles ?? []).some((role) => role.id === principal.id);
  }
  return (state.workspaces ?? []).some((workspace) => workspace.id === principal.id);
}

/** ACL-4, COMB-1: a user that was deleted or suspended. */
function isInactive(state: StateFile, subject: Principal): boolean {
  return (state.users ?? []).some(
    (user) =>
      subject.type === 'user' &&
      user.id === subject.id &&
      (user.deleted === true || user.suspended === true),
  );
}

/** COMB-3: a user whose own record has the flag. */
function isSuperuser(state: StateFile, subject: Principal): boolean {
  return (state.users ?? []).some(
    (user) => subject.type === 'user' && user.id === subject.id && user.superuser === true,
  );
}

/** Section 1: a principal together with every group reachable over membership. */
function closureOf(state: StateFile, start: Principal): readonly Principal[] {
  const groups: Principal[] = [];
  for (const role of state.roles ?? []) {
    groups.push({ type: 'role', id: role.id });
  }
  for (const workspace of state.workspaces ?? []) {
    groups.push({ type: 'workspace', id: workspace.id });
  }

  const closure: Principal[] = [start];
  let grew = true;
  while (grew) {
    grew = false;
    for (const group of groups) {
      if (
        !contains(closure, group) &&
        closure.some((member) => isDirectMember(state, member, group))
      ) {
        closure.push(group);
        grew = true;
      }
    }
  }
  return closure;
}

/** Section 1: is there an edge member → group? It may be written on either side. */
function isDirectMember(state: StateFile, member: Principal, group: Principal): boolean {
  // Written on the member.
  for (const user of state.users ?? []) {
    if (samePrincipal(member, { type: 'user', id: user.id })) {
      if (group.type === 'role' && (user.roles ?? []).includes(group.id)) {
        return true;
      }
      if (group.type === 'workspace' && (user.workspaces ?? []).includes(group.id)) {
        return true;
      }
    }
  }
  for (const role of state.roles ?? []) {
    if (samePrincipal(member, { type: 'role', id: role.id })) {
      if (group.type === 'role' && (role.roles ?? []).includes(group.id)) {
        return true;
      }
      if (group.type === 'workspace' && (role.workspaces ?? []).includes(group.id)) {
        return true;
      }
    }
  }
  // Written on the group.
  for (const role of state.roles ?? []) {
    if (samePrincipal(group, { type: 'role', id: role.id })) {
      if ((role.members ?? []).some((ref) => samePrincipal(resolveRef(state, ref), member))) {
        return true;
      }
    }
  }
  for (const workspace of state.workspaces ?? []) {
    if (samePrincipal(group, { type: 'workspace', id: workspace.id })) {
      if ((workspace.members ?? []).some((ref) => samePrincipal(resolveRef(state, ref), member))) {
        return true;
      }
    }
  }
  return false;
}

// ---------------------------------------------------------------------------------------------------------------
// RBAC
// ---------------------------------------------------------------------------------------------------------------

/** RBAC-1, RBAC-2. */
function rbacAllows(
  catalog: CatalogFile,
  state: StateFile,
  closure: readonly Principal[],
  action: Action,
): boolean {
  const needed = action.permission;
  if (needed === undefined) {
    return false;
  }
  const roles = (state.roles ?? []).filter((role) =>
    contains(closure, { type: 'role', id: role.id }),
  );

  // RBAC-2: a role in the closure carries a permission that matches.
  return roles.some((role) =>
    (role.permissions ?? []).some((permission) => permissionMatches(catalog, permission, needed)),
  );
}

/** RBAC-1, RBAC-2: `*` stands for a whole segment of the permission held, never of the one needed (ID-3). */
function permissionMatches(catalog: CatalogFile, held: string, needed: string): boolean {
  const heldPair = splitPair(held);
  const neededPair = splitPair(needed);
  if (heldPair === undefined || neededPair === undefined) {
    return false;
  }
  const resourceMatches = heldPair.resource === '*' || heldPair.resource === neededPair.resource;
  const verbMatches =
    heldPair.verb === '*' || verbsGivenBy(catalog, heldPair.verb).includes(neededPair.verb);
  return resourceMatches && verbMatches;
}

/** RBAC-2: a verb, and every verb the catalog says it implies, and what those imply. */
function verbsGivenBy(catalog: CatalogFile, verb: string): readonly string[] {
  const given = [verb];
  let grew = true;
  while (grew) {
    grew = false;
    for (const [implying, implied] of Object.entries(catalog.implies ?? {})) {
      for (const other of implied) {
        if (given.includes(implying) && !given.includes(other)) {
          given.push(other);
          grew = true;
        }
      }
    }
  }
  return given;
}

// ---------------------------------------------------------------------------------------------------------------
// Tree grants
// ---------------------------------------------------------------------------------------------------------------

/** TREE-1 to TREE-5. */
function treeAllows(
  state: StateFile,
  subject: Principal,
  closure: readonly Principal[],
  action: Action,
  resource: OracleResource,
): boolean {
  const { path } = resource;
  if (path === undefined || action.tree === undefined) {
    return false;
  }

  // TREE-1, TREE-3: any one grant is enough.
  for (const grant of state.grants ?? []) {
    const gives = grant.actions.some((written) => treeVerb(written) === action.tree);
    if (
      gives &&
      covers(grant.path, path) &&
      contains(closure, resolveRef(state, grant.principal))
    ) {
      return true;
    }
  }

  // TREE-2: the owner of the path or of an ancestor has all five actions.
  for (const row of state.owners ?? []) {
    if (
      covers(row.path, path) &&
      samePrincipal(subject, { type: 'user', id: userIdOf(row.owner) })
    ) {
      return true;
    }
  }
  return false;
}

/** PATH-2: does path P cover path Q? */
function covers(p: string, q: string): boolean {
  return p === '' || p === q || q.startsWith(`${p}.`);
}

// ---------------------------------------------------------------------------------------------------------------
// Object ACL
// ---------------------------------------------------------------------------------------------------------------

/** ACL-1 to ACL-4. Always the resource's own attributes, never its sources (ABAC-9). */
function aclAllows(
  subject: Principal,
  closure: readonly Principal[],
  action: Action,
  resource: OracleResource,
): boolean {
  const side = action.acl;
  if (side === undefined) {
    return false;
  }
  const attributes = resource.attributes ?? {};

  if (subject.type === 'user') {
    // ACL-2: the owner.
    if (valuesOf(attributes, 'user_id').includes(subject.id)) {
      return true;
    }
    // ACL-2: the user list.
    if (valuesOf(attributes, `user_${side}_access`).includes(subject.id)) {
      return true;
    }
  }
  // ACL-2: a workspace or a role of the closure in its list.
  for (const principal of closure) {
    if (
      principal.type === 'workspace' &&
      valuesOf(attributes, `workspace_${side}_access`).includes(principal.id)
    ) {
      return true;
    }
    if (
      principal.type === 'role' &&
      valuesOf(attributes, `role_${side}_access`).includes(principal.id)
    ) {
      return true;
    }
  }
  return false;
}

/** ACL-1, ABAC-3, ABAC-9: the values under a key. A scalar is a list of one, a missing key is the empty list. */
function valuesOf(attributes: Attributes, key: string): readonly Scalar[] {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === key) {
      return typeof value === 'object' ? value : [value];
    }
  }
  return [];
}

// ---------------------------------------------------------------------------------------------------------------
// ABAC
// ---------------------------------------------------------------------------------------------------------------

/** ABAC-1: the sets attached to a key. */
function attachedSets(state: StateFile, key: StateKey): readonly StatePolicySet[] {
  return (key.policy_sets ?? []).map((name) => {
    const set = (state.policy_sets ?? []).find((candidate) => candidate.name === name);
    if (set === undefined) {
      throw new Error(`invalid state: there is no policy set ${JSON.stringify(name)}`);
    }
    return set;
  });
}

/** ABAC-4. */
function actionLayerPermits(
  key: StateKey,
  sets: readonly StatePolicySet[],
  action: Action,
): boolean {
  const rules = matchingRules(sets, action);
  if (rules.some((rule) => rule.effect === 'deny' && rule.attributes === undefined)) {
    return false;
  }
  if (rules.some((rule) => rule.effect === 'allow')) {
    return true;
  }
  return key.role === 'default_allow';
}

/** ABAC-5. */
function objectLayerShows(
  key: StateKey,
  sets: readonly StatePolicySet[],
  action: Action,
  resource: OracleResource,
): boolean {
  const rules = matchingRules(sets, action);
  if (rules.some((rule) => rule.effect === 'deny' && attributesHold(rule, resource))) {
    return false;
  }
  if (rules.some((rule) => rule.effect === 'allow' && attributesHold(rule, resource))) {
    return true;
  }
  return key.role === 'default_allow';
}

/** The rules that bear on an action (ABAC-2), without those that ABAC-6 ignores. */
function matchingRules(sets: readonly StatePolicySet[], action: Action): readonly StateRule[] {
  const matching: StateRule[] = [];
  for (const set of sets) {
    for (const rule of set.rules) {
      if (namesAction(rule, action) && !isIgnored(rule, action)) {
        matching.push(rule);
      }
    }
  }
  return matching;
}

/** ABAC-2, ACT-5: exact names, or `readonly`, which covers readonly actions and nothing else. */
function namesAction(rule: StateRule, action: Action): boolean {
  return rule.actions.some((written) =>
    written === 'readonly' ? action.readonly : written === action.name,
  );
}

/** ABAC-6: a constrained allow on an action that is neither readonly nor object-scoped. */
function isIgnored(rule: StateRule, action: Action): boolean {
  return (
    rule.effect === 'allow' &&
    rule.attributes !== undefined &&
    !action.readonly &&
    !action.objectScoped
  );
}

/** ABAC-3: every constraint holds; a rule without attributes has none to fail. */
function attributesHold(rule: StateRule, resource: OracleResource): boolean {
  return Object.entries(rule.attributes ?? {}).every(([key, required]) =>
    sameSet(effectiveValues(resource, key), required),
  );
}

/** ABAC-9: the union over all sources where there are any, otherwise the resource's own values. */
function effectiveValues(resource: OracleResource, key: string): readonly Scalar[] {
  const sources = resource.sources ?? [];
  if (sources.length > 0) {
    return sources.flatMap((source) => valuesOf(source.attributes, key));
  }
  return valuesOf(resource.attributes ?? {}, key);
}

/** ABAC-3: equality of sets of typed scalars; order and duplicates do not matter. */
function sameSet(one: readonly Scalar[], other: readonly Scalar[]): boolean {
  return one.every((value) => other.includes(value)) && other.every((value) => one.includes(value));
}
