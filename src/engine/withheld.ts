/** Decisions with unknown inputs: could they differ if the inputs were known? */
import { looksAtMetadata } from './abac.ts';
import type { Access } from './action.ts';
import { admits, prepare, type Prepared } from './decide.ts';
import type { Facts } from './decision.ts';
import type { Request, Resource } from './model.ts';
import { MODEL_RULES } from './models/models.ts';
import type { Withheld } from './models/rules.ts';

export type { Withheld };

/** Whether `decide` has the same reason for this request for all values of the withheld parts. */
export function isIndependent(request: Request, facts: Facts, withheld: Withheld): boolean {
  const { resource } = request;
  const prepared = prepare(request.action, resource.type, facts);
  if (prepared.refused !== undefined) return true;
  const { enforced } = prepared;
  if (enforced?.actionRule.effect === 'deny') return true;
  // The models only add an ALLOW: either the known parts give it, or the withheld parts could not.
  const granted = admits(prepared, undefined, resource);
  if (!granted)
    return !prepared.isLevelReached || !mayGrant(prepared.access, prepared, resource, withheld);
  const known = !withheld.sources && (!withheld.attributes || resource.sources.length > 0);
  return known || enforced === undefined || !looksAtMetadata(enforced);
}

/** COMB-3 where every model that reads a withheld part counts as an ALLOW. */
function mayGrant(
  access: Access,
  settled: Extract<Prepared, { refused: undefined }>,
  resource: Resource,
  withheld: Withheld,
): boolean {
  const { subject, action } = settled;
  if (typeof access !== 'string')
    return 'any' in access
      ? access.any.some((part) => mayGrant(part, settled, resource, withheld))
      : access.all.every((part) => mayGrant(part, settled, resource, withheld));
  // A key that acts alone needs no evidence.
  if (subject === undefined) return false;
  return MODEL_RULES[access].mayAllow({ subject, action }, resource, withheld);
}

/**
 * Reason why the action is denied for every resource type, for a Filter with unknown objects.
 * `undefined`: it depends on the objects.
 */
export function refusalOfAll(
  action: string,
  facts: Facts,
): Exclude<Prepared['refused'], undefined> | 'ACTION_DENIED' | undefined {
  const prepared = prepare(action, '', facts);
  const isBareVerb =
    !facts.catalog.actions.has(action) && !action.includes(':') && !action.includes('.');
  if (prepared.refused !== undefined) return prepared.refused;
  const denied = prepared.enforced?.actionRule.effect === 'deny';
  return denied && !isBareVerb ? 'ACTION_DENIED' : undefined;
}
