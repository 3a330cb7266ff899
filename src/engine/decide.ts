/**
 * The combining rule, whole (semantics.md section 5). One request in, one decision out: no I/O, no clock,
 * no exception. `prepare` is the part that does not depend on the object, so Filter computes it once (FILT-1).
 */
import { actionLayer, objectLayer, rulesOf, type ActionPolicy } from './abac.ts';
import { accessOf, resolveAction, type Access } from './action.ts';
import type { Decision, Facts, Outcome } from './decision.ts';
import type { Model, Reason, Request, Resource } from './model.ts';
import { modelAllows, type SettledEvidence } from './models/models.ts';
import { rbacAllows, reachesLevel } from './models/rbac.ts';

/** The part of a decision that does not depend on the object. */
export type Prepared = { readonly refused: Reason } | Settled;

export interface Settled extends SettledEvidence {
  readonly refused: undefined;
  readonly access: Access;
  /** Evidence of the subject counts: it is a superuser, or its level is at least the action's `min_level` (RBAC-3). */
  readonly isLevelReached: boolean;
  /** The key's enforced rules, and those under full enforcement if they may differ. */
  readonly enforced: ActionPolicy | undefined;
  readonly shadow: ActionPolicy | undefined;
  /** Approximate cost of an object: number of rules and models that examine it. */
  readonly looks: number;
}

/** Examines one object. */
const LOOKS = 8;

/** May this subject, with this key, do this action on this resource, in this tenant? */
export function decide(request: Request, facts: Facts): Decision {
  return judge(prepare(request.action, request.resource.type, facts), request.resource);
}

/** COMB-1 up to the ABAC action layer: key, tenant, action, subject, and the rules that apply. */
export function prepare(actionName: string, type: string, facts: Facts): Prepared {
  const { key, subject, catalog } = facts;
  if (key === 'invalid') return { refused: 'KEY_INVALID' };
  if (!facts.tenantExists) return { refused: 'TENANT_MISMATCH' };
  const action = resolveAction(catalog, actionName, type);
  if (action === undefined) return { refused: 'UNKNOWN_ACTION' };
  if (subject?.inactive) return { refused: 'SUBJECT_INACTIVE' };
  // COMB-2: a request needs a key or a subject.
  if (key === undefined && subject === undefined) return { refused: 'INVALID_ARGUMENT' };
  const enforced = key && actionLayer(key.enforced, action);
  return {
    refused: undefined,
    action,
    subject,
    access: accessOf(catalog, action, type),
    isLevelReached:
      subject === undefined || subject.superuser || reachesLevel(subject.groups, action),
    rbac: subject !== undefined && rbacAllows(subject.groups.permissions, action),
    enforced,
    shadow: key?.shadow && actionLayer(key.shadow, action),
    looks: enforced === undefined ? LOOKS : LOOKS + rulesOf(enforced),
  };
}

/** Only the verdict of `judge`, under one of the two policies; Filter calls it for each object (FILT-1). */
export function admits(
  settled: Settled,
  policy: ActionPolicy | undefined,
  resource: Resource,
): boolean {
  if (policy?.actionRule.effect === 'deny') return false;
  if (policy !== undefined && objectLayer(policy, resource).effect === 'deny') return false;
  return settled.subject === undefined || evidence(settled, resource) !== undefined;
}

/** Whether the key's enforced rules, if any, show this object; independent of evidence (ABAC-5). */
export function showsObject({ enforced }: Settled, resource: Resource): boolean {
  return enforced === undefined || objectLayer(enforced, resource).effect === 'allow';
}

/** The rest of COMB-1 for one object, as enforced and, if it could differ, under full enforcement (ABAC-8). */
function judge(prepared: Prepared, resource: Resource): Decision {
  if (prepared.refused !== undefined) return refusal(prepared.refused);
  const { subject, enforced, shadow } = prepared;
  const by = evidence(prepared, resource);
  const granted = subject === undefined || by !== undefined;
  const { reason, actionRule, objectRule } = combine(enforced, granted, resource);
  return {
    allowed: reason === 'ALLOWED',
    reason,
    by,
    actionRule,
    objectRule,
    shadow: shadow && combine(shadow, granted, resource),
  };
}

/** COMB-1, COMB-2, COMB-6: action layer, then the subject, then the object layer; a key and a subject must both allow. */
function combine(policy: ActionPolicy | undefined, granted: boolean, resource: Resource): Outcome {
  const actionRule = policy?.actionRule;
  if (actionRule?.effect === 'deny') return outcome('ACTION_DENIED', actionRule);
  if (!granted) return outcome('NO_GRANT', actionRule);
  const objectRule = policy && objectLayer(policy, resource);
  if (objectRule?.effect === 'deny') return outcome('OBJECT_HIDDEN', actionRule, objectRule);
  return outcome('ALLOWED', actionRule, objectRule);
}

/** RBAC-3, then COMB-3: the model that gives the subject the action; `undefined`: none. */
function evidence(settled: Settled, resource: Resource): Decision['by'] {
  if (settled.subject === undefined || !settled.isLevelReached) return undefined;
  return settled.subject.superuser ? 'superuser' : grantedBy(settled.access, settled, resource);
}

/** The model that makes the `access` expression true: the first of an `any`, the last of an `all`. */
function grantedBy(access: Access, settled: Settled, resource: Resource): Model | undefined {
  if (typeof access === 'string')
    return modelAllows(access, settled, resource) ? access : undefined;
  let by: Model | undefined;
  if ('any' in access) {
    for (const part of access.any)
      if ((by = grantedBy(part, settled, resource)) !== undefined) return by;
    return undefined;
  }
  for (const part of access.all)
    if ((by = grantedBy(part, settled, resource)) === undefined) return undefined;
  return by;
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
