/** Commands that have verbs: `postern user create`, `postern audit verify`, … */
import type { AddVerbs } from '../kit/verb.ts';
import type { Connection } from '../kit/run.ts';

export interface Noun {
  readonly name: string;
  readonly connection: Connection;
  readonly description: string;
  readonly load: () => Promise<AddVerbs>;
}

/** Nouns whose verbs work on stores, logs and files. A noun's file has its verbs, and is loaded where the noun is named. */
export const FILE_NOUNS: readonly Noun[] = [
  {
    name: 'migrate',
    connection: 'none',
    description: 'apply migrations of roles and permissions, once to each tenant',
    load: async () => (await import('./migrate.ts')).migrateVerbs,
  },
  {
    name: 'audit',
    connection: 'none',
    description: 'read, verify and erase audit records',
    load: async () => (await import('../audit/audit.ts')).auditVerbs,
  },
  {
    name: 'context',
    connection: 'own',
    description: 'servers by name: address, tenant, token',
    load: async () => (await import('../context/verbs.ts')).contextVerbs,
  },
];

/** Nouns whose verbs manage facts of a running server. */
export const FACT_NOUNS: readonly Noun[] = [
  {
    name: 'user',
    connection: 'server',
    description: 'users: people, developers and agents',
    load: async () => (await import('./user.ts')).userVerbs,
  },
  {
    name: 'role',
    connection: 'server',
    description: 'roles, their permissions and members',
    load: async () => (await import('./role.ts')).roleVerbs,
  },
  {
    name: 'workspace',
    connection: 'server',
    description: 'workspaces and their members',
    load: async () => (await import('./workspace.ts')).workspaceVerbs,
  },
  {
    name: 'grant',
    connection: 'server',
    description: 'grants of actions at a path and below',
    load: async () => (await import('./grant.ts')).grantVerbs,
  },
  {
    name: 'owner',
    connection: 'server',
    description: 'owners of paths',
    load: async () => (await import('./owner.ts')).ownerVerbs,
  },
  {
    name: 'policy-set',
    connection: 'server',
    description: 'policy sets: the rules for keys',
    load: async () => (await import('./policy-set.ts')).policySetVerbs,
  },
  {
    name: 'key',
    connection: 'server',
    description: 'API keys and their secrets',
    load: async () => (await import('./key.ts')).keyVerbs,
  },
  {
    name: 'session',
    connection: 'server',
    description: 'sessions of users',
    load: async () => (await import('./session.ts')).sessionVerbs,
  },
  {
    name: 'tenant',
    connection: 'server',
    description: 'tenants, for the operator',
    load: async () => (await import('./tenant.ts')).tenantVerbs,
  },
  {
    name: 'changes',
    connection: 'server',
    description: 'the change log of a tenant',
    load: async () => (await import('./changes.ts')).changesVerbs,
  },
];
