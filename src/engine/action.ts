/** Actions: the catalog, and the derived `resource:verb` (ACT-1 to ACT-5). */
import { idProblem } from './id.ts';
import { TREE_ACTIONS, type Model, type TreeAction } from './model.ts';

/** Tree actions as bits, so that a grant is one small integer. */
export const TREE_BIT: ReadonlyMap<TreeAction, number> = new Map(
  TREE_ACTIONS.map((action, bit) => [action, 1 << bit]),
);

/** Names of tree actions in files and requests: `update` is an alias of `write` (ACT-1). */
export const TREE_VERBS = [...TREE_ACTIONS, 'update'] as const;
export type TreeVerb = (typeof TREE_VERBS)[number];

export function actionOfVerb(verb: TreeVerb): TreeAction {
  return verb === 'update' ? 'write' : verb;
}

const BIT_OF_VERB: ReadonlyMap<string, number> = new Map<string, number>(
  TREE_VERBS.map((verb) => [verb, TREE_BIT.get(actionOfVerb(verb)) ?? 0]),
);

/** Below every level: the requirement of an action without `min_level`, and the level of a closure without roles (RBAC-3). */
export const NO_LEVEL = -1;

/** All five tree actions: what an owner has (TREE-2). */
export const ALL_TREE_ACTIONS = (1 << TREE_ACTIONS.length) - 1;

/** The fields of an action that the models need; resolved once per request. */
export interface Action {
  /** The name that rules match: a catalogued name, `resource:verb`, or a bare verb. */
  readonly name: string;
  readonly readonly: boolean;
  /** The permission's resource; with `verbs` empty the action has no permission. */
  readonly resource: string;
  /** Verbs that satisfy the permission: its own, and those that imply it (RBAC-2). */
  readonly verbs: readonly string[];
  /** Bit of the tree action; 0: none. */
  readonly treeBit: number;
  readonly acl: 'read' | 'write' | undefined;
  /** Minimum level of a role of the closure, below which no evidence counts; NO_LEVEL: no minimum (RBAC-3). */
  readonly minLevel: number;
  /** A constrained allow may permit it although it is not readonly (ABAC-6). */
  readonly objectScoped: boolean;
}

/** How a resource type combines the evidence of the three models (COMB-3). */
export type Access =
  Model | { readonly any: readonly Access[] } | { readonly all: readonly Access[] };

export interface ActionEntry {
  readonly name: string;
  readonly readonly?: boolean | undefined;
  readonly permission?: string | undefined;
  readonly tree?: TreeVerb | undefined;
  readonly acl?: 'read' | 'write' | undefined;
  readonly min_level?: number | undefined;
  readonly object_scoped?: boolean | undefined;
}

export interface CatalogEntries {
  readonly actions: readonly ActionEntry[];
  readonly resource_types?: Readonly<Record<string, { readonly access: Access }>> | undefined;
  readonly implies?: Readonly<Record<string, readonly string[]>> | undefined;
}

export interface Catalog {
  readonly actions: ReadonlyMap<string, Action>;
  readonly access: ReadonlyMap<string, Access>;
  /** verb → the verbs that satisfy it, itself first. */
  readonly satisfiedBy: ReadonlyMap<string, readonly string[]>;
}

const DEFAULT_ACCESS: Access = { any: ['rbac', 'tree', 'acl'] };

/** Tree bit of a verb; 0 if the verb is not a tree action. */
function treeBit(verb: string): number {
  return BIT_OF_VERB.get(verb) ?? 0;
}

/** Every verb from which `implies` leads to `verb`, itself first. */
function impliers(verb: string, implies: ReadonlyMap<string, readonly string[]>): string[] {
  const found = new Set([verb]);
  for (const target of found)
    for (const [from, to] of implies) if (to.includes(target)) found.add(from);
  return [...found];
}

/** Compiles a validated catalog file. Total: fields that the file omits are derived (ACT-2). */
export function compileCatalog(entries: CatalogEntries): Catalog {
  const implies = new Map(Object.entries(entries.implies ?? {}));
  const implied = new Set([...implies.values()].flat());
  const catalog = {
    actions: new Map<string, Action>(),
    access: new Map(
      Object.entries(entries.resource_types ?? {}).map(([type, { access }]) => [type, access]),
    ),
    satisfiedBy: new Map([...implied].map((verb) => [verb, impliers(verb, implies)])),
  };
  for (const entry of entries.actions) catalog.actions.set(entry.name, fromEntry(entry, catalog));
  return catalog;
}

