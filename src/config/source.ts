/** One file as it was read: its value, and the place of every part of it. */
import type { Problem } from './problem.ts';

export interface Source {
  readonly file: string;
  readonly value: unknown;
  /** SHA-256 of the text, hex: what was read, for a log. */
  readonly digest: string;
  /** The text ends with the mark `...`, so that nothing was cut off. */
  readonly isEnded: boolean;
  /** The text begins with a bracket, as JSON does: cut off, it cannot be read. */
  readonly isBraced: boolean;
  /** A problem at a path inside the value; the nearest place in the file that exists is named. */
  readonly problem: (
    path: readonly PropertyKey[],
    message: string,
    severity?: Problem['severity'],
  ) => Problem;
}
