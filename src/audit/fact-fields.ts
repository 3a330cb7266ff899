/**
 * How each field of a stored fact names subjects: management records hold facts, and erasure goes by this. A new kind of
 * record, or a new field of one, does not compile before it is listed here: what erasure misses stays for ever.
 */
import type { Kind, Records } from '../engine/records.ts';

/**
 * - `nobody`: it names no subject.
 * - `own_id`: the id of the record itself, which is a principal.
 * - `user`, `users`, `roles`, `workspaces`: an id, or a list of them.
 * - `principal`, `principals`: as `user:alice`.
 * - `grants`: in the `grantor` of each row.
 * - `closure`: in `roles` and `workspaces` of an object.
 * - `personal`: it tells of the person whose record it is, and goes as a whole where that one is erased.
 */
export type FactNames =
  | 'nobody'
  | 'own_id'
  | 'user'
  | 'users'
  | 'roles'
  | 'workspaces'
  | 'principal'
  | 'principals'
  | 'grants'
  | 'closure'
  | 'personal';

type FactFields<K extends Kind> = { readonly [F in keyof Required<Records[K]>]: FactNames };

/** `unrecorded`: management records hold no such facts. */
export const FACT_FIELDS: { readonly [K in Kind]: FactFields<K> | 'unrecorded' } = {
  tenant: {
    id: 'nobody',
    migrations: 'nobody',
    deleted: 'nobody',
    deletedBy: 'principal',
    deletedAt: 'nobody',
  },
  user: {
    id: 'own_id',
    type: 'nobody',
    externalId: 'personal',
    email: 'personal',
    metadata: 'personal',
    superuser: 'nobody',
    createrole: 'nobody',
    suspended: 'nobody',
    deleted: 'nobody',
    roles: 'roles',
    workspaces: 'workspaces',
    grants: 'grants',
    owns: 'nobody',
    adminOf: 'principals',
    sessions: 'nobody',
  },
  role: {
    id: 'own_id',
    description: 'nobody',
    level: 'nobody',
    permissions: 'nobody',
    system: 'nobody',
    roles: 'roles',
    workspaces: 'workspaces',
    grants: 'grants',
    closure: 'closure',
    creator: 'principal',
  },
  workspace: { id: 'own_id', description: 'nobody', grants: 'grants', creator: 'principal' },
  owner: { path: 'nobody', owner: 'user', grantor: 'principal' },
  policy_set: {
    name: 'nobody',
    description: 'nobody',
    mode: 'nobody',
    version: 'nobody',
    rules: 'nobody',
  },
  key: {
    id: 'nobody',
    description: 'nobody',
    role: 'nobody',
    mode: 'nobody',
    policySets: 'nobody',
    user: 'user',
    createdAt: 'nobody',
    expiresAt: 'nobody',
    revoked: 'nobody',
    rateLimit: 'nobody',
    secrets: 'nobody',
  },
  refs: 'unrecorded',
  name: 'unrecorded',
  policy_version: 'unrecorded',
  receipt: 'unrecorded',
  usage: 'unrecorded',
  tombstone: 'unrecorded',
};

/** By name alone, for a fact whose kind a record does not tell: what names somebody in one kind counts. */
const BY_NAME: ReadonlyMap<string, FactNames> = new Map(
  Object.values(FACT_FIELDS).flatMap((fields) =>
    fields === 'unrecorded'
      ? []
      : Object.entries(fields).filter(([, names]) => names !== 'nobody' && names !== 'own_id'),
  ),
);

/** @param kind as a record has it: anything @returns how a field of such a fact names subjects */
export function namesOfFact(kind: unknown, field: string): FactNames {
  const fields = isKind(kind) ? FACT_FIELDS[kind] : 'unrecorded';
  if (fields === 'unrecorded') return field === 'id' ? 'own_id' : (BY_NAME.get(field) ?? 'nobody');
  const names: Partial<Readonly<Record<string, FactNames>>> = fields;
  return (Object.hasOwn(names, field) ? names[field] : undefined) ?? 'nobody';
}

function isKind(kind: unknown): kind is Kind {
  return typeof kind === 'string' && Object.hasOwn(FACT_FIELDS, kind);
}
