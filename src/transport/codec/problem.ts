/** What is wrong with a message that cannot be read: the sender's mistake, and the only one that is told to it. */
import { WireError } from './wire.ts';

/** A message, or a part of it, that is malformed. Whatever else is thrown while reading is a fault of this program. */
export class DecodeProblem extends Error {
  /** Path of the field; `''`: the message as a whole. */
  readonly field: string;
  /** What is wrong with it, and the remedy; without the field. */
  readonly problem: string;

  constructor(field: string, problem: string) {
    super(field === '' ? problem : `${field}: ${problem}`);
    this.field = field;
    this.problem = problem;
  }
}

/** Whether the sender of a message is to blame for an error. */
export function isMalformed(error: unknown): error is DecodeProblem | WireError {
  return error instanceof DecodeProblem || error instanceof WireError;
}

/** Reads a message; bytes that are no message are a DecodeProblem, too. @throws DecodeProblem */
export function decoding<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof WireError)
      throw new DecodeProblem('', `the message cannot be read: ${error.message}`);
    throw error;
  }
}
