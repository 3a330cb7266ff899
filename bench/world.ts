/**
 * The world that every scenario asks about: one tenant that uses all four models. A user with a closure of
 * eight roles, tree grants at depth one above paths of depth six, objects with access lists, and a key
 * whose rules look at two attributes.
 */
import { toFacts } from '../src/admin/state/to-facts.ts';
import { fromDefaults, type TenantFacts } from '../src/admin/state/tenant-facts.ts';
import { compileCatalog, type Catalog, type CatalogEntries } from '../src/engine/action.ts';
import type { Request, Resource, Scalar, TreeAction } from '../src/engine/model.ts';
import { staticFacts, type StaticFacts } from '../src/offline/static-facts.ts';
import type { StateFile } from '../src/config/state.ts';

export const TENANT = 'bench';
export const USER = 'alice';
export const KEY = 'agent';
/** `all: [rbac, tree, acl]` by the type `document`. */
export const ACTION = 'document.read';
export const ROLES: readonly string[] = Array.from({ length: 8 }, (_, n) => `role-${n}`);
/** Objects that rounds go through in turn, so that no single one stays in the processor's caches. */
export const VARIETY = 64;

const TREE_OF: Readonly<Record<string, TreeAction>> = {
  write: 'write',
  create: 'create',
  delete: 'delete',
};

export const CATALOG: CatalogEntries = {
  actions: ['read', 'list', 'write', 'create', 'delete', 'share'].flatMap((verb) =>
    ['document', 'note', 'thread', 'graph'].map((type) => ({
      name: `${type}.${verb}`,
      readonly: verb === 'read' || verb === 'list',
      permission: `${type}:${verb === 'list' ? 'read' : verb}`,
      tree: TREE_OF[verb] ?? ('read' as const),
      acl: verb === 'read' || verb === 'list' ? ('read' as const) : ('write' as const),
    })),
  ),
  resource_types: {
    document: { access: { all: ['rbac', 'tree', 'acl'] } },
    'by-rbac': { access: 'rbac' },
    'by-tree': { access: 'tree' },
    'by-acl': { access: 'acl' },
  },
};

/** Roles nest as a chain: the user is in the first, which is in the second, and so on. The last one carries it. */
export const STATE: StateFile = {
  tenant: TENANT,
  users: [
    { id: USER, roles: ['role-0'], workspaces: ['studio'] },
    ...Array.from({ length: 200 }, (_, n) => ({ id: `user-${n}`, roles: [`role-${n % 8}`] })),
  ],
  roles: ROLES.map((id, n) => ({
    id,
    level: 10 + n,
    permissions: [
      `note:read-${n}`,
      `graph:write-${n}`,
      ...(n === 7 ? ['document:read', 'thread:read'] : []),
    ],
    roles: n < 7 ? [`role-${n + 1}`] : [],
  })),
  workspaces: [{ id: 'studio' }],
  grants: [
    { principal: 'role:role-7', path: 'work', actions: ['read'] },
    ...ROLES.map((id, n) => ({
      principal: `role:${id}`,
      path: `archive.year-${n}`,
      actions: ['read' as const, 'write' as const],
    })),
    ...Array.from({ length: 5 }, (_, n) => ({
      principal: `user:${USER}`,
      path: `home.alice.folder-${n}`,
      actions: ['read' as const, 'write' as const, 'create' as const],
    })),
  ],
  policy_sets: [
    {
      name: 'reads',
      mode: 'enforce',
      rules: [
        {
          id: 'acme-internal',
          effect: 'allow',
          actions: [ACTION],
          attributes: { tenant: ['acme'], classification: ['internal'] },
        },
        {
          id: 'no-secrets',
          effect: 'deny',
          actions: ['graph.read'],
          attributes: { secret: [true] },
        },
        { id: 'no-delete', effect: 'deny', actions: ['document.delete', 'thread.delete'] },
      ],
    },
  ],
  keys: [{ id: KEY, role: 'default_deny', mode: 'enforce', policy_sets: ['reads'] }],
};

export interface World {
  readonly catalog: Catalog;
  readonly records: TenantFacts;
  readonly facts: StaticFacts;
}

export function buildWorld(): World {
  const catalog = compileCatalog(CATALOG);
  const built = toFacts(STATE, fromDefaults([]));
  if ('findings' in built) throw new Error(built.findings.map(({ message }) => message).join('\n'));
  return { catalog, records: built.facts, facts: staticFacts(TENANT, built.facts, catalog) };
}

/** An object of depth six that names strangers first and a role of the closure last. */
export function objectAt(n: number, visible = true, type = 'document'): Resource {
  const attributes: [string, readonly Scalar[]][] = [
    ['tenant', [visible ? 'acme' : 'globex']],
    ['classification', ['internal']],
    ['user_read_access', [`guest-${n}`, `guest-${n + 1}`]],
    ['role_read_access', [`other-${n % 16}`, 'role-7']],
  ];
  return {
    type,
    id: `doc-${n}`,
    path: asReceived(`work.team-${n % 7}.project-${n % 13}.area-${n % 5}.page-${n}.part-${n % 3}`),
    attributes: new Map(attributes),
    sources: [],
  };
}

/** A string as a decoder makes it: one flat piece of memory, not the parts that it was joined from. */
function asReceived(text: string): string {
  return Buffer.from(text).toString();
}

export function requestAt(n: number, type = 'document'): Request {
  return {
    tenant: TENANT,
    subject: { type: 'user', id: USER },
    keyId: KEY,
    action: ACTION,
    resource: objectAt(n, true, type),
  };
}
