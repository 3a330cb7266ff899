/** Fields of a policy set that change while its rules stay, as one more version (ABAC-1, ADM-1, ADM-1b). */
import { MODES } from '../../engine/model.ts';
import { requireAdministrator } from '../actor.ts';
import type { Context } from '../context.ts';
import { oneOf, textOf } from '../input.ts';
import { existingSet, storeSet } from './policies.ts';
import { invalid } from '../refused.ts';
import { policySetView } from '../read/view.ts';

export interface UpdatePolicySet {
  readonly name: string;
  readonly mode?: string;
  readonly description?: string;
}

export function updatePolicySet(context: Context, request: UpdatePolicySet): object {
  requireAdministrator(context.authority, 'change a policy set');
  const stored = existingSet(context.world, request.name);
  if (request.mode === undefined && request.description === undefined)
    throw invalid('mode', 'is missing, and so is `description`: give what is to change');
  const mode = request.mode === undefined ? stored.mode : oneOf('mode', request.mode, MODES);
  const { description: old, ...rest } = stored;
  const description =
    request.description === undefined ? old : textOf('description', request.description);
  // What is so already makes no version.
  if (mode === stored.mode && description === old) return { policy_set: policySetView(stored) };
  return storeSet(context, {
    ...rest,
    mode,
    ...(description === undefined ? {} : { description }),
  });
}
