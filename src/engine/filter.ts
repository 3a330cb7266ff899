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
  /** Largest number of visible objects to return; 0: all (FILT-3). */
  readonly limit: number;
  /** Indexes of malformed objects: not visible and not evaluated (FILT-5). */
  readonly invalid?: { readonly size: number; has(index: number): boolean } | undefined;
}

export interface FilterResult {
  /** False: the request is denied for every object, and `reason` says why (FILT-2). */
  readonly actionAllowed: boolean;
  readonly reason: Reason;
  /** Indexes of the objects for which Check allows, in input order (FILT-1). */
  readonly visible: readonly number[];
  /** There is no further visible object (FILT-4). */
  readonly complete: boolean;
  /** Index of the next visible object; 0 when complete. */
  readonly nextOffset: number;
  /** Indexes that full enforcement would hide or show (ABAC-8), among the objects of this page. */
  readonly shadowHidden: readonly number[];
  readonly shadowShown: readonly number[];
  /** Number of evaluated objects, including hidden ones: for metrics, never for an answer (FILT-3). */
  readonly examined: number;
}

/** All steps at once, for callers that block nobody. */
export function filter(query: FilterQuery, facts: Facts): FilterResult {
  return finish(filterInSteps(query, facts));
}

/** The objects that Check would allow; common parts are computed once. */
export function* filterInSteps(query: FilterQuery, facts: Facts): Steps<FilterResult> {
  const run = new FilterRun(query, facts);
  while (run.step()) yield;
  return run.result();
}

/** A Filter in progress. A step is a plain loop, which is faster than a generator that yields at each object. */
class FilterRun {
  readonly #query: FilterQuery;
  readonly #facts: Facts;
  readonly #invalid: FilterQuery['invalid'];
  readonly #prepared = new Map<string, Prepared>();
  readonly #visible: number[] = [];
  readonly #shadowHidden: number[] = [];
  readonly #shadowShown: number[] = [];
  /** Index of the first object of the next step. */
  #at = 0;
  #nextOffset = 0;
  #examined = 0;

  constructor(query: FilterQuery, facts: Facts) {
    this.#query = query;
    this.#facts = facts;
    this.#invalid = query.invalid?.size === 0 ? undefined : query.invalid;
  }

  /** Evaluates objects for one step. @returns whether objects are left */
  step(): boolean {
    const { objects, limit, offset } = this.#query;
    const invalid = this.#invalid;
    // Consecutive objects mostly have the same type.
    let settled: Prepared | undefined;
    let type = '';
    let left = STEP;
    for (let index = this.#at; ; index++) {
      const object = objects[index];
      if (object === undefined) return false;
      if (invalid?.has(index) === true) continue;
      if (settled === undefined || object.type !== type) {
        type = object.type;
        settled = this.#prepare(type);
      }
      if (left <= 0) {
        this.#at = index;
        return true;
      }
      left -= settled.refused === undefined ? settled.looks : 1;
      // Objects before the page only show, by their type, whether the action is denied for every object.
      if (index < offset || settled.refused !== undefined) continue;
      const allowed = admits(settled, settled.enforced, object);
      this.#examined++;
      if (allowed && limit > 0 && this.#visible.length === limit) {
        this.#nextOffset = index;
        return false;
      }
      if (allowed) this.#visible.push(index);
      if (settled.shadow !== undefined && admits(settled, settled.shadow, object) !== allowed)
        (allowed ? this.#shadowHidden : this.#shadowShown).push(index);
    }
  }

  result(): FilterResult {
    // If no object has a type, the action alone is evaluated.
    if (this.#prepared.size === 0) this.#prepare('');
    const denials = [...this.#prepared.values()].map(actionDenial);
    const actionAllowed = denials.includes(undefined);
    return {
      actionAllowed,
      reason: actionAllowed ? 'ALLOWED' : (denials[0] ?? 'ALLOWED'),
      visible: this.#visible,
      complete: this.#nextOffset === 0,
      nextOffset: this.#nextOffset,
      shadowHidden: this.#shadowHidden,
      shadowShown: this.#shadowShown,
      examined: this.#examined,
    };
  }

  /** The prepared part for each type, computed once per type. */
  #prepare(type: string): Prepared {
    const known = this.#prepared.get(type);
    if (known !== undefined) return known;
    const prepared = prepare(this.#query.action, type, this.#facts);
    this.#prepared.set(type, prepared);
    return prepared;
  }
}

/** Why the action is denied for every object; `undefined`: it is not (FILT-2). */
function actionDenial(prepared: Prepared): Reason | undefined {
  if (prepared.refused !== undefined) return prepared.refused;
  return prepared.enforced?.actionRule.effect === 'deny' ? 'ACTION_DENIED' : undefined;
}
