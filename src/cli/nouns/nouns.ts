/** What is managed on a running server: `postern user create`, `postern grant list`, … */
import type { AddVerbs } from '../kit/verb.ts';

interface Noun {
  readonly name: string;
  readonly description: string;
  readonly load: () => Promise<AddVerbs>;
}

/** A noun's file has its verbs, and is loaded where the noun is named. */
export const NOUNS: readonly Noun[] = [
  {
    name: 'user',
    description: 'people, developers and agents',
    load: async () => (await import('./user.ts')).userVerbs,
  },
  {
    name: 'role',
    description: 'roles, their permissions and members',
    load: async () => (await import('./role.ts')).roleVerbs,
  },
  {
    name: 'workspace',
    description: 'workspaces and their members',
    load: async () => (await import('./workspace.ts')).workspaceVerbs,
  },
  {
    name: 'grant',
    description: 'actions on a path and all below it',
    load: async () => (await import('./grant.ts')).grantVerbs,
  },
  {
    name: 'owner',
    description: 'owners of paths',
    load: async () => (await import('./owner.ts')).ownerVerbs,
  },
  {
    name: 'policy-set',
    description: 'rules that keys are held to',
    load: async () => (await import('./policy-set.ts')).policySetVerbs,
  },
  {
    name: 'key',
    description: 'API keys and their secrets',
    load: async () => (await import('./key.ts')).keyVerbs,
  },
  {
    name: 'session',
    description: 'sessions of users',
    load: async () => (await import('./session.ts')).sessionVerbs,
  },
  {
    name: 'tenant',
    description: 'tenants, for the operator',
    load: async () => (await import('./tenant.ts')).tenantVerbs,
  },
  {
    name: 'changes',
    description: "the tenant's commits",
    load: async () => (await import('./changes.ts')).changesVerbs,
  },
];
