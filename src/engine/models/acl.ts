/** Object ACL: access lists in the object's own metadata (ACL-1 to ACL-4). */
import type { Action } from '../action.ts';
import { FactList } from '../explanation.ts';
import type { Attributes, Scalar } from '../model.ts';
import type { SubjectFacts } from '../subject.ts';
import type { ModelRules } from './rules.ts';

export const OWNER_KEY = 'user_id';

export const ACL_KEYS = {
  read: { user: 'user_read_access', workspace: 'workspace_read_access', role: 'role_read_access' },
  write: {
    user: 'user_write_access',
    workspace: 'workspace_write_access',
    role: 'role_write_access',
  },
} as const;

/** Whether the object's own lists name the subject or a group of its closure on the action's side (ACL-2). */
export function aclAllows(facts: SubjectFacts, action: Action, attributes: Attributes): boolean {
  if (action.acl === undefined || attributes.size === 0) return false;
  const { subject, groups } = facts;
  const keys = ACL_KEYS[action.acl];
  if (
    subject.type === 'user' &&
    (names(attributes.get(OWNER_KEY), subject.id) || names(attributes.get(keys.user), subject.id))
  )
    return true;
  return (
    (groups.workspaces.size > 0 && namesOneOf(attributes.get(keys.workspace), groups.workspaces)) ||
    (groups.roles.size > 0 && namesOneOf(attributes.get(keys.role), groups.roles))
  );
}

function names(list: readonly Scalar[] | undefined, id: string): boolean {
  return list !== undefined && list.includes(id);
}

function namesOneOf(
  list: readonly Scalar[] | undefined,
  groups: ReadonlyMap<string, unknown>,
): boolean {
  if (list !== undefined)
    for (const id of list) if (typeof id === 'string' && groups.has(id)) return true;
  return false;
}

export const acl: ModelRules = {
  *facts({ subject: { subject, groups }, action }, { attributes }, _chainTo, meter) {
    if (action.acl === undefined) return [];
    const keys = ACL_KEYS[action.acl];
    const isSubject = (id: string): boolean => subject.type === 'user' && id === subject.id;
    const facts = new FactList();
    for (const [key, isNamed] of [
      [OWNER_KEY, isSubject],
      [keys.user, isSubject],
      [keys.workspace, (id: string): boolean => groups.workspaces.has(id)],
      [keys.role, (id: string): boolean => groups.roles.has(id)],
    ] as const) {
      const list = attributes.get(key) ?? [];
      if (meter.isStepDue(list.length)) meter.isLate ||= yield;
      for (const value of new Set(list))
        if (typeof value === 'string' && isNamed(value) && facts.takes('acl'))
          facts.add({ kind: 'acl', text: `${key} names ${value}` });
    }
    return facts.all();
  },

  silence({ subject, action }, { attributes }) {
    if (action.acl === undefined) return `${action.name} has no acl side`;
    const keys = [OWNER_KEY, ...Object.values(ACL_KEYS[action.acl])];
    return keys.some((key) => attributes.has(key))
      ? `the object's ${action.acl} lists name neither ${subject.subject.id} nor a group of its closure`
      : `the object has no ${action.acl} list`;
  },

  mayAllow: ({ subject, action }, { attributes }, withheld) =>
    withheld.attributes ? action.acl !== undefined : aclAllows(subject, action, attributes),

  candidates({ subject, action }, resource) {
    if (action.acl === undefined) return [];
    const { type, id } = subject.subject;
    const key = ACL_KEYS[action.acl][type];
    const attributes = new Map(resource.attributes);
    attributes.set(key, [...(attributes.get(key) ?? []), id]);
    const missing = { kind: 'acl', text: `${id} in the object's ${key}` } as const;
    return [{ missing, resource: { ...resource, attributes } }];
  },

  missingOnRole: () => undefined,

  givenByGroup({ acl: side }, { attributes }) {
    const keys = side && ACL_KEYS[side];
    const listed = {
      role: new Set(keys && attributes.get(keys.role)),
      workspace: new Set(keys && attributes.get(keys.workspace)),
    };
    return (type, { id }) => listed[type].has(id);
  },
};
