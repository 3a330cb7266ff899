/**
 * Arbitrary worlds and requests for property tests.
 *
 * The vocabularies are small, so that ids, paths, actions and values meet often. Requests are drawn for a given
 * world and lean on what is in it. Every world is valid by the rules; every request is well-formed.
 */

import fc from '../support/fast-check.ts';
import type {
  Access,
  CatalogAction,
  CatalogFile,
  Mode,
  OracleFilterRequest,
  OracleRequest,
  OracleResource,
  OracleSubject,
  PrincipalType,
  Scalar,
  StateFile,
  StateGrant,
  StateKey,
  StateOwner,
  StatePolicySet,
  StateRole,
  StateRule,
  StateUser,
  StateWorkspace,
  World,
  WrittenTreeVerb,
} from './oracle.ts';

// ---------------------------------------------------------------------------------------------------------------
// Vocabularies
// ---------------------------------------------------------------------------------------------------------------

const TENANT = 'acme';

const IDS = [
  'alice',
  'bob',
  'carol',
  'Alice',
  'team',
  'eng',
  'admins',
  '5',
  'true',
  '*',
  '__proto__',
  'constructor',
  'toString',
  'hasOwnProperty',
] as const;
const WORKSPACE_IDS = [
  'w1',
  'w2',
  'alice',
  'team',
  'eng',
  '*',
  '__proto__',
  'constructor',
] as const;
const KEY_IDS = ['k1', 'k2', 'k3', '__proto__', 'constructor'] as const;
const SET_NAMES = ['base', 'strict', '__proto__', 'constructor'] as const;
const RULE_IDS = ['r1', 'r2', '__proto__', 'constructor', 'r5'] as const;
const TYPES = ['kb', 'doc', 'graph', 'memory', 'kbs', '__proto__', 'constructor', '*'] as const;

/** The verbs, the stronger first: `implies` points to the right only, so it has no cycle. */
const VERBS = [
  'admin',
  'constructor',
  'share',
  'delete',
  'create',
  'update',
  'write',
  'read',
] as const;
const TREE_VERBS: readonly WrittenTreeVerb[] = [
  'read',
  'write',
  'create',
  'delete',
  'admin',
  'update',
];
const BARE_VERBS = [
  'read',
  'read',
  'write',
  'create',
  'delete',
  'admin',
  'update',
  'share',
  'readonly',
  '*',
  '__proto__',
  'constructor',
] as const;

const DOTTED_NAMES = [
  'graph.search',
  'graph.get',
  'thread.get',
  'thread.add',
  'doc.edit',
  'org.delete',
] as const;
const PAIR_NAMES = [
  'kb:read',
  'kb:write',
  'kb:update',
  'doc:delete',
  'doc:share',
  'constructor:read',
] as const;
const UNKNOWN_NAMES = [
  'graph.nope',
  'graph',
  'thread.get.all',
  '__proto__.x',
  'constructor.name',
  'kb.read',
] as const;

const PATHS = [
  '',
  'work',
  'work.proj',
  'work.projects',
  'work.projects.api',
  'work.projects.api.v1',
  'work.projects-x',
  'Work',
  'home',
  '__proto__',
  'constructor.x',
] as const;

const ATTRIBUTE_KEYS = [
  'tenant',
  'team',
  'user_id',
  '__proto__',
  'constructor',
  'toString',
] as const;
const VALUES: readonly Scalar[] = [
  'acme',
  'eng',
  5,
  '5',
  true,
  'true',
  1,
  '1',
  false,
  0,
  '',
  '__proto__',
];
const ACL_KEYS = [
  'user_id',
  'user_id',
  'user_read_access',
  'user_write_access',
  'workspace_read_access',
  'workspace_write_access',
  'role_read_access',
  'role_write_access',
  'workspace_id',
] as const;

// ---------------------------------------------------------------------------------------------------------------
// Helpers
// ---------------------------------------------------------------------------------------------------------------

/** The n-th of a list, counted round and round; `undefined` if the list is empty. */
function pick<T>(list: readonly T[], n: number): T | undefined {
  return list[n % Math.max(list.length, 1)];
}

/** Some different members of a list. */
function pickMany<T>(list: readonly T[], picks: readonly number[]): T[] {
  const found = new Set<T>();
  for (const n of picks) {
    const one = pick(list, n);
    if (one !== undefined) {
      found.add(one);
    }
  }
  return [...found];
}

/** A plain object from entries; every key becomes an own property, `__proto__` too. */
export function plainObject<T>(entries: Iterable<readonly [string, T]>): Record<string, T> {
  const object: Record<string, T> = {};
  for (const [key, value] of entries) {
    Object.defineProperty(object, key, {
      value,
      enumerable: true,
      configurable: true,
      writable: true,
    });
  }
  return object;
}

const index = fc.nat(59);
const indexes = (max: number): fc.Arbitrary<number[]> => fc.array(index, { maxLength: max });
/** True about `percent` times in a hundred; shrinks to false. */
const chance = (percent: number): fc.Arbitrary<boolean> =>
  fc.oneof(
    { weight: 100 - percent, arbitrary: fc.constant(false) },
    { weight: percent, arbitrary: fc.constant(true) },
  );
