/**
 * The combining rule, whole (semantics.md section 5). One question in, one decision out: no I/O, no clock,
 * no exception. `prepare` is the part that no object changes, so that Filter computes it once (FILT-1).
 */
import { actionLayer, objectLayer, type RuleTable } from './abac.ts';
import { aclAllows } from './acl.ts';
import { accessOf, resolveAction, type Access, type Action } from './action.ts';
import type { Decision, Facts, Model, Outcome, Reason, Request, Resource } from './model.ts';
import { rbacAllows } from './rbac.ts';
import { treeAllows } from './tree.ts';

/** What is settled before the object is looked at. */
export type Prepared =
  | { readonly refused: Reason }
  | {
      readonly refused: undefined;
      readonly facts: Facts;
      readonly action: Action;
      readonly access: Access;
      readonly enforced: RuleTable | undefined;
      readonly shadow: RuleTable | undefined;
    };

/** May this subject, with this key, do this action on this resource, in this tenant? */
export function decide(request: Request, facts: Facts): Decision {
  return judge(prepare(request.action, request.resource.type, facts), request.resource);
}

/** COMB-1 up to the subject's state: key, tenant, action, subject. */
export function prepare(actionName: string, type: string, facts: Facts): Prepared {
  const { key, subject, catalog } = facts;
  if (key === 'invalid') return { refused: 'KEY_INVALID' };
  if (!facts.tenantExists) return { refused: 'TENANT_MISMATCH' };
  const action = resolveAction(catalog, actionName, type);
  if (action === undefined) return { refused: 'UNKNOWN_ACTION' };
  if (subject?.inactive) return { refused: 'SUBJECT_INACTIVE' };
  // COMB-2: with neither a key nor a subject, nobody asks.
  if (key === undefined && subject === undefined) return { refused: 'INVALID_ARGUMENT' };
  const access = accessOf(catalog, action, type);
  return {
    refused: undefined,
    facts,
    action,
    access,
    enforced: key?.enforced,
    shadow: key?.shadow,
  };
}

/** The rest of COMB-1, for one object, as enforced and, where it could differ, under full enforcement (ABAC-8). */
export function judge(prepared: Prepared, resource: Resource): Decision {
  if (prepared.refused !== undefined) return refusal(prepared.refused);
  const { facts, enforced, shadow } = prepared;
  const by = evidence(prepared, resource);
  const granted = facts.subject === undefined || by !== undefined;
  const { reason, actionRule, objectRule } = combine(prepared.action, enforced, granted, resource);
  return {
    allowed: reason === 'ALLOWED',
    reason,
    by,
    actionRule,
    objectRule,
    shadow: shadow && combine(prepared.action, shadow, granted, resource),
  };
}

/** COMB-1, COMB-2, COMB-6: action layer, then the subject, then the object layer; a key and a subject must both allow. */
function combine(
  action: Action,
  rules: RuleTable | undefined,
  granted: boolean,
  resource: Resource,
): Outcome {
  const actionRule = rules && actionLayer(rules, action);
  if (actionRule?.effect === 'deny') return outcome('ACTION_DENIED', actionRule);
  if (!granted) return outcome('NO_GRANT', actionRule);
  const objectRule = rules && objectLayer(rules, action, resource);
  if (objectRule?.effect === 'deny') return outcome('OBJECT_HIDDEN', actionRule, objectRule);
  return outcome('ALLOWED', actionRule, objectRule);
}

/** COMB-3: what grants the subject the action; `undefined`: nothing does. */
function evidence(prepared: Prepared & { refused: undefined }, resource: Resource): Decision['by'] {
  const { subject } = prepared.facts;
  if (subject === undefined) return undefined;
  if (subject.superuser) return 'superuser';
  return grantedBy(prepared.access, prepared, resource);
}

/** The model that makes the `access` expression true: the first of an `any`, the last of an `all`. */
function grantedBy(
  access: Access,
  prepared: Prepared & { refused: undefined },
  resource: Resource,
): Model | undefined {
  if (typeof access === 'string') return allows(access, prepared, resource) ? access : undefined;
  let by: Model | undefined;
  if ('any' in access) {
    for (const part of access.any)
      if ((by = grantedBy(part, prepared, resource)) !== undefined) return by;
    return undefined;
  }
  for (const part of access.all)
    if ((by = grantedBy(part, prepared, resource)) === undefined) return undefined;
  return by;
}

/** One model's word: ALLOW or nothing (section 4). */
function allows(
  model: Model,
  { facts: { subject }, action }: Prepared & { refused: undefined },
  resource: Resource,
): boolean {
  if (subject === undefined) return false;
  const { groups, own } = subject;
  switch (model) {
    case 'rbac':
      return rbacAllows(groups.permissions, groups.level, action);
    case 'tree':
      return treeAllows(own, groups.grants, action, resource.path);
    case 'acl':
      return aclAllows(subject, action, resource.attributes);
  }
}

function outcome(
  reason: Reason,
  actionRule?: Outcome['actionRule'],
  objectRule?: Outcome['objectRule'],
): Outcome {
  return { reason, actionRule, objectRule };
}

function refusal(reason: Reason): Decision {
  return { allowed: false, by: undefined, shadow: undefined, ...outcome(reason) };
}
