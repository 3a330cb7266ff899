/**
 * The shape of each kind of record, as decisions and management rely on it (CONS-6). A record that has another shape,
 * or carries the id of another record, is never believed.
 */
import { EFFECTS, KEY_ROLES, MODES, TREE_ACTIONS, USER_TYPES } from '../../engine/model.ts';
import type { Kind } from '../../engine/records.ts';
import type { FactKey } from '../store.ts';
import {
  fields,
  flag,
  integer,
  listOf,
  number,
  object,
  oneOf,
  pair,
  positive,
  scalar,
  text,
  type Shape,
} from './shape.ts';

const texts = listOf(text);
const mode = oneOf(...MODES);
const treeActions = listOf(oneOf(...TREE_ACTIONS));
const grants = listOf(
  fields(
    { path: text, actions: treeActions, grantor: text, grantOption: flag },
    { options: treeActions },
  ),
);
const session = fields({ id: text, hash: text, createdAt: number, expiresAt: number });
const rule = fields(
  { id: text, effect: oneOf(...EFFECTS), actions: listOf(text, 1) },
  { description: text, attributes: listOf(pair(text, listOf(scalar, 1)), 1) },
);
const policySet = fields(
  { name: text, mode, version: integer(0), rules: listOf(rule) },
  { description: text },
);

const SHAPES: Readonly<Record<Kind, Shape>> = {
  tenant: fields(
    { id: text },
    {
      migrations: listOf(fields({ name: text, digest: text, at: number })),
      deleted: flag,
      deletedBy: text,
      deletedAt: number,
    },
  ),
  user: fields(
    {
      id: text,
      type: oneOf(...USER_TYPES),
      superuser: flag,
      createrole: flag,
      suspended: flag,
      deleted: flag,
      roles: texts,
      workspaces: texts,
      grants,
      owns: texts,
    },
    {
      externalId: text,
      email: text,
      metadata: object,
      adminOf: texts,
      sessions: listOf(session),
    },
  ),
  role: fields(
    {
      id: text,
      level: integer(0, 100),
      permissions: texts,
      system: flag,
      roles: texts,
      workspaces: texts,
      grants,
      closure: fields({ roles: texts, workspaces: texts }),
    },
    { description: text, creator: text, deleted: flag },
  ),
  workspace: fields({ id: text, grants }, { description: text, creator: text, deleted: flag }),
  owner: fields({ path: text, owner: text }, { grantor: text }),
  policy_set: policySet,
  key: fields(
    { id: text, role: oneOf(...KEY_ROLES), mode, policySets: texts },
    {
      description: text,
      user: text,
      createdAt: number,
      expiresAt: number,
      revoked: flag,
      // A window that ends as it begins would limit nobody.
      rateLimit: fields({ requests: integer(1), seconds: positive }),
      secrets: listOf(fields({ hash: text }, { expiresAt: number })),
    },
  ),
  refs: fields(
    { id: text, members: integer(0), owners: texts, given: texts, keys: texts },
    { appointed: texts },
  ),
  name: fields({ id: text, users: texts }),
  policy_version: fields({ id: text, set: policySet, actor: text, at: number }),
  usage: fields({ id: text, at: number }),
  tombstone: fields({ id: text }),
  receipt: fields({ id: text, digest: text, revision: integer(0), time: number }),
};

/** The field of a record that says again under which id it is stored. */
const ID_FIELD: Partial<Readonly<Record<Kind, string>>> = { owner: 'path', policy_set: 'name' };

/** @returns what is wrong with a record that was read under a key; `undefined`: nothing */
export function recordProblem(tenant: string, key: FactKey, value: unknown): string | undefined {
  const problem = SHAPES[key.kind](value);
  // `it has no level`, `its level is no integer`.
  if (problem !== undefined) return /^(is|has) /.test(problem) ? `it ${problem}` : `its ${problem}`;
  // The shape says that it is an object.
  const own = (value as Readonly<Record<string, unknown>>)[ID_FIELD[key.kind] ?? 'id'];
  // The tenant's own record is stored without an id.
  const wanted = key.kind === 'tenant' ? tenant : key.id;
  return own === wanted ? undefined : `it is the record of \`${String(own).slice(0, 80)}\``;
}