function fromEntry(entry: ActionEntry, catalog: Catalog): Action {
  const colon = entry.name.indexOf(':');
  const base =
    colon < 0
      ? { ...bareAction(entry.name), readonly: false, treeBit: 0, acl: undefined }
      : derivedAction(entry.name, colon, catalog);
  const permission = entry.permission;
  const at = permission?.indexOf(':') ?? -1;
  return {
    ...base,
    ...(permission === undefined
      ? {}
      : {
          resource: permission.slice(0, at),
          verbs: verbsFor(permission.slice(at + 1), catalog),
        }),
    ...(entry.readonly === undefined ? {} : { readonly: entry.readonly }),
    ...(entry.tree === undefined ? {} : { treeBit: treeBit(entry.tree) }),
    ...(entry.acl === undefined ? {} : { acl: entry.acl }),
    minLevel: entry.min_level ?? NO_LEVEL,
    objectScoped: entry.object_scoped ?? false,
  };
}

function verbsFor(verb: string, catalog: Catalog): readonly string[] {
  return catalog.satisfiedBy.get(verb) ?? [verb];
}

/** ACT-2: `resource:verb` is its own permission. */
function derivedAction(name: string, colon: number, catalog: Catalog): Action {
  const verb = name.slice(colon + 1);
  return {
    name,
    readonly: verb === 'read',
    resource: name.slice(0, colon),
    verbs: verbsFor(verb, catalog),
    treeBit: treeBit(verb),
    acl: verb === 'read' ? 'read' : 'write',
    minLevel: NO_LEVEL,
    objectScoped: false,
  };
}

/** ACT-3: a bare verb without a resource type has no permission. */
function bareAction(verb: string): Action {
  return {
    name: verb,
    readonly: verb === 'read',
    resource: '',
    verbs: [],
    treeBit: treeBit(verb),
    acl: verb === 'read' ? 'read' : 'write',
    minLevel: NO_LEVEL,
    objectScoped: false,
  };
}

/** The action that a request means, or `undefined` if it is unknown (ACT-2, ACT-3, ACT-4). */
export function resolveAction(catalog: Catalog, name: string, type: string): Action | undefined {
  const listed = catalog.actions.get(name);
  if (listed !== undefined) return listed;
  const colon = name.indexOf(':');
  if (colon >= 0) return derivedAction(name, colon, catalog);
  if (name.includes('.')) return undefined;
  return type === '' ? bareAction(name) : resolveTyped(catalog, type, name);
}

function resolveTyped(catalog: Catalog, type: string, verb: string): Action {
  const name = `${type}:${verb}`;
  return catalog.actions.get(name) ?? derivedAction(name, type.length, catalog);
}

/**
 * The `access` expression in force (COMB-3): that of the resource's type. The type of a request without a type is the
 * resource part of the action (ACT-2) or, if the name has none, of its permission: omitting the type must not give
 * more access.
 */
export function accessOf(catalog: Catalog, action: Action, type: string): Access {
  if (catalog.access.size === 0) return DEFAULT_ACCESS;
  if (type !== '') return catalog.access.get(type) ?? DEFAULT_ACCESS;
  const colon = action.name.indexOf(':');
  const implied = colon < 0 ? action.resource : action.name.slice(0, colon);
  return catalog.access.get(implied) ?? DEFAULT_ACCESS;
}

/** The permission as text; only for an action that has verbs. */
export function permissionOf(action: Action): string {
  return `${action.resource}:${action.verbs[0] ?? ''}`;
}

/** The name of the tree action, `undefined` for none. */
export function treeActionOf(action: Action): TreeAction | undefined {
  for (const [name, bit] of TREE_BIT) if (bit === action.treeBit) return name;
  return undefined;
}

/** The problem of an action name in a request, or `undefined` if it is valid. */
export function actionProblem(name: string): string | undefined {
  const problem = idProblem(name);
  if (problem !== undefined) return problem;
  const colon = name.indexOf(':');
  if (colon < 0) return undefined;
  if (colon === 0 || colon === name.length - 1 || name.includes(':', colon + 1))
    return 'is not `resource:verb`: give one `:` with a name on either side';
  return undefined;
}
