/**
 * Work that may be long, in steps: the engine has no clock, so whoever drives a generator says at each step whether
 * it is to end (ADM-11). Work is counted in units: one grant row, role, permission or rule that is looked at.
 */

/** Yields between steps, is told `true` when time is over, and returns what it has by then. */
export type Steps<T> = Generator<undefined, T, boolean>;

/** Units between two steps: well below a millisecond. */
export const STEP = 4_096;

/** Counts the units of one call. */
export class Meter {
  #left: number;
  #untilStep = STEP;
  /** The driver has said that time is over. */
  isLate = false;

  /** @param budget units that may be used in all */
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

  /** Nothing more may be begun: the budget is used up, or time is over. */
  get isOver(): boolean {
    return this.isLate || this.#left < 0;
  }
}

/** Takes all steps at once, for callers that hold nobody up. */
export function finish<T>(work: Steps<T>): T {
  for (;;) {
    const { done, value } = work.next(false);
    if (done === true) return value;
  }
}
