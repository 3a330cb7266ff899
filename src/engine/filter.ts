/** Filter: Check over shared evidence (section 6). */
import { admits, prepare, type Prepared } from './decide.ts';
import type { Facts } from './decision.ts';
import type { Reason, Resource } from './model.ts';
import { STEP, finish, type Steps } from './steps.ts';

export interface FilterQuery {
  readonly action: string;
  readonly objects: readonly Resource[];
  /** Index of the first object to look at. */
  readonly offset: number;
  /** How many visible objects to return; 0: all (FILT-3). */
  readonly limit: number;
  /** Indexes of objects that are malformed: they are not visible, and nothing is asked of them (FILT-5). */
  readonly invalid?: { readonly size: number; has(index: number): boolean } | undefined;
}

export interface FilterResult {
  /** False: the request is denied whatever the object, and `reason` says why (FILT-2). */
  readonly actionAllowed: boolean;
  readonly reason: Reason;
  /** Indexes of the objects for which Check allows, in input order (FILT-1). */
  readonly visible: readonly number[];
  /** No visible object is left after these (FILT-4). */
  readonly complete: boolean;
  /** Index of the next visible object; 0 when complete. */
  readonly nextOffset: number;
  /** Indexes that full enforcement would hide or show (ABAC-8), among the objects of this page. */
  readonly shadowHidden: readonly number[];
  readonly shadowShown: readonly number[];
  /** Objects that were looked at, hidden ones included: for metrics, never for an answer (FILT-3). */
  readonly examined: number;
}

/** All of it at once, for callers that hold nobody up. */
export function filter(query: FilterQuery, facts: Facts): FilterResult {
  return finish(filterInSteps(query, facts));
}

/** The objects that Check would allow one by one, with what they share computed once. */
export function* filterInSteps(query: FilterQuery, facts: Facts): Steps<FilterResult> {
  const { action, objects, limit, offset } = query;
  const invalid = query.invalid?.size === 0 ? undefined : query.invalid;
  const prepared = new Map<string, Prepared>();
  // Objects of one type mostly follow each other.
  let last: Prepared | undefined;
  let lastType = '';
  const prepareFor = (type: string): Prepared => {
    if (last !== undefined && type === lastType) return last;
    last = prepared.get(type) ?? prepare(action, type, facts);
    lastType = type;
    prepared.set(type, last);
    return last;
  };
  const visible: number[] = [];
  const shadowHidden: number[] = [];
  const shadowShown: number[] = [];
  let nextOffset = 0;
  let examined = 0;
  let index = -1;
  let untilStep = STEP;
  for (const object of objects) {
    index++;
    if (invalid?.has(index) === true) continue;
    const settled = prepareFor(object.type);
    untilStep -= settled.refused === undefined ? settled.looks : 1;
    if (untilStep <= 0) {
      untilStep = STEP;
      yield;
    }
    // Objects before the page only tell, by their type, whether the action is denied as such.
    if (index < offset || settled.refused !== undefined) continue;
    const allowed = admits(settled, settled.enforced, object);
    examined++;
    if (allowed && limit > 0 && visible.length === limit) {
      nextOffset = index;
      break;
    }
    if (allowed) visible.push(index);
    if (settled.shadow !== undefined && admits(settled, settled.shadow, object) !== allowed)
      (allowed ? shadowHidden : shadowShown).push(index);
  }
  // Of no object that says its type, the action is asked by itself.
  if (prepared.size === 0) prepareFor('');
  const denials = [...prepared.values()].map(actionDenial);
  const actionAllowed = denials.includes(undefined);
  return {
    actionAllowed,
    reason: actionAllowed ? 'ALLOWED' : (denials[0] ?? 'ALLOWED'),
    visible,
    complete: nextOffset === 0,
    nextOffset,
    shadowHidden,
    shadowShown,
    examined,
  };
}

/** Why the action is denied whatever the object; `undefined`: it is not (FILT-2). */
function actionDenial(prepared: Prepared): Reason | undefined {
  if (prepared.refused !== undefined) return prepared.refused;
  return prepared.enforced?.actionRule.effect === 'deny' ? 'ACTION_DENIED' : undefined;
}
