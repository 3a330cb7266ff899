/**
 * Long work in steps. The engine has no clock, so the driver of a generator says at each step whether to end (ADM-11).
 * Work is counted in units: one examined grant row, role, permission or rule.
 */

/** Yields between steps. Gets `true` when time is over, and then returns its result so far. */
export type Steps<T> = Generator<undefined, T, boolean>;

/** Units of one step: well below a millisecond. */
export const STEP = 4_096;

/** Counts the work units of one call. */
export class Meter {
  #left: number;
  #untilStep = STEP;
  /** Set by the driver when time is over. */
  isLate = false;

  /** @param budget largest number of units */
  constructor(budget: number) {
    this.#left = budget;
  }

  /** Counts units. @returns whether a step is due: then the caller does `meter.isLate ||= yield` */
  isStepDue(units: number): boolean {
    this.#left -= units;
    this.#untilStep -= units;
    if (this.#untilStep > 0) return false;
    this.#untilStep = STEP;
    return true;
  }

  /** No new work may start: the budget is used up, or time is over. */
  get isOver(): boolean {
    return this.isLate || this.#left < 0;
  }
}

/** Runs all steps at once, for callers that block nobody. */
export function finish<T>(work: Steps<T>): T {
  for (;;) {
    const { done, value } = work.next(false);
    if (done === true) return value;
  }
}
