/** Filter: Check for each object of a list, in slices so that it holds nobody up (ADM-11). */
import type { ItemsText, itemTexts } from '../audit/record/event.ts';
import { filterInSteps, type FilterResult } from '../engine/filter.ts';
import type { Facts } from '../engine/decision.ts';
import type { Resource } from '../engine/model.ts';
import {
  callerProblem,
  requestIdProblem,
  resourceProblem,
  type RequestLimits,
} from '../engine/validate.ts';
import type { LoadedFacts } from '../facts/facts.ts';
import { later, type MaybePromise } from '../util/later.ts';
import { inSlices, type SteppedWork } from '../util/slices.ts';
import { namedRequest, type Answering } from './answering.ts';
import type { FilterAnswer, FilterCall } from './calls.ts';
import { outcomeOf } from './denied.ts';
import { invalid, problemText, unavailable, type Failure } from './failure.ts';
import type { OpenCall, Recorder } from './record.ts';

const TOO_LATE = unavailable(
  'the deadline passed before all objects were checked: send fewer objects, or a later deadline',
);

export class Filterer {
  readonly #answering: Answering;
  readonly #recorder: Recorder;
  readonly #limits: RequestLimits;

  constructor(answering: Answering, recorder: Recorder, limits: RequestLimits) {
    this.#answering = answering;
    this.#recorder = recorder;
    this.#limits = limits;
  }

  filter(call: FilterCall, waitMs: number): MaybePromise<FilterAnswer | Failure> {
    const problem = requestIdProblem('id', call.id) ?? callerProblem(namedRequest(call));
    if (problem !== undefined) return invalid(problem);
    return this.#answering.answer('filter', call, waitMs, (open, loaded) => {
      const work = filterValid(call, loaded.facts, this.#limits, this.#recorder.itemTexts);
      return later(inSlices(work, open.startedAt + waitMs), (filtered) =>
        filtered === undefined
          ? this.#recorder.fail(open, loaded, TOO_LATE)
          : this.#answer(open, loaded, filtered),
      );
    });
  }

  #answer(
    open: OpenCall<FilterCall>,
    loaded: LoadedFacts,
    { result, invalid: malformed, made }: Filtered,
  ): MaybePromise<FilterAnswer | Failure> {
    const { visible, examined } = result;
    const shadowHidden = result.shadowHidden.length;
    const shadowShown = result.shadowShown.length;
    const { objects: items, offset, limit } = open.call;
    this.#recorder.countFilter(result);
    const outcome = outcomeOf(result.reason);
    const content = this.#recorder.content(open.call, loaded.facts, outcome, {
      items,
      offset,
      limit,
      visible,
      shadowHidden,
      shadowShown,
      invalid: [...malformed.keys()],
      made,
    });
    // What is hidden is denied, and so is what is malformed: such an answer is always recorded.
    const isSampled =
      visible.length === examined && shadowHidden + shadowShown + malformed.size === 0;
    return this.#recorder.record(
      open,
      loaded,
      outcome,
      content,
      (answered) => ({ result, invalid: malformed, ...answered }),
      isSampled,
    );
  }
}

/** Objects that are validated between two steps. */
const STEP_OBJECTS = 64;
/** Characters of a record that are made between two steps. */
const STEP_CHARS = 65_536;
/** What the redaction of one object counts at least, in characters: about 30 µs. */
const ALTERED_CHARS = 2_048;

interface Filtered {
  readonly result: FilterResult;
  readonly invalid: ReadonlyMap<number, string>;
  /** The objects as the audit record holds them; `undefined`: it does not hold them one by one, or is not written. */
  readonly made: ItemsText | undefined;
}

/**
 * FILT-5: validates each object before any is decided.
 * @param textFor how the audit record holds an object; `undefined`: it does not hold objects one by one
 * @returns `undefined`: the time of the call was over first
 */
function* filterValid(
  call: FilterCall,
  facts: Facts,
  limits: RequestLimits,
  textFor: TextFor | undefined,
): SteppedWork<Filtered | undefined> {
  let found: Map<number, string> | undefined;
  for (let index = 0; index < call.objects.length; index++) {
    if (index % STEP_OBJECTS === STEP_OBJECTS - 1 && (yield)) return undefined;
    const object = call.objects[index];
    const problem = object && resourceProblem(object, index, limits);
    if (problem !== undefined) (found ??= new Map()).set(index, problemText(problem));
  }
  const malformed =
    found === undefined
      ? call.invalid
      : new Map([...call.invalid, ...found].sort(([a], [b]) => a - b));
  const { action } = call.request;
  const deciding = filterInSteps({ ...call, action, invalid: malformed }, facts);
  for (;;) {
    const { done, value } = deciding.next(false);
    if (done === true) {
      const made = textFor && (yield* textOf(call.objects, malformed, textFor));
      return { result: value, invalid: malformed, made };
    }
    if (yield) return undefined;
  }
}

type TextFor = NonNullable<ReturnType<typeof itemTexts>>;

/** The objects as the audit record holds them. It is written whatever the time: the decision is made. */
function* textOf(
  objects: readonly Resource[],
  malformed: ReadonlyMap<number, string>,
  textFor: TextFor,
): SteppedWork<ItemsText> {
  const texts: string[] = [];
  let isAnyAltered = false;
  let work = 0;
  for (const [index, object] of objects.entries()) {
    const { text, isAltered } = textFor(malformed.has(index) ? undefined : object);
    if (text !== undefined) texts.push(text);
    isAnyAltered ||= isAltered;
    // Parsing and hashing cost more than the text: an altered object counts four times its length, and a base.
    work += isAltered ? 4 * (text?.length ?? 0) + ALTERED_CHARS : (text?.length ?? 0);
    if (work < STEP_CHARS) continue;
    work = 0;
    yield;
  }
  return { text: texts.join(','), isAltered: isAnyAltered };
}
