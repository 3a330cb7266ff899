/** Filter: Check over shared evidence (section 6). */
import { judge, prepare, type Prepared } from './decide.ts';
import type { Facts, Reason, Resource } from './model.ts';

export interface FilterQuery {
  readonly action: string;
  readonly objects: readonly Resource[];
  /** Index of the first object to look at. */
  readonly offset: number;
  /** How many visible objects to return; 0: all (FILT-3). */
  readonly limit: number;
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
}

const ACTION_LEVEL: ReadonlySet<Reason> = new Set([
  'KEY_INVALID',
  'TENANT_MISMATCH',
  'UNKNOWN_ACTION',
  'SUBJECT_INACTIVE',
  'ACTION_DENIED',
]);

const NOTHING: Resource = {
  type: '',
  id: '',
  path: undefined,
  attributes: new Map(),
  sources: [],
};

/** The objects that Check would allow one by one, with what they share computed once. */
export function filter(query: FilterQuery, facts: Facts): FilterResult {
  const { objects, limit } = query;
  const prepared = new Map<string, Prepared>();
  const prepareFor = (type: string): Prepared => {
    const known = prepared.get(type);
    if (known !== undefined) return known;
    const made = prepare(query.action, type, facts);
    prepared.set(type, made);
    return made;
  };
  const visible: number[] = [];
  const shadowHidden: number[] = [];
  const shadowShown: number[] = [];
  let nextOffset = 0;
  let denial: Reason | undefined;
  let actionAllowed = false;
  const meet = (reason: Reason): void => {
    if (ACTION_LEVEL.has(reason)) denial ??= reason;
    else actionAllowed = true;
  };
  for (const [index, object] of objects.entries()) {
    const seeking = index >= query.offset;
    // Objects before the offset only tell whether the action is denied as such.
    if (!seeking && actionAllowed) continue;
    const { reason, allowed, shadow } = judge(prepareFor(object.type), object);
    meet(reason);
    if (!seeking) continue;
    if (allowed && limit > 0 && visible.length === limit) {
      nextOffset = index;
      break;
    }
    if (allowed) visible.push(index);
    if (shadow !== undefined && (shadow.reason === 'ALLOWED') !== allowed)
      (allowed ? shadowHidden : shadowShown).push(index);
  }
  if (objects.length === 0) meet(judge(prepareFor(''), NOTHING).reason);
  return {
    actionAllowed,
    reason: actionAllowed ? 'ALLOWED' : (denial ?? 'ALLOWED'),
    visible,
    complete: nextOffset === 0,
    nextOffset,
    shadowHidden,
    shadowShown,
  };
}
