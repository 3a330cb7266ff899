/** A call that is as large as the limits let it be. */
import type { TestClient } from '../../test/support/server.ts';

export interface LimitCall {
  readonly rpc: string;
  /** In words: what is large about it. */
  readonly what: string;
  /** The server of `server.ts` that is asked; the plain one if left out. */
  readonly server?: 'redacted';
  /** Makes its message once; the result makes the calls, and fails where an answer is not the expected one. */
  prepare(client: TestClient, address: string): Promise<Runs>;
}

/** @param run 0, 1, …: what writes changes something in each */
export type Run = (run: number) => Promise<void>;

export interface Runs {
  /** What a run needs, not measured. */
  readonly before?: Run;
  readonly run: Run;
  /** Undoes it, not measured. */
  readonly after?: Run;
  /** Measured runs; 5 if left out. */
  readonly count?: number;
}
