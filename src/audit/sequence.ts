/** The numbers of this process's audit records: dense, so that a reader can prove that none is missing. */
import { randomBytes } from 'node:crypto';

export interface Sequence {
  /** Names the process in decision ids and audit records. */
  readonly instance: string;
  /** Number of the newest record; 0: there is none yet. */
  last: number;
}

export function openSequence(): Sequence {
  return { instance: randomBytes(6).toString('hex'), last: 0 };
}