const maybe = <T>(percent: number, arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.oneof(
    { weight: 100 - percent, arbitrary: fc.constant(undefined) },
    { weight: percent, arbitrary },
  );

interface Ref {
  readonly type: PrincipalType;
  readonly id: string;
}

// ---------------------------------------------------------------------------------------------------------------
// The catalog
// ---------------------------------------------------------------------------------------------------------------

/** Access expressions of COMB-3, nested `any` and `all` included. */
const accessArb: fc.Arbitrary<Access> = fc.letrec<{
  access: Access;
  model: Access;
  any: Access;
  all: Access;
}>((tie) => ({
  access: fc.oneof({ maxDepth: 3, depthSize: 'small' }, tie('model'), tie('any'), tie('all')),
  model: fc.constantFrom<Access[]>('rbac', 'tree', 'acl'),
  any: fc.array(tie('access'), { minLength: 1, maxLength: 3 }).map((any) => ({ any })),
  all: fc.array(tie('access'), { minLength: 1, maxLength: 2 }).map((all) => ({ all })),
})).access;

const neededPermissionArb = fc
  .tuple(
    fc.constantFrom('kb', 'doc', 'graph', 'constructor', '__proto__'),
    fc.constantFrom(...VERBS),
  )
  .map(([resource, verb]) => `${resource}:${verb}`);

const catalogActionFieldsArb = fc.record({
  readonly: maybe(60, fc.boolean()),
  permission: maybe(60, neededPermissionArb),
  tree: maybe(60, fc.constantFrom(...TREE_VERBS)),
  acl: maybe(60, fc.constantFrom('read' as const, 'write' as const)),
  minLevel: maybe(25, fc.constantFrom(0, 10, 20, 50, 100)),
  objectScoped: maybe(40, fc.boolean()),
});

const catalogArb: fc.Arbitrary<CatalogFile> = fc
  .record({
    dotted: fc.shuffledSubarray([...DOTTED_NAMES], { minLength: 1 }),
    pairs: fc.shuffledSubarray([...PAIR_NAMES], { minLength: 1, maxLength: 4 }),
    fields: fc.array(catalogActionFieldsArb, {
      minLength: DOTTED_NAMES.length + PAIR_NAMES.length,
      maxLength: DOTTED_NAMES.length + PAIR_NAMES.length,
    }),
    types: maybe(70, fc.array(fc.tuple(fc.constantFrom(...TYPES), accessArb), { maxLength: 4 })),
    implies: maybe(
      50,
      fc.array(
        fc.tuple(fc.nat(VERBS.length - 2), fc.array(index, { minLength: 1, maxLength: 2 })),
        { minLength: 1, maxLength: 4, size: 'max' },
      ),
    ),
  })
  .map(({ dotted, pairs, fields, types, implies }) => {
    const actions = [...dotted, ...pairs].map((name, at): CatalogAction => {
      const field = fields[at];
      if (field === undefined) {
        return { name };
      }
      const { readonly, permission, tree, acl, minLevel, objectScoped } = field;
      return {
        name,
        ...(readonly === undefined ? {} : { readonly }),
        ...(permission === undefined ? {} : { permission }),
        ...(tree === undefined ? {} : { tree }),
        ...(acl === undefined ? {} : { acl }),
        ...(minLevel === undefined ? {} : { min_level: minLevel }),
        ...(objectScoped === undefined || readonly === true ? {} : { object_scoped: objectScoped }),
      };
    });
    const implied = (implies ?? []).flatMap(([at, picks]): [string, string[]][] => {
      const verb = VERBS[at];
      const weaker = pickMany(VERBS.slice(at + 1), picks);
      return verb === undefined || weaker.length === 0 ? [] : [[verb, weaker]];
    });
    return {
      actions,
      // A catalog says that it has none, so that a file that was cut off is not taken for one.
      resource_types: plainObject(
        (types ?? []).map(([type, access]) => [type, { access }] as const),
      ),
      ...(implied.length === 0 ? {} : { implies: plainObject(implied) }),
    };
  });

// ---------------------------------------------------------------------------------------------------------------
// The state
// ---------------------------------------------------------------------------------------------------------------

const permissionArb = fc
  .tuple(
    fc.oneof(
      { weight: 3, arbitrary: fc.constant('*') },
      { weight: 3, arbitrary: fc.constant('kb') },
      { weight: 2, arbitrary: fc.constant('doc') },
      { weight: 2, arbitrary: fc.constant('graph') },
      { weight: 1, arbitrary: fc.constantFrom('kbs', 'memory', 'constructor', '__proto__') },
    ),
    fc.oneof(
      { weight: 2, arbitrary: fc.constant('*') },
      { weight: 7, arbitrary: fc.constantFrom(...VERBS) },
    ),
  )
  .map(([resource, verb]) => `${resource}:${verb}`);

const userPartsArb = fc.record({
  type: maybe(20, fc.constantFrom('developerUser', 'agent')),
  superuser: maybe(20, chance(50)),
  createrole: maybe(10, fc.boolean()),
  suspended: maybe(12, chance(60)),
  deleted: maybe(10, chance(60)),
  roles: indexes(2),
  workspaces: indexes(2),
});

const rolePartsArb = fc.record({
  level: maybe(80, fc.constantFrom(0, 10, 19, 20, 50, 99, 100)),
  permissions: fc.array(permissionArb, { maxLength: 3 }),
  members: indexes(3),
  roles: indexes(2),
  workspaces: indexes(1),
  bare: fc.boolean(),
});

const workspacePartsArb = fc.record({ members: indexes(3), bare: fc.boolean() });

const grantPartsArb = fc.record({
  principal: index,
  path: fc.constantFrom(...PATHS),
  actions: fc.uniqueArray(fc.constantFrom(...TREE_VERBS), { minLength: 1, maxLength: 4 }),
  /** The principal and the path of the row before, by another grantor perhaps (TREE-3). */
  again: chance(25),
  grantor: maybe(40, index),
  grantOption: maybe(20, fc.boolean()),
  bare: fc.boolean(),
});

const ownerPartsArb = fc.record({
  path: fc.constantFrom(...PATHS),
  owner: index,
  bare: fc.boolean(),
});

const modeArb: fc.Arbitrary<Mode> = fc.oneof(
  { weight: 13, arbitrary: fc.constant('enforce' as const) },
  { weight: 6, arbitrary: fc.constant('report_only' as const) },
  { weight: 1, arbitrary: fc.constant('off' as const) },
);

const constraintArb = fc
  .array(
    fc.tuple(
      fc.constantFrom(...ATTRIBUTE_KEYS),
      // Duplicates may come up: they collapse (ABAC-3).
      fc.array(fc.constantFrom(...VALUES), { minLength: 1, maxLength: 3 }),
    ),
    { minLength: 1, maxLength: 2 },
  )
  .map((entries) => plainObject(entries));

const rulePartsArb = fc.record({
  effect: fc.oneof(
    { weight: 3, arbitrary: fc.constant('allow' as const) },
    { weight: 2, arbitrary: fc.constant('deny' as const) },
  ),
  actions: fc.array(index, { minLength: 1, maxLength: 3 }),
  readonly: chance(50),
  attributes: maybe(75, constraintArb),
});

const setPartsArb = fc.record({
  mode: modeArb,
  rules: fc.array(rulePartsArb, { minLength: 1, maxLength: 4 }),
});

const keyPartsArb = fc.record({
  role: fc.constantFrom('default_deny' as const, 'default_allow' as const),
  mode: modeArb,
  sets: maybe(92, fc.array(index, { minLength: 1, maxLength: 3, size: 'max' })),
  user: maybe(30, index),
});

/** What a caller of {@link makeWorldArb} may switch. */
export interface WorldOptions {
  /**
   * Let rules name bare verbs (`read`), which match the request of a bare verb without a resource type, and `*:read`,
   * which is an ordinary string (ID-3). Default true.
   */
  readonly oddRuleActions?: boolean;
}

interface Blueprint {
  readonly catalog: CatalogFile;
  readonly ids: readonly string[];
  readonly userCount: number;
  readonly roleCount: number;
  readonly workspaceIds: readonly string[];
  readonly users: readonly RecordOf<typeof userPartsArb>[];
  readonly roles: readonly RecordOf<typeof rolePartsArb>[];
  readonly workspaces: readonly RecordOf<typeof workspacePartsArb>[];
  readonly rolesReversed: boolean;
  readonly grants: readonly RecordOf<typeof grantPartsArb>[];
  readonly owners: readonly RecordOf<typeof ownerPartsArb>[];
  readonly sets: readonly RecordOf<typeof setPartsArb>[];
  readonly keys: readonly RecordOf<typeof keyPartsArb>[];
}

type RecordOf<A> = A extends fc.Arbitrary<infer T> ? T : never;

const blueprintArb: fc.Arbitrary<Blueprint> = fc.record({
  catalog: catalogArb,
  ids: fc.shuffledSubarray([...IDS], { minLength: IDS.length }),
  userCount: fc.integer({ min: 1, max: 5 }),
  roleCount: fc.integer({ min: 0, max: 5 }),
  workspaceIds: fc.shuffledSubarray([...WORKSPACE_IDS], { maxLength: 3 }),
  users: fc.array(userPartsArb, { minLength: 5, maxLength: 5 }),
  roles: fc.array(rolePartsArb, { minLength: 5, maxLength: 5 }),
  workspaces: fc.array(workspacePartsArb, { minLength: 3, maxLength: 3 }),
  rolesReversed: fc.boolean(),
  grants: fc.array(grantPartsArb, { maxLength: 7, size: 'max' }),
  owners: fc.array(ownerPartsArb, { maxLength: 3 }),
  sets: fc.array(setPartsArb, { minLength: 1, maxLength: SET_NAMES.length, size: 'max' }),
  keys: fc.array(keyPartsArb, { minLength: 1, maxLength: KEY_IDS.length }),
});

/** Builds an arbitrary of valid worlds. */
export function makeWorldArb(options: WorldOptions = {}): fc.Arbitrary<World> {
  return blueprintArb.map((blueprint) => buildWorld(blueprint, options.oddRuleActions ?? true));
}

/**
 * Valid worlds: a catalog and the state of one tenant.
 *
 * Valid means: ids as in ID-1 and ID-2, memberships without a cycle, one owner a path (TREE-2), grants unique by
 * principal, path and grantor (TREE-3), rules as in ABAC-2, and no fact about a deleted user (ADM-8).
 */
export const worldArb: fc.Arbitrary<World> = makeWorldArb();

function buildWorld(blueprint: Blueprint, oddRuleActions: boolean): World {
  const { catalog } = blueprint;

  // Users and roles take different ids; no two users differ in case only (ID-2).
  const userIds: string[] = [];
  for (const id of blueprint.ids.slice(0, blueprint.userCount)) {
    if (!userIds.some((other) => other.toLowerCase() === id.toLowerCase())) {
      userIds.push(id);
    }
  }
  const roleIds = blueprint.ids.slice(
    blueprint.userCount,
    blueprint.userCount + blueprint.roleCount,
  );
  const { workspaceIds } = blueprint;
  const isDeleted = (at: number): boolean => blueprint.users[at]?.deleted === true;
  const liveUserIds = userIds.filter((_, at) => !isDeleted(at));

  /** Writes a reference, bare if that is asked for and only one principal has the id. */
  const write = (ref: Ref, bare: boolean): string => {
    const namesakes = [...userIds, ...roleIds, ...workspaceIds].filter((id) => id === ref.id);
    return bare && namesakes.length === 1 ? ref.id : `${ref.type}:${ref.id}`;
  };
  const userRefs = liveUserIds.map((id): Ref => ({ type: 'user', id }));
  const roleRefs = roleIds.map((id): Ref => ({ type: 'role', id }));
  const principals: Ref[] = [
    ...userRefs,
    ...roleRefs,
    ...workspaceIds.map((id): Ref => ({ type: 'workspace', id })),
  ];

  const users = userIds.map((id, at): StateUser => {
    const parts = blueprint.users[at];
    if (parts === undefined) {
      return { id };
    }
    const roles = isDeleted(at) ? [] : pickMany(roleIds, parts.roles);
    const workspaces = isDeleted(at) ? [] : pickMany(workspaceIds, parts.workspaces);
    return {
      id,
      ...(parts.type === undefined ? {} : { type: parts.type }),
      ...(parts.superuser === undefined ? {} : { superuser: parts.superuser }),
      ...(parts.createrole === undefined ? {} : { createrole: parts.createrole }),
      ...(parts.suspended === undefined ? {} : { suspended: parts.suspended }),
      ...(parts.deleted === undefined ? {} : { deleted: parts.deleted }),
      ...(roles.length === 0 ? {} : { roles }),
      ...(workspaces.length === 0 ? {} : { workspaces }),
    };
  });

  const roles = roleIds.map((id, at): StateRole => {
    const parts = blueprint.roles[at];
    if (parts === undefined) {
      return { id };
    }
    // A role is a member of later roles only, and has earlier roles as members only: no cycle.
    const memberRefs = pickMany([...userRefs, ...roleRefs.slice(0, at)], parts.members);
    const members = memberRefs.map((ref) => write(ref, parts.bare));
    const groups = pickMany(roleIds.slice(at + 1), parts.roles);
    const workspaces = pickMany(workspaceIds, parts.workspaces);
    return {
      id,
      ...(parts.level === undefined ? {} : { level: parts.level }),
      ...(parts.permissions.length === 0 ? {} : { permissions: [...new Set(parts.permissions)] }),
      ...(members.length === 0 ? {} : { members }),
      ...(groups.length === 0 ? {} : { roles: groups }),
      ...(workspaces.length === 0 ? {} : { workspaces }),
    };
  });
  if (blueprint.rolesReversed) {
    roles.reverse();
  }

  const workspaces = workspaceIds.map((id, at): StateWorkspace => {
    const parts = blueprint.workspaces[at];
    const members = pickMany([...userRefs, ...roleRefs], parts?.members ?? []).map((ref) =>
      write(ref, parts?.bare === true),
    );
    return { id, ...(members.length === 0 ? {} : { members }) };
  });

  const owners: StateOwner[] = [];
  for (const parts of blueprint.owners) {
    const id = pick(liveUserIds, parts.owner);
    if (id !== undefined && !owners.some((row) => row.path === parts.path)) {
      owners.push({ path: parts.path, owner: parts.bare ? id : `user:${id}` });
    }
  }

  const grants: StateGrant[] = [];
  const grantRows = new Set<string>();
  // Whoever is named as a grantor may grant anything there: a superuser, or an owner at or above the path (ADM-2).
  const mayGrant = (id: string, path: string): boolean =>
    users.some((user) => user.id === id && user.superuser === true) ||
    owners.some(
      (row) =>
        row.owner.replace(/^user:/, '') === id &&
        (row.path === '' || row.path === path || path.startsWith(`${row.path}.`)),
    );
  let last: { readonly principal: number; readonly path: string } | undefined;
  for (const parts of blueprint.grants) {
    const target = parts.again && last !== undefined ? last : parts;
    last = target;
    const { path } = target;
    const principal = pick(principals, target.principal);
    const grantors = liveUserIds.filter((id) => mayGrant(id, path));
    const grantor = parts.grantor === undefined ? undefined : pick(grantors, parts.grantor);
    if (principal === undefined) {
      continue;
    }
    const row = JSON.stringify([principal, path, grantor]);
    if (grantRows.has(row)) {
      continue;
    }
    grantRows.add(row);
    grants.push({
      principal: write(principal, parts.bare),
      path,
      actions: parts.actions,
      ...(grantor === undefined
        ? {}
        : { grantor: write({ type: 'user', id: grantor }, parts.bare) }),
      ...(parts.grantOption === undefined ? {} : { grant_option: parts.grantOption }),
    });
  }

  const ruleActions = [
    ...catalog.actions.map((action) => action.name),
    'kb:read',
    'kb:read',
    'kb:write',
    'kb:update',
    'doc:read',
    'doc:write',
    'graph:read',
    '__proto__:read',
    ...(oddRuleActions ? ['read', 'write', '*:read'] : []),
  ];
  const policySets: StatePolicySet[] = [];
  blueprint.sets.forEach((parts, at) => {
    const name = SET_NAMES[at];
    if (name === undefined) {
      return;
    }
    const rules = parts.rules.map((rule, position): StateRule => {
      const names = pickMany(ruleActions, rule.actions);
      return {
        id: RULE_IDS[position] ?? `r${position}`,
        effect: rule.effect,
        actions: rule.readonly ? ['readonly', ...names.slice(1)] : names,
        ...(rule.attributes === undefined ? {} : { attributes: rule.attributes }),
      };
    });
    policySets.push({ name, mode: parts.mode, rules });
  });

  const keys: StateKey[] = [];
  blueprint.keys.forEach((parts, at) => {
    const id = KEY_IDS[at];
    if (id === undefined) {
      return;
    }
    const user = parts.user === undefined ? undefined : pick(liveUserIds, parts.user);
    const names = policySets.map((set) => set.name);
    keys.push({
      id,
      role: parts.role,
      mode: parts.mode,
      ...(parts.sets === undefined ? {} : { policy_sets: pickMany(names, parts.sets) }),
      ...(user === undefined ? {} : { user }),
    });
  });

  const state: StateFile = {
    tenant: TENANT,
    users,
    ...(roles.length === 0 ? {} : { roles }),
    ...(workspaces.length === 0 ? {} : { workspaces }),
    ...(grants.length === 0 ? {} : { grants }),
    ...(owners.length === 0 ? {} : { owners }),
    ...(policySets.length === 0 ? {} : { policy_sets: policySets }),
    keys,
  };
  return { catalog, state };
}

// ---------------------------------------------------------------------------------------------------------------
// Requests
// ---------------------------------------------------------------------------------------------------------------

const tenantArb = fc.oneof(
  { weight: 94, arbitrary: fc.constant(TENANT) },
  { weight: 6, arbitrary: fc.constantFrom('globex', 'Acme', '__proto__', 'constructor') },
);

const whoArb = fc.oneof(
  { weight: 45, arbitrary: fc.constant('subject' as const) },
  { weight: 35, arbitrary: fc.constant('key' as const) },
  { weight: 20, arbitrary: fc.constant('both' as const) },
);

/** Subjects: those of the world for the most part, and some that have no record. */
function subjectArb(world: World): fc.Arbitrary<OracleSubject> {
  const { state } = world;
  const users = (state.users ?? []).map((user) => user.id);
  const roles = (state.roles ?? []).map((role) => role.id);
  const workspaces = (state.workspaces ?? []).map((workspace) => workspace.id);
  const anyId = fc.constantFrom<string[]>(...IDS, 'ALICE', 'nobody');
  const user = fc
    .tuple(users.length === 0 ? anyId : fc.constantFrom(...users), fc.boolean())
    .map(([id, typed]): OracleSubject => (typed ? { type: 'user', id } : { id }));
  const group = (type: 'role' | 'workspace', ids: readonly string[]): fc.Arbitrary<OracleSubject> =>
    (ids.length === 0 ? anyId : fc.constantFrom(...ids)).map((id) => ({ type, id }));
  const stray = fc
    .tuple(
      fc.constantFrom<(PrincipalType | undefined)[]>(undefined, 'user', 'role', 'workspace'),
      anyId,
    )
    .map(([type, id]): OracleSubject => (type === undefined ? { id } : { type, id }));
  return fc.oneof(
    { weight: 75, arbitrary: user },
    { weight: 9, arbitrary: group('role', roles) },
    { weight: 6, arbitrary: group('workspace', workspaces) },
    { weight: 10, arbitrary: stray },
  );
}

function keyIdArb(world: World): fc.Arbitrary<string> {
  const keys = (world.state.keys ?? []).map((key) => key.id);
  const stray = fc.constantFrom('nokey', 'K1', 'toString', '__proto__', 'constructor');
  return keys.length === 0
    ? stray
    : fc.oneof(
        { weight: 94, arbitrary: fc.constantFrom(...keys) },
        { weight: 6, arbitrary: stray },
      );
}

/** Actions: those of the catalog, of the rules and of the permissions, derived ones, bare verbs, unknown ones. */
function actionArb(world: World): fc.Arbitrary<string> {
  const { catalog, state } = world;
  const catalogued = catalog.actions.map((action) => action.name);
  const inRules = (state.policy_sets ?? [])
    .flatMap((set) => set.rules)
    .flatMap((rule) => rule.actions)
    .filter((name) => name !== 'readonly');
  const held = (state.roles ?? []).flatMap((role) => role.permissions ?? []);
  const derived = fc
    .tuple(fc.constantFrom(...TYPES), fc.constantFrom<string[]>(...VERBS, '*', '__proto__'))
    .map(([type, verb]) => `${type}:${verb}`);
  // A held permission with another verb or another resource: what a wildcard or an implied verb gives, or does not.
  const besideHeld =
    held.length === 0
      ? derived
      : fc
          .tuple(
            fc.constantFrom(...held),
            fc.constantFrom(...VERBS),
            fc.constantFrom(...TYPES),
            fc.boolean(),
          )
          .map(([permission, verb, type, keep]) => {
            const [resource = type] = permission.split(':');
            return `${keep && resource !== '*' ? resource : type}:${verb}`;
          });
  return fc.oneof(
    { weight: 12, arbitrary: besideHeld },
    { weight: 30, arbitrary: fc.constantFrom(...catalogued) },
    { weight: 15, arbitrary: inRules.length === 0 ? derived : fc.constantFrom(...inRules) },
    { weight: 10, arbitrary: held.length === 0 ? derived : fc.constantFrom(...held) },
    { weight: 10, arbitrary: fc.constantFrom(...PAIR_NAMES) },
    { weight: 8, arbitrary: derived },
    { weight: 25, arbitrary: fc.constantFrom(...BARE_VERBS) },
    { weight: 6, arbitrary: fc.constantFrom(...UNKNOWN_NAMES) },
    { weight: 1, arbitrary: fc.constantFrom('kb.v2:read', 'kb.v2:share') },
  );
}

/** One part of the attributes of a resource. */
type Piece =
  | {
      readonly kind: 'rule';
      readonly rule: number;
      readonly change:
        'exact' | 'scalar' | 'duplicate' | 'superset' | 'subset' | 'retype' | 'empty';
    }
  | {
      readonly kind: 'acl';
      readonly key: string;
      readonly self: boolean;
      /** The subject's id in another case or of another type: a near miss. */
      readonly altered: boolean;
      readonly ids: readonly number[];
      readonly scalar: boolean;
    }
  | {
      readonly kind: 'free';
      readonly key: string;
      readonly values: readonly Scalar[];
      readonly scalar: boolean;
    };

const rulePieceArb: fc.Arbitrary<Piece> = fc.record({
  kind: fc.constant('rule' as const),
  rule: index,
  change: fc.oneof(
    { weight: 5, arbitrary: fc.constant('exact' as const) },
    {
      weight: 6,
      arbitrary: fc.constantFrom(
        'scalar' as const,
        'duplicate' as const,
        'superset' as const,
        'subset' as const,
        'retype' as const,
        'empty' as const,
      ),
    },
  ),
});

const aclPieceArb: fc.Arbitrary<Piece> = fc.record({
  kind: fc.constant('acl' as const),
  key: fc.constantFrom(...ACL_KEYS),
  self: chance(45),
  altered: chance(12),
  ids: indexes(3),
  scalar: chance(35),
});

const freePieceArb: fc.Arbitrary<Piece> = fc.record({
  kind: fc.constant('free' as const),
  key: fc.constantFrom(...ATTRIBUTE_KEYS),
  values: fc.array(fc.constantFrom(...VALUES), { maxLength: 3 }),
  scalar: fc.boolean(),
});

const piecesArb = fc.array(
  fc.oneof(
    { weight: 5, arbitrary: rulePieceArb },
    { weight: 5, arbitrary: aclPieceArb },
    { weight: 2, arbitrary: freePieceArb },
  ),
  { maxLength: 5 },
);

interface ResourceParts {
  readonly type: string | undefined;
  readonly id: string | undefined;
  readonly path: string | undefined;
  readonly attributes: readonly Piece[] | undefined;
  /** The attributes of sources: none, an empty list, pieces of their own, or the resource's own values dealt out. */
  readonly sources: 'none' | 'empty' | 'own' | 'dealt';
  readonly sourcePieces: readonly (readonly Piece[])[];
}

function resourcePartsArb(world: World): fc.Arbitrary<ResourceParts> {
  const { state } = world;
  const known = [...(state.grants ?? []), ...(state.owners ?? [])].map((row) => row.path);
  const nearArb = fc
    .tuple(
      known.length === 0 ? fc.constantFrom<string[]>(...PATHS) : fc.constantFrom(...known),
      fc.constantFrom('same', 'same', 'below', 'below', 'longer', 'shorter', 'above'),
    )
    .map(([path, change]) => {
      switch (change) {
        case 'below':
          return path === '' ? 'x' : `${path}.x`;
        case 'longer':
          return path === '' ? 'work' : `${path}s`;
        case 'shorter':
          return path === '' || path.slice(0, -1).endsWith('.') ? path : path.slice(0, -1);
        case 'above':
          return path.includes('.') ? path.slice(0, path.lastIndexOf('.')) : '';
        case 'same':
          return path;
      }
    });
  return fc.record({
    type: maybe(65, fc.oneof(fc.constantFrom(...TYPES), fc.constantFrom('kb', 'doc', 'graph'))),
    id: maybe(20, fc.constantFrom('o1', 'o2', '__proto__', '*')),
    path: maybe(65, fc.oneof(fc.constantFrom<string[]>(...PATHS), nearArb)),
    attributes: maybe(85, piecesArb),
    sources: fc.oneof(
      { weight: 70, arbitrary: fc.constant('none' as const) },
      { weight: 4, arbitrary: fc.constant('empty' as const) },
      { weight: 10, arbitrary: fc.constant('own' as const) },
      { weight: 16, arbitrary: fc.constant('dealt' as const) },
    ),
    sourcePieces: fc.array(piecesArb, { minLength: 1, maxLength: 3 }),
  });
}

/** The same word in another type: `5` and `"5"`, `true` and `1`, and so on (ABAC-3). */
function retype(value: Scalar): Scalar {
  if (typeof value === 'number') {
    return value === 1 ? true : String(value);
  }
  if (typeof value === 'boolean') {
    return value ? 1 : 'false';
  }
  if (value === 'true') {
    return true;
  }
  return value !== '' && Number.isFinite(Number(value)) ? Number(value) : value.toUpperCase();
}

/** The attributes of a resource, each as an own property. A later piece replaces an earlier one of the same key. */
function buildAttributes(
  world: World,
  lean: Lean,
  pieces: readonly Piece[],
): Record<string, Scalar | Scalar[]> {
  const built = new Map<string, Scalar | Scalar[]>();
  const set = (key: string, values: readonly Scalar[], scalar: boolean): void => {
    const first = values[0];
    built.set(key, scalar && first !== undefined ? first : [...values]);
  };
  const constrained = lean.rules.filter((rule) => rule.attributes !== undefined);

  for (const piece of pieces) {
    if (piece.kind === 'free') {
      set(piece.key, piece.values, piece.scalar);
    } else if (piece.kind === 'acl') {
      const ids: Scalar[] = aclIds(world, piece.key, piece.ids);
      if (piece.self && lean.subject !== undefined) {
        ids.unshift(piece.altered ? retype(lean.subject.id) : lean.subject.id);
      }
      set(piece.key, ids, piece.scalar);
    } else {
      const rule = pick(constrained, piece.rule);
      for (const [key, required] of Object.entries(rule?.attributes ?? {})) {
        const first = required[0] ?? '';
        switch (piece.change) {
          case 'scalar':
            set(key, required, true);
            break;
          case 'duplicate':
            set(key, [...[...required].reverse(), first], false);
            break;
          case 'superset':
            set(key, [...required, 'more'], false);
            break;
          case 'subset':
            set(key, required.slice(1), false);
            break;
          case 'retype':
            set(key, required.map(retype), required.length === 1);
            break;
          case 'empty':
            set(key, [], false);
            break;
          case 'exact':
            set(key, required, new Set(required).size === 1 && required.length === 1);
            break;
        }
      }
    }
  }
  return plainObject(built);
}

/** Some ids for an ACL key, of the right kind as a rule; numbers stand beside ids of digits. */
function aclIds(world: World, key: string, picks: readonly number[]): Scalar[] {
  const { state } = world;
  const users = (state.users ?? []).map((user) => user.id);
  const roles = (state.roles ?? []).map((role) => role.id);
  const workspaces = (state.workspaces ?? []).map((workspace) => workspace.id);
  const own = key.startsWith('user') ? users : key.startsWith('role') ? roles : workspaces;
  const pool: Scalar[] = [
    ...own,
    ...own,
    ...own,
    ...users,
    ...roles,
    ...workspaces,
    'ALICE',
    'nobody',
    '*',
    5,
    true,
  ];
  return pickMany(pool, picks);
}

function buildResource(world: World, lean: Lean, parts: ResourceParts): OracleResource {
  const { type, id, path } = parts;
  let attributes =
    parts.attributes === undefined ? undefined : buildAttributes(world, lean, parts.attributes);
  let sources: { attributes: Record<string, Scalar | Scalar[]> }[] | undefined;
  if (parts.sources === 'empty') {
    sources = [];
  } else if (parts.sources === 'own') {
    sources = parts.sourcePieces.map((pieces) => ({
      attributes: buildAttributes(world, lean, pieces),
    }));
  } else if (parts.sources === 'dealt' && attributes !== undefined) {
    // The values go round the sources; the resource itself keeps its ACL keys, and nothing or a decoy elsewhere.
    const dealt = parts.sourcePieces.map(() => new Map<string, Scalar | Scalar[]>());
    for (const [key, value] of Object.entries(attributes)) {
      const values = typeof value === 'object' ? value : [value];
      values.forEach((one, at) => {
        const source = dealt[at % dealt.length];
        const before = source?.get(key);
        source?.set(
          key,
          before === undefined ? one : [...(typeof before === 'object' ? before : [before]), one],
        );
      });
    }
    sources = dealt.map((entries) => ({ attributes: plainObject(entries) }));
    attributes = plainObject(
      Object.entries(attributes).flatMap(([key, value]): [string, Scalar | Scalar[]][] => {
        if (key.endsWith('_access') || key === 'user_id') {
          return [[key, value]];
        }
        return dealt.length === 1 ? [] : [[key, 'decoy']];
      }),
    );
  }
  return {
    ...(type === undefined ? {} : { type }),
    ...(id === undefined ? {} : { id }),
    ...(path === undefined ? {} : { path }),
    ...(attributes === undefined ? {} : { attributes }),
    ...(sources === undefined ? {} : { sources }),
  };
}

interface Asker {
  readonly subject?: OracleSubject;
  readonly key_id?: string;
}

/** Who asks: a subject, a key, or both (COMB-2); with a bound key, its own user as a rule. */
function askerArb(world: World): fc.Arbitrary<Asker> {
  return fc
    .record({ who: whoArb, subject: subjectArb(world), keyId: keyIdArb(world), follow: chance(75) })
    .map(({ who, subject, keyId, follow }): Asker => {
      if (who === 'subject') {
        return { subject };
      }
      if (who === 'key') {
        return { key_id: keyId };
      }
      const bound = (world.state.keys ?? []).find((key) => key.id === keyId)?.user;
      return { subject: follow && bound !== undefined ? { id: bound } : subject, key_id: keyId };
    });
}

/** What a request leans on: ACL pieces on the subject, rule pieces on the rules that bear on the key. */
interface Lean {
  readonly subject: OracleSubject | undefined;
  readonly rules: readonly StateRule[];
}

function leanOf(world: World, asker: Asker, action?: string): Lean {
  const { state } = world;
  const key = (state.keys ?? []).find((candidate) => candidate.id === asker.key_id);
  const bound = key?.user === undefined ? undefined : { id: key.user };
  const sets = state.policy_sets ?? [];
  const attached = sets.filter(
    (set) => set.mode !== 'off' && (key?.policy_sets ?? []).includes(set.name),
  );
  const rules = (attached.length === 0 ? sets : attached).flatMap((set) => set.rules);
  const naming = rules.filter((rule) =>
    rule.actions.some((name) => name === action || name === 'readonly'),
  );
  return { subject: asker.subject ?? bound, rules: [...naming, ...naming, ...naming, ...rules] };
}

/** An action that a rule of the key names, constrained rules first; `undefined` if there is no key or no rule. */
function ruledAction(world: World, asker: Asker, at: number): string | undefined {
  if (asker.key_id === undefined) {
    return undefined;
  }
  const { rules } = leanOf(world, asker);
  const constrained = rules.filter((rule) => rule.attributes !== undefined);
  const readonly = world.catalog.actions
    .filter((action) => action.readonly === true)
    .map((action) => action.name);
  const named = [...constrained, ...constrained, ...rules].map((rule) => {
    const name = pick(rule.actions, at);
    return name === 'readonly'
      ? (pick(['kb:read', 'memory:read', 'readonly', ...readonly], at) ?? 'read')
      : name;
  });
  return pick(named, at);
}

interface Ask {
  readonly asker: Asker;
  readonly action: string;
}

/** Who asks for what; with a key, every other time for something that its rules speak of. */
function askArb(world: World): fc.Arbitrary<Ask> {
  return fc
    .record({ asker: askerArb(world), action: actionArb(world), ruled: maybe(65, fc.nat(9999)) })
    .map(({ asker, action, ruled }) => ({
      asker,
      action: (ruled === undefined ? undefined : ruledAction(world, asker, ruled)) ?? action,
    }));
}

/** Well-formed check requests that lean on what is in a world. */
export function requestArb(world: World): fc.Arbitrary<OracleRequest> {
  return fc
    .record({
      tenant: tenantArb,
      ask: askArb(world),
      resource: maybe(92, resourcePartsArb(world)),
    })
    .map(({ tenant, ask: { asker, action }, resource }) => ({
      tenant,
      ...asker,
      action,
      ...(resource === undefined
        ? {}
        : { resource: buildResource(world, leanOf(world, asker, action), resource) }),
    }));
}

/** Well-formed filter requests that lean on what is in a world. */
export function filterRequestArb(world: World): fc.Arbitrary<OracleFilterRequest> {
  return fc
    .record({
      tenant: tenantArb,
      ask: askArb(world),
      objects: fc.array(resourcePartsArb(world), { maxLength: 10 }),
      limit: maybe(60, fc.integer({ min: 0, max: 4 })),
      offset: maybe(40, fc.integer({ min: 0, max: 11 })),
    })
    .map(({ tenant, ask: { asker, action }, objects, limit, offset }) => ({
      tenant,
      ...asker,
      action,
      objects: objects.map((parts) => buildResource(world, leanOf(world, asker, action), parts)),
      ...(limit === undefined ? {} : { limit }),
      ...(offset === undefined ? {} : { offset }),
    }));
}
