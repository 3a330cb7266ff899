/** A call that is as large as the limits let it be. */
import type { TestClient } from '../../test/support/server.ts';

export interface LimitCall {
  readonly rpc: string;
  /** In words: what is large about it. */
  readonly what: string;
  /** Makes its message once; the result makes the call, and fails where its answer is not the expected one. */
  prepare(client: TestClient, address: string): Promise<() => Promise<void>>;
}
